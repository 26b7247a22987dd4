// wholestep train: from a configuration to a run folder with checkpoints, metrics and a report.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>

#include <algorithm>

#include "wholestep/base/human.h"
#include "wholestep/cli/app.h"
#include "wholestep/cli/job.h"
#include "wholestep/cli/open_data.h"
#include "wholestep/cli/run_options.h"
#include "wholestep/cli/run_report.h"
#include "wholestep/cli/stop_signals.h"
#include "wholestep/cli/terminal_progress.h"
#include "wholestep/io/files.h"
#include "wholestep/io/toml.h"
#include "wholestep/train/metrics_file.h"
#include "wholestep/train/run_folder.h"
#include "wholestep/train/trained_model.h"

namespace wholestep::cli {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

struct TrainOptions {
  RunOptions run;
  std::string resume;  // "" no, "true" the newest version, "auto" the same where there is one, or a path
  std::string trace;   // "" no, or the file to write
  bool print_config = false, json = false;
};

// A run to go on with: its folder, the checkpoint, and the configuration it was started with.
struct Resumed {
  fs::path version, checkpoint;
  json config;
};

fs::path version_of(const fs::path& place) {
  if (!fs::exists(place / "manifest.json")) return newest_version(place).value_or(place);
  fs::path version = (place / "../..").lexically_normal();  // of VERSION/checkpoints/NAME
  return version.has_filename() ? version : version.parent_path();
}

std::optional<Resumed> find_resumed(const TrainOptions& options) {
  if (options.resume.empty()) return std::nullopt;
  bool by_path = options.resume != "auto" && options.resume != "true";
  // Without a path the folder is that of the configuration, which may be incomplete here: model and out will
  // do.
  fs::path place = options.resume;
  if (!by_path) {
    json config = merge(options.run);
    RunConfig names;
    if (config.contains("model") && config["model"].is_string()) names.model = config["model"];
    if (config.contains("out") && config["out"].is_string()) names.out = config["out"];
    place = names.out_folder();
  }
  std::optional<FoundCheckpoint> found;
  if (by_path || fs::is_directory(place)) found = find_checkpoint(place, Prefer::kLast);
  if (!found) {
    if (options.resume == "auto") return std::nullopt;
    throw Error(ErrorCode::kNoInput, {.what = "there is no run to resume",
                                      .where = place.string(),
                                      .hint = "--resume=auto starts a new one where there is none"});
  }
  if (!found->damage.empty())
    print_note(fmt::format("wholestep: warning: {}; going on from {}", found->damage, found->path.string()));
  fs::path version = version_of(place);
  return Resumed{version, found->path, read_toml_file(version / "config.toml")};
}

RunConfig configure(const TrainOptions& options, const std::optional<Resumed>& resumed) {
  static const std::vector<std::string> kRequired = {"model", "data"};
  if (!resumed) return read_run_config(merge(options.run), source_name(options.run), kRequired);
  RunConfig config =
      read_run_config(merge(options.run, resumed->config), source_name(options.run), kRequired);
  if (auto changes = changes_that_matter(resumed->config, resolved(config)); !changes.empty())
    throw Error(ErrorCode::kBadConfig,
                {.what = "a resumed run keeps its configuration",
                 .where = resumed->version.string(),
                 .got = fmt::format("{}", fmt::join(changes, ", ")),
                 .hint = "leave these options out, or start a new run without --resume"});
  return config;
}

// Parameters and optimizer state, for last, best and the one being written.
void require_space_for_checkpoints(const fs::path& folder, const Job& job) {
  int64_t bytes = 0;
  for (const Tensor& parameter : job.model.module->parameters()) bytes += parameter.type().bytes();
  for (const Tensor& state : job.optimizer->state()) bytes += state.type().bytes();
  require_free_space(folder, static_cast<uint64_t>(3 * bytes) + (uint64_t{1} << 20));
}

DataSplits open_run_data(const Job& job) {
  DataSplits data = open_job_data(job);
  if (!job.config.validation.empty()) {
    data.test = open_data_with_progress(job.config.validation).test;
    check_data_fits(job.model, *data.test, job.config.validation);
    const Dataset& train = *data.train;
    check_same_names({train.feature_names(), train.target_names(), train.class_names()}, *data.test,
                     job.config.validation);
    data.description +=
        fmt::format("; validation on {} samples of {}", data.test->size(), job.config.validation);
  }
  return data;
}

// What can still go wrong before training: then a new run leaves no folder behind.
DataSplits begin(RunFolder& folder, const Job& job) {
  try {
    require_space_for_checkpoints(folder.path(), job);
    write_file(folder.config(), std::string_view(to_toml(resolved(job.config))));
    return open_run_data(job);
  } catch (...) {
    folder.discard();
    throw;
  }
}

// The best checkpoint on the validation data, for the report: afterwards the model holds its parameters.
void evaluate_best(ReportData& report, Job& job, const DataSplits& data, const fs::path& version) {
  if (!data.test || data.test->size() == 0) return;
  FoundCheckpoint best = require_checkpoint(version, Prefer::kBest);
  TrainedModel trained = load_trained_model(best.path);
  Evaluation evaluation = evaluate(*trained.model.module, *job.loss, *data.test, trained.normalization,
                                   job.config.trainer.eval_batch_size, {.backend = job.device.backend});
  add_evaluation(report, std::move(evaluation),
                 fmt::format("the {} checkpoint on {} validation samples", best.path.filename().string(),
                             human_count(data.test->size())),
                 *data.test);
}

json number_or_null(std::optional<double> value) { return value ? json(*value) : json(); }

json to_json(const FitResult& result, const RunFolder& folder) {
  static constexpr const char* kReasons[] = {"finished", "early_stopping", "interrupted", "non_finite"};
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  json object = {{"epochs", result.history.size()},
                 {"train_loss", nullptr},
                 {"train_accuracy", nullptr},
                 {"val_loss", nullptr},
                 {"val_accuracy", nullptr},
                 {"best_epoch", nullptr},
                 {"seconds", result.seconds},
                 {"samples_s", result.samples_s > 0 ? json(result.samples_s) : json()},
                 {"steps", result.steps},
                 {"peak_rss_bytes", int64_t{usage.ru_maxrss} * 1024},
                 {"arena_bytes", result.arena_bytes},
                 {"predicted_bytes", result.predicted_bytes},
                 {"used_bytes", result.used_bytes},
                 {"checkpoint", result.checkpoint.string()},
                 {"run_folder", folder.path().string()},
                 {"report", folder.report().string()},
                 {"stop_reason", kReasons[static_cast<size_t>(result.reason)]}};
  if (!result.history.empty()) {
    const EpochResult& last = result.history.back();
    object["train_loss"] = last.train_loss;
    object["train_accuracy"] = number_or_null(last.train_accuracy);
    if (last.train_regression) object["train_regression"] = regression_json(*last.train_regression);
    if (last.val_regression) object["val_regression"] = regression_json(*last.val_regression);
    object["val_loss"] = number_or_null(last.val_loss);
    object["val_accuracy"] = number_or_null(last.val_accuracy);
    object["best_epoch"] = best_epoch(result.history)->epoch;
  }
  return object;
}

void print_outcome(const FitResult& result, const ReportData& report, const RunFolder& folder) {
  fmt::print("{} in {}, {} samples/s\n", report.outcome, human_seconds(result.seconds),
             result.samples_s > 0 ? human_rate(result.samples_s) : "n/a");
  if (report.evaluation) fmt::print("{}  ({})\n", quality_of(*report.evaluation), report.evaluated);
  if (!result.checkpoint.empty()) fmt::print("checkpoint  {}\n", result.checkpoint.string());
  fmt::print("report      {}\n", folder.report().string());
}

void throw_if_stopped(const FitResult& result) {
  if (result.reason == StopReason::kInterrupted)
    throw Error(
        ErrorCode::kInterrupted,
        {.what = fmt::format("stopped by a signal at step {}, checkpoint written", human_count(result.steps)),
         .where = result.checkpoint.string(),
         .hint = "run the same command with --resume to go on"});
  if (result.reason == StopReason::kNonFinite)
    throw Error(ErrorCode::kNonFinite,
                {.what = fmt::format("training stopped: {} was not finite", bad_step(result)),
                 .where = result.non_finite,
                 .hint = "lower --lr, or limit gradients with --clip; the last checkpoint is from before"});
}

void train(const TrainOptions& options) {
  std::optional<Resumed> resumed = find_resumed(options);
  RunConfig config = configure(options, resumed);
  if (options.print_config) {
    fmt::print("{}", to_toml(resolved(config)));
    return;
  }
  Job job = make_job(std::move(config));
  TrainerConfig trainer_config = job.trainer_config();
  Trainer(trainer_config).check_memory(*job.model.module, *job.optimizer, *job.loss, job.sample());

  RunFolder folder = resumed ? RunFolder::open(resumed->version) : RunFolder::create(job.config.out_folder());
  DataSplits data = begin(folder, job);

  std::unique_ptr<Timeline> timeline = options.trace.empty() ? nullptr : std::make_unique<Timeline>();
  trainer_config.timeline = timeline.get();
  trainer_config.run_folder = folder.path();
  trainer_config.description = describe_model(job.model, resolved(job.config));
  Trainer trainer(trainer_config);
  auto plan = std::make_shared<PlanObserver>(std::min(trainer_config.samples_a_step(), data.train->size()));
  trainer.add_callback(plan);
  trainer.add_callback(
      std::make_shared<MetricsFile>(folder.metrics(), resumed.has_value(), data.train->num_targets() > 0));
  trainer.add_callback(std::make_shared<TerminalProgress>(trainer_config.max_epochs));
  print_note(fmt::format("{} on {}, device {}, run folder {}", job.model.name, data.description,
                         to_string(job.device), folder.path().string()));
  if (resumed) print_note(fmt::format("going on from {}", resumed->checkpoint.string()));

  FitResult result;
  {
    StopSignals signals;
    result = trainer.fit(*job.model.module, *job.optimizer, *job.loss, data,
                         resumed ? resumed->checkpoint : fs::path());
  }
  if (timeline) write_file(options.trace, std::string_view(chrome_trace(*timeline)));
  ReportData report = collect_report(job, data, result, *plan);
  if (result.reason == StopReason::kFinished || result.reason == StopReason::kEarlyStopping)
    evaluate_best(report, job, data, folder.path());
  write_file(folder.report(), std::string_view(render_report(report)));
  if (options.json) fmt::print("{}\n", to_json(result, folder).dump());
  else print_outcome(result, report, folder);
  throw_if_stopped(result);
}

}  // namespace

void add_train(CLI::App& app) {
  CLI::App* verb =
      add_verb(app, "train", "Train a network and write checkpoints, metrics and a report",
               "  wholestep train lenet --data digits\n"
               "  wholestep train lenet --data mnist --epochs 5 --lr 0.002 --schedule cosine\n"
               "  wholestep train model.json --data idx:data/mnist --optimizer sgd --momentum 0.9\n"
               "  wholestep train mlp --data csv:houses.csv:target=price\n"
               "  wholestep train lenet --data mnist --resume=auto --checkpoint-every 500\n"
               "  wholestep train --config run.toml --set trainer.batch_size=128\n"
               "SIGINT and SIGTERM end a run with a checkpoint and exit code 75; --resume goes on from it\n"
               "and gives the bits of the uninterrupted run.\n");
  auto o = std::make_shared<TrainOptions>();
  add_run_options(verb, o->run, kModelOptions | kDataOptions | kTrainingOptions);
  verb->add_flag(
      "--resume", o->resume,
      "go on from the newest version's last good checkpoint; --resume=auto starts a new run where there is "
      "none, --resume=PATH names a run folder or checkpoint");
  verb->add_flag("--print-config", o->print_config, "print the resolved configuration as TOML and end");
  verb->add_option("--trace", o->trace,
                   "write when batches, copies and steps ran to this file, in Chrome's trace format");
  verb->add_flag("--json", o->json, "end with one JSON object on standard output");
  verb->callback([o] { train(*o); });
}

}  // namespace wholestep::cli
