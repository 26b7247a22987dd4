// A model, a loss and an optimizer as compiled steps over shared memory: one training plan and one evaluation
// plan for every batch size in use, one arena under all of them. Everything that changes from step to step
// lives in tensors: parameters, moments, rates, counters, metrics, random state, the position in the data.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "wholestep/ops/random.h"
#include "wholestep/optim/ema.h"
#include "wholestep/optim/optimizer.h"
#include "wholestep/train/evaluator.h"
#include "wholestep/train/regression.h"

namespace wholestep {

struct StepConfig {
  Normalization normalization;  ///< of the samples, and of targets that are numbers
  double clip_norm = 0;         ///< 0: gradients are not clipped
  double clip_value = 0;        ///< the same, of each element; before the norm is
  /// A step takes its batch in so many pieces, one after another in the memory of one, and adds up their
  /// gradients. Up to rounding that is the step of the whole batch, but for layers that mix samples
  /// (BatchNorm).
  int64_t accumulate = 1;
  double ema_decay = 0;  ///< of averages of the weights, which evaluation and checkpoints then use; 0: none
  uint64_t seed = 0;     ///< of random ops
  int64_t memory_budget_bytes = 0;  ///< 0: no limit but the device's
  CompileOptions compile = {};
};

/// Sums over the samples seen since the last reset; they are kept on the device.
struct Metrics {
  double loss_sum = 0;                 ///< where targets are numbers, of standardised ones
  std::optional<int64_t> correct = 0;  ///< absent where targets are numbers, see train_regression()
  int64_t seen = 0;
  int64_t skipped_steps = 0;  ///< steps that changed nothing because something in them was not finite
  double loss() const { return seen ? loss_sum / static_cast<double>(seen) : 0; }
  std::optional<double> accuracy() const {
    if (!correct || seen == 0) return std::nullopt;
    return static_cast<double>(*correct) / static_cast<double>(seen);
  }
};

class TrainStep {
 public:
  /// Model, loss and optimizer (attached to the model's parameters) are used where they are and must outlive
  /// this object. kBadConfig where the loss does not fit the model or the targets.
  TrainStep(nn::Module& model, const nn::Loss& loss, optim::Optimizer& optimizer, const SampleType& sample,
            StepConfig config);

  /// Keeps a dataset's samples as they are on the device; steps then gather their batch inside the plan.
  /// The dataset must outlive this object. Only for datasets with resident(). Call before prepare().
  void keep_resident(const Dataset& train, const Dataset* validation);

  /// Makes the plans for these batch sizes and puts memory under them. kPlanRefused naming the largest
  /// training batch that would fit where the plans need more than the budget; nothing has been allocated
  /// then.
  void prepare(std::vector<int64_t> train_batches, std::vector<int64_t> eval_batches);

  int64_t bytes_for(int64_t train_batch, int64_t eval_batch);  ///< of all arenas, for these batches
  /// The refusal of prepare() alone, without making anything.
  void check_budget(int64_t train_batch, int64_t eval_batch);

  // Running. Batch sizes are those prepared. On a device these return when the step is queued; the first
  // thing read after it waits for it.
  void train(const Batch& batch);
  void evaluate(const Batch& batch);
  void train(std::span<const uint8_t> pixels, std::span<const int32_t> labels) {
    train(labelled(pixels, labels));
  }
  void evaluate(std::span<const uint8_t> pixels, std::span<const int32_t> labels) {
    evaluate(labelled(pixels, labels));
  }
  /// The resident forms: the order of samples is set once an epoch, then each of `steps` steps takes the next
  /// `rows`, from the beginning again after the last.
  void set_order(std::span<const int64_t> samples, int64_t position);
  void train_resident(int64_t rows, int64_t steps = 1);
  void start_resident_evaluation();
  void evaluate_resident(int64_t rows, int64_t steps = 1);

  // Reading.
  Predictions predictions();  ///< of the last evaluation step
  Metrics train_metrics() const;
  Metrics eval_metrics() const;
  std::optional<Regression> train_regression() const;  ///< absent where targets are classes
  std::optional<Regression> eval_regression() const;
  void reset_train_metrics();
  void reset_eval_metrics();
  double last_loss() const;  ///< mean loss of the last training batch
  /// Replays the last training step and names its first bad op; the state is as before that step. Empty, and
  /// nothing is replayed, where the step was finite.
  std::string first_non_finite();

  /// Fills the arena with NaN bytes: for tests that show a step reads nothing it has not written.
  void poison_arena();

  /// Everything a checkpoint holds, by name. Parameters and buffers, then optimizer state, counters and
  /// metrics. Where averages are kept, they are the model's parameters there, and those that are trained are
  /// state ("layers.0.weight.trained").
  std::vector<Tensor> model_tensors() const;
  std::vector<Tensor> state_tensors() const;

  const Plan& train_plan(int64_t batch) const;
  const Plan& eval_plan(int64_t batch) const;
  int64_t predicted_bytes() const { return predicted_bytes_; }  ///< of all arenas together
  int64_t used_bytes() const { return used_bytes_; }            ///< what the backend handed out for them
  int64_t arena_bytes() const { return arena_ ? arena_->bytes() : 0; }

  /// The plan for a batch size without memory under it: what `plan` and `inspect` print.
  Plan make_train_plan(int64_t batch, bool keep_stages = false);
  Plan make_eval_plan(int64_t batch, bool keep_stages = false);

 private:
  struct LossAndGrads {
    Tensor loss, score;  ///< score: i64, how many classes are right, or regression_sums()
    std::vector<Tensor> grads;
  };
  bool regresses() const { return sample_.targets > 0; }
  Tensor target_under(const Tensor& logits, const Tensor& targets) const;
  Tensor score(const Tensor& logits, const Tensor& targets) const;
  const Tensor& train_score() const { return regresses() ? train_errors_ : train_correct_; }
  const Tensor& eval_score() const { return regresses() ? eval_errors_ : eval_correct_; }
  LossAndGrads trace_pieces(const Tensor& samples, const Tensor& targets, int64_t pieces);
  std::shared_ptr<Graph> trace_train(int64_t batch, std::vector<Stage>* stages = nullptr);
  std::shared_ptr<Graph> trace_eval(int64_t batch);
  std::vector<Tensor> metric_tensors() const;
  Metrics read_metrics(size_t first, size_t count) const;

  nn::Module& model_;
  const nn::Loss& loss_;
  optim::Optimizer& optimizer_;
  SampleType sample_;
  StepConfig config_;
  RandomState random_;
  std::optional<optim::Ema> ema_;
  ResidentData train_data_, eval_data_;
  Tensor train_loss_sum_, train_correct_, train_seen_, skipped_, eval_loss_sum_, eval_correct_, eval_seen_;
  Tensor train_errors_, eval_errors_;  // regression_sums(), where targets are numbers
  std::map<int64_t, std::unique_ptr<CompiledStep>> train_steps_, eval_steps_;
  CompiledStep *last_ = nullptr, *last_evaluation_ = nullptr;
  std::vector<std::byte> prediction_buffer_;
  int64_t last_rows_ = 0;
  std::shared_ptr<Memory> arena_, parameter_memory_, state_memory_;
  std::unique_ptr<Feed> feed_;
  int64_t predicted_bytes_ = 0, used_bytes_ = 0;
};

}  // namespace wholestep
