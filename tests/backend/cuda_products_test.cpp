// Products that CUDA's library computes: which ones, where their operands lie, and how they stand in a step.
// This needs no GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/cuda_device.h"
#include "wholestep/backend/cuda/call.h"
#include "wholestep/backend/cuda/library.h"
#include "wholestep/compile/region_work.h"
#include "wholestep/graph/grad.h"
#include "wholestep/ops/conv2d.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/pointwise.h"

namespace wholestep {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Function = std::function<Tensor(std::span<const Tensor>)>;

Plan plan_of(const std::vector<Shape>& operands, const Function& function, DType dtype = DType::f32) {
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  std::vector<Tensor> inputs;
  for (const Shape& shape : operands)
    inputs.push_back(
        graph->add_input(InputKind::kBatch, "x" + std::to_string(inputs.size()), {dtype, shape}));
  graph->add_output("y", function(inputs));
  return make_plan(graph, {.backend = &cuda_planner()});
}
CudaSource source_of(const Plan& plan) { return write_regions(make_program(plan), plan_regions(plan)); }
std::vector<std::string> kernels_of(const Plan& plan) {
  std::vector<std::string> names;
  for (const SelectedKernel& kernel : plan.kernels) names.emplace_back(kernel.name);
  return names;
}
Function product(bool transpose_a = false, bool transpose_b = false) {
  return [=](std::span<const Tensor> x) { return matmul(x[0], x[1], transpose_a, transpose_b); };
}
/// The gradient of operand `of` from x[2], that of the result.
Function convolution(size_t of, const Conv2dOptions& options) {
  return [=](std::span<const Tensor> x) {
    Tensor y = conv2d(x[0], x[1], {}, options);
    return of == 2 ? y : grad(std::array{y}, std::array{x[of]}, std::array{x[2]})[0];
  };
}

TEST(CudaProducts, AreTheLibrarysWhereTheyAreLarge) {
  EXPECT_THAT(kernels_of(plan_of({{512, 512}, {512, 512}}, product())), ElementsAre("cuBLASLt"));
  EXPECT_THAT(kernels_of(plan_of({{512, 512}, {512, 512}}, product(), DType::f64)), ElementsAre("cuBLASLt"));
  EXPECT_THAT(kernels_of(plan_of({{192, 128, 64}, {192, 64, 128}}, product())), ElementsAre("cuBLASLt"));
  EXPECT_THAT(kernels_of(plan_of({{256, 256}, {256, 256}}, product())),
              testing::Not(ElementsAre("cuBLASLt")));
  // A weight of a wide layer is read once: memory decides, not arithmetic.
  EXPECT_THAT(kernels_of(plan_of({{32, 262144}, {128, 262144}}, product(false, true))),
              testing::Not(ElementsAre("cuBLASLt")));
}

TEST(CudaProducts, AreNoPartOfAKernelAndSumInScratchBehindTheResult) {
  Plan plan = plan_of({{512, 640}, {512, 768}}, product(true, false));
  CudaSource source = source_of(plan);
  EXPECT_THAT(source.kernels, IsEmpty());
  ASSERT_EQ(source.library_steps.size(), 1u);
  const auto& of = std::get<CudaProduct>(source.library_steps[0].call);
  EXPECT_EQ(of.text(), "f32 as TF32 1 x [640, 768, 512] at 64, a transposed");
  EXPECT_EQ(of.scratch_bytes(), 8 * 640 * 768 * 4 + kScratchAlignment);
  EXPECT_EQ(plan.kernels[0].kernel->workspace_bytes, of.scratch_bytes());
  EXPECT_EQ(of.batch * of.m * of.n * of.k, 640 * 768 * 512);
}

TEST(CudaProducts, ExactProductsAreAskedForByName) {
  set_tf32_allowed(false);
  CudaSource source = source_of(plan_of({{512, 512}, {512, 512}}, product()));
  set_tf32_allowed(true);
  EXPECT_EQ(text(source.library_steps[0].call), "cuBLASLt f32 1 x [512, 512, 512] at 64");
}

TEST(CudaProducts, OfWhatTheyDependOnTheyWaitAndRunBesideTheRest) {
  Plan plan = plan_of({{512, 512}, {512, 512}}, [](std::span<const Tensor> x) {
    Tensor a = exp(x[0]), b = sin(x[1]);
    return matmul(a, b) + matmul(b, a);
  });
  CudaSource source = source_of(plan);
  ASSERT_EQ(source.kernels.size(), 2u);
  ASSERT_EQ(source.library_steps.size(), 2u);
  EXPECT_EQ(source.kernels[0].region, 0);
  EXPECT_EQ(source.library_steps[0].region, 1);
  EXPECT_EQ(source.library_steps[1].region, 1);
  EXPECT_EQ(source.kernels[1].region, 2);
}

TEST(CudaProducts, PointwiseConvolutionsNeedNoColumns) {
  const Shape x{32, 256, 56, 56}, weight{64, 256, 1, 1}, y{32, 64, 56, 56};
  CudaSource forward = source_of(plan_of({x, weight, y}, convolution(2, {})));
  EXPECT_THAT(forward.kernels, IsEmpty());
  ASSERT_EQ(forward.library_steps.size(), 1u);
  EXPECT_EQ(text(forward.library_steps[0].call), "cuBLASLt f32 as TF32 32 x [64, 3136, 256] at 64, one a");
  CudaSource input = source_of(plan_of({x, weight, y}, convolution(0, {})));
  EXPECT_THAT(input.kernels, IsEmpty());
  EXPECT_EQ(text(input.library_steps[0].call),
            "cuBLASLt f32 as TF32 32 x [256, 3136, 64] at 64, a transposed, one a");
  CudaSource of_weight = source_of(plan_of({x, weight, y}, convolution(1, {})));
  EXPECT_EQ(text(of_weight.library_steps[0].call),
            "cuBLASLt f32 as TF32 32 x [64, 256, 3136] at 64, b transposed, 16384 apart");
  EXPECT_EQ(of_weight.kernels.size(), 1u) << "the sum of the samples' parts";
}

TEST(CudaProducts, ColumnsAreMadeOfAsManySamplesAsKeepThemSmall) {
  // 147 x 12544 f32 of every sample: nine samples are 64 MiB.
  const Shape x{20, 3, 224, 224}, weight{64, 3, 7, 7}, y{20, 64, 112, 112};
  const Conv2dOptions options{.stride = {2, 2}, .padding = {3, 3}};
  Plan plan = plan_of({x, weight, y}, convolution(2, options));
  CudaSource source = source_of(plan);
  ASSERT_EQ(source.library_steps.size(), 3u);
  EXPECT_THAT(source.text, HasSubstr(", 0, 9, false, 0>"));
  EXPECT_THAT(source.text, HasSubstr(", 9, 9, false, 0>"));
  EXPECT_THAT(source.text, HasSubstr(", 18, 2, false, 0>"));
  EXPECT_EQ(source.library_steps[1].d.offset - source.library_steps[0].d.offset, int64_t{9} * 64 * 12544 * 4);
  EXPECT_LT(plan.kernels[0].kernel->workspace_bytes, int64_t{100} << 20);
}

TEST(CudaProducts, SamplesOfFewPixelsLieSideBySide) {
  const Shape x{32, 512, 7, 7}, weight{512, 512, 3, 3}, y = x;
  const Conv2dOptions options{.padding = {1, 1}};
  for (auto [of, text] :
       {std::pair<size_t, const char*>{2, "cuBLASLt f32 as TF32 1 x [512, 1568, 4608] at 64, one a"},
        {0, "cuBLASLt f32 as TF32 1 x [4608, 1568, 512] at 64, a transposed, one a"},
        {1, "cuBLASLt f32 as TF32 1 x [512, 4608, 1568] at 64, b transposed"}}) {
    CudaSource source = source_of(plan_of({x, weight, y}, convolution(of, options)));
    ASSERT_EQ(source.library_steps.size(), 1u);
    EXPECT_EQ(wholestep::text(source.library_steps[0].call), text);
  }
}

TEST(CudaProducts, ColumnsThatWouldFillTheMemoryAreLeftToTiles) {
  const test::WithoutCudnn none;
  const Conv2dOptions options{.padding = {1, 1}};
  auto kernel = [&](int64_t batch) {
    const Shape x{batch, 512, 28, 28}, weight{512, 512, 3, 3};
    return kernels_of(plan_of({x, weight, x}, convolution(1, options)));
  };
  EXPECT_THAT(kernel(32), ElementsAre("cuBLASLt"));  // 441 MiB
  EXPECT_THAT(kernel(64), ElementsAre("tensor"));
}

TEST(CudaProducts, StridedGradientsOfManyChannelsAreNotLeftToPlainLoops) {
  const test::WithoutCudnn none;
  const Shape x{32, 128, 56, 56}, weight{128, 128, 3, 3}, y{32, 128, 28, 28};
  const Conv2dOptions options{.stride = {2, 2}, .padding = {1, 1}};
  EXPECT_THAT(kernels_of(plan_of({x, weight, y}, convolution(0, options))), ElementsAre("cuBLASLt"));
  EXPECT_THAT(kernels_of(plan_of({x, weight, y}, convolution(2, options))), ElementsAre("tensor"));
}

TEST(CudaProducts, PlacesInTheMiddleOfATensorSayHowTheyAreAligned) {
  LibraryPlaces places;
  EXPECT_EQ(places.alignment(), kAlignment);
  places.b.offset = 3 * 49 * 4;
  EXPECT_EQ(places.alignment(), 4);
  places.b.offset = 4 * 49 * 4;
  EXPECT_EQ(places.alignment(), 16);
}

}  // namespace
}  // namespace wholestep
