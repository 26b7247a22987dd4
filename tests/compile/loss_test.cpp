// A loss and its gradient as one node: where they become one, and that it changes no bit.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/count_nodes.h"
#include "train/net.h"
#include "wholestep/graph/grad.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/softmax.h"
#include "wholestep/optim/adam.h"

namespace wholestep::test {
namespace {

/// What three steps leave behind, and their losses.
std::vector<std::byte> trained(CompileOptions compile) {
  Net net(initialized("w3", 5), std::make_unique<optim::Adam>(), {8},
          {.normalization = {}, .compile = compile});
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < 8 * net.model.input.numel(); ++i) pixels.push_back(static_cast<uint8_t>(i * 37));
  for (int32_t i = 0; i < 8; ++i) labels.push_back(i % 10);
  for (int i = 0; i < 3; ++i) net.step->train(pixels, labels);
  EXPECT_EQ(count(net.step->train_plan(8), "cross_entropy_with_dx"), compile.fuse);
  EXPECT_EQ(count(net.step->train_plan(8), "cross_entropy"), !compile.fuse);
  EXPECT_EQ(count(net.step->train_plan(8), "cross_entropy_dx"), !compile.fuse);
  std::vector<std::byte> all;
  for (const auto& tensors : {net.step->model_tensors(), net.step->state_tensors()})
    for (const Tensor& t : tensors) all.insert(all.end(), t.bytes().begin(), t.bytes().end());
  return all;
}

TEST(LossAndGradient, AreOneNodeInAStepAndGiveTheBitsOfTwo) {
  EXPECT_EQ(trained({}), trained({.fuse = false}));
}

TEST(LossAndGradient, StayApartWhereSamplesCountDifferently) {
  for (bool weighted : {false, true}) {
    auto graph = std::make_shared<Graph>();
    {
      Trace trace(graph);
      Tensor logits = graph->add_input(InputKind::kBatch, "x", {DType::f32, {4, 3}}),
             labels = graph->add_input(InputKind::kBatch, "labels", {DType::i32, {4}}),
             weights = graph->add_input(InputKind::kBatch, "weights", {DType::f32, {4}});
      Tensor losses = cross_entropy_losses(logits, labels), loss = sum(weighted ? losses * weights : losses);
      graph->add_output("loss", loss);
      graph->add_output("dx", grad(loss, std::vector<Tensor>{logits})[0]);
    }
    Plan plan = make_plan(graph);
    EXPECT_EQ(count(plan, "cross_entropy_with_dx"), !weighted);
    EXPECT_EQ(count(plan, "cross_entropy_dx"), weighted);
  }
}

}  // namespace
}  // namespace wholestep::test
