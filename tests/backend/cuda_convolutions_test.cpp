// Convolutions that cuDNN computes: which ones, with what scratch, what is left for a phase behind them, and
// what plans do without it. This needs no GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/cuda_device.h"
#include "support/cuda_plan.h"
#include "wholestep/compile/region_work.h"
#include "wholestep/graph/grad.h"
#include "wholestep/ops/conv2d.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/pointwise.h"
#include "wholestep/ops/registry.h"

namespace wholestep {
namespace {

using test::EverythingByLibraries;
using test::WithoutCudnn;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t kMiB = int64_t{1} << 20;

/// A convolution with padding that keeps the size, or halves it with stride 2, of `batch` samples.
struct Sizes {
  int64_t in, out, side, kernel = 3, stride = 1, batch = 32, groups = 1;
};
enum Operand : size_t { kInput = 0, kWeight = 1, kResult = 2 };

/// The one op that makes y, or the gradient of an operand of it.
SelectedKernel selected(const Sizes& s, Operand of, DType dtype = DType::f32) {
  const Conv2dOptions options{
      .stride = {s.stride, s.stride}, .padding = {s.kernel / 2, s.kernel / 2}, .groups = s.groups};
  const int64_t side = (s.side - 1) / s.stride + 1;
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  Tensor x = graph->add_input(InputKind::kBatch, "x", {dtype, {s.batch, s.in, s.side, s.side}}),
         w = graph->add_input(InputKind::kBatch, "w", {dtype, {s.out, s.in / s.groups, s.kernel, s.kernel}}),
         g = graph->add_input(InputKind::kBatch, "g", {dtype, {s.batch, s.out, side, side}});
  Tensor y = conv2d(x, w, {}, options);
  graph->add_output(
      "y", of == kResult ? y : grad(std::array{y}, std::array{of == kInput ? x : w}, std::array{g})[0]);
  return make_plan(graph, {.backend = &cuda_planner()}).kernels.front();
}
std::string kernel_of(const Sizes& s, Operand of) { return selected(s, of).name; }
/// Why it is not cuDNN's.
std::string refusal_of(const Sizes& s, Operand of, DType dtype = DType::f32) {
  for (const std::string& refusal : selected(s, of, dtype).refusals)
    if (refusal.starts_with("cuDNN: ")) return refusal.substr(7);
  return "";
}
const CudaConvolution& convolution_of(const SelectedKernel& kernel) {
  return std::get<CudaConvolution>(*dynamic_cast<const CudaCall&>(*kernel.kernel).phases[0].library);
}

TEST(CudaConvolutions, AreCudnnsWhereItIsAhead) {
  const Sizes of128{128, 128, 28}, strided{128, 128, 56, 3, 2}, of256{256, 256, 14}, of512{512, 512, 7},
      of64{64, 64, 56}, pointwise{64, 256, 56, 1}, first{3, 64, 224, 7, 2};
  struct Row {
    const Sizes& sizes;
    bool y, dx, dw;
  };
  for (const Row& row : {Row{of128, true, true, false},
                         {strided, true, true, false},
                         {of256, true, true, false},
                         {of512, false, false, false},
                         {of64, false, false, false},
                         {pointwise, false, false, false}})
    for (auto [of, wanted] : {std::pair(kResult, row.y), {kInput, row.dx}, {kWeight, row.dw}})
      EXPECT_EQ(kernel_of(row.sizes, of) == "cuDNN", wanted)
          << row.sizes.in << " channels, operand " << of << ": " << kernel_of(row.sizes, of) << ", "
          << refusal_of(row.sizes, of);
  for (Operand of : {kResult, kWeight}) EXPECT_NE(kernel_of(first, of), "cuDNN");
}

TEST(CudaConvolutions, SayWhyTheyAreNotCudnns) {
  EXPECT_EQ(refusal_of({128, 128, 28, 3, 1, 1}, kResult), "little work");
  EXPECT_EQ(refusal_of({128, 128, 28}, kResult, DType::f64), "takes f32 only");
  EXPECT_EQ(refusal_of({256, 256, 28, 3, 1, 32, 2}, kResult), "not measured with groups, which are 2");
  EXPECT_EQ(refusal_of({128, 128, 28, 3, 1, 1024}, kResult), "scratch of 856228096 bytes");
  EXPECT_EQ(refusal_of({64, 64, 56}, kResult), "about 84 us, else 82");
  const test::ExactF32 exact;
  EXPECT_EQ(refusal_of({128, 128, 28}, kResult), "not measured without TF32");
}

TEST(CudaConvolutions, AreOthersWhereThereIsNoCudnn) {
  const WithoutCudnn none;
  EXPECT_EQ(kernel_of({256, 256, 14}, kResult), "cuBLASLt");
  EXPECT_EQ(refusal_of({256, 256, 14}, kResult), "cuDNN is not there");
  const EverythingByLibraries that_are_there;
  EXPECT_EQ(kernel_of({256, 256, 14}, kResult), "cuBLASLt");
}

TEST(CudaConvolutions, AreNobodysButOursWithoutLibraries) {
  set_library_use(LibraryUse::kNever);
  const SelectedKernel kernel = selected({256, 256, 14}, kResult);
  set_library_use(LibraryUse::kWhereAhead);
  EXPECT_EQ(kernel.name, "tensor");
  EXPECT_THAT(kernel.refusals, testing::Contains("cuDNN: libraries are switched off"));
  EXPECT_THAT(kernel.refusals, testing::Contains("cuBLASLt: libraries are switched off"));
}

TEST(CudaConvolutions, AskForScratchThatFollowsFromTheirSizes) {
  const SelectedKernel kernel = selected({256, 256, 14}, kResult);
  const CudaConvolution& of = convolution_of(kernel);
  EXPECT_EQ(text(of), "cuDNN y of x [32, 256, 14, 14], weight [256, 256, 3, 3], padding 1 1, as TF32");
  constexpr int64_t images = int64_t{32} * 256 * 14 * 14 * 4, weight = int64_t{256} * 256 * 9 * 4;
  EXPECT_EQ(of.x_bytes(), images);
  EXPECT_EQ(of.weight_bytes(), weight);
  EXPECT_EQ(of.scratch_bytes(), 2 * images + weight + 32 * kMiB + kScratchAlignment);
  EXPECT_EQ(kernel.kernel->workspace_bytes, of.scratch_bytes());
  const EverythingByLibraries small_ones_too;
  const SelectedKernel small = selected({3, 5, 4, 1, 1, 2}, kResult);
  // Eight channels of each, and the least room for parts of sums.
  EXPECT_EQ(convolution_of(small).scratch_bytes(), (2 * 8 * 16 + 8 * 8 + 2 * 8 * 16) * 4 + kMiB + 256);
}

TEST(CudaConvolutions, TakeTheOperandsOfTheOpInItsOrder) {
  const EverythingByLibraries dw_too;
  const Sizes s{256, 128, 14, 3, 2, 4, 2};
  constexpr int64_t x = 4 * 256 * 14 * 14 * 4, weight = 128 * 128 * 9 * 4, y = 4 * 128 * 7 * 7 * 4;
  struct Row {
    Operand of;
    int64_t a, b, d;
    const char* text;
  };
  const std::string sizes =
      " of x [4, 256, 14, 14], weight [128, 128, 3, 3], stride 2 2, padding 1 1, 2 groups, as TF32";
  for (const Row& row :
       {Row{kResult, x, weight, y, "y"}, {kInput, y, weight, x, "dx"}, {kWeight, x, y, weight, "dw"}}) {
    const SelectedKernel kernel = selected(s, row.of);
    const CudaConvolution& of = convolution_of(kernel);
    EXPECT_EQ(of.text(), row.text + sizes);
    EXPECT_EQ(of.bytes().a, row.a);
    EXPECT_EQ(of.bytes().b, row.b);
    EXPECT_EQ(of.bytes().d, row.d);
    EXPECT_EQ(of.at.b.index, 1);
    EXPECT_TRUE(of.at.d.in == LibraryPlace::In::kOutput);
  }
}

/// conv2d with a bias and a ReLU behind it, after a ReLU, and the gradients of all three operands.
TEST(CudaConvolutions, LeaveBiasAndMaskToAPhaseBehindThem) {
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  Tensor x = graph->add_input(InputKind::kBatch, "x", {DType::f32, {32, 256, 14, 14}}),
         w = graph->add_input(InputKind::kBatch, "w", {DType::f32, {256, 256, 3, 3}}),
         b = graph->add_input(InputKind::kBatch, "b", {DType::f32, {256}}),
         g = graph->add_input(InputKind::kBatch, "g", {DType::f32, {32, 256, 14, 14}});
  Tensor h = relu(x), y = relu(conv2d(h, w, b, {.padding = {1, 1}}));
  const std::vector<Tensor> of = grad(std::array{y}, std::array{x, w, b}, std::array{g});
  graph->add_output("y", y);
  for (size_t i = 0; i < of.size(); ++i) graph->add_output("d" + std::to_string(i), of[i]);
  const EverythingByLibraries dw_too;
  const Plan plan = make_plan(graph, {.backend = &cuda_planner()});
  const CudaSource source = write_regions(make_program(plan), plan_regions(plan));
  ASSERT_EQ(source.library_steps.size(), 3u);
  EXPECT_THAT(source.text, HasSubstr("finish_product<float, 1605632, 256, 196, 1, true>"));
  EXPECT_THAT(source.text, HasSubstr("finish_product<float, 1605632, 256, 196, 2, false>"));
  EXPECT_THAT(source.text, HasSubstr("conv2d_db_plain<float, "));
  EXPECT_EQ(std::ranges::count(plan.kernels, "cuDNN", &SelectedKernel::name), 3);
}

TEST(CudaConvolutions, OfANetworkAreCountedInItsMemory) {
  auto bytes = [] {
    const Plan plan = test::cuda_train_plan("resnet18", 32);
    int64_t cudnn = 0;
    for (const SelectedKernel& kernel : plan.kernels) cudnn += kernel.name == "cuDNN";
    return std::pair(cudnn, plan.memory.arena_bytes());
  };
  const auto [with, with_bytes] = bytes();
  EXPECT_GE(with, 10);
  const WithoutCudnn none;
  const auto [without, without_bytes] = bytes();
  EXPECT_EQ(without, 0);
  EXPECT_LT(with_bytes, without_bytes + 128 * kMiB);
}

}  // namespace
}  // namespace wholestep
