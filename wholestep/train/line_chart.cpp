// Axes first, then grid, lines, and one hover target a point.
#include "wholestep/train/line_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "wholestep/base/human.h"
#include "wholestep/train/html.h"

namespace wholestep {
namespace {

constexpr double kWidth = 540, kHeight = 250;
constexpr double kLeft = 54, kRight = 18, kTop = 12, kBottom = 40;
constexpr size_t kMostDots = 40;  // more points than these are a line only

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

bool drawable(const std::pair<double, double>& point) {
  return std::isfinite(point.first) && std::isfinite(point.second);
}

class Drawing {
 public:
  explicit Drawing(const LineChart& chart) : chart_(chart) {
    for (const ChartSeries& series : chart.series)
      for (const auto& point : series.points)
        if (drawable(point)) x_.add(point.first), y_.add(point.second);
    if (!empty()) choose_axes();
  }
  bool empty() const { return x_.empty(); }

  std::string svg() const {
    std::string text = fmt::format("<svg viewBox=\"0 0 {:g} {:g}\" role=\"img\" aria-label=\"{}\">\n", kWidth,
                                   kHeight, escape_html(chart_.title));
    text += grid();
    if (chart_.mark_x)
      text += fmt::format("<line class=\"mark\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:g}\" y2=\"{2:g}\"/>\n",
                          x(*chart_.mark_x), kTop, kHeight - kBottom);
    for (const ChartSeries& series : chart_.series) text += line(series);
    for (const ChartSeries& series : chart_.series) text += points(series);
    return text + "</svg>\n";
  }

 private:
  void choose_axes() {
    double low = y_.low, high = y_.high;
    if (chart_.from_zero || (chart_.by_epoch && low >= 0 && low < 0.5 * high)) low = std::min(low, 0.0);
    if (high - low <=
        1e-9 * std::max(std::abs(low), std::abs(high))) {  // a flat line runs through the middle
      double margin = high == 0 ? 1 : std::abs(high) / 2;
      low -= margin;
      high += margin;
    }
    ticks_ = axis_ticks(low, high, 5);
    if (chart_.y_max)
      while (ticks_.at.size() > 2 && ticks_.at.back() > *chart_.y_max + ticks_.step * 1e-6)
        ticks_.at.pop_back();
    y_ = {ticks_.at.front(), std::max(ticks_.at.back(), y_.high)};
    if (x_.low == x_.high) x_ = {x_.low - 0.5, x_.high + 0.5};
  }

  double x(double value) const {
    return kLeft + (value - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight);
  }
  double y(double value) const {
    return kHeight - kBottom - (value - y_.low) / (y_.high - y_.low) * (kHeight - kTop - kBottom);
  }

  // Of epochs whole numbers, the first and last always among them.
  AxisTicks x_ticks() const {
    AxisTicks ticks = axis_ticks(x_.low, x_.high, 6);
    if (!chart_.by_epoch) {
      std::erase_if(ticks.at, [&](double tick) { return tick < x_.low || tick > x_.high; });
      return ticks;
    }
    double first = std::ceil(x_.low), last = std::floor(x_.high);
    ticks = axis_ticks(first, last, 9, 1);
    std::erase_if(ticks.at, [&](double tick) {
      return tick <= first + ticks.step * 0.6 || tick >= last - ticks.step * 0.6;
    });
    ticks.at.insert(ticks.at.begin(), first);
    if (last > first) ticks.at.push_back(last);
    return ticks;
  }

  std::string grid() const {
    std::string text;
    for (double tick : ticks_.at)
      text += fmt::format(
          "<line class=\"grid\" x1=\"{0:g}\" x2=\"{1:g}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>"
          "<text class=\"tick\" text-anchor=\"end\" x=\"{3:g}\" y=\"{4:.1f}\">{5}{6}</text>\n",
          kLeft, kWidth - kRight, y(tick), kLeft - 8, y(tick) + 4,
          tick_text(tick * chart_.y_scale, ticks_.step * chart_.y_scale), escape_html(chart_.y_unit));
    double base = kHeight - kBottom;
    auto [step, at] = x_ticks();
    for (double tick : at)
      text += fmt::format(
          "<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:g}\" y2=\"{2:g}\"/>"
          "<text class=\"tick\" text-anchor=\"middle\" x=\"{0:.1f}\" y=\"{3:g}\">{4}</text>\n",
          x(tick), base, base + 4, base + 17, tick_text(tick, step));
    text += fmt::format("<line class=\"axis\" x1=\"{:g}\" x2=\"{:g}\" y1=\"{:g}\" y2=\"{:g}\"/>\n", kLeft,
                        kWidth - kRight, base, base);
    return text + fmt::format("<text class=\"tick\" text-anchor=\"middle\" x=\"{:g}\" y=\"{:g}\">{}</text>\n",
                              (kLeft + kWidth - kRight) / 2, kHeight - 6, escape_html(chart_.x_label));
  }

  std::string line(const ChartSeries& series) const {
    if (series.scattered) return "";
    std::string path;
    bool pen_down = false;
    for (const auto& point : series.points) {
      if (drawable(point))
        path += fmt::format("{}{:.1f} {:.1f}", pen_down ? "L" : "M", x(point.first), y(point.second));
      pen_down = drawable(point);
    }
    return fmt::format("<path class=\"line {}\" d=\"{}\"/>\n", series.css_class, path);
  }

  std::string points(const ChartSeries& series) const {
    std::string text;
    if (!chart_.by_epoch && !series.scattered) return text;
    for (const auto& point : series.points) {
      if (!drawable(point)) continue;
      std::string at = fmt::format("cx=\"{:.1f}\" cy=\"{:.1f}\"", x(point.first), y(point.second));
      if (series.scattered) {
        text += fmt::format("<circle class=\"spot {}\" {} r=\"3\"><title>{} {:g}: {}</title></circle>\n",
                            series.css_class, at, escape_html(chart_.x_label), point.first,
                            chart_.value_text(point.second));
        continue;
      }
      if (series.points.size() <= kMostDots)
        text += fmt::format("<circle class=\"dot {}\" {} r=\"2.6\"/>", series.css_class, at);
      text += fmt::format("<circle class=\"hover\" {} r=\"7\"><title>{}, {} {:g}: {}</title></circle>\n", at,
                          escape_html(series.name), escape_html(chart_.x_label), point.first,
                          chart_.value_text(point.second));
    }
    return text;
  }

  const LineChart& chart_;
  Range x_, y_;
  AxisTicks ticks_;
};

std::string legend(const LineChart& chart) {
  std::string text = "<p class=\"legend\">";
  for (const ChartSeries& series : chart.series) {
    auto last = std::find_if(series.points.rbegin(), series.points.rend(), drawable);
    if (last == series.points.rend()) continue;
    text +=
        fmt::format("<span><i class=\"key {}\"></i>{}{}</span>", series.css_class, escape_html(series.name),
                    chart.by_epoch ? fmt::format(" <b>{}</b>", chart.value_text(last->second)) : "");
  }
  if (chart.mark_x)
    text += fmt::format("<span><i class=\"key mark\"></i>{}</span>", escape_html(chart.mark_label));
  return text + "</p>\n";
}

}  // namespace

std::string to_html(const LineChart& chart) {
  Drawing drawing(chart);
  return fmt::format("<figure class=\"card chart\">\n<h2>{}</h2>\n{}</figure>\n", escape_html(chart.title),
                     drawing.empty() ? std::string("<p class=\"quiet\">not computed in this run</p>\n")
                                     : legend(chart) + drawing.svg());
}

AxisTicks axis_ticks(double low, double high, int count, double min_step) {
  double rough = std::max((high - low) / std::max(count, 1), 1e-300);
  double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = power * 10;
  for (double factor : {1.0, 2.0, 5.0})
    if (power * factor >= rough * 0.999999) {
      step = power * factor;
      break;
    }
  step = std::max(step, min_step);
  AxisTicks ticks{step, {}};
  double first = std::floor(low / step + 1e-9), last = std::ceil(high / step - 1e-9);
  for (double i = first; i <= last; ++i) ticks.at.push_back(i * step);
  return ticks;
}

std::string tick_text(double value, double step) {
  if (std::abs(value) < step * 1e-6) return "0";
  if (step >= 1 && std::abs(value) < 1e7) return human_count(std::llround(value));
  int decimals = static_cast<int>(std::ceil(-std::log10(step) - 1e-9));
  if (step < 1 && decimals <= 4) return fmt::format("{:.{}f}", value, decimals);
  int exponent = static_cast<int>(std::floor(std::log10(std::abs(value)) + 1e-9));
  return fmt::format("{:g}e{}", std::round(value / std::pow(10.0, exponent) * 100) / 100, exponent);
}

}  // namespace wholestep
