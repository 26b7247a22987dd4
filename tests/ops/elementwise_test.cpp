// Element-wise ops, casts and reductions against PyTorch, by tests/reference/elementwise.py: shapes of sizes
// 0 and 1, operands seen through a transpose or a stride, special values, integers and bool; values, dtypes
// and gradients, eagerly and, with the same bits, compiled.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "support/compiled.h"
#include "support/formula.h"
#include "support/op_case.h"
#include "support/test_device.h"
#include "wholestep/graph/grad.h"
#include "wholestep/ops/arrange.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/pointwise.h"
#include "wholestep/ops/reductions.h"
#include "wholestep/ops/shape.h"

namespace wholestep::test {
namespace {

using Json = nlohmann::json;
using Tensors = std::vector<Tensor>;

const std::vector<Json>& cases() {
  static const std::vector<Json> list = read_reference("elementwise.json")["cases"];
  return list;
}

/// What is not a row of the op table called by its name alone.
Tensor call(const Json& c, const Tensors& x) {
  using Unary = Tensor (*)(const Tensor&);
  static const std::map<std::string, Unary> composed = {
      {"gelu", gelu},
      {"silu", silu},
      {"isfinite", isfinite},
      {"isnan", isnan},
      {"isinf", isinf},
      {"logical_not", logical_not},
      {"leaky_relu", [](const Tensor& t) { return leaky_relu(t); }}};
  using Reduction = Tensor (*)(const Tensor&, std::vector<int64_t>, bool);
  static const std::map<std::string, Reduction> reductions = {{"sum", sum}, {"prod", prod}, {"max", max},
                                                              {"min", min}, {"any", any},   {"all", all}};
  const std::string op = c["op"];
  const bool whole = !c.contains("axis");
  if (op == "cast") return cast(x[0], dtype_from_name(c["dtype"].get<std::string>()).value());
  if (op == "cumsum") return cumsum(x[0], c["axis"]);
  if (op == "argmax") return whole ? argmax(x[0]) : argmax(x[0], c["axis"]);
  if (op == "argmin") return whole ? argmin(x[0]) : argmin(x[0], c["axis"]);
  if (auto found = composed.find(op); found != composed.end()) return found->second(x[0]);
  if (auto found = reductions.find(op); found != reductions.end())
    return found->second(x[0], whole ? std::vector<int64_t>{} : std::vector<int64_t>{c["axis"]}, false);
  return apply1(find_op(op), x);
}

/// The word of a number that is not finite.
double number(const Json& value) {
  return value.is_string() ? std::stod(value.get<std::string>()) : value.get<double>();
}

Tensor operand(const Json& o, uint32_t k, DType dtype) {
  const Shape shape(o["shape"].get<std::vector<int64_t>>());
  if (o.contains("classes")) {
    std::vector<int64_t> labels = formula_labels(k, shape.numel(), o["classes"]);
    for (int64_t& label : labels) label -= o["below"].get<int64_t>();
    return converted(tensor(labels, shape), dtype);
  }
  if (!o.contains("values")) {
    const double low = o["low"], high = o["high"];
    std::vector<double> values = formula_values<double>(k, shape.numel());
    for (double& v : values) v = low + (high - low) * ((v + 1) / 2);
    return converted(tensor(values, shape), dtype);
  }
  std::vector<double> reals;
  std::vector<int64_t> whole;
  for (int64_t time = 0; time < o["times"]; ++time)
    for (const Json& value : o["values"])
      for (int64_t i = 0; i < o["each"]; ++i)
        if (is_floating(dtype)) reals.push_back(number(value));
        else whole.push_back(value.is_boolean() ? value.get<bool>() : value.get<int64_t>());
  if (dtype == DType::i64) return tensor(whole, shape);  // which f64 cannot hold
  return converted(is_floating(dtype) ? tensor(reals, shape) : tensor(whole, shape), dtype);
}

Tensor seen(const Tensor& x, const std::string& view) {
  if (view == "transposed") return transpose(x, -2, -1);
  if (view == "every other") return slice(x, -1, 0, x.dim(-1), 2);
  return x;
}

/// Element by element: integers, infinities and NaN alike, other numbers within `relative` of themselves, or
/// of the largest.
void expect_same(const Tensor& got, const Json& wanted, double relative, bool of_largest,
                 const std::string& what) {
  if (got.dtype() == DType::i64) {
    const Tensor here = got.to_host();
    std::vector<int64_t> is(here.data<int64_t>().begin(), here.data<int64_t>().end());
    EXPECT_EQ(is, wanted.get<std::vector<int64_t>>()) << what;
    return;
  }
  std::vector<double> is = as_doubles(got), should;
  if (wanted.is_string())
    for (char digit : wanted.get<std::string>()) should.push_back(digit - '0');
  else
    for (const Json& value : wanted) should.push_back(number(value));
  ASSERT_EQ(is.size(), should.size()) << what;
  if (got.dtype() != DType::f64) should = as_doubles(converted(tensor(should, got.shape()), got.dtype()));
  double largest = 0;
  for (double v : should)
    if (of_largest) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < is.size(); ++i) {
    const bool same = is[i] == should[i] || (std::isnan(is[i]) && std::isnan(should[i]));
    const double bound = is_floating(got.dtype()) ? relative * std::max(largest, std::abs(should[i])) : 0;
    EXPECT_TRUE(same || (std::isfinite(should[i]) && std::abs(is[i] - should[i]) <= bound))
        << what << ", element " << i << ": " << is[i] << ", not " << should[i];
  }
}

/// Zeros of the sign that IEEE 754 gives them.
void expect_same_signs(const Tensor& got, const Json& wanted, const std::string& what) {
  std::vector<double> is = as_doubles(got);
  for (size_t i = 0; i < is.size(); ++i)
    EXPECT_TRUE(is[i] != 0 || std::signbit(is[i]) == std::signbit(number(wanted[i])))
        << what << ", element " << i;
}

/// The result, and behind it the gradients of result * formula_values(9) by the floating-point operands.
Tensors result_and_gradients(const Json& c, const Tensors& operands) {
  Tensors views, wanted;
  for (size_t i = 0; i < operands.size(); ++i) {
    views.push_back(seen(operands[i], c["operands"][i]["view"]));
    if (is_floating(operands[i].dtype())) wanted.push_back(operands[i]);
  }
  Tensors results = {call(c, views)};
  if (wanted.empty() || !is_floating(results[0].dtype())) return results;
  Tensor seed = tensor(formula_values<double>(9, results[0].numel()), results[0].shape());
  Tensors seeds = {on_test_device(converted(seed, results[0].dtype()))};
  for (Tensor& g : grad(results, wanted, seeds)) results.push_back(std::move(g));
  return results;
}

bool has_values(const Json& c) {
  return std::ranges::any_of(c["operands"], [](const Json& o) { return o.contains("values"); });
}
/// Whether operands lie between two numbers: those of the reference in f64, and in f32 those rounded.
bool is_formula(const Json& c) {
  return c["op"] != "cast" &&
         std::ranges::any_of(c["operands"], [](const Json& o) { return o.contains("low"); });
}

std::vector<Json> cases_where(const std::function<bool(const Json&)>& chosen) {
  std::vector<Json> list = cases();
  std::erase_if(list, [&](const Json& c) { return !chosen(c); });
  return list;
}

void compare(const std::vector<Json>& own) {
  ASSERT_FALSE(own.empty());
  WHOLESTEP_NEEDS_TEST_DEVICE();
  const std::set<std::string> signed_zeros = {"neg", "abs",   "add",  "sub",   "mul",  "div",
                                              "pow", "floor", "sqrt", "where", "cast", "reciprocal"};
  for (const Json& c : own) {
    const bool formula = is_formula(c);
    for (DType f64_is : {DType::f64, DType::f32}) {
      if (f64_is == DType::f32 && !formula) continue;
      Tensors operands;
      std::string text = c["op"].get<std::string>() + " of";
      for (const Json& o : c["operands"]) {
        DType dtype = dtype_from_name(o["dtype"].get<std::string>()).value();
        if (dtype == DType::f64 && formula) dtype = f64_is;
        operands.push_back(on_test_device(operand(o, static_cast<uint32_t>(operands.size() + 1), dtype)));
        text += fmt::format(" {} {}", to_string(operands.back().type()), o["view"].get<std::string>());
        if (is_floating(dtype)) operands.back().set_requires_grad();
      }
      Tensors got = result_and_gradients(c, operands);
      DType dtype = dtype_from_name(c["dtype"].get<std::string>()).value();
      if (dtype == DType::f64 && formula) dtype = f64_is;
      ASSERT_EQ(got[0].type(), (TensorType{dtype, Shape(c["shape"].get<std::vector<int64_t>>())})) << text;
      const double relative = operands.back().dtype() == DType::f64 ? 1e-11 : c["op"] == "cast" ? 0 : 4e-6;
      expect_same(got[0], c["values"], relative, formula, text);
      ASSERT_EQ(got.size(), 1 + c["gradients"].size()) << text;
      if (is_floating(dtype) && signed_zeros.contains(c["op"])) expect_same_signs(got[0], c["values"], text);
      for (size_t i = 0; i < c["gradients"].size(); ++i)
        expect_same(got[1 + i], c["gradients"][i], relative, formula,
                    fmt::format("{}, gradient {}", text, i));
      expect_compiled_gives([&](const Tensors& x) { return result_and_gradients(c, x); }, operands, got,
                            text);
    }
  }
}

TEST(ElementwiseOps, AgreeWithPyTorchOnShapesAndViews) { compare(of_part(cases_where(is_formula))); }
TEST(ElementwiseOps, AgreeWithPyTorchAtGivenValues) { compare(cases_where(has_values)); }
TEST(ElementwiseOps, AgreeWithPyTorchInIntegersBoolAndCasts) {
  compare(cases_where([](const Json& c) { return !is_formula(c) && !has_values(c); }));
}

}  // namespace
}  // namespace wholestep::test
