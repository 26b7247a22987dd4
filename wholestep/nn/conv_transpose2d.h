// The transposed convolution layer.
#pragma once
#include "wholestep/nn/layer.h"

namespace wholestep::nn {

struct ConvTranspose2dConfig {
  static constexpr const char *kType = "ConvTranspose2d",
                              *kDoc =
                                  "x [N, in_channels, H, W] spread out by learned kernels: the gradient of a "
                                  "convolution's input";
  int64_t in_channels = 0;
  int64_t out_channels = 0;
  Size2d kernel_size = 0;
  Size2d stride = 1;
  Size2d padding = 0;
  Size2d output_padding = 0;
  int64_t groups = 1;
  bool bias = true;
  Size2d dilation = 1;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// Parameters weight [in_channels, out_channels / groups, Kh, Kw], bias [out_channels].
class ConvTranspose2d final : public ConfiguredLayer<ConvTranspose2dConfig> {
 public:
  explicit ConvTranspose2d(ConvTranspose2dConfig config,
                           std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override;

 protected:
  void members(MemberVisitor& member) override;
  void reset_parameters(const init::Draws& draws) override { init::linear_default(weight_, bias_, draws); }

 private:
  Tensor weight_, bias_;
};

}  // namespace wholestep::nn
