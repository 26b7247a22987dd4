// A model in evaluation mode as compiled plans, with or without labels.
#pragma once
#include <map>
#include <memory>

#include "wholestep/nn/loss.h"
#include "wholestep/nn/module.h"
#include "wholestep/train/batch_input.h"
#include "wholestep/train/regression.h"

namespace wholestep {

/// What a model says of each sample of a batch; valid until the next run.
struct Predictions {
  std::span<const int64_t> classes;      ///< [rows] the largest logit's index
  std::span<const float> probabilities;  ///< [rows, classes], by the loss; softmax of the logits without one
  std::span<const float> numbers;        ///< [rows, targets], in place of both where targets are numbers, in
                                         ///< the units of the data
  std::span<const float> losses;         ///< [rows]; empty where there was no loss
};

/// What the model gives for samples of f32, in f32. A model of f16 or bf16 is given them rounded; losses and
/// metrics are not computed in its dtype.
Tensor run_model(nn::Module& model, const Tensor& samples);

/// Records evaluation of `model` on a batch as it is stored: outputs "classes" and "probabilities", or
/// "numbers", and, given a loss, "losses" [batch].
struct EvaluationTrace {
  Tensor logits, losses;
};
EvaluationTrace trace_evaluation(Graph& graph, nn::Module& model, const nn::Loss* loss,
                                 const Normalization& normalization, const Tensor& samples,
                                 const Tensor& targets);
/// Of the step's last run. What lies on a device is copied into `buffer`, which grows once.
Predictions read_predictions(const CompiledStep& step, std::vector<std::byte>& buffer);

/// Plans for the batch sizes given, compiled once, with memory of their own.
class Evaluator {
 public:
  /// `loss` may be null: then targets are ignored. The model must outlive this object; its parameters are
  /// moved to the device of options.backend if they lie elsewhere, which ends steps made of them there.
  Evaluator(nn::Module& model, const nn::Loss* loss, const SampleType& sample,
            const Normalization& normalization, const std::vector<int64_t>& batch_sizes,
            const CompileOptions& options = {});
  /// The bytes of samples [rows, sample...], rows being one of the batch sizes; labels i32 [rows] where
  /// losses are wanted, else none.
  Predictions run(std::span<const uint8_t> pixels, std::span<const int32_t> labels, int64_t rows);
  /// The same with targets of either kind; without any, losses mean nothing.
  Predictions run(Batch batch);

 private:
  SampleType sample_;
  std::map<int64_t, std::unique_ptr<CompiledStep>> steps_;
  std::vector<int32_t> no_labels_;
  std::vector<float> no_targets_;
  std::vector<std::byte> buffer_;
};

/// What an evaluation of a whole dataset found.
struct Evaluation {
  double loss = 0;  ///< where targets are numbers, of standardised ones
  int64_t samples = 0;
  std::vector<float> numbers, targets;   ///< estimated and true [samples, targets], where they are numbers
  std::optional<Regression> regression;  ///< the same; what follows is absent then
  std::optional<double> accuracy;
  std::vector<std::vector<int64_t>> confusion;  ///< [true class][predicted class]
  struct Sample {
    int64_t index = 0, label = 0, predicted = 0;
    float loss = 0, probability = 0;  ///< of the predicted class
  };
  std::vector<Sample> worst;  ///< the wrong ones of highest loss, at most 24
};

/// Every sample once. kBadData for an empty dataset.
Evaluation evaluate(nn::Module& model, const nn::Loss& loss, const Dataset& dataset,
                    const Normalization& normalization, int64_t batch_size = 256,
                    const CompileOptions& options = {});

/// Sizes of the batches that cover `samples`: the full one where there is one, and the rest where there is
/// one.
std::vector<int64_t> batch_sizes(int64_t samples, int64_t batch_size);

}  // namespace wholestep
