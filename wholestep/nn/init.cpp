// Formulas and fills.
#include "wholestep/nn/init.h"

#include <cmath>

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

double kaiming_std(const Tensor& weight, double a) {
  return std::sqrt(2 / ((1 + a * a) * static_cast<double>(fans_of(weight.shape()).in)));
}
double xavier_std(const Tensor& weight) {
  Fans fans = fans_of(weight.shape());
  return std::sqrt(2.0 / static_cast<double>(fans.in + fans.out));
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

void kaiming_uniform(const Tensor& weight, PhiloxStream random, double a) {
  uniform_of_std(weight, kaiming_std(weight, a), random);
}
void kaiming_normal(const Tensor& weight, PhiloxStream random, double a) {
  normal(weight, 0, kaiming_std(weight, a), random);
}
void xavier_uniform(const Tensor& weight, PhiloxStream random) {
  uniform_of_std(weight, xavier_std(weight), random);
}
void xavier_normal(const Tensor& weight, PhiloxStream random) {
  normal(weight, 0, xavier_std(weight), random);
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
