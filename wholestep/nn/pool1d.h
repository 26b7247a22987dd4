// Pooling layers over sequences: pooling of pictures of one row.
#pragma once
#include <fmt/format.h>

#include "wholestep/nn/layer.h"
#include "wholestep/ops/pool2d.h"
#include "wholestep/ops/shape.h"

namespace wholestep::nn {

/// What the fields of MaxPool1d and AvgPool1d have in common.
struct Pool1dFields {
  static ConfigFields list(int64_t& kernel_size, int64_t& stride, int64_t& padding, bool& ceil_mode) {
    return {{"kernel_size", &kernel_size, "elements of a window", {.min = 1}},
            {"stride", &stride, "steps between two windows; 0: kernel_size", {.min = 0}},
            {"padding", &padding, "elements added at each end, at most half the window", {.min = 0}},
            {"ceil_mode", &ceil_mode, "also a window that ends behind the padding, if it begins before it"}};
  }
  static std::vector<std::string> problems(int64_t kernel_size, int64_t padding) {
    if (2 * padding <= kernel_size) return {};
    return {
        fmt::format("'padding' got {}, expected at most half of 'kernel_size', {}", padding, kernel_size)};
  }
};

struct MaxPool1dConfig {
  static constexpr const char *kType = "MaxPool1d",
                              *kDoc = "the largest element of every window of x [N, C, L]";
  int64_t kernel_size = 0;
  int64_t stride = 0;  ///< 0: kernel_size
  int64_t padding = 0;
  bool ceil_mode = false;
  ConfigFields fields() { return Pool1dFields::list(kernel_size, stride, padding, ceil_mode); }
  std::vector<std::string> problems() const { return Pool1dFields::problems(kernel_size, padding); }
  Tensor pool(const Tensor& x, const Pool2dOptions& options) const {
    return max_pool2d(x, options, ceil_mode);
  }
};

struct AvgPool1dConfig {
  static constexpr const char *kType = "AvgPool1d", *kDoc = "the mean of every window of x [N, C, L]";
  int64_t kernel_size = 0;
  int64_t stride = 0;  ///< 0: kernel_size
  int64_t padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;
  ConfigFields fields() {
    ConfigFields fields = Pool1dFields::list(kernel_size, stride, padding, ceil_mode);
    fields.push_back({"count_include_pad", &count_include_pad, "padding counts as zeros in the means"});
    return fields;
  }
  std::vector<std::string> problems() const { return Pool1dFields::problems(kernel_size, padding); }
  Tensor pool(const Tensor& x, const Pool2dOptions& options) const {
    return avg_pool2d(x, options, ceil_mode, count_include_pad);
  }
};

/// PyTorch's nn.MaxPool1d, but for dilation and return_indices, and nn.AvgPool1d.
template <class PoolConfig>
class Pool1d final : public ConfiguredLayer<PoolConfig> {
 public:
  explicit Pool1d(PoolConfig c, std::source_location where = std::source_location::current())
      : ConfiguredLayer<PoolConfig>(c, where) {}
  Tensor forward(const Tensor& x) override {
    const PoolConfig& c = this->config();
    if (x.rank() != 3)
      this->refuse(x, fmt::format("the input does not fit a {} layer", c.kType), "[N, C, L]");
    Pool2dOptions options = {
        .kernel = {1, c.kernel_size}, .stride = {0, c.stride}, .padding = {0, c.padding}};
    Tensor y = c.pool(reshape(x, Shape{x.dim(0), x.dim(1), 1, x.dim(2)}), options);
    return reshape(y, Shape{y.dim(0), y.dim(1), y.dim(3)});
  }
};

using MaxPool1d = Pool1d<MaxPool1dConfig>;
using AvgPool1d = Pool1d<AvgPool1dConfig>;

}  // namespace wholestep::nn
