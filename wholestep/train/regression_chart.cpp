// Scatter and histogram out of pairs of numbers.
#include "wholestep/train/regression_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "wholestep/base/human.h"

namespace wholestep {
namespace {

constexpr size_t kMostSpots = 1000;
constexpr int kBins = 24;

}  // namespace

LineChart estimates_chart(const std::string& target, std::span<const float> numbers,
                          std::span<const float> targets) {
  LineChart chart{.title = target + ": estimated and true",
                  .x_label = "true",
                  .series = {},
                  .value_text = [](double y) { return fmt::format("estimated {:.5g}", y); },
                  .y_unit = {},
                  .by_epoch = false};
  ChartSeries samples{.name = "samples", .css_class = "single", .points = {}, .scattered = true};
  size_t every = (numbers.size() + kMostSpots - 1) / kMostSpots;
  for (size_t i = 0; i < numbers.size(); i += every) samples.points.emplace_back(targets[i], numbers[i]);
  auto [low, high] = std::ranges::minmax(targets);
  chart.series = {{"without error", "exact", {{low, low}, {high, high}}}, std::move(samples)};
  return chart;
}

LineChart residuals_chart(const std::string& target, std::span<const float> numbers,
                          std::span<const float> targets) {
  LineChart chart{.title = target + ": residuals",
                  .x_label = "true - estimated",
                  .series = {},
                  .value_text = [](double n) { return human_count(std::llround(n)); },
                  .y_unit = {},
                  .from_zero = true,
                  .mark_x = 0,
                  .mark_label = "no error",
                  .by_epoch = false};
  std::vector<double> residuals;
  for (size_t i = 0; i < numbers.size(); ++i)
    residuals.push_back(static_cast<double>(targets[i]) - static_cast<double>(numbers[i]));
  std::erase_if(residuals, [](double r) { return !std::isfinite(r); });
  if (residuals.empty()) return chart;
  double low = std::min(std::ranges::min(residuals), 0.0), high = std::max(std::ranges::max(residuals), 0.0);
  if (low == high) high = 1;
  AxisTicks bins = axis_ticks(low, high, kBins);
  std::vector<int64_t> counts(bins.at.size() - 1);
  for (double r : residuals) {
    double bin = std::floor((r - bins.at.front()) / bins.step);
    ++counts[static_cast<size_t>(std::clamp(bin, 0.0, static_cast<double>(counts.size() - 1)))];
  }
  ChartSeries outline{.name = "samples", .css_class = "bins", .points = {{bins.at.front(), 0}}};
  for (size_t i = 0; i < counts.size(); ++i)
    for (size_t edge : {i, i + 1})
      outline.points.emplace_back(bins.at.front() + static_cast<double>(edge) * bins.step, counts[i]);
  outline.points.emplace_back(outline.points.back().first, 0);
  chart.series = {std::move(outline)};
  return chart;
}

}  // namespace wholestep
