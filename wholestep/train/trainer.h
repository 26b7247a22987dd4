// The training loop: epochs over data, validation, early stopping, checkpoints, resume. It prints nothing;
// callbacks see all.
#pragma once
#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include "wholestep/base/timeline.h"
#include "wholestep/data/dataset.h"

#include "wholestep/train/train_step.h"

namespace wholestep {

struct TrainerConfig {
  int64_t max_epochs = 5;
  int64_t batch_size = 64;  ///< samples at once
  int64_t accumulate_grad_batches =
      1;  ///< batches a step: their gradients are added up in it, see StepConfig
  int64_t eval_batch_size = 256;
  uint64_t seed = 0;                    ///< of the order of samples and of random ops; not of the parameters
  double gradient_clip_norm = 0;        ///< 0: off
  double gradient_clip_value = 0;       ///< of each element; 0: off
  double ema_decay = 0;                 ///< of averages of the weights, see StepConfig; 0: off
  int64_t early_stopping_patience = 0;  ///< epochs without a better validation loss before stopping; 0: off
  int64_t checkpoint_every_steps = 0;   ///< also in the middle of an epoch; 0: only at the end of each
  int num_workers = 0;                  ///< of the loader, where samples are streamed
  bool resident =
      true;  ///< keep samples that are in memory anyway beside the parameters and gather inside the step
  bool shuffle = true;
  int64_t memory_budget_bytes = 0;    ///< 0: no limit
  Backend* backend = &cpu_backend();  ///< what trains; see find_device()
  bool call_by_call = false;          ///< see CompileOptions
  Timeline* timeline = nullptr;       ///< is given what the host and the device do, and when
  nlohmann::json description = {};    ///< kept in every checkpoint's config.json: the model, the run
  std::filesystem::path run_folder =
      {};  ///< version folder for metrics.csv and checkpoints; empty: nothing is written
  int64_t samples_a_step() const { return batch_size * accumulate_grad_batches; }
};

struct EpochResult {
  int64_t epoch = 0;  ///< from 1
  int64_t step = 0;   ///< steps done since the beginning of training
  double train_loss = 0;
  std::optional<double> train_accuracy;  ///< absent where targets are numbers
  std::optional<double> val_loss, val_accuracy;
  std::optional<Regression> train_regression, val_regression;  ///< absent where targets are classes
  double learning_rate = 0;
  double seconds = 0, samples_s = 0;  ///< training part only
};

enum class StopReason { kFinished, kEarlyStopping, kInterrupted, kNonFinite };

struct FitResult {
  std::vector<EpochResult> history;  ///< of this call and of the run it resumed
  StopReason reason = StopReason::kFinished;
  std::string non_finite;                       ///< what first_non_finite() said, or that it came too late
  int64_t first_suspect = 0;                    ///< the bad step is one of these to `steps`, see fit()
  double seconds = 0;                           ///< of this call, validation and checkpoints included
  double samples_s = 0;                         ///< over the training parts
  int64_t steps = 0;                            ///< since the beginning of training
  int64_t arena_bytes = 0;                      ///< of batch, activations and workspaces
  int64_t predicted_bytes = 0, used_bytes = 0;  ///< of everything the plans need: before, and as handed out
  std::filesystem::path checkpoint;             ///< the last one written, empty if none
};

/// After every batch of samples that are streamed; of resident ones, after every submission's last.
struct BatchEnd {
  int64_t epoch, batch, batches;  ///< epoch from 1, batch from 0
  int64_t step;                   ///< since the beginning of training
  int64_t samples;                ///< done in this epoch
  double seconds;                 ///< since the epoch began
};

/// Hooks of the loop, called from the training thread in this order.
class Callback {
 public:
  virtual ~Callback() = default;
  virtual void on_fit_begin(const TrainStep&) {}
  virtual void on_epoch_begin(int64_t /*epoch, from 1*/) {}
  virtual void on_batch_end(const BatchEnd&, const TrainStep&) {}
  virtual void on_epoch_end(const EpochResult&) {}
  virtual void on_fit_end(const FitResult&) {}
};

class Trainer {
 public:
  explicit Trainer(TrainerConfig config) : config_(std::move(config)) {}
  void add_callback(std::shared_ptr<Callback> callback) { callbacks_.push_back(std::move(callback)); }
  const TrainerConfig& config() const { return config_; }

  /// Trains `model` on data.train, validating on data.test; an optimizer without parameters is given the
  /// model's. With `resume`, goes on from that checkpoint: the result is that of one uninterrupted run, bit
  /// for bit. Throws kPlanRefused before the first sample is read.
  /// A step that is not finite changes nothing and ends training with kNonFinite. On the CPU it is noticed at
  /// once; on a device, where the host would have to wait, within 256 steps and before anything is saved.
  FitResult fit(nn::Module& model, optim::Optimizer& optimizer, const nn::Loss& loss, const DataSplits& data,
                const std::filesystem::path& resume = {});
  /// The same with an optimizer made on the spot: fit(model, optim::Adam({.lr = 1e-3}), ...).
  FitResult fit(nn::Module& model, optim::Optimizer&& optimizer, const nn::Loss& loss, const DataSplits& data,
                const std::filesystem::path& resume = {}) {
    return fit(model, optimizer, loss, data, resume);
  }
  /// Throws kPlanRefused where the step for samples of this shape does not fit the budget: fit() does the
  /// same, this can be asked before any data is opened.
  void check_memory(nn::Module& model, optim::Optimizer& optimizer, const nn::Loss& loss,
                    const SampleType& sample) const;

  /// Asks a running fit() to checkpoint after the current submission and return kInterrupted; safe in a
  /// signal handler.
  static void request_stop() { stop_requested_.store(true, std::memory_order_relaxed); }
  static void clear_stop_request() { stop_requested_.store(false); }

 private:
  struct Loop;
  TrainerConfig config_;
  std::vector<std::shared_ptr<Callback>> callbacks_;
  static inline std::atomic<bool> stop_requested_{false};
};

}  // namespace wholestep
