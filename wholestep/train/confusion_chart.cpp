// Right answers on the diagonal are shaded by their share of the row, mistakes in another colour by the
// square root of theirs, so that one mistake in a hundred can still be seen.
#include "wholestep/train/confusion_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "wholestep/base/human.h"
#include "wholestep/train/html.h"
#include "wholestep/train/line_chart.h"

namespace wholestep {
namespace {

constexpr size_t kMostNumbers = 20, kMostLabels = 40, kMostRows = 12;

int64_t row_sum(const ConfusionMatrix& matrix, size_t row) {
  return std::accumulate(matrix.counts[row].begin(), matrix.counts[row].end(), int64_t{0});
}

int64_t column_sum(const ConfusionMatrix& matrix, size_t column) {
  int64_t sum = 0;
  for (const auto& row : matrix.counts) sum += row[column];
  return sum;
}

std::string share_text(int64_t part, int64_t whole) {
  return whole == 0 ? "n/a"
                    : fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string shortened(const std::string& name, size_t most) {
  return name.size() <= most ? name : name.substr(0, most - 1) + "…";
}

// Sizes in user units; names of columns stand upright where they are wider than their cells.
struct Geometry {
  explicit Geometry(const ConfusionMatrix& matrix) : classes(matrix.counts.size()) {
    for (const std::string& name : matrix.class_names)
      longest = std::max(longest, std::min<size_t>(name.size(), 14));
    cell = std::clamp(430.0 / static_cast<double>(std::max<size_t>(classes, 1)), 4.2, 72.0);
    if (classes > kMostLabels)
      every = static_cast<size_t>(axis_ticks(0, static_cast<double>(classes), 20, 1).step);
    double name_width = 7.0 * static_cast<double>(longest);
    upright = name_width > cell * static_cast<double>(every) - 2;
    left = 30 + name_width;
    bottom = (upright ? name_width : 12) + 32;
    width = left + cell * static_cast<double>(classes) + 8;
    height = 6 + cell * static_cast<double>(classes) + bottom;
  }
  double at(size_t index) const { return cell * static_cast<double>(index); }
  size_t classes, longest = 1, every = 1;
  double cell, left, bottom, width, height;
  bool upright;
  static constexpr double kTop = 6;
};

std::string cells(const ConfusionMatrix& matrix, const Geometry& g) {
  std::string text;
  for (size_t row = 0; row < g.classes; ++row) {
    int64_t samples = row_sum(matrix, row);
    for (size_t column = 0; column < g.classes; ++column) {
      int64_t count = matrix.counts[row][column];
      if (count == 0) continue;
      double share = static_cast<double>(count) / static_cast<double>(samples);
      bool right = row == column;
      double opacity = right ? 0.12 + 0.83 * share : std::min(0.95, 0.04 + 1.2 * std::sqrt(share));
      double x = g.left + g.at(column), y = Geometry::kTop + g.at(row);
      text += fmt::format(
          "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
          "fill-opacity=\"{:.2f}\"><title>{} predicted as {}: {} ({})</title></rect>\n",
          right ? "right" : "wrong", x, y, g.cell, g.cell, opacity, escape_html(matrix.class_names[row]),
          escape_html(matrix.class_names[column]), human_count(count), share_text(count, samples));
      if (g.classes <= kMostNumbers)
        text += fmt::format("<text class=\"{}\" text-anchor=\"middle\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
                            opacity > 0.5 ? "count on" : "count", x + g.cell / 2, y + g.cell / 2 + 4, count);
    }
  }
  return text;
}

std::string grid(const Geometry& g) {
  std::string path;
  double far_x = g.left + g.at(g.classes), far_y = Geometry::kTop + g.at(g.classes);
  for (size_t i = 0; i <= g.classes; i += g.classes <= kMostLabels ? 1 : g.classes)
    path += fmt::format("M{0:.1f} {1:.1f}V{2:.1f}M{3:.1f} {4:.1f}H{5:.1f}", g.left + g.at(i), Geometry::kTop,
                        far_y, g.left, Geometry::kTop + g.at(i), far_x);
  return fmt::format("<path class=\"grid\" d=\"{}\"/>\n", path);
}

std::string labels(const ConfusionMatrix& matrix, const Geometry& g) {
  std::string text;
  double base = Geometry::kTop + g.at(g.classes);
  for (size_t i = 0; i < g.classes; i += g.every) {
    std::string name = escape_html(shortened(matrix.class_names[i], 14));
    double middle = g.at(i) + g.cell / 2;
    text += fmt::format("<text class=\"tick\" text-anchor=\"end\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
                        g.left - 7, Geometry::kTop + middle + 4, name);
    if (g.upright)
      text += fmt::format(
          "<text class=\"tick\" text-anchor=\"end\" transform=\"translate({:.1f} {:.1f}) "
          "rotate(-90)\">{}</text>\n",
          g.left + middle + 4, base + 7, name);
    else
      text += fmt::format("<text class=\"tick\" text-anchor=\"middle\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
                          g.left + middle, base + 16, name);
  }
  double centre = g.at(g.classes) / 2;
  text +=
      fmt::format("<text class=\"tick\" text-anchor=\"middle\" x=\"{:.1f}\" y=\"{:.1f}\">predicted</text>\n",
                  g.left + centre, g.height - 6);
  return text + fmt::format(
                    "<text class=\"tick\" text-anchor=\"middle\" transform=\"translate(14 {:.1f}) "
                    "rotate(-90)\">true</text>\n",
                    Geometry::kTop + centre);
}

}  // namespace

std::string confusion_svg(const ConfusionMatrix& matrix) {
  Geometry g(matrix);
  return fmt::format(
             "<svg class=\"confusion\" viewBox=\"0 0 {0:.1f} {1:.1f}\" style=\"max-width:{0:.0f}px\" "
             "role=\"img\" "
             "aria-label=\"confusion matrix\">\n",
             g.width, g.height) +
         cells(matrix, g) + grid(g) + labels(matrix, g) + "</svg>\n";
}

std::string class_table_html(const ConfusionMatrix& matrix) {
  size_t classes = matrix.counts.size();
  std::vector<size_t> order(classes);
  std::iota(order.begin(), order.end(), size_t{0});
  auto recall = [&](size_t c) {
    int64_t samples = row_sum(matrix, c);
    return samples == 0 ? 2.0 : static_cast<double>(matrix.counts[c][c]) / static_cast<double>(samples);
  };
  bool shortened_list = classes > kMostRows;
  if (shortened_list) {
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return recall(a) < recall(b); });
    order.resize(kMostRows);
  }
  HtmlTable table{{"class", "samples", "recall", "precision"}, {false, true, true, true}, {}};
  for (size_t c : order)
    table.rows.push_back({escape_html(matrix.class_names[c]), human_count(row_sum(matrix, c)),
                          share_text(matrix.counts[c][c], row_sum(matrix, c)),
                          share_text(matrix.counts[c][c], column_sum(matrix, c))});
  std::string heading =
      shortened_list ? fmt::format("<h3>The {} classes of lowest recall, of {}</h3>\n", kMostRows, classes)
                     : std::string("<h3>Classes</h3>\n");
  return heading + to_html(table);
}

std::vector<ConfusedPair> most_confused(const ConfusionMatrix& matrix, size_t limit) {
  std::vector<ConfusedPair> pairs;
  for (size_t row = 0; row < matrix.counts.size(); ++row)
    for (size_t column = 0; column < matrix.counts.size(); ++column)
      if (int64_t count = matrix.counts[row][column]; count > 0 && row != column)
        pairs.push_back({static_cast<int64_t>(row), static_cast<int64_t>(column), count,
                         static_cast<double>(count) / static_cast<double>(row_sum(matrix, row))});
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const ConfusedPair& a, const ConfusedPair& b) { return a.count > b.count; });
  pairs.resize(std::min(pairs.size(), limit));
  return pairs;
}

}  // namespace wholestep
