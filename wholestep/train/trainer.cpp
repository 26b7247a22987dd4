// The loop. A run is a pure function of its configuration and data: whatever interrupts it, going on from a
// checkpoint gives the bits of the uninterrupted run.
#include "wholestep/train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "wholestep/base/integers.h"
#include "wholestep/base/log.h"
#include "wholestep/data/loader.h"
#include "wholestep/data/sampler.h"
#include "wholestep/train/checkpoint.h"

namespace wholestep {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::optional<double> optional_number(const nlohmann::json& value) {
  return value.is_number() ? std::optional(value.get<double>()) : std::nullopt;
}
nlohmann::json number_or_null(const std::optional<double>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

nlohmann::json to_json(const std::optional<Regression>& r) {
  if (!r) return nullptr;
  return {{"mae", r->mae}, {"mse", r->mse}, {"r2", number_or_null(r->r2)}};
}
std::optional<Regression> regression_from_json(const nlohmann::json& j) {
  if (!j.is_object()) return std::nullopt;
  return Regression{.mae = j.at("mae"), .mse = j.at("mse"), .r2 = optional_number(j.at("r2"))};
}

nlohmann::json to_json(const EpochResult& r) {
  return {{"epoch", r.epoch},
          {"step", r.step},
          {"train_loss", r.train_loss},
          {"train_accuracy", number_or_null(r.train_accuracy)},
          {"val_loss", number_or_null(r.val_loss)},
          {"val_accuracy", number_or_null(r.val_accuracy)},
          {"train_regression", to_json(r.train_regression)},
          {"val_regression", to_json(r.val_regression)},
          {"learning_rate", r.learning_rate},
          {"seconds", r.seconds},
          {"samples_s", r.samples_s}};
}
EpochResult epoch_from_json(const nlohmann::json& j) {
  return {.epoch = j.at("epoch"),
          .step = j.at("step"),
          .train_loss = j.at("train_loss"),
          .train_accuracy = optional_number(j.at("train_accuracy")),
          .val_loss = optional_number(j.at("val_loss")),
          .val_accuracy = optional_number(j.at("val_accuracy")),
          .train_regression = regression_from_json(j.value("train_regression", nlohmann::json())),
          .val_regression = regression_from_json(j.value("val_regression", nlohmann::json())),
          .learning_rate = j.at("learning_rate"),
          .seconds = j.at("seconds"),
          .samples_s = j.at("samples_s")};
}

StepConfig step_config(const TrainerConfig& config, Normalization normalization) {
  return {.normalization = std::move(normalization),
          .clip_norm = config.gradient_clip_norm,
          .clip_value = config.gradient_clip_value,
          .accumulate = config.accumulate_grad_batches,
          .ema_decay = config.ema_decay,
          .seed = config.seed,
          .memory_budget_bytes = config.memory_budget_bytes,
          .compile = {.backend = config.backend, .call_by_call = config.call_by_call}};
}

/// The device records into the timeline of the configuration, if it has one, as long as this lives.
struct Recording {
  explicit Recording(const TrainerConfig& of) : config(of) {
    if (config.timeline) config.backend->record(config.timeline);
  }
  ~Recording() {
    if (config.timeline) config.backend->record(nullptr);
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  const TrainerConfig& config;
};

}  // namespace

void Trainer::check_memory(nn::Module& model, optim::Optimizer& optimizer, const nn::Loss& loss,
                           const SampleType& sample) const {
  if (optimizer.parameters().empty()) optimizer.attach(model.trainable_parameters());
  optimizer.schedule()->set_run_steps(
      std::max<int64_t>(config_.max_epochs, 1));  // any length has the same plan; fit() knows the real one
  TrainStep(model, loss, optimizer, sample, step_config(config_, no_normalization(sample)))
      .check_budget(config_.samples_a_step(), config_.eval_batch_size);
}

/// One call of fit().
struct Trainer::Loop {
  const TrainerConfig& config;
  std::vector<std::shared_ptr<Callback>>& callbacks;
  optim::Optimizer& optimizer;
  const DataSplits& data;
  Normalization normalization;
  TrainStep step;
  std::unique_ptr<DataLoader> loader, val_loader;
  bool resident = false, val_resident = false;

  FitResult result = {};
  int64_t epoch = 0, batch = 0;  ///< the next batch: epoch from 0
  double best_loss = std::numeric_limits<double>::infinity();
  int64_t epochs_without_improvement = 0;
  double train_seconds = 0;
  int64_t trained_samples = 0;
  int64_t skipped = 0, unchecked = 0;  ///< skipped steps known of; steps done since they were counted
  /// Reading the counter of a device waits for it: there steps are queued and looked at together.
  const int64_t check_every = config.backend->host_memory() ? 1 : 256;

  Loop(const TrainerConfig& trainer_config, std::vector<std::shared_ptr<Callback>>& trainer_callbacks,
       nn::Module& model, optim::Optimizer& trainer_optimizer, const nn::Loss& loss, const DataSplits& splits)
      : config(trainer_config),
        callbacks(trainer_callbacks),
        optimizer(trainer_optimizer),
        data(splits),
        normalization(normalization_of(*splits.train)),
        step(model, loss, trainer_optimizer, splits.train->sample_type(),
             step_config(trainer_config, normalization)) {}

  int64_t batches() const { return ceil_div(data.train->size(), config.samples_a_step()); }
  int64_t rows_of(int64_t index, int64_t samples, int64_t batch_size) const {
    return std::min(batch_size, samples - index * batch_size);
  }
  void each(auto&& call) {
    for (auto& callback : callbacks) call(*callback);
  }

  void prepare() {
    if (data.train->size() == 0)
      throw Error(ErrorCode::kBadData, {.what = "the training set is empty", .where = data.description});
    resident = config.resident && data.train->resident() && fits_resident();
    val_resident = resident && data.test && data.test->size() > 0 && data.test->resident();
    if (resident) step.keep_resident(*data.train, val_resident ? data.test.get() : nullptr);
    else
      loader = std::make_unique<DataLoader>(data.train, LoaderOptions{.batch_size = config.samples_a_step(),
                                                                      .shuffle = config.shuffle,
                                                                      .num_workers = config.num_workers,
                                                                      .seed = config.seed});
    if (data.test && data.test->size() > 0 && !val_resident)
      val_loader = std::make_unique<DataLoader>(
          data.test, LoaderOptions{.batch_size = config.eval_batch_size, .num_workers = config.num_workers});
    std::vector<int64_t> eval =
        data.test ? batch_sizes(data.test->size(), config.eval_batch_size) : std::vector<int64_t>{};
    if (eval.empty()) eval = {config.eval_batch_size};
    step.prepare(batch_sizes(data.train->size(), config.samples_a_step()), eval);
    result.arena_bytes = step.arena_bytes();
    result.predicted_bytes = step.predicted_bytes();
    result.used_bytes = step.used_bytes();
  }

  /// Samples kept beside the parameters count towards the budget; where they do not fit, they are streamed.
  bool fits_resident() const {
    if (config.memory_budget_bytes == 0) return true;
    auto bytes = [](const Dataset& d) {
      // The target or targets, and the row number in the order of the epoch.
      return d.size() *
                 (d.sample_bytes() + (1 + std::max<int64_t>(d.num_targets(), 1)) * int64_t{sizeof(int32_t)}) +
             256;
    };
    return const_cast<TrainStep&>(step).bytes_for(config.samples_a_step(), config.eval_batch_size) +
               bytes(*data.train) + (data.test ? bytes(*data.test) : 0) <=
           config.memory_budget_bytes;
  }

  // Checkpoints
  nlohmann::json trainer_state() const {
    nlohmann::json history = nlohmann::json::array();
    for (const EpochResult& r : result.history) history.push_back(to_json(r));
    return {{"epoch", epoch},
            {"batch", batch},
            {"steps", result.steps},
            {"batch_size", config.samples_a_step()},
            {"seed", config.seed},
            {"best_loss", std::isfinite(best_loss) ? nlohmann::json(best_loss) : nlohmann::json()},
            {"epochs_without_improvement", epochs_without_improvement},
            {"train_samples", data.train->size()},
            {"history", history}};
  }

  void save(const std::string& name) {
    if (config.run_folder.empty()) return;
    nlohmann::json description =
        config.description.is_object() ? config.description : nlohmann::json::object();
    nlohmann::json& kept = description["normalization"];
    kept = {{"mean", normalization.mean}, {"std", normalization.std}};
    if (!normalization.target_mean.empty())
      kept.update({{"target_mean", normalization.target_mean}, {"target_std", normalization.target_std}});
    description["classes"] = data.train->class_names();
    if (data.train->dtype() == DType::f32)
      description["columns"] = {{"features", data.train->feature_names()},
                                {"targets", data.train->target_names()}};
    fs::path folder = config.run_folder / "checkpoints" / name;
    save_checkpoint(folder, {step.model_tensors(), step.state_tensors(), trainer_state(), description});
    if (name == "last") result.checkpoint = folder;
  }

  void resume(const fs::path& folder) {
    verify_checkpoint(folder);
    nlohmann::json state = read_checkpoint_json(folder, "trainer_state.json");
    auto same = [&](const char* key, int64_t now) {
      if (state.at(key).get<int64_t>() != now)
        throw Error(ErrorCode::kBadConfig, {.what = fmt::format("cannot resume with another {}", key),
                                            .where = folder.string(),
                                            .got = std::to_string(now),
                                            .expected = std::to_string(state.at(key).get<int64_t>())});
    };
    same("batch_size", config.samples_a_step());
    same("seed", static_cast<int64_t>(config.seed));
    same("train_samples", data.train->size());
    load_tensors(folder / "model.safetensors", step.model_tensors());
    load_tensors(folder / "optimizer.safetensors", step.state_tensors());
    epoch = state.at("epoch");
    batch = state.at("batch");
    result.steps = state.at("steps");
    if (auto best = optional_number(state.at("best_loss"))) best_loss = *best;
    epochs_without_improvement = state.at("epochs_without_improvement");
    for (const nlohmann::json& row : state.at("history")) result.history.push_back(epoch_from_json(row));
  }

  // The loop
  void begin_epoch(std::vector<int64_t>& order) {
    if (batch == 0) step.reset_train_metrics();
    if (!resident) return loader->start(epoch, batch);
    epoch_order(config.seed, epoch, config.shuffle, order);
    step.set_order(order, batch * config.samples_a_step());
  }

  /// As many of the next batches as go into one submission where nothing is due in between.
  int64_t train_resident() {
    int64_t full = data.train->size() / config.samples_a_step() - batch,
            every = config.checkpoint_every_steps;
    int64_t steps = std::min({config.backend->steps_per_submission(), full, check_every - unchecked});
    if (every > 0) steps = std::min(steps, every - result.steps % every);
    steps = std::max<int64_t>(steps, 1);
    step.train_resident(rows_of(batch, data.train->size(), config.samples_a_step()), steps);
    return steps;
  }

  const Batch* next_batch(DataLoader& from) {
    Timeline::OnHost span(config.timeline, "batch", config.backend->counters().submissions + 1);
    return from.next();
  }

  int64_t train_streamed() {
    const Batch* next = next_batch(*loader);
    WHOLESTEP_CHECK(next && next->index == batch);
    step.train(*next);
    return 1;
  }

  /// False where a step since the last check was not finite.
  bool check() {
    int64_t steps = std::exchange(unchecked, 0);
    if (step.train_metrics().skipped_steps == skipped) return true;
    result.reason = StopReason::kNonFinite;
    result.first_suspect = result.steps;
    result.non_finite = step.first_non_finite();
    if (!result.non_finite.empty()) return false;
    result.first_suspect = result.steps - steps + 1;
    result.non_finite = fmt::format("noticed at step {}, which was finite itself", result.steps);
    return false;
  }

  /// False where training must stop before the epoch is done.
  bool run_epoch() {
    std::vector<int64_t> order(resident ? static_cast<size_t>(data.train->size()) : 0);
    begin_epoch(order);
    auto start = Clock::now();
    int64_t first_batch = batch;
    skipped = step.train_metrics().skipped_steps;
    while (batch < batches()) {
      int64_t steps = resident ? train_resident() : train_streamed();
      batch += steps;
      result.steps += steps;
      unchecked += steps;
      int64_t samples = std::min(data.train->size(), batch * config.samples_a_step());
      bool last = batch == batches();
      if ((unchecked >= check_every || last) && !check()) return false;
      BatchEnd end{epoch + 1, batch - 1, batches(), result.steps, samples, seconds_since(start)};
      each([&](Callback& c) { c.on_batch_end(end, step); });
      if (last) break;
      bool stop = stop_requested_.load(std::memory_order_relaxed);
      bool due = config.checkpoint_every_steps > 0 && result.steps % config.checkpoint_every_steps == 0;
      if ((stop || due) && unchecked > 0 && !check()) return false;
      if (stop) {
        result.reason = StopReason::kInterrupted;
        count(start, first_batch);
        save("last");
        return false;
      }
      if (due) save("last");
    }
    count(start, first_batch);
    return true;
  }

  void count(Clock::time_point start, int64_t first_batch) {
    train_seconds += seconds_since(start);
    trained_samples +=
        std::min(data.train->size(), batch * config.samples_a_step()) - first_batch * config.samples_a_step();
  }

  void validate(EpochResult& r) {
    if (!data.test || data.test->size() == 0) return;
    step.reset_eval_metrics();
    if (val_resident) {
      step.start_resident_evaluation();
      int64_t rows = config.eval_batch_size, full = data.test->size() / rows, rest = data.test->size() % rows;
      if (full > 0) step.evaluate_resident(rows, full);
      if (rest > 0) step.evaluate_resident(rest);
    } else {
      val_loader->start(0);
      while (const Batch* next = next_batch(*val_loader)) step.evaluate(*next);
    }
    Metrics m = step.eval_metrics();
    r.val_loss = m.loss();
    r.val_accuracy = m.accuracy();
    r.val_regression = step.eval_regression();
  }

  void end_epoch(double before_seconds, int64_t before_samples) {
    Metrics m = step.train_metrics();
    EpochResult r{.epoch = epoch + 1,
                  .step = result.steps,
                  .train_loss = m.loss(),
                  .train_accuracy = m.accuracy(),
                  .val_loss = {},
                  .val_accuracy = {},
                  .train_regression = step.train_regression(),
                  .val_regression = {},
                  .learning_rate = optimizer.scheduled_rate().item<double>(),
                  .seconds = train_seconds - before_seconds,
                  .samples_s = 0};
    if (r.seconds > 0) r.samples_s = static_cast<double>(trained_samples - before_samples) / r.seconds;
    validate(r);
    result.history.push_back(r);
    ++epoch;
    batch = 0;
    double watched = r.val_loss.value_or(r.train_loss);
    optimizer.schedule()->observe(watched, optimizer.learning_rate().item<double>());
    bool better = watched < best_loss;
    epochs_without_improvement = better ? 0 : epochs_without_improvement + 1;
    if (better) best_loss = watched;
    if (better) save("best");
    save("last");
    each([&](Callback& c) { c.on_epoch_end(r); });
  }

  void run() {
    each([&](Callback& c) { c.on_fit_begin(step); });
    while (epoch < config.max_epochs) {
      each([&](Callback& c) { c.on_epoch_begin(epoch + 1); });
      double before_seconds = train_seconds;
      int64_t before_samples = trained_samples;
      if (!run_epoch()) break;
      end_epoch(before_seconds, before_samples);
      if (config.early_stopping_patience > 0 &&
          epochs_without_improvement >= config.early_stopping_patience) {
        result.reason = StopReason::kEarlyStopping;
        break;
      }
      if (epoch < config.max_epochs && stop_requested_.load(std::memory_order_relaxed)) {
        result.reason = StopReason::kInterrupted;
        break;
      }
    }
    if (train_seconds > 0) result.samples_s = static_cast<double>(trained_samples) / train_seconds;
  }
};

FitResult Trainer::fit(nn::Module& model, optim::Optimizer& optimizer, const nn::Loss& loss,
                       const DataSplits& data, const fs::path& resume) {
  auto start = Clock::now();
  if (optimizer.parameters().empty()) optimizer.attach(model.trainable_parameters());
  Loop loop(config_, callbacks_, model, optimizer, loss, data);
  optimizer.schedule()->set_run_steps(loop.batches() * config_.max_epochs);
  loop.prepare();
  if (!resume.empty()) loop.resume(resume);
  Recording recording(config_);
  loop.run();
  loop.result.seconds = seconds_since(start);
  for (auto& callback : callbacks_) callback->on_fit_end(loop.result);
  return std::move(loop.result);
}

}  // namespace wholestep
