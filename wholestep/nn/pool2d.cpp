// Pooling layers over the pooling ops.
#include "wholestep/nn/pool2d.h"

#include "wholestep/ops/pool2d.h"

namespace wholestep::nn {

ConfigFields Pool2dFields::list(Size2d& kernel_size, Size2d& stride, Size2d& padding, bool& ceil_mode) {
  return {{"kernel_size", &kernel_size, "rows and columns of a window", {.min = 1}},
          {"stride", &stride, "steps between two windows; 0: kernel_size", {.min = 0}},
          {"padding", &padding, "rows and columns added on each side, at most half the window", {.min = 0}},
          {"ceil_mode", &ceil_mode, "also windows that end behind the padding, if they begin before it"}};
}

ConfigFields AvgPool2dConfig::fields() {
  ConfigFields fields = Pool2dFields::list(kernel_size, stride, padding, ceil_mode);
  fields.push_back({"count_include_pad", &count_include_pad, "padding counts as zeros in the means"});
  return fields;
}

std::vector<std::string> Pool2dFields::problems(const Size2d& kernel_size, const Size2d& padding) {
  if (2 * padding.height > kernel_size.height || 2 * padding.width > kernel_size.width)
    return {"'padding' got " + to_string(padding) + ", expected at most half of 'kernel_size', " +
            to_string(kernel_size)};
  return {};
}

Tensor MaxPool2d::forward(const Tensor& x) {
  const Config& c = config();
  return max_pool2d(x, {.kernel = c.kernel_size, .stride = c.stride, .padding = c.padding}, c.ceil_mode);
}

Tensor AvgPool2d::forward(const Tensor& x) {
  const Config& c = config();
  return avg_pool2d(x, {.kernel = c.kernel_size, .stride = c.stride, .padding = c.padding}, c.ceil_mode,
                    c.count_include_pad);
}

Tensor AdaptiveAvgPool2d::forward(const Tensor& x) { return adaptive_avg_pool2d(x, config().output_size); }

}  // namespace wholestep::nn
