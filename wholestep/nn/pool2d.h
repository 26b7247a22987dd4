// Pooling layers.
#pragma once
#include "wholestep/nn/layer.h"

namespace wholestep::nn {

/// What the fields of MaxPool2d and AvgPool2d have in common.
struct Pool2dFields {
  static ConfigFields list(Size2d& kernel_size, Size2d& stride, Size2d& padding, bool& ceil_mode);
  static std::vector<std::string> problems(const Size2d& kernel_size, const Size2d& padding);
};

struct MaxPool2dConfig {
  static constexpr const char *kType = "MaxPool2d", *kDoc = "the largest element of every window";
  Size2d kernel_size = 0;
  Size2d stride = 0;  ///< 0: kernel_size
  Size2d padding = 0;
  bool ceil_mode = false;
  ConfigFields fields() { return Pool2dFields::list(kernel_size, stride, padding, ceil_mode); }
  std::vector<std::string> problems() const { return Pool2dFields::problems(kernel_size, padding); }
};

struct AvgPool2dConfig {
  static constexpr const char *kType = "AvgPool2d", *kDoc = "the mean of every window";
  Size2d kernel_size = 0;
  Size2d stride = 0;  ///< 0: kernel_size
  Size2d padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;
  ConfigFields fields();
  std::vector<std::string> problems() const { return Pool2dFields::problems(kernel_size, padding); }
};

struct AdaptiveAvgPool2dConfig {
  static constexpr const char *kType = "AdaptiveAvgPool2d",
                              *kDoc = "means over a grid of output_size parts, whatever the input's size";
  Size2d output_size = 0;
  ConfigFields fields() { return {{"output_size", &output_size, "rows and columns of y", {.min = 1}}}; }
};

/// PyTorch's nn.MaxPool2d but for dilation and return_indices; max_pool2d_with_argmax() gives the places.
class MaxPool2d final : public ConfiguredLayer<MaxPool2dConfig> {
 public:
  explicit MaxPool2d(MaxPool2dConfig c, std::source_location where = std::source_location::current())
      : ConfiguredLayer(c, where) {}
  Tensor forward(const Tensor& x) override;
};

/// PyTorch's nn.AvgPool2d but for divisor_override.
class AvgPool2d final : public ConfiguredLayer<AvgPool2dConfig> {
 public:
  explicit AvgPool2d(AvgPool2dConfig c, std::source_location where = std::source_location::current())
      : ConfiguredLayer(c, where) {}
  Tensor forward(const Tensor& x) override;
};

class AdaptiveAvgPool2d final : public ConfiguredLayer<AdaptiveAvgPool2dConfig> {
 public:
  explicit AdaptiveAvgPool2d(AdaptiveAvgPool2dConfig c,
                             std::source_location where = std::source_location::current())
      : ConfiguredLayer(c, where) {}
  Tensor forward(const Tensor& x) override;
};

}  // namespace wholestep::nn
