// Layers and functions in f16 and bf16 against PyTorch's on the CPU, by tests/reference/half.py: values and
// gradients, eagerly and, with the same bits, compiled.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <span>

#include "support/compiled.h"
#include "support/formula.h"
#include "support/op_case.h"
#include "support/test_device.h"
#include "wholestep/graph/grad.h"
#include "wholestep/io/json.h"
#include "wholestep/nn/bilinear.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/element_losses.h"
#include "wholestep/nn/embedding_losses.h"
#include "wholestep/nn/model_spec.h"
#include "wholestep/nn/transformer.h"
#include "wholestep/ops/attention.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/pointwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/reductions.h"
#include "wholestep/ops/softmax.h"

namespace wholestep::test {
namespace {

using Json = nlohmann::json;
using Tensors = std::vector<Tensor>;
using Function = std::function<Tensor(const Tensors&)>;

Tensor labels() { return on_test_device(tensor(formula_labels(2, 9, 13), {9})); }
/// 0 or 1 where x has elements, in its dtype.
Tensor bits_like(const Tensor& x) {
  return on_test_device(converted(tensor(formula_labels(2, x.numel(), 2), x.shape()), x.dtype()));
}
/// 1 or -1 a row of x.
Tensor signs(const Tensor& x) {
  return on_test_device(converted(tensor(formula_labels(2, x.dim(0), 2), {x.dim(0)}), x.dtype())) * 2.0 - 1.0;
}

const std::map<std::string, Function>& functions() {
  static const std::map<std::string, Function> table = {
      {"matmul", [](const Tensors& x) { return matmul(x[0], x[1]); }},
      {"matmul batches", [](const Tensors& x) { return matmul(x[0], x[1]); }},
      {"sum", [](const Tensors& x) { return sum(x[0]); }},
      {"sum axes 0 2",
       [](const Tensors& x) {
         return sum(x[0], {0, 2});
       }},
      {"mean axis 1", [](const Tensors& x) { return mean(x[0], {1}); }},
      {"mean of large ones", [](const Tensors& x) { return mean(x[0] * 1000.0 + 2000.0); }},
      {"var axes 0 2",
       [](const Tensors& x) {
         return var(x[0], {0, 2});
       }},
      {"std", [](const Tensors& x) { return std(x[0]); }},
      {"max axis 1", [](const Tensors& x) { return max(x[0], {1}); }},
      {"prod axis 1", [](const Tensors& x) { return prod(x[0] + 1.5, {1}); }},
      {"cumsum axis 0", [](const Tensors& x) { return cumsum(x[0], 0); }},
      {"logsumexp axis 1", [](const Tensors& x) { return logsumexp(x[0], {1}); }},
      {"norm", [](const Tensors& x) { return norm(x[0]); }},
      {"attention", [](const Tensors& x) { return scaled_dot_product_attention(x[0], x[1], x[2]); }},
      {"causal attention",
       [](const Tensors& x) { return scaled_dot_product_attention(x[0], x[1], x[2], {.is_causal = true}); }},
      {"cross entropy", [](const Tensors& x) { return nn::CrossEntropyLoss()(x[0] * 8.0, labels()); }},
      {"smoothed cross entropy",
       [](const Tensors& x) { return nn::CrossEntropyLoss({.label_smoothing = 0.1})(x[0] * 8.0, labels()); }},
      {"mse", [](const Tensors& x) { return nn::MSELoss()(x[0], x[1]); }},
      {"huber", [](const Tensors& x) { return nn::HuberLoss()(x[0] * 3.0, x[1]); }},
      {"binary cross entropy",
       [](const Tensors& x) { return nn::BCEWithLogitsLoss()(x[0] * 4.0, x[1] * 0.5 + 0.5); }},
      {"nll", [](const Tensors& x) { return nn::NLLLoss()(x[0], labels()); }},
      {"soft cross entropy", [](const Tensors& x) { return nn::CrossEntropyLoss()(x[0], softmax(x[1], 1)); }},
      {"l1", [](const Tensors& x) { return nn::L1Loss()(x[0], x[1]); }},
      {"smooth l1", [](const Tensors& x) { return nn::SmoothL1Loss({.beta = 0.5})(x[0] * 3.0, x[1]); }},
      {"bce", [](const Tensors& x) { return nn::BCELoss()(x[0] * 0.5 + 0.5, x[1] * 0.5 + 0.5); }},
      {"focal", [](const Tensors& x) { return nn::FocalLoss()(x[0] * 4.0, bits_like(x[0])); }},
      {"kl div", [](const Tensors& x) { return nn::KLDivLoss()(x[0], softmax(x[1], 1)); }},
      {"hinge embedding",
       [](const Tensors& x) { return nn::HingeEmbeddingLoss()(x[0], bits_like(x[0]) * 2.0 - 1.0); }},
      {"cosine embedding",
       [](const Tensors& x) { return nn::CosineEmbeddingLoss()(x[0], x[1], signs(x[0])); }},
      {"triplet margin", [](const Tensors& x) { return nn::TripletMarginLoss()(x[0], x[1], x[2]); }},
      {"sums of a broadcast product", [](const Tensors& x) { return x[0] * x[1]; }},
      {"quotient", [](const Tensors& x) { return x[0] / (x[1] + 2.0); }},
      {"glu", [](const Tensors& x) { return glu(x[0]); }},
  };
  return table;
}

Shape shape_of(const Json& extents) { return Shape(extents.get<std::vector<int64_t>>()); }

Tensor operand(const Shape& shape, uint32_t k, DType dtype, double scale = 1) {
  std::vector<double> values = formula_values<double>(k, shape.numel());
  for (double& v : values) v *= scale;
  return on_test_device(converted(tensor(values, shape), dtype));
}

/// Within so many units in the last place of the largest.
void expect_near(const Tensor& got, const Json& expected, double units, const std::string& what) {
  Tensor wanted = zeros(got.type());
  auto bits = expected.get<std::vector<uint16_t>>();
  ASSERT_EQ(wanted.bytes().size(), bits.size() * 2) << what;
  std::ranges::copy(std::as_bytes(std::span(bits)), wanted.bytes().begin());
  std::vector<double> numbers = as_doubles(got), should = as_doubles(wanted);
  double largest = 1e-3, worst = 0;
  for (size_t i = 0; i < should.size(); ++i) {
    largest = std::max(largest, std::abs(should[i]));
    worst = std::max(worst, std::abs(numbers[i] - should[i]));
  }
  double unit = (got.dtype() == DType::f16 ? 0x1p-10 : 0x1p-7) * std::exp2(std::floor(std::log2(largest)));
  EXPECT_LE(worst, units * unit) << what << ": " << worst / unit << " units in the last place";
}

/// The result, then the gradients of result * operand 9.
Tensors with_gradients(const Function& f, const Tensors& inputs, const Tensors& parameters) {
  Tensors results = {f(inputs)}, wanted;
  for (const Tensor& x : inputs)
    if (is_floating(x.dtype())) wanted.push_back(x);
  wanted.insert(wanted.end(), parameters.begin(), parameters.end());
  Tensors seeds = {operand(results[0].shape(), 9, results[0].dtype())};
  for (Tensor& g : grad(results, wanted, seeds)) results.push_back(std::move(g));
  return results;
}

class PyTorchInHalf : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { WHOLESTEP_NEEDS_TEST_DEVICE(); }
};
INSTANTIATE_TEST_SUITE_P(Dtypes, PyTorchInHalf, testing::Values("f16", "bf16"),
                         [](const auto& dtype) { return dtype.param; });

TEST_P(PyTorchInHalf, AgreesOnValuesAndGradients) {
  const Json all = read_reference("half.json")["cases"];
  const DType dtype = dtype_from_name(GetParam()).value();
  int found = 0;
  for (const Json& c : of_part(all)) {
    if (c["dtype"] != GetParam()) continue;
    ++found;
    std::unique_ptr<nn::Module> layer;
    Tensors inputs, parameters;
    Function f;
    std::string text = c.contains("layer") ? c["layer"].dump() : c["function"].get<std::string>();
    if (c.contains("layer")) {
      Json spec = c["layer"];
      const bool decodes = spec["type"] == "TransformerDecoderLayer";  // which no file names
      if (decodes) spec["type"] = "TransformerEncoderLayer";
      ConfigReader reader(spec, "reference");
      layer = read_typed(reader, nn::layer_types());
      if (decodes)
        layer = std::make_unique<nn::TransformerDecoderLayer>(
            dynamic_cast<nn::TransformerEncoderLayer&>(*layer).config());
      ASSERT_TRUE(layer) << text;
      layer->to(dtype);
      layer->to(test_device());
      parameters = layer->parameters();
      for (size_t i = 0; i < parameters.size(); ++i)
        parameters[i].write(
            operand(parameters[i].shape(), 20 + static_cast<uint32_t>(i), dtype, 0.5).to_host().bytes());
      f = [&](const Tensors& in) {
        if (auto* bilinear = dynamic_cast<nn::Bilinear*>(layer.get())) return (*bilinear)(in[0], in[1]);
        if (auto* decoder = dynamic_cast<nn::TransformerDecoderLayer*>(layer.get()))
          return (*decoder)(in[0], in[1]);
        return (*layer)(in[0]);
      };
    } else {
      f = functions().at(text);
    }
    for (const Json& shape : c["inputs"]) {
      const Shape extents = shape_of(shape);
      if (int64_t indices = c["indices"])
        inputs.push_back(tensor(formula_labels(1, extents.numel(), indices), extents));
      else
        inputs.push_back(
            operand(extents, 1 + static_cast<uint32_t>(inputs.size()), dtype).set_requires_grad());
    }
    // Two roundings of one exact number differ by a unit, and PyTorch rounds once more between the ops of
    // most functions. A layer of attention, two products and two norms has a dozen such ops; of its decoder
    // layer, of a softmax and a loss of it, PyTorch's gradients are 5, 2.5 and 3 units from those of f64.
    double units = 2;
    if (text.find("TransformerEncoderLayer") != std::string::npos || text == "soft cross entropy" ||
        text == "kl div")
      units = 4;
    if (text.find("TransformerDecoderLayer") != std::string::npos) units = 8;
    Tensors eager = with_gradients(f, inputs, parameters);
    ASSERT_EQ(eager.size(), 1 + c["gradients"].size()) << text;
    EXPECT_EQ(eager[0].type(), (TensorType{dtype, shape_of(c["shape"])})) << text;
    expect_near(eager[0], c["bits"], units, text);
    for (size_t i = 1; i < eager.size(); ++i) {
      EXPECT_EQ(eager[i].dtype(), dtype);
      expect_near(eager[i], c["gradients"][i - 1], units, fmt::format("{}, gradient {}", text, i - 1));
    }

    expect_compiled_gives([&](const Tensors& x) { return with_gradients(f, x, parameters); }, inputs, eager,
                          text);
  }
  if (is_whole()) {
    EXPECT_GT(found, 50);
  }
}

}  // namespace
}  // namespace wholestep::test
