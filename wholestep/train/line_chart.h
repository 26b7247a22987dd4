// Line charts and scatter plots as inline SVG, coloured by the page's style sheet.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace wholestep {

struct ChartSeries {
  std::string name;
  std::string css_class;                          ///< "train", "validation", "single", "bins", "exact"
  std::vector<std::pair<double, double>> points;  ///< (x, y), x rising; points that are not finite are gaps
  bool scattered = false;                         ///< dots in any order, not joined
};

struct LineChart {
  std::string title, x_label = "epoch";
  std::vector<ChartSeries> series;
  std::function<std::string(double)> value_text;  ///< of a value in legend and tooltips
  double y_scale = 1;                 ///< axis labels show y * y_scale, for example 100 for percentages
  std::string y_unit;                 ///< after every axis label
  std::optional<double> y_max = {};   ///< the axis never goes beyond, for example 1 for accuracies
  bool from_zero = false;             ///< the axis starts at 0 even where the data is far from it
  std::optional<double> mark_x = {};  ///< a vertical line, named in the legend
  std::string mark_label = {};
  bool by_epoch =
      true;  ///< x counts: its labels are whole, lines have a tooltip a point, the legend last values
};

/// A figure with heading, legend holding each series' last value, and the drawing; says so where there is no
/// data.
std::string to_html(const LineChart& chart);

/// Round positions that cover [low, high]: multiples of 1, 2 or 5 times a power of ten, about `count` of
/// them. `step` is at least `min_step`.
struct AxisTicks {
  double step = 1;
  std::vector<double> at;  ///< from the last one at or below low to the first one at or above high
};
AxisTicks axis_ticks(double low, double high, int count, double min_step = 0);
/// A tick's label: as many decimals as its step needs, powers of ten for tiny steps.
std::string tick_text(double value, double step);

}  // namespace wholestep
