// Conv2d.
#include "wholestep/nn/conv2d.h"

#include <fmt/format.h>

#include "wholestep/nn/padding.h"

namespace wholestep::nn {

ConfigFields Conv2dConfig::fields() {
  return {{"in_channels", &in_channels, "channels of x", {.min = 1}},
          {"out_channels", &out_channels, "channels of y", {.min = 1}},
          {"kernel_size", &kernel_size, "rows and columns of a kernel", {.min = 1}},
          {"stride", &stride, "steps between two places of the kernel", {.min = 1}},
          padding_field(padding),
          {"dilation", &dilation, "distance between two elements of the kernel", {.min = 1}},
          {"groups", &groups, "channels are cut into this many parts that do not mix", {.min = 1}},
          {"bias", &bias, "add a learned number a channel"},
          padding_mode_field(padding_mode)};
}

std::vector<std::string> channel_problems(int64_t in_channels, int64_t out_channels, int64_t groups) {
  std::vector<std::string> problems;
  for (auto [name, channels] : {std::pair{"in_channels", in_channels}, {"out_channels", out_channels}})
    if (channels % groups != 0)
      problems.push_back(
          fmt::format("'{}' got {}, expected a multiple of 'groups' ({})", name, channels, groups));
  return problems;
}

std::vector<std::string> Conv2dConfig::problems() const {
  std::vector<std::string> problems = channel_problems(in_channels, out_channels, groups);
  for (std::string& problem : padding_problems(padding, stride)) problems.push_back(std::move(problem));
  return problems;
}

Conv2d::Conv2d(Conv2dConfig c, std::source_location where)
    : ConfiguredLayer(c, where),
      weight_(new_parameter(
          {c.out_channels, c.in_channels / c.groups, c.kernel_size.height, c.kernel_size.width})) {
  if (c.bias) bias_ = new_parameter({c.out_channels});
}

Tensor Conv2d::forward(const Tensor& x) {
  const Conv2dConfig& c = config();
  if (x.rank() != 4 || x.dim(1) != c.in_channels)
    refuse(x, "the input does not fit a Conv2d layer", fmt::format("[N, {}, H, W]", c.in_channels),
           "in_channels is the extent of axis 1 of the input");
  return padded_conv2d(x, weight_, bias_,
                       {.stride = c.stride, .padding = {}, .dilation = c.dilation, .groups = c.groups},
                       c.padding, c.padding_mode);
}

void Conv2d::members(MemberVisitor& member) {
  member.parameter("weight", weight_);
  member.parameter("bias", bias_);
}

}  // namespace wholestep::nn
