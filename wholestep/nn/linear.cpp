// Linear.
#include "wholestep/nn/linear.h"

#include "wholestep/ops/matmul.h"

namespace wholestep::nn {

Linear::Linear(LinearConfig c, std::source_location where)
    : ConfiguredLayer(c, where), weight_(new_parameter({c.out_features, c.in_features})) {
  if (c.bias) bias_ = new_parameter({c.out_features});
}

Tensor Linear::forward(const Tensor& x) {
  int64_t in = config().in_features;
  if (x.rank() < 1 || x.shape().back() != in)
    refuse(x, "the input does not fit a Linear layer", "[..., " + std::to_string(in) + "]",
           x.rank() > 2 && x.numel() / x.dim(0) == in ? "put a Flatten layer before it"
                                                      : "in_features is the extent of the input's last axis");
  return linear(x, weight_, bias_);
}

void Linear::members(MemberVisitor& member) {
  member.parameter("weight", weight_);
  member.parameter("bias", bias_);
}

}  // namespace wholestep::nn
