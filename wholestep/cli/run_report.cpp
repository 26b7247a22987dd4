// From a run's objects to the report's plain struct.
#include "wholestep/cli/run_report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/utsname.h>

#include <ctime>
#include <fstream>

#include "wholestep/backend/cpu/isa.h"
#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/base/human.h"
#include "wholestep/base/version.h"
#include "wholestep/data/preview.h"
#include "wholestep/io/toml.h"
#include "wholestep/nn/summary.h"

namespace wholestep::cli {
namespace {

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name"))
      if (size_t colon = line.find(": "); colon != std::string::npos) return line.substr(colon + 2);
  return "unknown";
}

std::string system_name() {
  utsname name{};
  if (::uname(&name) != 0) return "unknown";
  return fmt::format("{} {} {}", name.sysname, name.release, name.machine);
}

std::vector<std::pair<std::string, std::string>> environment(const Device& device) {
  return {{"Wholestep", std::string(version())},
          {"device", to_string(device)},
          {"processor", processor_name()},
          {"instruction set", std::string(name(active_isa()))},
          {"compute threads", std::to_string(default_pool().threads())},
          {"system", system_name()}};
}

std::vector<LayerRow> layer_rows(const nn::Model& model) {
  std::vector<LayerRow> rows;
  for (const nn::SummaryRow& row : nn::summarize(*model.module, model.batch(1)).rows)
    rows.push_back({row.path, row.description, to_string(row.output), row.parameters});
  return rows;
}

bool is_picture(const Shape& sample) { return sample.rank() == 3 && (sample[0] == 1 || sample[0] == 3); }

}  // namespace

void PlanObserver::on_fit_begin(const TrainStep& step) {
  const Plan& plan = step.train_plan(batch_size_);
  memory = plan.memory;
  kernels = plan_rows(plan);
}

std::string quality_of(const Evaluation& e) {
  if (!e.regression) return fmt::format("accuracy {}  loss {:.4f}", human_percent(*e.accuracy), e.loss);
  const Regression& r = *e.regression;
  return fmt::format("R2 {}  RMSE {:.4g}  MAE {:.4g}  loss {:.4g}",
                     r.r2 ? fmt::format("{:.4f}", *r.r2) : "n/a", r.rmse(), r.mae, e.loss);
}

nlohmann::json regression_json(const Regression& r) {
  return {{"mae", r.mae},
          {"mse", r.mse},
          {"rmse", r.rmse()},
          {"r2", r.r2 ? nlohmann::json(*r.r2) : nlohmann::json()}};
}

std::string bad_step(const FitResult& result) {
  return result.first_suspect == result.steps
             ? fmt::format("step {}", human_count(result.steps))
             : fmt::format("one of the steps {} to {}", human_count(result.first_suspect),
                           human_count(result.steps));
}

std::string outcome_of(const FitResult& result) {
  std::string epochs =
      fmt::format("{} epoch{}", result.history.size(), result.history.size() == 1 ? "" : "s");
  switch (result.reason) {
    case StopReason::kFinished: return "finished after " + epochs;
    case StopReason::kEarlyStopping: return "stopped early after " + epochs;
    case StopReason::kInterrupted: return fmt::format("interrupted at step {}", human_count(result.steps));
    case StopReason::kNonFinite: return fmt::format("stopped at a non-finite value, {}", bad_step(result));
  }
  return "";
}

ReportData collect_report(const Job& job, const DataSplits& data, const FitResult& result,
                          const PlanObserver& plan) {
  ReportData report;
  report.title = job.model.name;
  report.data = data.description;
  report.outcome = outcome_of(result);
  report.finished = fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(std::time(nullptr)));
  report.history = result.history;
  report.seconds = result.seconds;
  report.samples_s = result.samples_s;
  for (const Tensor& parameter : job.model.module->parameters()) report.parameters += parameter.numel();
  report.memory = plan.memory;
  report.kernels = plan.kernels;
  report.layers = layer_rows(job.model);
  report.configuration = to_toml(resolved(job.config));
  report.environment = environment(job.device);
  return report;
}

void add_evaluation(ReportData& report, Evaluation evaluation, const std::string& evaluated,
                    const Dataset& dataset) {
  report.class_names = dataset.class_names();
  report.target_names = dataset.target_names();
  report.evaluated = evaluated;
  if (is_picture(dataset.sample_shape()))
    for (const Evaluation::Sample& sample : evaluation.worst)
      report.mistakes.push_back({sample, sample_image(dataset, sample.index)});
  report.evaluation = std::move(evaluation);
}

}  // namespace wholestep::cli
