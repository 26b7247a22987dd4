// How often a step waits: a worker carries its samples through layers, and weight gradients run side by side.
#include <gtest/gtest.h>

#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/loss.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/optim/sgd.h"
#include "wholestep/train/train_step.h"

namespace wholestep {
namespace {

TEST(Barriers, AWorkerCarriesItsSamplesThroughLenetsConvolutionsAndTheStepWaitsSeldom) {
  nn::Model model = nn::find_model("lenet");
  nn::CrossEntropyLoss loss;
  optim::SGD sgd({.lr = 0.01, .momentum = 0.9});
  sgd.attach(model.module->parameters());
  TrainStep step(*model.module, loss, sgd, model.input, {.normalization = {{0.0f}, {1.0f}}});
  Plan plan = step.make_train_plan(64);
  int forward = 0;
  for (size_t i = 0; i < plan.schedule.size(); ++i)
    for (const char* op : {" conv2d", " max_pool2d"})
      if (plan.schedule[i].label.ends_with(op)) {
        ++forward;
        EXPECT_EQ(plan.spans[i].first, 0) << plan.schedule[i].label;
        EXPECT_EQ(plan.spans[i].last, 0) << plan.schedule[i].label;
      }
  EXPECT_EQ(forward, 4);
  size_t calls = plan.schedule.size();
  int64_t barriers = CompiledStep(std::move(plan)).barriers();
  EXPECT_LE(barriers, 20) << calls << " calls";
}

}  // namespace
}  // namespace wholestep
