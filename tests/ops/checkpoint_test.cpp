// checkpoint(): the gradients of the plain call, with less on the tape.
#include "wholestep/ops/checkpoint.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/formula.h"
#include "support/gradient_check.h"
#include "support/op_case.h"
#include "wholestep/backend/memory_cache.h"
#include "wholestep/graph/grad.h"
#include "wholestep/graph/graph.h"
#include "wholestep/ops/creation.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::test {
namespace {

using Tensors = std::vector<Tensor>;

Tensor numbers(uint32_t stream, const Shape& shape) {
  return tensor(formula_values<double>(stream, shape.numel()), shape).set_requires_grad();
}

TEST(Checkpoint, GivesTheBitsOfThePlainCall) {
  Tensor x = numbers(1, {4, 4}), w = numbers(2, {4, 4}), unused = numbers(3, {2});
  Tensor before = tanh(w * 0.5);  // reached by the function itself, as is w, of which it is made
  auto function = [&](const Tensors& in) -> Tensors {
    Tensor h = dropout(matmul(in[0], w) + before, 0.5);
    return {tanh(h), h * in[1], in[0]};
  };
  auto gradients = [&](bool again, bool used_twice) {
    manual_seed(5);
    Tensors out = again ? checkpoint(function, {x, used_twice ? x : numbers(4, {4, 4})})
                        : function({x, used_twice ? x : numbers(4, {4, 4})});
    Tensor loss = sum(square(out[0])) + sum(out[1] * before) + sum(out[2]);
    Tensors wanted = {x, w, unused}, grads = grad(loss, wanted);
    grads.push_back(loss);
    return grads;
  };
  for (bool used_twice : {false, true}) {
    Tensors plain = gradients(false, used_twice), again = gradients(true, used_twice);
    for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(as_doubles(plain[i]), as_doubles(again[i])) << i;
  }
}

TEST(Checkpoint, HasSecondDerivatives) {
  Tensor w = numbers(2, {3, 3});
  auto f = [&](const Tensors& in) {
    Tensor y = checkpoint([&](const Tensor& x) { return tanh(matmul(x, w) * x); }, in[0]);
    return weighted_sum(grad(weighted_sum({y}), std::span(in.data(), 1), true));
  };
  EXPECT_TRUE(gradients_agree(f, {numbers(1, {3, 3})}));
}

TEST(Checkpoint, KeepsInputsAndResultsOnly) {
  auto in_use = [] { return eager_memory().statistics().in_use_bytes; };
  Tensor x = numbers(1, {64, 64});
  const int64_t bytes = x.type().bytes();
  auto stretch = [](const Tensor& t) {
    Tensor y = t;
    for (int i = 0; i < 10; ++i) y = sin(y) * 1.5;
    return y;
  };
  int64_t start = in_use();
  Tensor plain = stretch(stretch(x));
  EXPECT_GE(in_use() - start, 20 * bytes);
  start = in_use();
  Tensor thrifty = checkpoint(stretch, checkpoint(stretch, x));
  EXPECT_LE(in_use() - start, 3 * bytes);
  EXPECT_EQ(as_doubles(thrifty), as_doubles(plain));
}

TEST(Checkpoint, TapesNothingWhereNothingNeedsAGradientAndIsAPlainCallInATrace) {
  int calls = 0;
  auto twice = [&](const Tensor& t) { return ++calls, t * 2.0; };
  EXPECT_FALSE(checkpoint(twice, ones({2})).requires_grad());
  NoGrad no_grad;
  EXPECT_FALSE(checkpoint(twice, numbers(1, {2})).requires_grad());
  auto graph = std::make_shared<Graph>();
  checkpoint(twice, graph->add_input(InputKind::kBatch, "x", {DType::f32, {2}}));
  EXPECT_EQ(graph->nodes.size(), 2u) << "the number 2 and the product";
  EXPECT_EQ(calls, 3);
}

TEST(Checkpoint, PassesOnWhatItsFunctionThrowsWhenRunAgain) {
  bool broken = false;
  Tensor x = numbers(1, {2});
  Tensor y = sum(checkpoint(
      [&](const Tensor& t) {
        if (broken) throw Error(ErrorCode::kBadData, {.what = "gone"});
        return square(t);
      },
      x));
  broken = true;
  expect_error(ErrorCode::kBadData, {"gone"}, [&] { y.backward(); });
  EXPECT_TRUE(grad_enabled());
  broken = false;
  y.backward();
  EXPECT_TRUE(x.grad().defined());
}

}  // namespace
}  // namespace wholestep::test
