// Initial values of parameters. Each function fills a tensor of any floating dtype from a Philox stream; fans
// are PyTorch's: for weight [out, in, ...] fan_in = in * receptive field, fan_out = out * receptive field.
#pragma once
#include <string>
#include <string_view>

#include "wholestep/base/philox.h"
#include "wholestep/graph/tensor.h"

namespace wholestep::nn::init {

struct Fans {
  int64_t in, out;
};
Fans fans_of(const Shape& weight);  ///< kUsage for fewer than two axes

/// The stream a tensor of this name is drawn from: the same values whatever else a model holds.
PhiloxStream stream(uint64_t seed, std::string_view name);

/// The same number everywhere, drawn from [low, high), or from a normal distribution.
void constant(const Tensor& t, double value);
void uniform(const Tensor& t, double low, double high, PhiloxStream random);
void normal(const Tensor& t, double mean, double std, PhiloxStream random);
/// Normal, drawn again until within [low, high]; kUsage where that holds less than 1 % of the distribution.
void trunc_normal(const Tensor& t, double mean, double std, PhiloxStream random, double low = -2,
                  double high = 2);
/// The first two axes of weight [out, in, ...] as a matrix whose rows, or columns where they are fewer, are
/// orthogonal with length `gain` (Saxe et al. 2014). kUsage for fewer than two axes.
void orthogonal(const Tensor& weight, PhiloxStream random, double gain = 1);

enum class Fan { in, out };
/// Variance 2 / ((1 + a^2) fan): with fan_in keeps the variance of activations, with fan_out that of
/// gradients, through layers followed by a leaky ReLU of slope a (He et al. 2015). a = 0 is ReLU; a = sqrt(5)
/// is PyTorch's default for Linear and Conv. `fan` is PyTorch's mode.
void kaiming_uniform(const Tensor& weight, PhiloxStream random, double a = 0, Fan fan = Fan::in);
void kaiming_normal(const Tensor& weight, PhiloxStream random, double a = 0, Fan fan = Fan::in);
/// Variance 2 gain^2 / (fan_in + fan_out) (Glorot & Bengio 2010).
void xavier_uniform(const Tensor& weight, PhiloxStream random, double gain = 1);
void xavier_normal(const Tensor& weight, PhiloxStream random, double gain = 1);

/// What a module draws its own parameters from: streams under its path in the model.
struct Draws {
  uint64_t seed = 0;
  std::string path;  ///< "layers.3", "" for the outermost module
  PhiloxStream operator()(std::string_view parameter) const;
};

/// PyTorch's default of Linear and Conv: weight and bias uniform in +-1/sqrt(fan_in of the weight).
void linear_default(const Tensor& weight, const Tensor& bias, const Draws& draws);

}  // namespace wholestep::nn::init
