// The convolution layer.
#pragma once
#include "wholestep/nn/layer.h"

namespace wholestep::nn {

/// What is wrong with the channels of a convolution in groups.
std::vector<std::string> channel_problems(int64_t in_channels, int64_t out_channels, int64_t groups);

struct Conv2dConfig {
  static constexpr const char *kType = "Conv2d", *kDoc =
                                                     "cross-correlation of x [N, in_channels, H, W] with "
                                                     "learned kernels";
  int64_t in_channels = 0;
  int64_t out_channels = 0;
  Size2d kernel_size = 0;
  Size2d stride = 1;
  Padding padding = 0;
  Size2d dilation = 1;
  int64_t groups = 1;
  bool bias = true;
  std::string padding_mode = "zeros";
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// Parameters weight [out_channels, in_channels / groups, Kh, Kw], bias [out_channels].
class Conv2d final : public ConfiguredLayer<Conv2dConfig> {
 public:
  explicit Conv2d(Conv2dConfig config, std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override;

 protected:
  void members(MemberVisitor& member) override;
  void reset_parameters(const init::Draws& draws) override { init::linear_default(weight_, bias_, draws); }

 private:
  Tensor weight_, bias_;
};

}  // namespace wholestep::nn
