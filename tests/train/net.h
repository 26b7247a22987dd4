// A network with its optimizer and step: what the tests of training start from.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/train/train_step.h"

namespace wholestep::test {

inline Normalization normalization_of(const Shape& sample, float mean = 0.1f, float std = 0.3f) {
  const size_t channels = static_cast<size_t>(channels_of(sample));
  return {std::vector<float>(channels, mean), std::vector<float>(channels, std)};
}

inline nn::Model initialized(const std::string& name, uint64_t seed) {
  nn::Model model = nn::find_model(name);
  model.module->initialize(seed);
  return model;
}

struct Net {
  nn::Model model;
  std::unique_ptr<optim::Optimizer> optimizer;
  nn::CrossEntropyLoss loss;
  std::unique_ptr<TrainStep> step;

  /// Prepared for these batch sizes, if any; normalized as above unless the config says how.
  Net(nn::Model with, std::unique_ptr<optim::Optimizer> opt, const std::vector<int64_t>& batches,
      StepConfig config = {})
      : model(std::move(with)), optimizer(std::move(opt)) {
    optimizer->attach(model.module->parameters());
    if (config.normalization.mean.empty()) config.normalization = normalization_of(model.input);
    step = std::make_unique<TrainStep>(*model.module, loss, *optimizer, model.input, config);
    if (!batches.empty()) step->prepare(batches, batches);
  }
};

}  // namespace wholestep::test
