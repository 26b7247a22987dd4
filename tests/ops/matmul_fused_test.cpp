// A weight's gradient with its update and the gradient of the layer's input: what it may lie over, what its
// mask takes for above 0, and what it refuses.
#include <gtest/gtest.h>

#include <limits>

#include "support/expect_error.h"
#include "support/kernel_run.h"
#include "wholestep/backend/cpu/precision.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/registry.h"

namespace wholestep::test {
namespace {

/// Momentum, in place: a [k, m], b [k, n], then momentum and weight [m, n].
Attrs momentum(int64_t m, int64_t n) {
  return {{"transpose_a", true},
          {"transpose_b", false},
          {"shape", std::vector<int64_t>{m, n}},
          {"outputs", "f32 f32"},
          {"program", "f32 3 | 0.5 | mul 1 3; add 4 0; sub 2 5 | 6 5"}};
}
Attrs with_input_gradient(Attrs attrs, int64_t weight, bool masked = false) {
  attrs.set({"input_gradient", weight});
  if (masked) attrs.set({"masked", true});
  return attrs;
}
std::vector<Tensor> operands(int64_t m, int64_t n, int64_t k) {
  std::vector<Tensor> all;
  for (Shape shape : {Shape{k, m}, Shape{k, n}, Shape{m, n}, Shape{m, n}}) {
    all.push_back(full(shape, 0));
    const std::span<float> values = all.back().data<float>();
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>((i * 37 + all.size()) % 101) / 25 - 2;
  }
  return all;
}

TEST(MatmulFused, TheInputGradientIsOfTheWeightThatTheUpdateWritesOver) {
  const OpDef& op = find_op("matmul_fused");
  for (Precision precision : {Precision::f32, Precision::bf16}) {
    set_product_precision(precision);
    for (const Kernel* kernel : cpu_kernels_of(op)) {
      std::vector<Tensor> in = operands(70, 1100, 32);
      const Attrs attrs = with_input_gradient(momentum(70, 1100), 3, true);
      if (!refusal(op, *kernel, in, attrs).empty()) continue;
      std::unique_ptr<KernelRun> run;
      try {
        run = std::make_unique<KernelRun>(op, *kernel, in, attrs);
      } catch (const Error&) {
        continue;  // bf16 on a machine that has none
      }
      const std::vector<Tensor> apart = run->run();
      std::vector<Tensor> out = {in[3], in[2], full({32, 1100}, 0)};
      std::vector<const void*> reads;
      std::vector<void*> writes;
      for (Tensor& t : in) reads.push_back(t.bytes().data());
      for (Tensor& t : out) writes.push_back(t.bytes().data());
      FencedBytes workspace(run->prepared->workspace_bytes);
      cpu_backend().run(*run->prepared, reads, writes, workspace.data());
      EXPECT_TRUE(same_bytes(out, apart)) << kernel->name;
    }
  }
  set_product_precision(Precision::f32);
}

TEST(MatmulFused, TheMaskOfTheInputGradientTakesNaNsForNotAboveZero) {
  const OpDef& op = find_op("matmul_fused");
  std::vector<Tensor> in = operands(3, 6, 1);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float values[] = {std::nanf(""), 0, -0.0f, std::numeric_limits<float>::denorm_min(), kInfinity, -1};
  std::ranges::copy(values, in[1].data<float>().begin());
  const Attrs whole = with_input_gradient(momentum(3, 6), 3),
              masked = with_input_gradient(momentum(3, 6), 3, true);
  const Kernel& kernel = *cpu_kernels_of(op).back();
  const Tensor dx = KernelRun(op, kernel, in, masked).run()[2],
               all = KernelRun(op, kernel, in, whole).run()[2];
  for (size_t i = 0; i < 6; ++i)
    EXPECT_EQ(dx.data<float>()[i], values[i] > 0 ? all.data<float>()[i] : 0) << i;
}

TEST(MatmulFused, InputGradientsThatDoNotFitAreErrors) {
  const OpDef& op = find_op("matmul_fused");
  const TensorType a{DType::f32, {5, 3}}, b{DType::f32, {5, 4}}, w{DType::f32, {3, 4}};
  auto infer = [&](const Types& in, const Attrs& attrs) { infer_types(op, in, attrs); };
  const Attrs plain = momentum(3, 4), attrs = with_input_gradient(plain, 3);
  EXPECT_EQ(infer_types(op, Types{a, b, w, w}, attrs), (Types{w, w, b}));
  EXPECT_EQ(infer_types(op, Types{a, b, w, w}, plain), (Types{w, w}));
  for (int64_t weight : {-1, 0, 1, 4})
    expect_error(ErrorCode::kUsage,
                 {"matmul_fused of a f32[5, 3]", "input_gradient", std::to_string(weight), "at least 2"},
                 [&] {
                   infer({a, b, w, w}, with_input_gradient(plain, weight));
                 });
  expect_error(ErrorCode::kUsage, {"the weight of an input gradient", "got f32[4]", "expected f32[3, 4]"},
               [&] {
                 infer({a, b, w, {DType::f32, {4}}}, attrs);
               });
  expect_error(ErrorCode::kUsage, {"the weight of an input gradient", "f64[3, 4]", "f32[3, 4]"}, [&] {
    infer({a, b, w, {DType::f64, {3, 4}}}, attrs);
  });
  Attrs other = attrs;
  other.set({"transpose_a", false});
  expect_error(ErrorCode::kUsage, {"not the gradient of a weight", "transpose_a=false, transpose_b=false"},
               [&] {
                 infer({{DType::f32, {3, 5}}, b, w, w}, other);
               });
  other = attrs;
  other.set({"transpose_b", true});
  expect_error(ErrorCode::kUsage, {"not the gradient of a weight", "transpose_a=true, transpose_b=true"},
               [&] {
                 infer({a, {DType::f32, {4, 5}}, w, w}, other);
               });
  other = plain;
  other.set({"masked", true});
  expect_error(ErrorCode::kUsage, {"no input gradient to mask"}, [&] { infer({a, b, w, w}, other); });
}

}  // namespace
}  // namespace wholestep::test
