#include "wholestep/nn/gradient_flow.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"

namespace wholestep::nn {
namespace {

double squares(const Tensor& t) { return sum_squares({t.detach()}).item<double>(); }

}  // namespace

GradientFlow::GradientFlow(Module& model) {
  for (const auto& [name, parameter] : model.named_parameters()) {
    const size_t dot = name.rfind('.');
    entries_.push_back({dot == std::string::npos ? "" : name.substr(0, dot), parameter, parameter.clone()});
  }
}

std::vector<LayerFlow> GradientFlow::layers() const {
  NoGrad no_grad;
  std::vector<LayerFlow> layers;  // of squares first
  for (const Entry& entry : entries_) {
    auto found = std::ranges::find(layers, entry.layer, &LayerFlow::layer);
    LayerFlow& flow = found != layers.end() ? *found : layers.emplace_back(LayerFlow{.layer = entry.layer});
    const Tensor gradient = entry.parameter.grad();
    flow.parameter += squares(entry.parameter);
    flow.gradient += gradient.defined() ? squares(gradient) : 0;
    flow.update += squares(entry.parameter.to_host() - entry.before);
  }
  for (LayerFlow& flow : layers)
    for (double* norm : {&flow.parameter, &flow.gradient, &flow.update}) *norm = std::sqrt(*norm);
  return layers;
}

std::string GradientFlow::report() const {
  std::string text = fmt::format("{:24} {:>11} {:>11} {:>11}\n", "layer", "parameter", "gradient", "update");
  for (const LayerFlow& flow : layers())
    text += fmt::format("{:24} {:11.4g} {:11.4g} {:11.4g}\n", flow.layer.empty() ? "-" : flow.layer,
                        flow.parameter, flow.gradient, flow.update);
  return text;
}

}  // namespace wholestep::nn
