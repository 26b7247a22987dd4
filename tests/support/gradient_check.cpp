// Numeric derivatives: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h, exact to O(h^4).
#include "support/gradient_check.h"

#include <fmt/format.h>

#include <cmath>

#include "wholestep/base/philox.h"
#include "wholestep/graph/grad.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::test {
namespace {

/// One element of one of the wanted tensors.
struct Place {
  Tensor tensor;
  size_t element;
  double original, gradient;
  double& value() const { return tensor.data<double>()[element]; }
};

double derivative(const std::function<double(double)>& along, double h) {
  return (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h);
}

}  // namespace

testing::AssertionResult gradients_agree(const ScalarFunction& f, const std::vector<Tensor>& inputs,
                                         const GradientCheck& check) {
  std::vector<Tensor> leaves = inputs, wanted;
  for (Tensor& t : leaves) {
    if (!check.in_place) t = t.clone();
    if (t.dtype() == DType::f64) wanted.push_back(t.set_requires_grad());
  }
  std::vector<Tensor> grads = grad(f(leaves), wanted);
  std::vector<Place> places;
  double squares = 0;
  for (size_t w = 0; w < wanted.size(); ++w)
    for (size_t i = 0; i < static_cast<size_t>(wanted[w].numel()); ++i) {
      places.push_back({wanted[w], i, wanted[w].data<double>()[i], grads[w].data<double>()[i]});
      squares += places.back().gradient * places.back().gradient;
    }
  if (places.empty()) return testing::AssertionSuccess();

  auto value = [&] { return f(leaves).item<double>(); };
  auto compare = [&](double numeric, double ours, double typical,
                     const std::string& where) -> testing::AssertionResult {
    double allowed = check.tolerance * std::max({std::abs(numeric), std::abs(ours), typical, 1e-6});
    if (std::abs(numeric - ours) <= allowed) return testing::AssertionSuccess();
    return testing::AssertionFailure()
           << fmt::format("{}: gradient {:.12g}, central differences {:.12g}", where, ours, numeric);
  };

  if (static_cast<int64_t>(places.size()) <= check.elementwise) {
    double typical = std::sqrt(squares / static_cast<double>(places.size()));
    for (const Place& place : places) {
      double numeric = derivative(
          [&](double h) {
            place.value() = place.original + h;
            double result = value();
            place.value() = place.original;
            return result;
          },
          check.step);
      auto result = compare(numeric, place.gradient, typical,
                            fmt::format("element {} of {}", place.element, to_string(place.tensor.type())));
      if (!result) return result;
    }
    return testing::AssertionSuccess();
  }
  PhiloxStream stream(3, 5);
  std::vector<double> signs(places.size());
  for (int d = 0; d < check.directions; ++d) {
    double ours = 0;
    for (size_t i = 0; i < places.size(); ++i) {
      signs[i] = stream.next() & 1 ? 1 : -1;
      ours += signs[i] * places[i].gradient;
    }
    double numeric = derivative(
        [&](double h) {
          for (size_t i = 0; i < places.size(); ++i) places[i].value() = places[i].original + h * signs[i];
          return value();
        },
        check.step);
    auto result = compare(numeric, ours, std::sqrt(squares), fmt::format("direction {}", d));
    if (!result) return result;
  }
  return testing::AssertionSuccess();
}

Tensor weighted_sum(const std::vector<Tensor>& tensors, uint64_t seed) {
  PhiloxStream stream(seed, 13);
  Tensor total;
  for (const Tensor& t : tensors) {
    if (!is_floating(t.dtype())) continue;
    std::vector<double> weights(static_cast<size_t>(t.numel()));
    for (double& weight : weights) {
      double magnitude = 0.5 + stream.uniform();
      weight = stream.next() & 1 ? magnitude : -magnitude;
    }
    Tensor weighted = sum(cast(t, DType::f64) * tensor(weights, t.shape()));
    total = total.defined() ? total + weighted : weighted;
  }
  return total;
}

}  // namespace wholestep::test
