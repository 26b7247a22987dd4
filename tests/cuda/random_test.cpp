// Random training steps compiled for a GPU, beside the same steps eagerly on the host.
#include <gtest/gtest.h>

#include "support/cuda_device.h"
#include "support/formula.h"
#include "support/random_program.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/random.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"

namespace wholestep::test {
namespace {

bool disagree(const RandomProgram& program) {
  return !same_numbers(run_compiled(program, {.backend = &cuda_backend()}), run_eagerly(program));
}

constexpr uint64_t kGroups = 16, kPrograms = 12;

class CudaRandomPrograms : public testing::TestWithParam<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Groups, CudaRandomPrograms, testing::Range(uint64_t{0}, kGroups));

TEST_P(CudaRandomPrograms, AgreeWithTheHost) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  ExactF32 exact;
  for (uint64_t k = 0; k < kPrograms; ++k) {
    const uint64_t seed = GetParam() + kGroups * k;
    RandomProgram program = random_program(seed, 3 + static_cast<int>(seed % 38));
    if (!disagree(program)) continue;
    FAIL() << "seed " << seed << ", already in\n" << to_string(shrunk(program, disagree));
  }
}

/// A lane's pointers stand its own distance before what it has in shared memory, so those of a row of 1 and
/// of a row of 33 elements meet in one lane or another; a copy between them must not take them for one place.
TEST(CudaLanes, CopyRowsThatAreExpandedAndSlicedInEveryLane) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  auto f = [](const Tensor& x) {
    Tensor total = reshape(sum(square(x), {1}), {64, 1});
    Tensor wide = exp(expand(total, {64, 33}) * 0.01) * x;
    return sum(wide * square(slice(wide, 1, 5, 6)), {1});
  };
  auto graph = std::make_shared<Graph>();
  {
    Trace trace(graph);
    graph->add_output("y", f(graph->add_input(InputKind::kBatch, "x", {DType::f32, {64, 33}})));
  }
  Tensor x = tensor(formula_values<float>(1, 64 * 33), {64, 33});
  CompiledStep step(make_plan(graph, {.backend = &cuda_backend(), .simplify = false, .fuse = false}));
  step.write("x", x);
  step.run();
  EXPECT_TRUE(same_numbers({step.output("y")}, {f(x)}));
}

/// Rows of 13 floats begin anywhere in a lane's shared memory.
TEST(CudaLanes, DrawRandomRowsOfAnyWidth) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  for (int64_t width : {13, 14, 16}) {
    Tensor x = tensor(formula_values<float>(1, 64 * width), {64, width});
    auto on = [&](Backend& backend) {
      RandomState random(7);
      UseRandom use(random);
      auto graph = std::make_shared<Graph>();
      {
        Trace trace(graph);
        Tensor in = graph->add_input(InputKind::kBatch, "x", x.type()),
               kept = where(random_uniform(x.shape()) > 0.5, in, 0.0);
        graph->add_output("y", sum(kept * (1.0 - random_uniform(x.shape())), {1}));
      }
      CompiledStep step(make_plan(graph, {.backend = &backend}));
      step.write("x", x);
      step.run();
      return step.output("y");
    };
    EXPECT_TRUE(same_numbers({on(cuda_backend())}, {on(cpu_backend())})) << width;
  }
}

}  // namespace
}  // namespace wholestep::test
