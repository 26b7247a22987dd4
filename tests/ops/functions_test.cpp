// Functions composed of ops against PyTorch, by tests/reference/functions.py: values and gradients, in f64
// and f32, eagerly and compiled.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "support/compiled.h"
#include "support/expect_error.h"
#include "support/foreign_backend.h"
#include "support/formula.h"
#include "support/gradient_check.h"
#include "support/op_case.h"
#include "support/test_device.h"
#include "wholestep/compile/compile.h"
#include "wholestep/graph/grad.h"
#include "wholestep/io/json.h"
#include "wholestep/ops/arrange.h"
#include "wholestep/ops/attention.h"
#include "wholestep/ops/batch_norm.h"
#include "wholestep/ops/conv1d.h"
#include "wholestep/ops/conv_transpose2d.h"
#include "wholestep/ops/creation.h"
#include "wholestep/ops/einsum.h"
#include "wholestep/ops/embedding.h"
#include "wholestep/ops/gather.h"
#include "wholestep/ops/indexing.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/norm.h"
#include "wholestep/ops/pointwise.h"
#include "wholestep/ops/pool2d.h"
#include "wholestep/ops/reductions.h"
#include "wholestep/ops/shape.h"
#include "wholestep/ops/softmax.h"
#include "wholestep/ops/sort.h"

namespace wholestep::test {
namespace {

using Json = nlohmann::json;
using Tensors = std::vector<Tensor>;
using Function = std::function<Tensors(const Tensors&)>;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

#define CALL(name, ...)                                                              \
  {                                                                                  \
    name, []([[maybe_unused]] const Tensors& x) -> Tensors { return {__VA_ARGS__}; } \
  }
#define CALLS(name, ...)                                          \
  {                                                               \
    name, [](const Tensors& x) -> Tensors { return __VA_ARGS__; } \
  }

const Pool2dOptions kSquare = {.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}};
Tensor whole(const Tensor& i) { return cast(i, DType::f64) - 10.0; }
Tensors both(const Sorted& sorted) { return {sorted.values, sorted.indices}; }
Tensors both(const MaxPool2dResult& pooled) { return {pooled.y, pooled.argmax}; }

const std::map<std::string, Function>& functions() {
  static const std::map<std::string, Function> table = [] {
    std::map<std::string, Function> calls = {
        CALL("min", min(x[0])),
        CALL("min axes 1", min(x[0], {1})),
        CALL("min axes -1 0 keep", min(x[0], {-1, 0}, true)),
        CALL("min integers", min(x[0], {0})),
        CALL("max integers", max(x[0], {0})),
        CALL("argmin", argmin(x[0])),
        CALL("argmin axis -2 keep", argmin(x[0], -2, true)),
        CALL("argmax", argmax(x[0])),
        CALL("argmax axis 0 keep", argmax(x[0], 0, true)),
        CALL("prod", prod(x[0])),
        CALL("prod axis 1", prod(x[0], {1})),
        CALL("prod axis -1 keep", prod(x[0], {-1}, true)),
        CALL("prod of none", prod(x[0], {1})),
        CALL("prod of one", prod(x[0], {1})),
        CALL("prod integers", prod(x[0])),
        CALL("mean axes 0 2", mean(x[0], {0, 2})),
        CALL("mean", mean(x[0])),
        CALL("mean of one keep", mean(x[0], {1}, true)),
        CALL("sum", sum(x[0])),
        CALL("sum axes -1 0 keep", sum(x[0], {-1, 0}, true)),
        CALL("sum of none", sum(x[0], {0})),
        CALL("sum of no axes", sum(x[0])),
        CALL("sum of a transposed one", sum(permute(x[0], {2, 0, 1}), {1})),
        CALL("max", max(x[0])),
        CALL("max axes 0 -1 keep", max(x[0], {0, -1}, true)),
        CALL("max of one", max(x[0], {1})),
        CALL("max of a transposed one", max(transpose(x[0]), {0})),
        CALL("sum_squares", cast(sum_squares({x[0], x[1], x[2]}), x[0].dtype())),
        CALL("sum_to", sum_to(x[0], {5, 1})),
        CALL("var", var(x[0])),
        CALL("var axes 1 -1", var(x[0], {1, -1})),
        CALL("var correction 0 keep", var(x[0], {1}, 0, true)),
        CALL("std", std(x[0])),
        CALL("std axis 0 correction 2", std(x[0], {0}, 2)),
        CALL("std of equals", std(x[0] * 0.0)),
        CALL("norm", norm(x[0])),
        CALL("norm of zeros", norm(x[0] * 0.0)),
        CALL("logsumexp axis 1", logsumexp(x[0], {1})),
        CALL("logsumexp axes 0 -1 keep", logsumexp(x[0], {0, -1}, true)),
        CALL("any axis 1", any(equal(x[0], 0.0), {1})),
        CALL("all", all(equal(x[0], 0.0))),
        CALL("all axis 0", all(x[0] > 0.0, {0})),
        CALL("any of none", any(x[0] > 0.0, {0})),
        CALL("cumsum axis 1", cumsum(x[0], 1)),
        CALL("cumsum axis -1", cumsum(x[0], -1)),
        CALL("cumsum of one", cumsum(x[0], 0)),
        CALL("cumsum integers", cumsum(x[0], 0)),

        CALL("squeeze", squeeze(x[0])),
        CALL("squeeze axis -1", squeeze(x[0], -1)),
        CALL("unsqueeze 1", unsqueeze(x[0], 1)),
        CALL("unsqueeze -1", unsqueeze(x[0], -1)),
        CALL("transpose 0 -1", transpose(x[0], 0, -1)),
        CALL("stack", stack({x[0], x[1]})),
        CALL("stack axis -1", stack({x[0], x[1]}, -1)),
        CALLS("split 3", split(x[0], 3)),
        CALLS("split sizes", split(x[0], {2, 0, 5}, -1)),
        CALLS("chunk 4", chunk(x[0], 4, 1)),
        CALL("select -1 of axis 1", select(x[0], 1, -1)),
        CALL("flip", flip(x[0], {0, -1})),
        CALL("roll", roll(x[0], 4)),
        CALL("roll axis 1 by -2", roll(x[0], -2, 1)),
        CALL("repeat", repeat(x[0], {2, 1, 3})),
        CALL("repeat none", repeat(x[0], {0, 1})),
        CALL("pad", pad(x[0], {1, 2, 0, 3})),
        CALL("pad value", pad(x[0], {1, 0, 2, 1}, 1.5)),
        CALL("tril", tril(x[0])),
        CALL("tril -1", tril(x[0], -1)),
        CALL("triu 1", triu(x[0], 1)),
        CALL("diagonal", diagonal(x[0], 0, 2)),
        CALL("cumsum of a transposed one", roll(cumsum(transpose(x[0]), 0), 1, -1)),
        CALL("permute", permute(x[0], {2, 0, 1})),
        CALL("permute -1", permute(x[0], {0, -1, 1, 2})),
        CALL("permute none", permute(x[0], {1, 0})),
        CALL("expand", expand(x[0], {3, 5, 7})),
        CALL("expand to none", expand(x[0], {0, 3})),
        CALL("expand of no axes", expand(x[0], {2, 3})),
        CALL("reshape", reshape(x[0], {7, -1})),
        CALL("reshape none", reshape(x[0], {3, 0, 2})),
        CALL("reshape one", reshape(x[0], Shape{})),
        CALL("reshape a transposed one", reshape(transpose(x[0]), {5, 3})),
        CALL("flatten", flatten(x[0])),
        CALL("flatten 0", flatten(x[0], 0)),
        CALL("flatten -2", flatten(x[0], -2)),
        CALL("concat", concat({x[0], x[1], x[2], x[3]}, 0)),
        CALL("concat -1", concat({x[0], x[1]}, -1)),
        CALL("concat one twice", concat({x[0], flip(x[0], {0})}, 1)),
        CALL("slice", slice(x[0], 1, 1, -1)),
        CALL("slice by 2", slice(x[0], 1, 3, 130, 2)),

        CALL("index_select", index_select(x[0], 0, x[1])),
        CALL("index_select axis -1", index_select(x[0], -1, x[1])),
        CALL("gather axis 1", gather(x[0], 1, x[1])),
        CALL("gather axis 0", gather(x[0], 0, x[1])),
        CALL("gather of none", gather(x[0], 1, x[1])),
        CALL("scatter_add axis 0", scatter_add(x[0], 0, x[2], x[1])),
        CALL("scatter_add axis -1", scatter_add(x[0], -1, x[2], x[1])),
        CALL("one_hot", one_hot(x[0], 5)),
        CALLS("sort", both(sort(x[0]))),
        CALLS("sort axis 0 descending", both(sort(x[0], 0, true))),
        CALLS("sort integers", both(sort(x[0]))),
        CALLS("sort one", both(sort(x[0]))),
        CALL("argsort", argsort(x[0])),
        CALLS("topk 3", both(topk(x[0], 3))),
        CALLS("topk 2 smallest of axis 0", both(topk(x[0], 2, 0, false))),
        CALLS("topk none", both(topk(x[0], 0))),
        CALL("gather_rows", gather_rows(x[0], x[1])),
        CALL("gather_rows of none", gather_rows(x[0], x[1])),
        CALL("scatter_add_rows", scatter_add_rows(x[0], x[1], 5)),
        CALL("take", take(x[0], x[1], 7)),
        CALL("embedding", embedding(x[1], x[0])),
        CALL("embedding but 2", embedding(x[1], x[0], 2)),
        CALL("cross_entropy_losses", cross_entropy_losses(x[0] * 8.0, x[1])),

        CALL("matmul", matmul(x[0], x[1])),
        CALL("matmul of vectors", matmul(x[0], x[1])),
        CALL("matmul of a vector and batches", matmul(x[0], x[1])),
        CALL("matmul of batches and a vector", matmul(x[0], x[1])),
        CALL("matmul of ones", matmul(x[0], x[1])),
        CALL("matmul over none", matmul(x[0], x[1])),
        CALL("matmul to none", matmul(x[0], x[1])),
        CALL("matmul broadcast", matmul(x[0], x[1])),
        CALL("matmul transposed", matmul(x[0], x[1], true, true)),
        CALL("matmul of transposed ones", matmul(transpose(x[0]), transpose(x[1]))),
        CALL("linear", linear(x[0], x[1], x[2])),
        CALL("linear without a bias", linear(x[0], x[1])),
        CALL("conv_transpose2d",
             conv_transpose2d(x[0], x[1], x[2], {.stride = {2, 1}, .padding = {1, 0}, .dilation = {1, 2}},
                              {1, 0})),

        CALL("scaled_dot_product_attention", scaled_dot_product_attention(x[0], x[1], x[2])),
        CALL("scaled_dot_product_attention scale 0.3",
             scaled_dot_product_attention(x[0], x[1], x[2], {.scale = 0.3})),
        CALL("scaled_dot_product_attention causal",
             scaled_dot_product_attention(x[0], x[1], x[2], {.is_causal = true})),
        CALL("scaled_dot_product_attention causal over more keys",
             scaled_dot_product_attention(x[0], x[1], x[2], {.is_causal = true})),
        CALL("scaled_dot_product_attention floating mask",
             scaled_dot_product_attention(x[0], x[1], x[2], {.mask = x[3] * 2.0})),
        CALL("scaled_dot_product_attention bool mask",
             scaled_dot_product_attention(x[0], x[1], x[2], {.mask = x[3] > 0.0})),
        CALL("scaled_dot_product_attention bool mask a batch, scale 2",
             scaled_dot_product_attention(x[0], x[1], x[2], {.mask = x[3] > 0.0, .scale = 2})),
        CALL("scaled_dot_product_attention broadcast", scaled_dot_product_attention(x[0], x[1], x[2])),
        CALL("scaled_dot_product_attention of one", scaled_dot_product_attention(x[0], x[1], x[2])),
        CALL("scaled_dot_product_attention of large scores",
             scaled_dot_product_attention(x[0] * 6.0, x[1] * 6.0, x[2])),
        CALL("attention_weights", attention_weights(x[0], x[1])),
        CALL("causal_mask", causal_mask(3, 5, DType::f32) < 0.0),

        CALL("layer_norm", layer_norm(x[0], {7}, x[1], x[2])),
        CALL("layer_norm of two axes", layer_norm(x[0], {5, 7}, {}, {}, 0.1)),
        CALL("rms_norm", rms_norm(x[0], {7}, x[1], 1e-5)),
        CALL("rms_norm of two axes", rms_norm(x[0], {5, 7}, {}, 0.1)),
        CALL("group_norm", group_norm(x[0], 3, x[1], x[2])),
        CALL("group_norm of one", group_norm(x[0], 4, {}, {}, 0.1)),
        CALL("batch_norm_with", batch_norm_with(x[0], x[1], x[2], cast(x[3], x[0].dtype()) / 10.0,
                                                cast(x[4], x[0].dtype()) / 10.0 + 0.5)),
        CALLS("max_pool2d_with_argmax",
              both(max_pool2d_with_argmax(x[0], {.kernel = {3, 2}, .stride = {2, 1}, .padding = {1, 1}}))),

        CALL("clamp -0.5 0.25", clamp(x[0], -0.5, 0.25)),
        CALL("clamp min", clamp(x[0], 0.1)),
        CALL("clamp max", clamp(x[0], std::nullopt, 0.1)),
        CALL("ceil", ceil(x[0])),
        CALL("elu", elu(x[0])),
        CALL("elu 0.5", elu(x[0], 0.5)),
        CALL("celu 2", celu(x[0], 2)),
        CALL("selu", selu(x[0])),
        CALL("leaky_relu 0.2", leaky_relu(x[0], 0.2)),
        CALL("softplus", softplus(x[0])),
        CALL("softplus 2 3", softplus(x[0], 2, 3)),
        CALL("logsigmoid", logsigmoid(x[0])),
        CALL("mish", mish(x[0])),
        CALL("softsign", softsign(x[0])),
        CALL("hardtanh", hardtanh(x[0])),
        CALL("relu6", relu6(x[0])),
        CALL("hardsigmoid", hardsigmoid(x[0])),
        CALL("hardswish", hardswish(x[0])),
        CALL("tanhshrink", tanhshrink(x[0])),
        CALL("gelu_tanh", gelu_tanh(x[0])),
        CALL("logical_not", logical_not(x[0] > 0.0)),
        CALL("gelu", gelu(x[0])),
        CALL("silu", silu(x[0])),
        CALL("round", round(x[0])),
        CALL("round halves", round(cast(x[0], DType::f64) * 0.5 - 3.0)),
        CALL("softplus of large ones", softplus(x[0])),
        CALL("logsigmoid of large ones", logsigmoid(x[0])),
        CALL("clamp by tensors", clamp(x[0], x[1] * 0.1 - 0.5, x[2] * 0.1 + 0.5)),
        CALL("maximum at ties", maximum(x[0] * 0.0, x[1] * 0.0)),
        CALL("minimum at ties", minimum(x[0] * 0.0 + x[1], x[1])),
        CALL("clamp at its bounds", clamp(x[0] * 0.0 + 1.0, 1, 3) + clamp(x[0] * 0.0 + 3.0, 1, 3)),
        CALL("elu at 0", elu(x[0] * 0.0, 0.5)),
        CALL("hardtanh at its bounds", hardtanh(x[0] * 0.0 + 1.0) + hardtanh(x[0] * 0.0 - 1.0)),
        CALL("max at ties", max(x[0] * 0.0, {0})),
        CALL("min at ties", min(x[0] * 0.0, {0})),
        CALL("lerp", lerp(x[0], x[1], 0.3)),
        CALL("prelu", prelu(x[0], x[1])),
        CALL("prelu one", prelu(x[0], x[1])),
        CALL("glu", glu(x[0])),
        CALL("glu axis 0", glu(x[0], 0)),

        CALL("arange 2 11 3", arange(2, 11, 3)),
        CALL("arange 0.5 2 0.25", arange(0.5, 2.0, 0.25)),
        CALL("arange 5 to -1", arange(5, -1, -2)),
        CALL("arange 0", arange(0)),
        CALL("eye 3", eye(3)),
        CALL("eye 2 4", eye(2, 4)),
        CALL("linspace", linspace(-1, 2, 7)),
        CALL("linspace of one", linspace(3, 5, 1)),
        CALL("zeros", zeros({2, 0, 3})),
        CALL("ones", ones({3})),
        CALL("full", full({2, 3}, -1.5)),
        CALL("scalar", scalar(2.5)),
        CALL("zeros_like", zeros_like(x[0])),
        CALL("ones_like", ones_like(x[0])),
        CALL("full_like", full_like(x[0], -2)),
        CALL("new_full", new_full(x[0], {5}, 0.25, x[0].dtype())),

        CALL("conv1d", conv1d(x[0], x[1], x[2])),
        CALL("conv1d options",
             conv1d(x[0], x[1], {}, {.stride = 2, .padding = 3, .dilation = 2, .groups = 2})),
        CALL("max_pool2d ceil", max_pool2d(x[0], kSquare, true)),
        CALL("max_pool2d ceil pairs",
             max_pool2d(x[0], {.kernel = {2, 4}, .stride = {3, 3}, .padding = {1, 0}}, true)),
        CALL("avg_pool2d ceil", avg_pool2d(x[0], kSquare, true)),
        CALL("avg_pool2d without padding", avg_pool2d(x[0], kSquare, false, false)),
        CALL("avg_pool2d ceil without padding",
             avg_pool2d(x[0], {.kernel = {2, 4}, .stride = {3, 3}, .padding = {1, 2}}, true, false)),
        CALL("flatten 0 to 1", flatten(x[0], 0, 1)),
        CALL("flatten 1 to -2", flatten(x[0], 1, -2)),
        CALL("flatten 1", flatten(x[0])),
        CALL("flatten one axis", flatten(x[0], 1, 1)),

        CALL("fmod", fmod(x[0], x[1])),
        CALL("remainder", remainder(x[0], x[1])),
        CALL("remainder by -0.7", remainder(x[0], -0.7)),
        CALL("floor_divide", floor_divide(x[0], x[1])),
        CALL("remainder near whole quotients", remainder(whole(x[0]), -0.1)),
        CALL("floor_divide near whole quotients", floor_divide(whole(x[0]), 0.1)),
        CALL("floor_divide by 0", floor_divide(whole(x[0]), cast(x[0], DType::f64) * 0.0)),
    };
    for (double p : {2.0, 1.0, 0.0, 3.0, 2.5, kInfinity, -kInfinity}) {
      std::string order =
          p == std::floor(p) && std::isfinite(p) ? fmt::format("{:.1f}", p) : fmt::format("{}", p);
      calls["norm " + order + " axis 1"] = [p](const Tensors& x) -> Tensors { return {norm(x[0], p, {1})}; };
    }
    return calls;
  }();
  return table;
}

Function function_of(const std::string& name) {
  if (name.starts_with("einsum "))
    return [equation = name.substr(7)](const Tensors& x) -> Tensors { return {einsum(equation, x)}; };
  return functions().at(name);
}

const std::vector<Json>& cases() {
  static const std::vector<Json> list = read_reference("functions.json")["cases"];
  return list;
}

Tensor floats(uint32_t stream, const Shape& shape, DType dtype, double low = -1, double high = 1) {
  std::vector<double> values = formula_values<double>(stream, shape.numel());
  for (double& v : values) v = low + (high - low) * ((v + 1) / 2);
  return converted(tensor(values, shape), dtype);
}

Tensors operands_of(const Json& c, DType dtype) {
  Tensors operands;
  uint32_t stream = 1, labels = 5;
  for (const Json& operand : c["operands"]) {
    Shape shape(operand["shape"].get<std::vector<int64_t>>());
    if (operand.contains("classes"))
      operands.push_back(
          on_test_device(tensor(formula_labels(labels++, shape.numel(), operand["classes"]), shape)));
    else operands.push_back(on_test_device(floats(stream++, shape, dtype, c["low"], c["high"])));
  }
  return operands;
}

/// NaN where the reference has a word.
double number(const Json& value) {
  if (!value.is_string()) return value.is_boolean() ? value.get<bool>() : value.get<double>();
  std::string word = value;
  return word == "inf" ? kInfinity : word == "-inf" ? -kInfinity : std::nan("");
}

void expect_near(const Tensor& got, const Json& expected, double relative, const std::string& what) {
  std::vector<double> is = as_doubles(got);
  ASSERT_EQ(is.size(), expected.size()) << what;
  double largest = 1e-6;
  for (const Json& value : expected)
    if (std::isfinite(number(value))) largest = std::max(largest, std::abs(number(value)));
  for (size_t i = 0; i < is.size(); ++i) {
    double should = number(expected[i]);
    if (!std::isfinite(should))
      ASSERT_TRUE(is[i] == should || (std::isnan(is[i]) && std::isnan(should))) << what;
    else ASSERT_NEAR(is[i], should, relative * largest) << what << ", element " << i;
  }
}

TEST(Functions, AgreeWithPyTorchInValuesAndGradients) {
  WHOLESTEP_NEEDS_TEST_DEVICE();
  size_t named = 0;
  for (const Json& c : of_part(cases())) {
    std::string name = c["name"];
    named += !name.starts_with("einsum ");
    for (DType dtype : {DType::f64, DType::f32}) {
      std::string text = fmt::format("{} in {}", name, wholestep::name(dtype));
      Tensors operands = operands_of(c, dtype);
      for (Tensor& t : operands)
        if (is_floating(t.dtype())) t.set_requires_grad();
      Tensors got = with_gradients(function_of(name), operands);
      const size_t results = c["results"].size();
      ASSERT_GE(got.size(), results) << text;
      double relative = dtype == DType::f64 ? 1e-10 : 4e-6;
      for (size_t i = 0; i < results; ++i) {
        EXPECT_EQ(got[i].shape(), Shape(c["results"][i]["shape"].get<std::vector<int64_t>>())) << text;
        expect_near(got[i], c["results"][i]["values"], is_floating(got[i].dtype()) ? relative : 0,
                    fmt::format("{}, result {}", text, i));
      }
      for (size_t i = 0; i < c["gradients"].size(); ++i) {
        ASSERT_GT(got.size(), results + i) << text;
        expect_near(got[results + i], c["gradients"][i], relative, fmt::format("{}, gradient {}", text, i));
      }
    }
  }
  if (is_whole()) {
    EXPECT_EQ(named, functions().size()) << "a function is not compared, or one compared twice";
  }
}

/// Names of the functions that the public headers of ops/ and the element-wise table declare.
std::set<std::string> declared_functions() {
  const std::filesystem::path ops = std::filesystem::path(WHOLESTEP_SOURCE_DIR) / "wholestep/ops";
  const std::regex declaration("^(?:inline )?(?:Tensor|std::vector<Tensor>|\\w+Result|Sorted) (\\w+)\\(.*"),
      row("^(?:UNARY|BINARY|COMPARE|TERNARY)\\((\\w+), k.*"),
      internal(".*(_cpu|_cuda|_loops|_fused|_windows|\\.isa)\\.h|epilogue\\.h");
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(ops)) {
    const std::string file = entry.path().filename();
    if (!file.ends_with(".h") && file != "elementwise_table.inc") continue;
    if (std::regex_match(file, internal)) continue;
    std::ifstream in(entry.path());
    std::smatch match;
    for (std::string line; std::getline(in, line);)
      if (std::regex_match(line, match, file.ends_with(".h") ? declaration : row)) names.insert(match[1]);
  }
  return names;
}

TEST(Functions, AreAllComparedWithPyTorch) {
  const std::map<std::string, const char*> without = {
      {"checkpoint", "gives what its function gives; tests/ops/checkpoint_test.cpp"},
      {"stop_gradient", "is detach(); tests/ops/registry_test.cpp"},
      {"random_uniform", "is Philox's; tests/ops/random_test.cpp"},
      {"dropout", "draws by Philox; tests/ops/random_test.cpp"},
      {"rand", "draws by Philox; below"},
      {"randn", "draws by Philox; below"},
      {"rand_like", "draws by Philox; below"},
      {"randn_like", "draws by Philox; below"}};
  std::set<std::string> compared, declared = declared_functions();
  auto add = [&](const std::string& file, const char* key) {
    const Json all = read_reference(file);
    for (const Json& c : all["cases"]) {
      const std::string name = c[key];
      compared.insert(name.substr(0, name.find(' ')));
    }
  };
  add("functions.json", "name");
  add("ops.json", "op");
  add("elementwise.json", "op");
  EXPECT_GT(declared.size(), 120u);
  for (const std::string& name : declared)
    EXPECT_NE(compared.contains(name), without.contains(name))
        << name << " has no case in tests/reference, and is none of those that need none";
  for (const auto& [name, why] : without) EXPECT_TRUE(declared.contains(name)) << name << " " << why;
}

TEST(Functions, GiveTheSameBitsWhereTheHostCannotLook) {
  for (const Json& c : cases()) {
    const std::string name = c["name"];
    Tensors here = operands_of(c, DType::f32), there;
    for (const Tensor& t : here) there.push_back(t.to(foreign_backend()));
    for (Tensors* operands : {&here, &there})
      for (Tensor& t : *operands)
        if (is_floating(t.dtype())) t.set_requires_grad();
    Tensors wanted = with_gradients(function_of(name), here), got = with_gradients(function_of(name), there);
    ASSERT_EQ(got.size(), wanted.size()) << name;
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_TRUE(there.empty() || &device_of(got[i]) == &foreign_backend()) << name << ", result " << i;
      EXPECT_TRUE(std::ranges::equal(got[i].to_host().bytes(), wanted[i].bytes()))
          << name << ", result " << i;
    }
  }
}

TEST(Functions, GiveTheSameBitsCompiled) {
  WHOLESTEP_NEEDS_TEST_DEVICE();
  for (const Json& c : of_part(cases())) {
    Function f = function_of(c["name"]);
    Tensors operands = operands_of(c, DType::f32);
    for (Tensor& t : operands)
      if (is_floating(t.dtype())) t.set_requires_grad();
    Tensors eager = with_gradients(f, operands);
    expect_compiled_gives([&](const Tensors& x) { return with_gradients(f, x); }, operands, eager, c["name"]);
  }
}

TEST(Functions, HaveSecondDerivatives) {
  for (const Json& c : cases()) {
    Tensors operands = operands_of(c, DType::f64);
    int64_t elements = 0;
    for (const Tensor& t : operands) elements += t.numel();
    std::string name = c["name"];
    // Kinks within reach of the differences, and values that overflow what is measured.
    if (elements == 0 || elements > 120 || c["gradients"].empty() || name.find("large") != std::string::npos)
      continue;
    auto gradient_sum = [&](const Tensors& x) {
      Tensors wanted;
      for (const Tensor& t : x)
        if (t.dtype() == DType::f64) wanted.push_back(t);
      return weighted_sum(grad(weighted_sum(function_of(name)(x)), wanted, true), 7);
    };
    EXPECT_TRUE(
        gradients_agree(gradient_sum, operands, {.tolerance = 1e-5, .elementwise = 32, .directions = 8}))
        << name;
  }
}

TEST(Functions, SortPutsNaNLastAndKeepsTheOrderOfEquals) {
  const float nan = std::nanf("");
  Tensor x = tensor(std::vector<float>{2, nan, 1, 2, -0.0f, 0, nan, -INFINITY}, {8});
  EXPECT_THAT(as_doubles(argsort(x)), testing::ElementsAre(7, 4, 5, 2, 0, 3, 1, 6));
  EXPECT_THAT(as_doubles(argsort(x, 0, true)), testing::ElementsAre(1, 6, 0, 3, 2, 4, 5, 7));
}

TEST(Functions, PropagateNaN) {
  Tensor x = tensor(std::vector<double>{1, std::nan(""), 3}, {3});
  for (const Tensor& t : {min(x), prod(x), var(x), std(x), norm(x), logsumexp(x), sum(clamp(x, 0, 2)),
                          sum(hardtanh(x)), sum(relu6(x)), norm(x, kInfinity)})
    EXPECT_TRUE(std::isnan(t.item<double>()));
  EXPECT_THAT(as_doubles(isnan(x)), testing::ElementsAre(0, 1, 0));
  EXPECT_EQ(argmin(x).item<int64_t>(), 1);
  EXPECT_THAT(as_doubles(isinf(tensor(std::vector<float>{1, -INFINITY, INFINITY, NAN}, {4}))),
              testing::ElementsAre(0, 1, 1, 0));
}

TEST(Functions, OfIndicesOutOfRangeInACompiledStepTouchNothingElse) {
  auto graph = std::make_shared<Graph>();
  Tensor x = graph->add_input(InputKind::kBatch, "x", {DType::f32, {2, 3}}),
         index = graph->add_input(InputKind::kBatch, "index", {DType::i64, {2, 2}});
  graph->add_output("gathered", gather(x, 1, index));
  graph->add_output("scattered", scatter_add(x, 1, index, slice(x, 1, 0, 2)));
  CompiledStep step(make_plan(graph));
  step.write("x", tensor(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3}));
  step.write("index", tensor(std::vector<int64_t>{0, 3, -1, 2}, {2, 2}));
  step.run();
  std::vector<double> gathered = as_doubles(step.output("gathered"));
  EXPECT_EQ(gathered[0], 1);
  EXPECT_TRUE(std::isnan(gathered[1]) && std::isnan(gathered[2]));
  EXPECT_EQ(gathered[3], 6);
  EXPECT_THAT(as_doubles(step.output("scattered")), testing::ElementsAre(2, 2, 3, 4, 5, 11));
}

TEST(Functions, DrawTheSameNumbersFromTheSameSeed) {
  manual_seed(7);
  std::vector<double> first = as_doubles(randn({1000})), second = as_doubles(randn({1000}));
  manual_seed(7);
  EXPECT_EQ(as_doubles(randn({1000})), first);
  EXPECT_NE(second, first);
  manual_seed(8);
  EXPECT_NE(as_doubles(randn({1000})), first);
}

TEST(Functions, DrawFromTheDistributionsTheyName) {
  manual_seed(3);
  Tensor uniform = rand({100000}), normal = randn({100000}, DType::f64);
  EXPECT_NEAR(mean(uniform).item<double>(), 0.5, 0.005);
  EXPECT_NEAR(var(uniform).item<double>(), 1.0 / 12, 0.001);
  EXPECT_GE(min(uniform).item<double>(), 0);
  EXPECT_LT(max(uniform).item<double>(), 1);
  EXPECT_NEAR(mean(normal).item<double>(), 0, 0.015);
  EXPECT_NEAR(std(normal).item<double>(), 1, 0.01);
  EXPECT_NEAR(mean(pow(normal, 4)).item<double>(), 3, 0.15);
  EXPECT_EQ(rand_like(normal).type(), normal.type());
  EXPECT_EQ(randn_like(uniform).type(), uniform.type());
}

#define EXPECT_MESSAGE(expression, message)                                         \
  try {                                                                             \
    expression;                                                                     \
    ADD_FAILURE() << "no error: " #expression;                                      \
  } catch (const Error& error) {                                                    \
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(ErrorCode::kUsage)); \
    EXPECT_STREQ(error.what(), message);                                            \
  }

TEST(Functions, SayWhatIsWrongWordForWord) {
  Tensor x = zeros({2, 3}), index = tensor(std::vector<int64_t>{0, 3}, {1, 2});
  EXPECT_MESSAGE(sum(x, {2}), "axis out of range: got 2, expected -2 to 1");
  EXPECT_MESSAGE(sum(x, {0, -2}), "an axis is named twice in a reduction: got {axes=[0, 0]}");
  EXPECT_MESSAGE(prod(x, {1, -1}), "an axis is named twice in a reduction: got {axes=[1, -1]}");
  EXPECT_MESSAGE(max(zeros({2, 0}), {1}),
                 "the largest of no elements is not defined (max of x f32[2, 0]: axis 1)");
  EXPECT_MESSAGE(
      norm(arange(3)),
      "a norm of a real order is taken of floating-point numbers: got order 2 of i64[3]. Hint: cast() first");
  EXPECT_MESSAGE(unsqueeze(x, 4), "axis out of range: got 4, expected -3 to 2");
  EXPECT_MESSAGE(split(x, 0), "pieces have at least one element: got split size 0");
  EXPECT_MESSAGE(
      split(x, {1, 1}, 1),
      "sizes to split by do not add up to the extent (split of x f32[2, 3]: axis 1): got {sizes=[1, 1]}, "
      "expected a sum of 3");
  EXPECT_MESSAGE(chunk(x, 0), "a tensor is cut into at least one piece: got 0 chunks");
  EXPECT_MESSAGE(select(x, 1, 3), "select index out of range (axis 1 of f32[2, 3]): got 3, expected -3 to 2");
  EXPECT_MESSAGE(repeat(x, {2}),
                 "repeat needs a count for every axis: got {counts=[2]}, expected at least 2 counts");
  EXPECT_MESSAGE(pad(x, {1}),
                 "padding is a count before and one after an axis: got {counts=[1]}, expected up to 2 pairs "
                 "of counts of 0 or more");
  EXPECT_MESSAGE(tril(zeros({3})), "a triangle is taken of matrices: got f32[3], expected at least two axes");
  EXPECT_MESSAGE(diagonal(x),
                 "a diagonal lies between two axes of one extent: got axes 0 and 1 of f32[2, 3]");
  EXPECT_MESSAGE(gather(x, 1, index), "index out of range (axis 1 of f32[2, 3]): got 3, expected 0 to 2");
  EXPECT_MESSAGE(gather(x, 0, zeros({2, 3})),
                 "an index is made of integers: got f32[2, 3], expected i32 or i64");
  EXPECT_MESSAGE(gather(x, 0, zeros({2, 4}, DType::i64)),
                 "an index does not fit what it indexes (axis 0 of f32[2, 3]): got i64[2, 4], expected "
                 "within [2, 3] but for the axis");
  EXPECT_MESSAGE(index_select(x, 1, zeros({2}, DType::f32)),
                 "row indices must be one axis of integers (gather_rows of table f32[3, 2], index f32[2]): "
                 "got f32[2], expected i32 or i64 [B]");
  EXPECT_MESSAGE(scatter_add(x, 0, zeros({1, 3}, DType::i64), zeros({1, 2})),
                 "src of scatter_add has an element for every index and the dtype of x: got f32[1, 2], "
                 "expected f32[1, 3] or longer");
  EXPECT_MESSAGE(one_hot(arange(4), 3), "a class is out of range: got 0 to 3, expected 0 to 2");
  EXPECT_MESSAGE(topk(x, 4),
                 "topk of more elements than there are (axis -1 of f32[2, 3]): got k = 4, expected 0 to 3");
  EXPECT_MESSAGE(clamp(x, std::nullopt), "clamp needs a lower or an upper bound: got neither");
  EXPECT_MESSAGE(flatten(x, 1, 0), "flatten ends before it begins: got axes 1 to 0 of f32[2, 3]");
  EXPECT_MESSAGE(
      conv1d(x, x),
      "conv1d is of sequences: got f32[2, 3] and f32[2, 3], expected x [N, Ci, L], weight [Co, Ci / "
      "groups, K]");
  EXPECT_MESSAGE(
      max_pool2d(zeros({1, 1, 3, 3}), {.kernel = {0, 1}}, true),
      "kernel of a pooling is out of range (max_pool2d of x f32[1, 1, 3, 3]): got {kernel=[0, 1]}, "
      "expected a vertical and a horizontal value, at least 1");
  EXPECT_MESSAGE(glu(x), "glu halves an axis of even extent: got f32[2, 3]");
  EXPECT_MESSAGE(arange(0, 5, -1), "no step leads from start to stop: got 0 to 5 by -1");
  EXPECT_MESSAGE(einsum("ij,jk", {x}),
                 "einsum needs subscripts for every operand (einsum 'ij,jk'): got 2 for 1 operands");
  EXPECT_MESSAGE(einsum("ij->k", {x}),
                 "the result names labels of the operands, each once (einsum 'ij->k'): got k");
  EXPECT_MESSAGE(einsum("ij,jk", {x, x}), "one label has two extents (einsum 'ij,jk'): got j of 3 and of 2");
  EXPECT_MESSAGE(einsum("ijk", {x}),
                 "an operand has as many axes as subscripts (einsum 'ijk'): got 'ijk' for 2 axes");
  EXPECT_MESSAGE(einsum("i1", {x}),
                 "subscripts are letters, commas, '...' and one '->' (einsum 'i1'): got '1'");
  EXPECT_MESSAGE(einsum("ii", {x}), "one label has two extents (einsum 'ii'): got i in [2, 3]");
  EXPECT_MESSAGE(tensor(std::vector<float>{1, 2, 3}, {2, 2}),
                 "data length does not fit the shape: got 3 values, expected 4 for [2, 2]");
  EXPECT_MESSAGE(x + zeros({4}),
                 "shapes do not broadcast (add of x f32[2, 3], y f32[4]): got [2, 3] and [4], expected equal "
                 "extents, or 1, counted from the last axis");
  EXPECT_MESSAGE(
      x + arange(3),
      "operands have different dtypes (add of x f32[2, 3], y i64[3]): got f32 and i64. Hint: cast() one");
  EXPECT_MESSAGE(exp(arange(3)),
                 "this op takes floating-point operands only (exp of x i64[3]): got i64, expected f32, "
                 "f64, f16 or bf16. Hint: cast() first");
}

}  // namespace
}  // namespace wholestep::test
