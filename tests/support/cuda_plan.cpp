#include "support/cuda_plan.h"

#include "wholestep/backend/cuda/library.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/loss.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/optim/adam.h"
#include "wholestep/train/train_step.h"

namespace wholestep::test {

Plan cuda_train_plan(const std::string& network, int64_t batch, DType dtype) {
  nn::Model model = nn::find_model(network);
  model.module->initialize(0);
  model.module->to(dtype);
  optim::Adam adam;
  adam.attach(model.module->parameters());
  nn::CrossEntropyLoss loss;
  size_t channels = model.input.rank() == 3 ? static_cast<size_t>(model.input[0]) : 1;
  TrainStep step(*model.module, loss, adam, model.input,
                 {.normalization = {std::vector<float>(channels, 0.0f), std::vector<float>(channels, 1.0f)},
                  .compile = {.backend = &cuda_planner()}});
  return step.make_train_plan(batch);
}

}  // namespace wholestep::test
