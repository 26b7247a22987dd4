// Conv1d: a convolution of pictures of one row.
#include "wholestep/nn/conv1d.h"

#include <fmt/format.h>

#include "wholestep/nn/conv2d.h"
#include "wholestep/nn/padding.h"
#include "wholestep/ops/shape.h"

namespace wholestep::nn {

ConfigFields Conv1dConfig::fields() {
  return {{"in_channels", &in_channels, "channels of x", {.min = 1}},
          {"out_channels", &out_channels, "channels of y", {.min = 1}},
          {"kernel_size", &kernel_size, "elements of a kernel", {.min = 1}},
          {"stride", &stride, "steps between two places of the kernel", {.min = 1}},
          padding_field(padding),
          {"dilation", &dilation, "distance between two elements of the kernel", {.min = 1}},
          {"groups", &groups, "channels are cut into this many parts that do not mix", {.min = 1}},
          {"bias", &bias, "add a learned number a channel"},
          padding_mode_field(padding_mode)};
}

std::vector<std::string> Conv1dConfig::problems() const {
  std::vector<std::string> problems = channel_problems(in_channels, out_channels, groups);
  for (std::string& problem : padding_problems(padding, stride)) problems.push_back(std::move(problem));
  if (padding.height != padding.width)
    problems.push_back(fmt::format("'padding' got {}, expected one number", to_string(padding)));
  return problems;
}

Conv1d::Conv1d(Conv1dConfig c, std::source_location where)
    : ConfiguredLayer(c, where),
      weight_(new_parameter({c.out_channels, c.in_channels / c.groups, c.kernel_size})) {
  if (c.bias) bias_ = new_parameter({c.out_channels});
}

Tensor Conv1d::forward(const Tensor& x) {
  const Conv1dConfig& c = config();
  if (x.rank() != 3 || x.dim(1) != c.in_channels)
    refuse(x, "the input does not fit a Conv1d layer", fmt::format("[N, {}, L]", c.in_channels),
           "in_channels is the extent of axis 1 of the input");
  auto with_row = [](const Tensor& t) { return reshape(t, Shape{t.dim(0), t.dim(1), 1, t.dim(2)}); };
  Padding padding = c.padding;
  padding.height = 0;
  Tensor y =
      padded_conv2d(with_row(x), with_row(weight_), bias_,
                    {.stride = {1, c.stride}, .padding = {}, .dilation = {1, c.dilation}, .groups = c.groups},
                    padding, c.padding_mode);
  return reshape(y, Shape{y.dim(0), y.dim(1), y.dim(3)});
}

void Conv1d::members(MemberVisitor& member) {
  member.parameter("weight", weight_);
  member.parameter("bias", bias_);
}

}  // namespace wholestep::nn
