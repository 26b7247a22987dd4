// A plan as rows, text and JSON: everything in it is the plan's own.
#include "wholestep/compile/plan_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "wholestep/graph/grad.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"

namespace wholestep {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// mean over 6 x 4 of relu(x w^T + b) seen as [24], as a plan.
Plan small_plan() {
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  Tensor w = zeros({DType::f32, {4, 3}}), b = zeros({DType::f32, {4}});
  w.set_role(TensorRole::kParameter, "weight");
  b.set_role(TensorRole::kParameter, "bias");
  Scope scope("layers.0", "net.cpp:1");
  Tensor x = graph->add_input(InputKind::kBatch, "x", {DType::f32, {6, 3}});
  Tensor y = reshape(relu(linear(x, w, b)), {24});
  graph->add_output("y", tanh(y * 2.0 + 1.0));
  return make_plan(graph);
}

TEST(PlanTable, RowsNameLayerKernelAndWhatWasFused) {
  std::vector<PlanRow> rows = plan_rows(small_plan());
  ASSERT_EQ(rows.size(), 2u) << "the reshape costs nothing and has no row";
  EXPECT_EQ(rows[0].op, "matmul");
  EXPECT_EQ(rows[0].layer, "layers.0");
  EXPECT_EQ(rows[0].output, "f32[6, 4]");
  EXPECT_THAT(rows[0].fused, ElementsAre("relu"));
  EXPECT_FALSE(rows[0].kernel.empty());
  EXPECT_EQ(rows[1].op, "fused");
  EXPECT_THAT(rows[1].fused, ElementsAre("mul", "add", "tanh"));
}

TEST(PlanTable, KindsOfMemoryAddUpToTheTotal) {
  Plan plan = small_plan();
  int64_t sum = 0;
  for (const MemoryKind& kind : memory_kinds(plan.memory)) sum += kind.bytes;
  EXPECT_EQ(sum, plan.memory.total_bytes());
  EXPECT_GT(sum, 0);
}

TEST(PlanTable, TextAndJsonHoldTheSameFigures) {
  Plan plan = small_plan();
  std::string text = to_text(plan);
  EXPECT_THAT(text, HasSubstr("layers.0  matmul"));
  EXPECT_THAT(text, HasSubstr("mul add tanh"));
  nlohmann::json j = to_json(plan);
  EXPECT_EQ(j["memory"]["total_bytes"], plan.memory.total_bytes());
  EXPECT_EQ(j["memory"]["arena_bytes"], plan.memory.arena_bytes());
  ASSERT_EQ(j["kernels"].size(), 2u);
  EXPECT_EQ(j["kernels"][1]["fused"], (std::vector<std::string>{"mul", "add", "tanh"}));
}

}  // namespace
}  // namespace wholestep
