// The element-wise work of common training steps runs as loops compiled ahead of time.
#include <gtest/gtest.h>

#include "net.h"
#include "wholestep/ops/elementwise_cpu.h"
#include "wholestep/optim/adam.h"
#include "wholestep/optim/sgd.h"

namespace wholestep::test {
namespace {

/// The fused f32 nodes that do not run as one loop, the smallest left out.
std::vector<std::string> interpreted(const std::string& model, std::unique_ptr<optim::Optimizer> optimizer,
                                     double clip_norm = 0) {
  Net net(nn::find_model(model), std::move(optimizer), {},
          {.normalization = {}, .clip_norm = clip_norm, .compile = {.pixels = false}});
  const Plan plan = net.step->make_train_plan(8);
  std::vector<std::string> found;
  int loops = 0;
  for (const Node& node : plan.graph->nodes) {
    const std::vector<TensorType> inputs = plan.graph->input_types(node),
                                  outputs = plan.graph->output_types(node);
    if (node.op->name != "fused" || outputs[0].shape.numel() < 1000) continue;
    const ElementwiseProgram program = parse_elementwise_program(node.attrs.text("program"));
    if (runs_as_one_loop(program, inputs, outputs)) ++loops;
    else found.push_back(to_string(program));
  }
  EXPECT_GE(loops, 2) << model;
  return found;
}

TEST(OneLoop, UpdatesMasksAndPixelsOfTheBenchmarksAndOfCommonOptimizers) {
  const std::vector<std::string> none;
  for (const char* model : {"w1", "w2", "w3", "w4s"}) {
    EXPECT_EQ(interpreted(model, std::make_unique<optim::Adam>()), none) << model;
    EXPECT_EQ(interpreted(model, std::make_unique<optim::SGD>()), none) << model;
  }
  auto sgd = [](optim::SGDConfig config, double clip_norm = 0) {
    return interpreted("w3", std::make_unique<optim::SGD>(config), clip_norm);
  };
  EXPECT_EQ(sgd({.lr = 0.1, .momentum = 0.9}), none);
  EXPECT_EQ(sgd({.lr = 0.1, .weight_decay = 0.01}), none);
  EXPECT_EQ(sgd({.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01}), none);
  EXPECT_EQ(sgd({.lr = 0.1, .momentum = 0.9}, 1), none);
  EXPECT_EQ(interpreted("w3", std::make_unique<optim::Adam>(optim::AdamConfig{.weight_decay = 0.01})), none);
  EXPECT_EQ(interpreted("w3", std::make_unique<optim::Adam>(), 1), none);
  EXPECT_EQ(interpreted("w3", std::make_unique<optim::AdamW>()), none);
  EXPECT_EQ(interpreted("w3", std::make_unique<optim::AdamW>(), 1), none);
}

}  // namespace
}  // namespace wholestep::test
