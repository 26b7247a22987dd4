// Bounds of gradients' norms are above the norms, and cover what the rules say and nothing else.
#include "wholestep/compile/norm_bound.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/op_case.h"
#include "wholestep/ops/conv2d.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"

namespace wholestep::test {
namespace {

double squares_of(const Tensor& t) {
  double sum = 0;
  for (double x : as_doubles(t)) sum += x * x;
  return sum;
}

/// A chain of gradients: of a wide layer by its input, and of a convolution in front of it.
struct Chain {
  std::shared_ptr<Graph> graph = std::make_shared<Graph>();
  std::vector<Tensor> given;   ///< values of the inputs: dy, w, the mask, x and the convolution's weight
  std::vector<Tensor> traced;  ///< dx of the layer, then dx, dw and db of the convolution, and its mean

  explicit Chain(double scale) {
    const std::vector<Shape> shapes = {{3, 10}, {10, 6 * 5 * 4}, {3, 6 * 5 * 4}, {3, 2, 5, 4}, {6, 2, 3, 3}};
    for (const Shape& shape : shapes)
      given.push_back(make_operands({.inputs = {{DType::f32, shape}}, .low = -scale, .high = scale})[0]);
    Trace trace(graph);
    std::vector<Tensor> in;
    for (size_t i = 0; i < given.size(); ++i)
      in.push_back(graph->add_input(InputKind::kBatch, "x" + std::to_string(i), given[i].type()));
    traced = run(in);
    for (size_t i = 0; i < traced.size(); ++i) graph->add_output("y" + std::to_string(i), traced[i]);
  }
  static std::vector<Tensor> run(const std::vector<Tensor>& in) {
    Attrs attrs{{"stride", std::vector<int64_t>{1, 1}},
                {"padding", std::vector<int64_t>{1, 1}},
                {"dilation", std::vector<int64_t>{1, 1}},
                {"groups", int64_t{1}}};
    Attrs dx = attrs, dw = attrs;
    dx.set({"size", std::vector<int64_t>{5, 4}});
    dw.set({"kernel", std::vector<int64_t>{3, 3}});
    dw.set({"bias", true});
    const Tensor wide = apply1(find_op("matmul"), {in[0], in[1], in[2]},
                               {{"transpose_a", false}, {"transpose_b", false}, {"activation", "relu_dx"}});
    const Tensor g = reshape(wide, {3, 6, 5, 4});
    std::vector<Tensor> results = {wide, apply1(find_op("conv2d_dx"), {g, in[4]}, dx)};
    for (const Tensor& t : apply(find_op("conv2d_dw"), {in[3], g}, dw)) results.push_back(t);
    results.push_back(sum(g, {0, 2}));
    return results;
  }
  NormBound bound() const {
    return {*graph, [this](int value) { return graph->values[static_cast<size_t>(value)].node < 0; }};
  }
  double of(size_t result) const {
    NormBound norm = bound();
    const int value = graph->value_of(traced[result]);
    EXPECT_TRUE(norm.covers(value));
    norm.add(value);
    std::vector<Tensor> sums;
    for (int operand : norm.operands())
      for (size_t i = 0; i < given.size(); ++i)
        if (graph->inputs[i].value == operand) sums.push_back(full({}, squares_of(given[i]), DType::f64));
    EXPECT_EQ(sums.size(), norm.operands().size());
    return as_doubles(apply1(find_op("fused"), sums,
                             {{"program", to_string(norm.program(DType::f64))},
                              {"outputs", "f64"},
                              {"shape", std::vector<int64_t>{}}}))[0];
  }
};

TEST(NormBound, IsAboveTheNormOfEveryGradientInAChain) {
  const Chain chain(2);
  const std::vector<Tensor> gradients = Chain::run(chain.given);
  const double wide = squares_of(gradients[0]);
  for (size_t i = 0; i < gradients.size(); ++i) {
    const double sum = squares_of(gradients[i]) + (i > 0 ? wide : 0);  // of all on the way
    EXPECT_GE(chain.of(i), sum) << i;
    EXPECT_LE(chain.of(i), 1e4 * sum) << i << ": it says nothing";
  }
}

TEST(NormBound, IsReachedByAProductOfOneTerm) {
  const Chain chain(0);
  EXPECT_EQ(chain.of(3), 0);
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  const Tensor a = graph->add_input(InputKind::kBatch, "a", {DType::f32, {1, 1}}),
               b = graph->add_input(InputKind::kBatch, "b", {DType::f32, {1, 1}}), c = matmul(a, b);
  NormBound norm(*graph, [&](int value) { return graph->values[static_cast<size_t>(value)].node < 0; });
  norm.add(graph->value_of(c));
  const ElementwiseProgram program = norm.program(DType::f32);
  EXPECT_EQ(program.inputs, 2);
  EXPECT_EQ(program.immediates.front(), 1);
  // 2^127 squared, the reach of a product of f32, is where it becomes infinite.
  EXPECT_EQ(program.immediates.back() * 0x1p254, std::numeric_limits<double>::max());
}

TEST(NormBound, CoversNoMoreThanItKnows) {
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  const Tensor a = graph->add_input(InputKind::kBatch, "a", {DType::f32, {4, 4}}), b = exp(a),
               relu = apply1(find_op("matmul"), {a, a},
                             {{"transpose_a", false}, {"transpose_b", false}, {"activation", "relu"}}),
               c = matmul(b, a), d = matmul(a, a);
  NormBound norm(*graph, [&](int value) { return graph->values[static_cast<size_t>(value)].node < 0; });
  EXPECT_TRUE(norm.covers(graph->value_of(a)));
  EXPECT_TRUE(norm.covers(graph->value_of(d)));
  for (const Tensor& t : {b, c, relu}) EXPECT_FALSE(norm.covers(graph->value_of(t)));
}

}  // namespace
}  // namespace wholestep::test
