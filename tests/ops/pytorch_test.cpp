// Values and gradients of the ops against PyTorch's, computed by tests/reference/ops.py, in f64 and in f32.
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "support/formula.h"
#include "support/op_case.h"
#include "support/test_device.h"
#include "wholestep/graph/grad.h"
#include "wholestep/io/json.h"
#include "wholestep/ops/batch_norm.h"
#include "wholestep/ops/conv2d.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/pool2d.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/softmax.h"

namespace wholestep::test {
namespace {

using Json = nlohmann::json;

Shape shape_of(const Json& extents) { return Shape(extents.get<std::vector<int64_t>>()); }
std::array<int64_t, 2> pair_of(const Json& values) { return {values[0], values[1]}; }

/// Operand number k of a case, spread over [low, high].
Tensor operand(const Shape& shape, uint32_t k, DType dtype, double low = -1, double high = 1) {
  std::vector<double> values = formula_values<double>(k, shape.numel());
  for (double& v : values) v = low + (high - low) * ((v + 1) / 2);
  return on_test_device(converted(tensor(values, shape), dtype));
}

class PyTorch : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override { WHOLESTEP_NEEDS_TEST_DEVICE(); }
  DType dtype() const { return GetParam(); }

  /// Cases of one op; an error of the test where there are none.
  std::vector<Json> cases(const std::string& op) const {
    static const Json all = read_reference("ops.json")["cases"];
    std::vector<Json> found;
    for (const Json& c : all)
      if (c["op"] == op) found.push_back(c);
    EXPECT_FALSE(found.empty()) << op;
    return of_part(found);
  }

  void expect_near(const Tensor& got, const Json& expected, const std::string& what) const {
    auto values = expected.get<std::vector<double>>();
    ASSERT_EQ(static_cast<size_t>(got.numel()), values.size()) << what;
    double largest = 1e-6;
    for (double v : values) largest = std::max(largest, std::abs(v));
    double tolerance = (dtype() == DType::f64 ? 1e-10 : 4e-6) * largest;
    std::vector<double> numbers = as_doubles(got);
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_NEAR(numbers[i], values[i], tolerance) << what << ", element " << i;
  }

  /// Compares f(operands) and the gradients of sum(f * operand 9) with what the case holds.
  void expect_case(const Json& c, const std::function<Tensor(const std::vector<Tensor>&)>& f,
                   std::vector<Tensor> operands) const {
    for (Tensor& t : operands) t.set_requires_grad();
    Tensor y = f(operands);
    std::string text = c["op"].get<std::string>() + " of " + to_string(operands[0].shape());
    EXPECT_EQ(y.shape(), shape_of(c["y_shape"])) << text;
    expect_near(y, c["y"], text);
    Tensor loss = y.rank() == 0 ? y : sum(y * operand(y.shape(), 9, dtype()));
    loss.backward();
    for (size_t i = 0; i < operands.size(); ++i)
      expect_near(operands[i].grad(), c["gradients"][i], text + ", gradient " + std::to_string(i));
  }
};

INSTANTIATE_TEST_SUITE_P(Dtypes, PyTorch, testing::Values(DType::f32, DType::f64),
                         [](const auto& dtype) { return std::string(name(dtype.param)); });

TEST_P(PyTorch, AgreesOnConvolution) {
  for (const Json& c : cases("conv2d")) {
    Conv2dOptions options = {.stride = pair_of(c["stride"]),
                             .padding = pair_of(c["padding"]),
                             .dilation = pair_of(c["dilation"]),
                             .groups = c["groups"]};
    Shape weight = shape_of(c["weight"]);
    expect_case(c, [&](const auto& in) { return conv2d(in[0], in[1], in[2], options); },
                {operand(shape_of(c["x"]), 1, dtype()), operand(weight, 2, dtype()),
                 operand({weight[0]}, 3, dtype())});
  }
}

TEST_P(PyTorch, AgreesOnPooling) {
  for (const char* op : {"max_pool2d", "avg_pool2d"})
    for (const Json& c : cases(op)) {
      Pool2dOptions options = {
          .kernel = pair_of(c["kernel"]), .stride = pair_of(c["stride"]), .padding = pair_of(c["padding"])};
      bool largest = op == std::string_view("max_pool2d");
      expect_case(
          c,
          [&](const auto& in) { return largest ? max_pool2d(in[0], options) : avg_pool2d(in[0], options); },
          {operand(shape_of(c["x"]), 1, dtype())});
    }
  for (const Json& c : cases("adaptive_avg_pool2d"))
    expect_case(c, [&](const auto& in) { return adaptive_avg_pool2d(in[0], pair_of(c["size"])); },
                {operand(shape_of(c["x"]), 1, dtype())});
}

TEST_P(PyTorch, AgreesOnBatchNorm) {
  for (const Json& c : cases("batch_norm")) {
    Shape x = shape_of(c["x"]), channels = {x[1]};
    BatchNormResult result;
    expect_case(c, [&](const auto& in) { return (result = batch_norm(in[0], in[1], in[2])).y; },
                {operand(x, 1, dtype()), operand(channels, 2, dtype()), operand(channels, 3, dtype())});
    double elements = static_cast<double>(x.numel() / x[1]);
    expect_near(result.mean, c["mean"], "mean");
    expect_near(result.var * (elements / (elements - 1)), c["unbiased_var"], "variance");
    expect_near(
        batch_norm_with(operand(x, 1, dtype()), operand(channels, 2, dtype()), operand(channels, 3, dtype()),
                        operand(channels, 4, dtype()), operand(channels, 5, dtype(), 0.5, 2)),
        c["evaluated"], "with recorded statistics");
  }
}

TEST_P(PyTorch, AgreesOnSoftmaxAndCrossEntropy) {
  for (auto [op, function] : {std::pair{"softmax", &softmax}, std::pair{"log_softmax", &log_softmax}})
    for (const Json& c : cases(op))
      expect_case(
          c, [&, f = function](const auto& in) { return f(in[0] * c["scale"].get<double>(), c["axis"]); },
          {operand(shape_of(c["x"]), 1, dtype())});
  for (const Json& c : cases("cross_entropy")) {
    Shape x = shape_of(c["x"]);
    Tensor labels = on_test_device(tensor(formula_labels(2, x[0], x[1]), {x[0]}));
    expect_case(c, [&](const auto& in) { return cross_entropy(in[0] * c["scale"].get<double>(), labels); },
                {operand(x, 1, dtype())});
  }
}

}  // namespace
}  // namespace wholestep::test
