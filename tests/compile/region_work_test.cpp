// What regions have to move and to compute, counted by hand.
#include "wholestep/compile/region_work.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "wholestep/backend/cuda/library.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"

namespace wholestep {
namespace {

constexpr int64_t kM = 40, kN = 24, kK = 56;

/// The sum of (a b)^2, a and b batch inputs.
Plan plan_on(Backend& backend) {
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  Tensor a = graph->add_input(InputKind::kBatch, "a", {DType::f32, {kM, kK}});
  Tensor b = graph->add_input(InputKind::kBatch, "b", {DType::f32, {kK, kN}});
  graph->add_output("total", sum(square(matmul(a, b))));
  CompileOptions options;
  options.backend = &backend;
  return make_plan(graph, options);
}

TEST(RegionWork, CountsWhatCrossesTheBordersOfRegionsAndEveryOperationOnce) {
  for (Backend* backend : {&cpu_backend(), &cuda_planner()}) {
    Plan plan = plan_on(*backend);
    std::vector<RegionWork> work = region_work(plan);
    ASSERT_EQ(work.size(), plan_regions(plan).regions.size());
    double flops = 0, bytes = 0, workspaces = 0;
    for (const RegionWork& region : work) flops += region.flops, bytes += region.bytes;
    for (const SelectedKernel& kernel : plan.kernels)
      workspaces += static_cast<double>(kernel.kernel->workspace_bytes);
    EXPECT_EQ(flops, 2.0 * kM * kN * kK + kM * kN + kM * kN) << "product, squares, sum";
    const double operands = 4.0 * (kM * kK + kK * kN), value = 4.0 * kM * kN, total = 4;
    EXPECT_GE(bytes, operands + total) << backend->name();
    EXPECT_LE(bytes, operands + 4 * value + total + 4 * workspaces)
        << backend->name() << ": each value made once and read once";
  }
}

}  // namespace
}  // namespace wholestep
