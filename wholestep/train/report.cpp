// The page, section by section, in the order a reader asks: how good, how did it get there, what does it get
// wrong, what did it cost, what exactly was run.
#include "wholestep/train/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "wholestep/base/human.h"
#include "wholestep/train/confusion_chart.h"
#include "wholestep/train/html.h"
#include "wholestep/train/line_chart.h"
#include "wholestep/train/regression_chart.h"
#include "wholestep/train/report_style.h"

namespace wholestep {
namespace {

using Points = std::vector<std::pair<double, double>>;

std::string loss_text(double loss) { return fmt::format("{:.4f}", loss); }
std::string rate_text(double rate) { return fmt::format("{:.4g}", rate); }

std::string tile(const std::string& figure, const std::string& name, const std::string& note) {
  return fmt::format("<div class=\"tile\"><span>{}</span><b>{}</b><small>{}</small></div>\n",
                     escape_html(name), escape_html(figure), escape_html(note));
}

std::string score_tiles(const std::optional<double>& accuracy, const std::optional<Regression>& numbers,
                        const std::string& note) {
  if (!numbers) return tile(accuracy ? human_percent(*accuracy) : "n/a", "accuracy", note);
  return tile(numbers->r2 ? loss_text(*numbers->r2) : "n/a", "R2", note) +
         tile(rate_text(numbers->rmse()), "RMSE", fmt::format("mean absolute error {:.4g}", numbers->mae));
}

std::string headline(const ReportData& data) {
  const EpochResult* best = best_epoch(data.history);
  std::string text = "<div class=\"tiles\">\n";
  if (data.evaluation) {
    text += score_tiles(data.evaluation->accuracy, data.evaluation->regression, data.evaluated);
    text += tile(loss_text(data.evaluation->loss), "loss",
                 data.evaluation->regression ? "of standardised targets" : "mean over the same samples");
  } else if (best) {
    bool validated = best->val_loss.has_value();
    std::string note = fmt::format("{}, epoch {}", validated ? "validation" : "training", best->epoch);
    text += score_tiles(validated ? best->val_accuracy : best->train_accuracy,
                        validated ? best->val_regression : best->train_regression, note);
    text += tile(loss_text(validated ? *best->val_loss : best->train_loss), "loss", note);
  }
  text += tile(human_seconds(data.seconds), "time", data.outcome);
  text += tile(data.samples_s > 0 ? human_rate(data.samples_s) : "n/a", "samples/s", "while training");
  text += tile(human_count(data.parameters), "parameters",
               data.memory ? human_bytes(data.memory->parameter_bytes) : "trained");
  if (data.memory)
    text += tile(human_bytes(data.memory->total_bytes()), "memory", "of the training step, planned");
  return text + "</div>\n";
}

template <class Value>
Points points_of(const std::vector<EpochResult>& history, Value value) {
  Points points;
  for (const EpochResult& epoch : history)
    if (std::optional<double> y = value(epoch)) points.emplace_back(static_cast<double>(epoch.epoch), *y);
  return points;
}

/// Accuracy, or of numbers the root mean squared error.
LineChart score_chart(const std::vector<EpochResult>& history) {
  bool regression = history.back().train_regression.has_value();
  LineChart chart = regression
                        ? LineChart{.title = "RMSE", .series = {}, .value_text = rate_text, .y_unit = {}}
                        : LineChart{.title = "Accuracy",
                                    .series = {},
                                    .value_text = human_percent,
                                    .y_scale = 100,
                                    .y_unit = " %",
                                    .y_max = 1};
  auto points = [&](auto accuracy, auto numbers) {
    return points_of(history, [&](const EpochResult& e) {
      return (e.*numbers) ? std::optional((e.*numbers)->rmse()) : e.*accuracy;
    });
  };
  chart.series = {
      {"training", "train", points(&EpochResult::train_accuracy, &EpochResult::train_regression)},
      {"validation", "validation", points(&EpochResult::val_accuracy, &EpochResult::val_regression)}};
  return chart;
}

std::string charts(const ReportData& data) {
  const std::vector<EpochResult>& history = data.history;
  if (history.empty()) return "";
  LineChart loss{.title = "Loss", .series = {}, .value_text = loss_text, .y_unit = {}};
  loss.series = {
      {"training", "train", points_of(history, [](auto& e) { return std::optional(e.train_loss); })},
      {"validation", "validation", points_of(history, [](auto& e) { return e.val_loss; })}};
  LineChart score = score_chart(history);
  if (const EpochResult* best = best_epoch(history); best->val_loss && history.size() > 1) {
    loss.mark_x = score.mark_x = static_cast<double>(best->epoch);
    loss.mark_label = score.mark_label = fmt::format("best: epoch {}", best->epoch);
  }
  LineChart rate{
      .title = "Learning rate", .series = {}, .value_text = rate_text, .y_unit = {}, .from_zero = true};
  rate.series = {{"at the end of the epoch", "single",
                  points_of(history, [](auto& e) { return std::optional(e.learning_rate); })}};
  LineChart speed{
      .title = "Training speed", .series = {}, .value_text = human_rate, .y_unit = {}, .from_zero = true};
  speed.series = {{"samples/s", "single", points_of(history, [](auto& e) {
                     return e.samples_s > 0 ? std::optional(e.samples_s) : std::nullopt;
                   })}};
  return "<div class=\"charts\">\n" + to_html(loss) + to_html(score) + to_html(rate) + to_html(speed) +
         "</div>\n";
}

/// Of each target its estimates and their errors, on the data that was evaluated.
std::string estimates(const ReportData& data) {
  if (!data.evaluation || data.evaluation->numbers.empty()) return "";
  const Evaluation& e = *data.evaluation;
  size_t width = data.target_names.size();
  auto column = [&](const std::vector<float>& table, size_t k) {
    std::vector<float> values;
    for (size_t i = k; i < table.size(); i += width) values.push_back(table[i]);
    return values;
  };
  std::string text;
  for (size_t k = 0; k < width; ++k) {
    std::vector<float> numbers = column(e.numbers, k), targets = column(e.targets, k);
    text += to_html(estimates_chart(data.target_names[k], numbers, targets)) +
            to_html(residuals_chart(data.target_names[k], numbers, targets));
  }
  return "<div class=\"charts\">\n" + text + "</div>\n";
}

std::string confusion(const ReportData& data) {
  if (!data.evaluation || data.evaluation->confusion.empty()) return "";
  ConfusionMatrix matrix{data.evaluation->confusion, data.class_names};
  std::string pairs;
  for (const ConfusedPair& pair : most_confused(matrix, 5))
    pairs += fmt::format("<li><b>{}</b> taken for <b>{}</b>: {} times, {:.1f} % of its samples</li>\n",
                         escape_html(data.class_names[static_cast<size_t>(pair.label)]),
                         escape_html(data.class_names[static_cast<size_t>(pair.predicted)]),
                         human_count(pair.count), 100 * pair.share);
  if (!pairs.empty()) pairs = "<h3>Most often confused</h3>\n<ol>\n" + pairs + "</ol>\n";
  return html_card(
      "Confusion matrix",
      fmt::format(
          "<p class=\"quiet\">Counts for {}; a row is a true class, a column what it was taken for.</p>\n"
          "<div class=\"split\"><div>{}</div><div>{}{}</div></div>\n",
          escape_html(data.evaluated), confusion_svg(matrix), class_table_html(matrix), pairs));
}

std::string mistakes(const ReportData& data) {
  if (data.mistakes.empty()) return "";
  auto class_name = [&](int64_t c) {
    return c >= 0 && c < static_cast<int64_t>(data.class_names.size())
               ? data.class_names[static_cast<size_t>(c)]
               : std::to_string(c);
  };
  std::string text = "<div class=\"pictures\">\n";
  for (const Mistake& mistake : data.mistakes) {
    std::string label = escape_html(class_name(mistake.sample.label));
    std::string predicted = escape_html(class_name(mistake.sample.predicted));
    text += fmt::format(
        "<figure title=\"sample {0}, loss {1:.3f}\"><img alt=\"sample {0}: {2} predicted as {3}\" "
        "src=\"data:image/png;base64,{4}\">"
        "<figcaption><b>{2}</b> taken for <b class=\"wrong\">{3}</b><br><span>{5:.1f} % "
        "sure</span></figcaption>"
        "</figure>\n",
        mistake.sample.index, mistake.sample.loss, label, predicted, base64(encode_png(mistake.picture)),
        100 * mistake.sample.probability);
  }
  return html_card(
      "Worst mistakes",
      "<p class=\"quiet\">Wrong predictions of highest loss, the worst first.</p>\n" + text + "</div>\n");
}

std::string memory(const ReportData& data) {
  if (!data.memory) return "";
  const MemoryReport& m = *data.memory;
  double total = static_cast<double>(std::max<int64_t>(m.total_bytes(), 1));
  std::string bar = "<div class=\"bar\">";
  HtmlTable table{{"", "kind", "bytes", "share", "what"}, {false, false, true, true, false}, {}};
  int colour = 0;
  for (const MemoryKind& kind : memory_kinds(m)) {
    double share = 100 * static_cast<double>(kind.bytes) / total;
    ++colour;
    if (kind.bytes > 0)
      bar += fmt::format("<i class=\"kind{}\" style=\"width:{:.2f}%\" title=\"{}: {}\"></i>", colour, share,
                         kind.name, human_bytes(kind.bytes));
    table.rows.push_back({fmt::format("<i class=\"swatch kind{}\"></i>", colour), kind.name,
                          human_count(kind.bytes), fmt::format("{:.1f} %", share), escape_html(kind.doc)});
  }
  table.rows.push_back({"", "<b>total</b>", "<b>" + human_count(m.total_bytes()) + "</b>", "",
                        human_bytes(m.total_bytes()) + ", known before the first sample was read"});
  std::string reuse = fmt::format(
      "<p class=\"quiet\">Activations share memory when their lifetimes do not meet: {} instead of {}; no "
      "plan of this "
      "order of execution could do with less than {}.</p>\n",
      human_bytes(m.activation_bytes), human_bytes(m.unshared_bytes), human_bytes(m.bound_bytes));
  return html_card("Memory of the training step", bar + "</div>\n" + to_html(table) + reuse);
}

std::string plan(const ReportData& data) {
  if (data.kernels.empty()) return "";
  std::map<std::pair<std::string, std::string>, int64_t> uses;  // (op, kernel)
  HtmlTable regions{{"layer", "fused", "output"}, {}, {}};
  HtmlTable refusals{{"layer", "op", "not taken, because"}, {}, {}};
  for (const PlanRow& row : data.kernels) {
    ++uses[{row.op, row.kernel}];
    std::string layer = row.layer.empty() ? "–" : escape_html(row.layer);
    if (!row.fused.empty()) {
      std::string ops =
          fmt::format("{}{}", row.op == "fused" ? "" : row.op + " + ", fmt::join(row.fused, " "));
      regions.rows.push_back(
          {layer, "<code>" + escape_html(ops) + "</code>", "<code>" + escape_html(row.output) + "</code>"});
    }
    for (const std::string& refusal : row.refusals)
      refusals.rows.push_back({layer, escape_html(row.op), escape_html(refusal)});
  }
  HtmlTable kernels{{"op", "kernel", "calls"}, {false, false, true}, {}};
  for (const auto& [what, count] : uses)
    kernels.rows.push_back({escape_html(what.first), escape_html(what.second), human_count(count)});
  std::string text = fmt::format(
      "<p class=\"quiet\">Forward, loss, backward and update are one submission of {} kernels; {} of them "
      "are fused "
      "from several ops.</p>\n",
      data.kernels.size(), regions.rows.size());
  text += to_html(kernels);
  auto details = [](const std::string& summary, const HtmlTable& table) {
    return table.rows.empty() ? std::string()
                              : fmt::format("<details><summary>{} ({})</summary>\n{}</details>\n", summary,
                                            table.rows.size(), to_html(table));
  };
  return html_card("The compiled step",
                   text + details("Fused regions", regions) + details("Faster kernels not taken", refusals));
}

std::string layers(const ReportData& data) {
  if (data.layers.empty()) return "";
  HtmlTable table{{"layer", "what", "output", "parameters"}, {false, false, false, true}, {}};
  for (const LayerRow& row : data.layers)
    table.rows.push_back({"<code>" + escape_html(row.name) + "</code>", escape_html(row.description),
                          "<code>" + escape_html(row.output) + "</code>", human_count(row.parameters)});
  return html_card("Layers", to_html(table));
}

std::string configuration(const ReportData& data) {
  if (data.configuration.empty()) return "";
  return html_card("Configuration", "<pre>" + escape_html(data.configuration) + "</pre>\n");
}

std::string environment(const ReportData& data) {
  HtmlTable table;
  for (const auto& [name, value] : data.environment)
    table.rows.push_back({escape_html(name), escape_html(value)});
  return table.rows.empty() ? "" : html_card("Environment", to_html(table));
}

}  // namespace

std::string render_report(const ReportData& data) {
  std::string text = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>{} – Wholestep report</title>\n"
      "<style>\n{}</style>\n</head>\n<body>\n<main>\n",
      escape_html(data.title), report_style());
  text += fmt::format("<header><h1>{}</h1><p>{}</p><p class=\"quiet\">{}</p></header>\n",
                      escape_html(data.title), escape_html(data.data), escape_html(data.finished));
  text += headline(data) + charts(data) + estimates(data) + confusion(data) + mistakes(data);
  text += "<div class=\"columns\">\n" + memory(data) + plan(data) + "</div>\n";
  text += layers(data);
  text += "<div class=\"columns\">\n" + configuration(data) + environment(data) + "</div>\n";
  return text + "</main>\n</body>\n</html>\n";
}

const EpochResult* best_epoch(const std::vector<EpochResult>& history) {
  const EpochResult* best = nullptr;
  auto loss = [](const EpochResult& epoch) { return epoch.val_loss.value_or(epoch.train_loss); };
  bool validated =
      std::ranges::any_of(history, [](const EpochResult& epoch) { return epoch.val_loss.has_value(); });
  for (const EpochResult& epoch : history)
    if ((!validated || epoch.val_loss) && (!best || loss(epoch) < loss(*best))) best = &epoch;
  return best;
}

}  // namespace wholestep
