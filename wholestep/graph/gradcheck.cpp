// Numeric derivatives beside the library's own.
#include "wholestep/graph/gradcheck.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "wholestep/base/philox.h"
#include "wholestep/graph/grad.h"

namespace wholestep {
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

void gradcheck(const ScalarFunction& f, const std::vector<Tensor>& inputs, const GradcheckOptions& check) {
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
  if (places.empty()) return;

  auto value = [&] { return f(leaves).item<double>(); };
  auto compare = [&](double numeric, double ours, double typical, const std::string& where) {
    double allowed = check.tolerance * std::max({std::abs(numeric), std::abs(ours), typical, 1e-6});
    if (!(std::abs(numeric - ours) <= allowed))
      throw Error(ErrorCode::kFailure, {.what = "a gradient is not the derivative",
                                        .where = where,
                                        .got = fmt::format("gradient {:.12g}", ours),
                                        .expected = fmt::format("{:.12g} by central differences", numeric)});
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
      compare(numeric, place.gradient, typical,
              fmt::format("element {} of {}", place.element, to_string(place.tensor.type())));
    }
    return;
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
    compare(numeric, ours, std::sqrt(squares), fmt::format("direction {}", d));
  }
}

}  // namespace wholestep
