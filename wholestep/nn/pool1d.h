// Pooling layers over sequences: pooling of pictures of one row.
#pragma once
#include <fmt/format.h>

#include "wholestep/nn/layer.h"
#include "wholestep/ops/pool2d.h"
#include "wholestep/ops/shape.h"

namespace wholestep::nn {

template <bool kMax>
struct Pool1dConfig {
  static constexpr const char* kType = kMax ? "MaxPool1d" : "AvgPool1d";
  static constexpr const char* kDoc = kMax ? "the largest element of every window of x [N, C, L]"
                                           : "the mean of every window of x [N, C, L], padding included";
  int64_t kernel_size = 0;
  int64_t stride = 0;  ///< 0: kernel_size
  int64_t padding = 0;
  ConfigFields fields() {
    return {{"kernel_size", &kernel_size, "elements of a window", {.min = 1}},
            {"stride", &stride, "steps between two windows; 0: kernel_size", {.min = 0}},
            {"padding", &padding, "elements added at each end, at most half the window", {.min = 0}}};
  }
  std::vector<std::string> problems() const {
    if (2 * padding <= kernel_size) return {};
    return {
        fmt::format("'padding' got {}, expected at most half of 'kernel_size', {}", padding, kernel_size)};
  }
};

template <bool kMax>
class Pool1d final : public ConfiguredLayer<Pool1dConfig<kMax>> {
 public:
  explicit Pool1d(Pool1dConfig<kMax> c, std::source_location where = std::source_location::current())
      : ConfiguredLayer<Pool1dConfig<kMax>>(c, where) {}
  Tensor forward(const Tensor& x) override {
    const Pool1dConfig<kMax>& c = this->config();
    if (x.rank() != 3)
      this->refuse(x, fmt::format("the input does not fit a {} layer", c.kType), "[N, C, L]");
    Pool2dOptions options = {
        .kernel = {1, c.kernel_size}, .stride = {0, c.stride}, .padding = {0, c.padding}};
    Tensor row = reshape(x, Shape{x.dim(0), x.dim(1), 1, x.dim(2)});
    Tensor y = kMax ? max_pool2d(row, options) : avg_pool2d(row, options);
    return reshape(y, Shape{y.dim(0), y.dim(1), y.dim(3)});
  }
};

using MaxPool1d = Pool1d<true>;
using AvgPool1d = Pool1d<false>;

}  // namespace wholestep::nn
