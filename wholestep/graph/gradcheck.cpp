// Numeric derivatives beside the library's own.
#include "wholestep/graph/gradcheck.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "wholestep/base/philox.h"
#include "wholestep/graph/grad.h"

namespace wholestep {
namespace {

using Numbers = std::vector<double>;  // one a scalar of f

/// One element of one of the wanted tensors.
struct Place {
  Tensor tensor;
  size_t element;
  double original;
  Numbers gradient;
  double& value() const { return tensor.data<double>()[element]; }
};

Numbers derivative(const std::function<Numbers(double)>& along, double h) {
  Numbers result = along(h);
  const Numbers below = along(-h), above2 = along(2 * h), below2 = along(-2 * h);
  for (size_t k = 0; k < result.size(); ++k)
    result[k] = (8 * (result[k] - below[k]) - (above2[k] - below2[k])) / (12 * h);
  return result;
}

/// The gradient of each scalar of y.
std::vector<std::vector<Tensor>> gradients_of(const Tensor& y, const std::vector<Tensor>& wanted) {
  std::vector<std::vector<Tensor>> grads;
  for (size_t k = 0; k < static_cast<size_t>(y.numel()); ++k) {
    Tensor one = zeros(y.type());
    one.data<double>()[k] = 1;
    grads.push_back(grad(std::span(&y, 1), wanted, std::span(&one, 1)));
  }
  return grads;
}

}  // namespace

void gradcheck(const ScalarFunction& f, const std::vector<Tensor>& inputs, const GradcheckOptions& check) {
  std::vector<Tensor> leaves = inputs, wanted;
  for (Tensor& t : leaves) {
    if (!check.in_place) t = t.clone();
    if (t.dtype() == DType::f64) wanted.push_back(t.set_requires_grad());
  }
  const auto grads = gradients_of(f(leaves), wanted);
  std::vector<Place> places;
  Numbers squares(grads.size());
  for (size_t w = 0; w < wanted.size(); ++w)
    for (size_t i = 0; i < static_cast<size_t>(wanted[w].numel()); ++i) {
      Place& place = places.emplace_back(wanted[w], i, wanted[w].data<double>()[i]);
      for (size_t k = 0; k < grads.size(); ++k) {
        place.gradient.push_back(grads[k][w].data<double>()[i]);
        squares[k] += place.gradient[k] * place.gradient[k];
      }
    }
  if (places.empty()) return;

  auto values = [&] {
    Tensor y = f(leaves);
    return Numbers(y.data<double>().begin(), y.data<double>().end());
  };
  auto compare = [&](const Numbers& numeric, const Numbers& ours, double elements, const std::string& where) {
    for (size_t k = 0; k < ours.size(); ++k) {
      double typical = std::sqrt(squares[k] / elements);
      double allowed = check.tolerance * std::max({std::abs(numeric[k]), std::abs(ours[k]), typical, 1e-6});
      if (!(std::abs(numeric[k] - ours[k]) <= allowed))
        throw Error(ErrorCode::kFailure,
                    {.what = "a gradient is not the derivative",
                     .where = ours.size() == 1 ? where : fmt::format("scalar {}, {}", k, where),
                     .got = fmt::format("gradient {:.12g}", ours[k]),
                     .expected = fmt::format("{:.12g} by central differences", numeric[k])});
    }
  };

  if (static_cast<int64_t>(places.size()) <= check.elementwise) {
    for (const Place& place : places) {
      Numbers numeric = derivative(
          [&](double h) {
            place.value() = place.original + h;
            Numbers result = values();
            place.value() = place.original;
            return result;
          },
          check.step);
      compare(numeric, place.gradient, static_cast<double>(places.size()),
              fmt::format("element {} of {}", place.element, to_string(place.tensor.type())));
    }
    return;
  }
  PhiloxStream stream(3, 5);
  std::vector<double> signs(places.size());
  for (int d = 0; d < check.directions; ++d) {
    Numbers ours(grads.size());
    for (size_t i = 0; i < places.size(); ++i) {
      signs[i] = stream.next() & 1 ? 1 : -1;
      for (size_t k = 0; k < ours.size(); ++k) ours[k] += signs[i] * places[i].gradient[k];
    }
    Numbers numeric = derivative(
        [&](double h) {
          for (size_t i = 0; i < places.size(); ++i) places[i].value() = places[i].original + h * signs[i];
          return values();
        },
        check.step);
    for (const Place& place : places) place.value() = place.original;
    compare(numeric, ours, 1, fmt::format("direction {}", d));
  }
}

}  // namespace wholestep
