// Operands for the cases of the op table.
#include "support/op_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "wholestep/base/philox.h"

namespace wholestep::test {
namespace {

int64_t floating_elements(const OpCase& request) {
  int64_t total = 0;
  for (const TensorType& type : request.inputs)
    if (is_floating(type.dtype)) total += type.shape.numel();
  return total;
}

/// Evenly spaced levels in [low, high] in random order, without the one nearest to 0.
std::vector<double> distinct_levels(const OpCase& request, PhiloxStream& stream) {
  int64_t count = floating_elements(request);
  double spacing = (request.high - request.low) / static_cast<double>(count + 1);
  std::vector<double> levels;
  for (int64_t k = 0; k <= count; ++k)
    levels.push_back(request.low + (static_cast<double>(k) + 0.5) * spacing);
  levels.erase(std::ranges::min_element(levels, {}, [](double level) { return std::abs(level); }));
  for (size_t i = levels.size(); i > 1; --i) std::swap(levels[i - 1], levels[stream.below(i)]);
  return levels;
}

}  // namespace

double gap_between_elements(const OpCase& request) {
  if (!request.distinct) return std::numeric_limits<double>::infinity();
  return (request.high - request.low) / static_cast<double>(floating_elements(request) + 1);
}

std::vector<Tensor> make_operands(const OpCase& request, uint64_t seed) {
  PhiloxStream stream(seed, 11);
  std::vector<double> levels;
  if (request.distinct) levels = distinct_levels(request, stream);
  size_t next_level = 0;
  std::vector<Tensor> operands;
  for (const TensorType& type : request.inputs) {
    Tensor operand = zeros(type);
    visit_stored(type.dtype, [&](auto zero) {
      using T = decltype(zero);
      for (T& element : operand.data<T>()) {
        if constexpr (is_floating(kDTypeOf<T>)) {
          double value = request.distinct ? levels[next_level++]
                                          : request.low + (request.high - request.low) *
                                                              static_cast<double>(stream.next()) * 0x1p-32;
          if (request.multiple > 0) value = std::round(value / request.multiple) * request.multiple;
          element = static_cast<T>(value);
        } else if constexpr (std::is_same_v<T, bool>) element = stream.below(2) == 1;
        else element = static_cast<T>(stream.below(static_cast<uint64_t>(request.bound)));
      }
    });
    operands.push_back(operand);
  }
  return operands;
}

OpCase as_f64(OpCase request) {
  for (TensorType& type : request.inputs)
    if (type.dtype == DType::f32) type.dtype = DType::f64;
  Attrs attrs;
  for (Attr attr : request.attrs.all()) {
    if (auto* text = std::get_if<std::string>(&attr.value))
      for (size_t at; (at = text->find("f32")) != std::string::npos;) text->replace(at, 3, "f64");
    attrs.set(attr);
  }
  request.attrs = attrs;
  return request;
}

std::vector<OpCase> in_halves(const std::vector<OpCase>& requests) {
  constexpr int64_t kMostElements = 100'000;
  std::vector<OpCase> halves;
  for (const OpCase& request : requests)
    for (DType half : {DType::f16, DType::bf16}) {
      OpCase c = request;
      int64_t elements = 0;
      for (TensorType& type : c.inputs) {
        elements += type.shape.numel();
        if (type.dtype == DType::f32) type.dtype = half;
      }
      if (c.inputs != request.inputs && elements < kMostElements) halves.push_back(c);
    }
  return halves;
}

std::vector<double> as_doubles(const Tensor& t) {
  const Tensor host = t.to_host();
  std::vector<double> values;
  visit_stored(t.dtype(), [&](auto zero) {
    for (auto element : host.data<decltype(zero)>()) values.push_back(static_cast<double>(element));
  });
  return values;
}

Tensor converted(const Tensor& t, DType dtype) {
  Tensor result = zeros({dtype, t.shape()});
  std::vector<double> values = as_doubles(t);
  visit_stored(dtype, [&](auto zero) {
    using T = decltype(zero);
    for (size_t i = 0; i < values.size(); ++i) result.data<T>()[i] = static_cast<T>(values[i]);
  });
  return result;
}

bool has_floating_operand(const OpCase& request) {
  return std::ranges::any_of(request.inputs, [](const TensorType& type) { return is_floating(type.dtype); });
}

std::string describe(const OpDef& op, const OpCase& request) {
  std::string text;
  for (const TensorType& type : request.inputs) text += (text.empty() ? "" : ", ") + to_string(type);
  return fmt::format("{}({}) {}", op.name, text, to_string(request.attrs));
}

}  // namespace wholestep::test
