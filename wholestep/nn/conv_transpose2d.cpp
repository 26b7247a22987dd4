// ConvTranspose2d.
#include "wholestep/nn/conv_transpose2d.h"

#include <fmt/format.h>

#include "wholestep/nn/conv2d.h"
#include "wholestep/ops/conv_transpose2d.h"

namespace wholestep::nn {

ConfigFields ConvTranspose2dConfig::fields() {
  return {{"in_channels", &in_channels, "channels of x", {.min = 1}},
          {"out_channels", &out_channels, "channels of y", {.min = 1}},
          {"kernel_size", &kernel_size, "rows and columns of a kernel", {.min = 1}},
          {"stride", &stride, "steps between the places of two elements of x", {.min = 1}},
          {"padding", &padding, "rows and columns of y cut off on each side", {.min = 0}},
          {"output_padding", &output_padding, "rows and columns of y more at the end", {.min = 0}},
          {"groups", &groups, "channels are cut into this many parts that do not mix", {.min = 1}},
          {"bias", &bias, "add a learned number a channel"},
          {"dilation", &dilation, "distance between two elements of the kernel", {.min = 1}}};
}

std::vector<std::string> ConvTranspose2dConfig::problems() const {
  std::vector<std::string> problems = channel_problems(in_channels, out_channels, groups);
  if (output_padding.height >= std::max(stride.height, dilation.height) ||
      output_padding.width >= std::max(stride.width, dilation.width))
    problems.push_back("'output_padding' got " + to_string(output_padding) +
                       ", expected less than 'stride' or 'dilation'");
  return problems;
}

ConvTranspose2d::ConvTranspose2d(ConvTranspose2dConfig c, std::source_location where)
    : ConfiguredLayer(c, where),
      weight_(new_parameter(
          {c.in_channels, c.out_channels / c.groups, c.kernel_size.height, c.kernel_size.width})) {
  if (c.bias) bias_ = new_parameter({c.out_channels});
}

Tensor ConvTranspose2d::forward(const Tensor& x) {
  const ConvTranspose2dConfig& c = config();
  if (x.rank() != 4 || x.dim(1) != c.in_channels)
    refuse(x, "the input does not fit a ConvTranspose2d layer", fmt::format("[N, {}, H, W]", c.in_channels),
           "in_channels is the extent of axis 1 of the input");
  return conv_transpose2d(
      x, weight_, bias_,
      {.stride = c.stride, .padding = c.padding, .dilation = c.dilation, .groups = c.groups},
      c.output_padding);
}

void ConvTranspose2d::members(MemberVisitor& member) {
  member.parameter("weight", weight_);
  member.parameter("bias", bias_);
}

}  // namespace wholestep::nn
