// Formulas and fills.
#include "wholestep/nn/init.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

namespace wholestep::nn::init {
namespace {

template <class Draw>
void fill(const Tensor& t, Draw&& draw) {
  visit(t.dtype(), [&](auto zero) {
    using T = decltype(zero);
    Tensor host = t.to_host();
    for (T& element : host.data<T>()) element = static_cast<T>(draw());
    t.write(host.bytes());
  });
}

double kaiming_std(const Tensor& weight, double a, Fan fan) {
  Fans fans = fans_of(weight.shape());
  return std::sqrt(2 / ((1 + a * a) * static_cast<double>(fan == Fan::in ? fans.in : fans.out)));
}
double xavier_std(const Tensor& weight, double gain) {
  Fans fans = fans_of(weight.shape());
  return gain * std::sqrt(2.0 / static_cast<double>(fans.in + fans.out));
}
// A uniform distribution over +-b has the standard deviation b / sqrt(3).
void uniform_of_std(const Tensor& weight, double std, PhiloxStream random) {
  uniform(weight, -std * std::sqrt(3), std * std::sqrt(3), random);
}

}  // namespace

Fans fans_of(const Shape& weight) {
  if (weight.rank() < 2)
    throw Error(ErrorCode::kUsage, {.what = "a fan is defined for weights of two axes or more",
                                    .got = to_string(weight),
                                    .expected = "[out, in, ...]"});
  int64_t receptive_field = 1;
  for (int axis = 2; axis < weight.rank(); ++axis) receptive_field *= weight[axis];
  return {weight[1] * receptive_field, weight[0] * receptive_field};
}

PhiloxStream stream(uint64_t seed, std::string_view name) {
  uint64_t hash = 0xCBF29CE484222325ull;  // FNV-1a
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  return PhiloxStream(mix(seed, 0), hash);
}

void constant(const Tensor& t, double value) {
  fill(t, [&] { return value; });
}

void uniform(const Tensor& t, double low, double high, PhiloxStream random) {
  fill(t, [&] { return low + (high - low) * static_cast<double>(random.uniform()); });
}

void normal(const Tensor& t, double mean, double std, PhiloxStream random) {
  fill(t, [&] { return mean + std * random.normal(); });
}

void trunc_normal(const Tensor& t, double mean, double std, PhiloxStream random, double low, double high) {
  auto below = [&](double x) { return 0.5 * std::erfc((mean - x) / (std * std::sqrt(2))); };
  if (!(std > 0) || !(below(high) - below(low) >= 0.01))
    throw Error(ErrorCode::kUsage,
                {.what = "a truncated normal would hardly ever be drawn",
                 .got = fmt::format("[{}, {}] of mean {} and deviation {}", low, high, mean, std),
                 .expected = "an interval with at least 1 % of the distribution"});
  fill(t, [&] {
    double value = 0;
    do value = mean + std * random.normal();
    while (value < low || value > high);
    return value;
  });
}

void orthogonal(const Tensor& weight, PhiloxStream random, double gain) {
  fans_of(weight.shape());  // two axes or more
  int64_t rows = weight.dim(0), columns = weight.numel() / std::max<int64_t>(rows, 1);
  int64_t vectors = std::min(rows, columns), length = std::max(rows, columns);
  std::vector<std::vector<double>> basis;  // Gram-Schmidt on normal vectors, twice for f64's last digits
  while (static_cast<int64_t>(basis.size()) < vectors) {
    std::vector<double> v(static_cast<size_t>(length));
    for (double& x : v) x = random.normal();
    for (int pass = 0; pass < 2; ++pass)
      for (const auto& u : basis) {
        double along = std::inner_product(v.begin(), v.end(), u.begin(), 0.0);
        for (size_t i = 0; i < v.size(); ++i) v[i] -= along * u[i];
      }
    double norm = std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
    for (double& x : v) x /= norm;
    basis.push_back(std::move(v));
  }
  int64_t at = 0;
  fill(weight, [&] {
    size_t row = static_cast<size_t>(at / columns), column = static_cast<size_t>(at % columns);
    ++at;
    return gain * (rows <= columns ? basis[row][column] : basis[column][row]);
  });
}

void kaiming_uniform(const Tensor& weight, PhiloxStream random, double a, Fan fan) {
  uniform_of_std(weight, kaiming_std(weight, a, fan), random);
}
void kaiming_normal(const Tensor& weight, PhiloxStream random, double a, Fan fan) {
  normal(weight, 0, kaiming_std(weight, a, fan), random);
}
void xavier_uniform(const Tensor& weight, PhiloxStream random, double gain) {
  uniform_of_std(weight, xavier_std(weight, gain), random);
}
void xavier_normal(const Tensor& weight, PhiloxStream random, double gain) {
  normal(weight, 0, xavier_std(weight, gain), random);
}

PhiloxStream Draws::operator()(std::string_view parameter) const {
  return stream(seed, path.empty() ? std::string(parameter) : path + "." + std::string(parameter));
}

void linear_default(const Tensor& weight, const Tensor& bias, const Draws& draws) {
  double bound = 1 / std::sqrt(static_cast<double>(fans_of(weight.shape()).in));
  kaiming_uniform(weight, draws("weight"), std::sqrt(5));  // the same bound
  if (bias.defined()) uniform(bias, -bound, bound, draws("bias"));
}

}  // namespace wholestep::nn::init
