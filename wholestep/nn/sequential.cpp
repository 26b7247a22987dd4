// Containers run, name and describe their layers.
#include "wholestep/nn/sequential.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "wholestep/io/config_fields.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/dropout.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/shape.h"

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

namespace {

void check_layer(size_t i, size_t count) {
  if (i >= count)
    throw Error(ErrorCode::kUsage, {.what = "there is no such layer",
                                    .got = std::to_string(i),
                                    .expected = fmt::format("less than {}", count)});
}

}  // namespace

void LayerList::insert(size_t i, std::unique_ptr<Module> layer) {
  check_layer(i, layers_.size() + 1);
  layers_.insert(layers_.begin() + static_cast<std::ptrdiff_t>(i), std::move(layer));
}

void LayerList::erase(size_t i) {
  check_layer(i, layers_.size());
  layers_.erase(layers_.begin() + static_cast<std::ptrdiff_t>(i));
}

Sequential& Sequential::insert(size_t i, std::unique_ptr<Module> layer) {
  layers_.insert(i, std::move(layer));
  structure_changed();
  return *this;
}

Sequential& Sequential::erase(size_t i) {
  layers_.erase(i);
  structure_changed();
  return *this;
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

ConfigFields ParallelConfig::fields() {
  return {{"join", &join, "how the results become one", {}, {"concat", "sum"}},
          {"dim", &dim, "axis along which they are concatenated"}};
}

Parallel::Parallel(Sequential branches, ParallelConfig config, std::source_location where)
    : Module(where),
      branches_(std::move(branches).take_layers()),
      config_(checked_config(source() + ": " + Config::kType, std::move(config))) {}

Tensor Parallel::forward(const Tensor& x) {
  if (branches_.empty()) refuse(x, "a Parallel has no layers", "at least one");
  std::vector<Tensor> results;
  for (size_t i = 0; i < branches_.size(); ++i) results.push_back(branches_[i](x));
  if (config_.join == "concat") return concat(results, config_.dim);
  Tensor total = results[0];
  for (size_t i = 1; i < results.size(); ++i) {
    if (results[i].shape() != total.shape())  // broadcasting would hide the mistake
      refuse(x, "the layers of a Parallel differ in shape: one gives " + to_string(results[i].shape()),
             to_string(total.shape()));
    total = total + results[i];
  }
  return total;
}

void Parallel::write_spec(nlohmann::json& spec) const {
  write_config(spec, config_);
  branches_.write_spec(spec["layers"]);
}

}  // namespace wholestep::nn
