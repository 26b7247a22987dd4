// Containers run, name and describe their layers.
#include "wholestep/nn/sequential.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "wholestep/io/config_fields.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/dropout.h"
#include "wholestep/ops/elementwise.h"

namespace wholestep::nn {

Tensor LayerList::run(Tensor x) const {
  for (const auto& layer : layers_) x = (*layer)(x);
  return x;
}

void LayerList::members(const std::string& list, MemberVisitor& member) const {
  for (size_t i = 0; i < layers_.size(); ++i) member.child(fmt::format("{}.{}", list, i), *layers_[i]);
}

void LayerList::write_spec(nlohmann::json& array) const {
  array = nlohmann::json::array();
  for (const auto& layer : layers_) layer->write_spec(array.emplace_back(nlohmann::json::object()));
}

Sequential& Sequential::add(std::unique_ptr<Module> layer) {
  layers_.add(std::move(layer));
  structure_changed();
  return *this;
}

const Module& Sequential::last() const {
  for (size_t i = size(); i-- > 0;)  // layers that change nothing while predicting are looked through
    if (layers_[i].type() != IdentityConfig::kType && layers_[i].type() != DropoutConfig::kType)
      return layers_[i].last();
  return *this;
}

void Sequential::write_spec(nlohmann::json& spec) const {
  write_type(spec, kType);
  layers_.write_spec(spec["layers"]);
}

Residual::Residual(Sequential body, Sequential shortcut, std::source_location where)
    : Module(where), body_(std::move(body).take_layers()), shortcut_(std::move(shortcut).take_layers()) {}

Tensor Residual::forward(const Tensor& x) {
  Tensor straight = shortcut_.run(x), y = body_.run(x);
  if (y.shape() != straight.shape())  // broadcasting would hide the mistake
    refuse(x, "the branches of a Residual differ in shape: layers give " + to_string(y.shape()),
           to_string(straight.shape()),
           shortcut_.empty() ? "give it a shortcut that changes the shape as the layers do"
                             : "make layers and shortcut end in one shape");
  return y + straight;
}

void Residual::members(MemberVisitor& member) {
  body_.members("layers", member);
  shortcut_.members("shortcut", member);
}

void Residual::write_spec(nlohmann::json& spec) const {
  write_type(spec, kType);
  body_.write_spec(spec["layers"]);
  if (!shortcut_.empty()) shortcut_.write_spec(spec["shortcut"]);
}

}  // namespace wholestep::nn
