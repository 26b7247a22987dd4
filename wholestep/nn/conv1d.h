// The convolution layer over sequences.
#pragma once
#include "wholestep/nn/layer.h"

namespace wholestep::nn {

struct Conv1dConfig {
  static constexpr const char *kType = "Conv1d",
                              *kDoc = "cross-correlation of x [N, in_channels, L] with learned kernels";
  int64_t in_channels = 0;
  int64_t out_channels = 0;
  int64_t kernel_size = 0;
  int64_t stride = 1;
  Padding padding = 0;
  int64_t dilation = 1;
  int64_t groups = 1;
  bool bias = true;
  std::string padding_mode = "zeros";
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// Parameters weight [out_channels, in_channels / groups, kernel_size], bias [out_channels].
class Conv1d final : public ConfiguredLayer<Conv1dConfig> {
 public:
  explicit Conv1d(Conv1dConfig config, std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override;

 protected:
  void members(MemberVisitor& member) override;
  void reset_parameters(const init::Draws& draws) override { init::linear_default(weight_, bias_, draws); }

 private:
  Tensor weight_, bias_;
};

}  // namespace wholestep::nn
