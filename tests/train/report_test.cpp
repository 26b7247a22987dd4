// The report page: what it says is what went in, it refers to nothing outside itself, and its charts have
// sensible axes.
#include "wholestep/train/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "wholestep/train/confusion_chart.h"
#include "wholestep/train/html.h"
#include "wholestep/train/line_chart.h"
#include "wholestep/train/regression_chart.h"

namespace wholestep {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

int count(const std::string& text, const std::string& piece) {
  int found = 0;
  for (size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) ++found;
  return found;
}

EpochResult epoch_result(int64_t epoch, double train_loss, std::optional<double> val_loss) {
  EpochResult result;
  result.epoch = epoch;
  result.train_loss = train_loss;
  result.train_accuracy = 1 - train_loss / 2;
  result.val_loss = val_loss;
  if (val_loss) result.val_accuracy = 1 - *val_loss / 2;
  result.learning_rate = 0.01;
  result.samples_s = 1000;
  return result;
}

ReportData sample_report() {
  ReportData data;
  data.title = "lenet";
  data.data = "60000 train and 10000 test samples";
  data.outcome = "finished after 3 epochs";
  data.history = {epoch_result(1, 0.5, 0.45), epoch_result(2, 0.3, 0.29), epoch_result(3, 0.2, 0.31)};
  data.seconds = 14.24;
  data.samples_s = 21034;
  data.parameters = 61706;
  data.evaluation = Evaluation{};
  data.evaluation->loss = 0.03125;
  data.evaluation->accuracy = 0.9904;
  data.evaluation->confusion = {{90, 10}, {4, 96}};
  data.evaluated = "the best checkpoint on 200 samples";
  data.class_names = {"cat", "<dog>"};
  Mistake mistake;
  mistake.sample = {.index = 17, .label = 0, .predicted = 1, .loss = 4.5f, .probability = 0.989f};
  mistake.picture = {.height = 2, .width = 2, .channels = 1, .pixels = {0, 255, 255, 0}};
  data.mistakes = {mistake};
  MemoryReport memory;
  memory.parameter_bytes = 1000;
  memory.state_bytes = 2000;
  memory.batch_bytes = 500;
  memory.activation_bytes = 1500;
  memory.unshared_bytes = 4096;
  data.memory = memory;
  data.kernels = {{"layers.0", "conv2d", "direct", "f32[64, 6, 28, 28]", {"relu"}, {}, 0},
                  {"layers.9", "matmul", "reference", "f32[64, 10]", {}, {"gemm: rank is 3"}, 0},
                  {"", "fused", "regions", "f32[120]", {"mul", "add"}, {}, 0}};
  data.layers = {{"layers.0", "Conv2d(in_channels=1)", "[N, 6, 28, 28]", 156}};
  data.configuration = "model = 'lenet'\n";
  data.environment = {{"threads", "2"}};
  return data;
}

TEST(Report, SaysTheFiguresItWasGiven) {
  std::string page = render_report(sample_report());
  for (const char* figure : {"99.04 %", "0.0312", "14.2 s", "21,034", "61,706", "4.9 KiB", "best: epoch 2",
                             "finished after 3 epochs", "the best checkpoint on 200 samples"})
    EXPECT_THAT(page, HasSubstr(figure));
  EXPECT_THAT(page, HasSubstr("<b>cat</b> taken for <b>&lt;dog&gt;</b>: 10 times, 10.0 % of its samples"));
  EXPECT_THAT(page,
              HasSubstr("<b>cat</b> taken for <b class=\"wrong\">&lt;dog&gt;</b><br><span>98.9 % sure"));
  EXPECT_THAT(page, HasSubstr("one submission of 3 kernels; 2 of them are fused"));
  EXPECT_THAT(page, HasSubstr("gemm: rank is 3"));
  EXPECT_THAT(page, HasSubstr("model = &#39;lenet&#39;"));
  EXPECT_THAT(page, HasSubstr("<td class=\"number\">20.0 %</td>")) << "parameters' share of the memory";
}

TEST(Report, RefersToNothingOutsideItself) {
  std::string page = render_report(sample_report());
  EXPECT_THAT(page, Not(HasSubstr("http")));
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("<link")));
  EXPECT_THAT(page, Not(HasSubstr("@import")));
  EXPECT_EQ(count(page, "src="), count(page, "src=\"data:image/png;base64,"));
  EXPECT_EQ(count(page, "src="), 1);
}

TEST(Report, NamesFromOutsideCannotBecomeMarkup) {
  ReportData data = sample_report();
  data.title = "<script>alert(1)</script>";
  data.configuration = "name = \"</pre><b>\"";
  data.layers[0].description = "<img src=x>";
  std::string page = render_report(data);
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("<img src=x>")));
  EXPECT_EQ(count(page, "</pre>"), 1);
}

TEST(Report, T10WhatWasNotComputedIsNotANumber) {
  ReportData data;
  data.title = "mlp";
  data.history = {epoch_result(1, 0.5, std::nullopt)};
  data.history[0].samples_s = 0;
  std::string page = render_report(data);
  EXPECT_THAT(page, HasSubstr("<b>n/a</b>")) << "samples per second";
  EXPECT_THAT(page, HasSubstr("not computed in this run"));
  EXPECT_THAT(page, Not(HasSubstr("validation <b>")));
  EXPECT_THAT(page, Not(HasSubstr("0.00 %")));
  EXPECT_THAT(page, HasSubstr("training, epoch 1"));
}

ReportData regression_report() {
  ReportData data;
  data.title = "mlp";
  data.evaluation = Evaluation{};
  data.evaluation->regression = Regression{.mae = 1, .mse = 2, .r2 = 0.5};
  data.evaluation->targets = {0, 100, 10, 200, 20, 300, 40, 500};
  data.evaluation->numbers = {1, 100, 10, 200, 18, 300, 40, 500};
  data.target_names = {"rent", "<area>"};
  return data;
}

TEST(Report, NumbersAreShownBesideWhatIsTrue) {
  std::string page = render_report(regression_report());
  EXPECT_THAT(page, HasSubstr("<h2>rent: estimated and true</h2>"));
  EXPECT_THAT(page, HasSubstr("<h2>&lt;area&gt;: residuals</h2>"));
  EXPECT_EQ(count(page, "<circle class=\"spot single\""), 8);
  EXPECT_THAT(page, HasSubstr("<title>true 20: estimated 18</title>"));
  EXPECT_THAT(page, HasSubstr("<title>true 300: estimated 300</title>"));
  EXPECT_EQ(count(page, "class=\"line bins\""), 2);
  EXPECT_THAT(page, Not(HasSubstr("nan")));
}

TEST(RegressionChart, ResidualsAreCountedInRoundBins) {
  std::vector<float> targets = {0, 10, 20, 40, 50}, numbers = {1, 10, 18, 40.04f, 50.5f};
  LineChart chart = residuals_chart("y", numbers, targets);  // residuals -1, 0, 2, -0.04, -0.5
  ASSERT_EQ(chart.series.size(), 1u);
  const auto& outline = chart.series[0].points;
  double total = 0, step = outline[2].first - outline[1].first;
  EXPECT_NEAR(step, 0.2, 1e-12);
  for (size_t i = 1; i + 1 < outline.size(); i += 2) {
    EXPECT_EQ(outline[i].second, outline[i + 1].second);
    double low = outline[i].first, expected = 0;
    for (size_t k = 0; k < 5; ++k) {
      double r = static_cast<double>(targets[k]) - static_cast<double>(numbers[k]);
      bool last = i + 3 == outline.size();
      expected += r >= low - 1e-9 && (r < low + step - 1e-9 || last);
    }
    EXPECT_EQ(outline[i].second, expected) << low;
    total += outline[i].second;
  }
  EXPECT_EQ(total, 5);
  EXPECT_EQ(outline.front(), std::pair(-1.0, 0.0));
  EXPECT_EQ(outline.back().second, 0);
}

TEST(RegressionChart, WhatIsAllTheSameIsOneBin) {
  std::vector<float> y = {3, 3, 3}, t = {3, 3, 3};
  const LineChart residuals = residuals_chart("y", y, t);
  double most = 0;
  for (const auto& point : residuals.series[0].points) most = std::max(most, point.second);
  EXPECT_EQ(most, 3);
  EXPECT_THAT(to_html(estimates_chart("y", y, t)), Not(HasSubstr("nan")));
}

TEST(RegressionChart, ManySamplesAreThinned) {
  std::vector<float> y(12345);
  for (size_t i = 0; i < y.size(); ++i) y[i] = static_cast<float>(i);
  const LineChart chart = estimates_chart("y", y, y);
  EXPECT_EQ(chart.series[1].points.size(), 950u);  // every 13th
  EXPECT_EQ(chart.series[0].points.back(), std::pair(12344.0, 12344.0));
}

TEST(Report, AnEmptyRunStillHasAPage) {
  ReportData data;
  data.title = "nothing";
  std::string page = render_report(data);
  EXPECT_THAT(page, HasSubstr("<h1>nothing</h1>"));
  EXPECT_EQ(count(page, "<svg"), 0);
}

TEST(Report, TheBestEpochHasTheLowestValidationLoss) {
  std::vector<EpochResult> history = sample_report().history;
  EXPECT_EQ(best_epoch(history)->epoch, 2);
  history[1].val_loss = std::nullopt;
  EXPECT_EQ(best_epoch(history)->epoch, 3);
  for (EpochResult& epoch : history) epoch.val_loss = std::nullopt;
  history[0].train_loss = 0.1;
  EXPECT_EQ(best_epoch(history)->epoch, 1);
  EXPECT_EQ(best_epoch({}), nullptr);
}

TEST(LineChart, TicksAreRoundAndCoverTheData) {
  EXPECT_THAT(axis_ticks(0, 0.69, 5).at,
              ElementsAre(0, 0.2, testing::DoubleEq(0.4), testing::DoubleNear(0.6, 1e-12), 0.8));
  EXPECT_THAT(axis_ticks(3, 100, 5).at, ElementsAre(0, 20, 40, 60, 80, 100));
  EXPECT_DOUBLE_EQ(axis_ticks(1, 4, 9, 1).step, 1);
  EXPECT_DOUBLE_EQ(axis_ticks(0.00001, 0.00002, 5).step, 2e-6);
}

TEST(LineChart, TickLabelsHaveTheDecimalsTheirStepNeeds) {
  EXPECT_EQ(tick_text(0.4, 0.2), "0.4");
  EXPECT_EQ(tick_text(0.05, 0.01), "0.05");
  EXPECT_EQ(tick_text(1e-18, 0.2), "0");
  EXPECT_EQ(tick_text(25000, 5000), "25,000");
  EXPECT_EQ(tick_text(2e-6, 1e-6), "2e-6");
  EXPECT_EQ(tick_text(1.5e-5, 5e-6), "1.5e-5");
}

TEST(LineChart, DrawsOnePointForOneEpochAndGapsForMissingValues) {
  LineChart chart{
      .title = "Loss", .series = {}, .value_text = [](double) { return std::string("v"); }, .y_unit = {}};
  chart.series = {{"training", "train", {{1, 0.5}}}};
  std::string one = to_html(chart);
  EXPECT_EQ(count(one, "class=\"dot"), 1);
  EXPECT_THAT(one, Not(HasSubstr("nan")));
  EXPECT_THAT(one, Not(HasSubstr("inf")));
  double nan = std::numeric_limits<double>::quiet_NaN();
  chart.series = {{"training", "train", {{1, 0.5}, {2, nan}, {3, 0.4}, {4, 0.3}}}};
  std::string gap = to_html(chart);
  EXPECT_EQ(count(gap, "class=\"dot"), 3);
  EXPECT_EQ(count(gap, "M"), 2) << "the line is interrupted: " << gap;
  EXPECT_THAT(gap, Not(HasSubstr("nan")));
}

TEST(LineChart, ManyPointsAreALineWithoutDots) {
  LineChart chart{
      .title = "Loss", .series = {}, .value_text = [](double) { return std::string("v"); }, .y_unit = {}};
  chart.series = {{"training", "train", {}}};
  for (int i = 1; i <= 100; ++i) chart.series[0].points.emplace_back(i, 1.0 / i);
  std::string text = to_html(chart);
  EXPECT_EQ(count(text, "class=\"dot"), 0);
  EXPECT_EQ(count(text, "<title>training, epoch"), 100);
}

ConfusionMatrix three_classes() { return {{{8, 2, 0}, {1, 9, 0}, {3, 3, 0}}, {"a", "b", "c"}}; }

TEST(ConfusionChart, ShadesEveryCellThatOccursAndNamesItsCount) {
  std::string svg = confusion_svg(three_classes());
  EXPECT_EQ(count(svg, "<rect class=\"right\""), 2);
  EXPECT_EQ(count(svg, "<rect class=\"wrong\""), 4);
  EXPECT_THAT(svg, HasSubstr("a predicted as b: 2 (20.0 %)"));
  EXPECT_THAT(svg, HasSubstr("c predicted as a: 3 (50.0 %)"));
}

TEST(ConfusionChart, RecallAndPrecisionOfAClassNobodyPredictedAreNotZeroByZero) {
  std::string table = class_table_html(three_classes());
  EXPECT_THAT(table, HasSubstr("<td>a</td><td class=\"number\">10</td><td class=\"number\">80.0 %</td>"
                               "<td class=\"number\">66.7 %</td>"));
  EXPECT_THAT(table, HasSubstr("<td>c</td><td class=\"number\">6</td><td class=\"number\">0.0 %</td>"
                               "<td class=\"number\">n/a</td>"));
}

TEST(ConfusionChart, PairsComeMostFrequentFirst) {
  std::vector<ConfusedPair> pairs = most_confused(three_classes(), 3);
  ASSERT_EQ(pairs.size(), 3u);
  EXPECT_EQ(pairs[0].label, 2);
  EXPECT_EQ(pairs[0].predicted, 0);
  EXPECT_EQ(pairs[0].count, 3);
  EXPECT_DOUBLE_EQ(pairs[0].share, 0.5);
  EXPECT_EQ(pairs[2].count, 2);
}

TEST(ConfusionChart, AHundredClassesHaveNoNumbersAndTheWorstClassesAsTable) {
  ConfusionMatrix matrix;
  matrix.counts.assign(100, std::vector<int64_t>(100));
  for (size_t i = 0; i < 100; ++i) {
    matrix.counts[i][i] = i == 42 ? 1 : 10;
    matrix.counts[i][(i + 1) % 100] = 1;
    matrix.class_names.push_back("class " + std::to_string(i));
  }
  std::string svg = confusion_svg(matrix);
  EXPECT_EQ(count(svg, "<rect"), 200);
  EXPECT_EQ(count(svg, "class=\"count"), 0);
  std::string table = class_table_html(matrix);
  EXPECT_EQ(count(table, "<tr>"), 13);
  EXPECT_LT(table.find("class 42"), table.find("class 0<"));
}

}  // namespace
}  // namespace wholestep
