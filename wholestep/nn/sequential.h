// Containers: layers in a row, and a row with a way around it.
#pragma once
#include <concepts>
#include <memory>
#include <vector>

#include "wholestep/nn/module.h"

namespace wholestep::nn {

/// The layers of a container, applied in order and named "<list>.0", "<list>.1", ...
class LayerList {
 public:
  void add(std::unique_ptr<Module> layer) { layers_.push_back(std::move(layer)); }
  bool empty() const { return layers_.empty(); }
  size_t size() const { return layers_.size(); }
  Module& operator[](size_t i) const { return *layers_.at(i); }
  Tensor run(Tensor x) const;
  void members(const std::string& list, MemberVisitor& member) const;
  void write_spec(nlohmann::json& array) const;

 private:
  std::vector<std::unique_ptr<Module>> layers_;
};

/// Layers in a row, called "layers.0", "layers.1", ... as in a PyTorch module that keeps them in self.layers.
class Sequential final : public Module {
 public:
  static constexpr const char *kType = "Sequential", *kDoc = "layers applied one after the other";

  explicit Sequential(std::source_location where = std::source_location::current()) : Module(where) {}
  explicit Sequential(LayerList layers, std::source_location where = std::source_location::current())
      : Module(where), layers_(std::move(layers)) {}
  template <std::derived_from<Module>... Layers>
  requires(sizeof...(Layers) > 0) explicit Sequential(Layers... layers) : Sequential() {
    set_source("");  // the layers say where they were written
    (add(std::move(layers)), ...);
  }

  Sequential& add(std::unique_ptr<Module> layer);
  template <std::derived_from<Module> L>
  Sequential& add(L layer) {
    return add(std::make_unique<L>(std::move(layer)));
  }
  size_t size() const { return layers_.size(); }
  Module& operator[](size_t i) { return layers_[i]; }
  LayerList take_layers() && { return std::move(layers_); }

  Tensor forward(const Tensor& x) override { return layers_.run(x); }
  std::string_view type() const override { return kType; }
  void write_spec(nlohmann::json& spec) const override;
  const Module& last() const override;

 protected:
  void members(MemberVisitor& member) override { layers_.members("layers", member); }

 private:
  LayerList layers_;
};

/// y = body(x) + shortcut(x) (He et al. 2016); an empty shortcut is x itself. Inside, layers are called
/// "layers.0", ... and "shortcut.0", ...
class Residual final : public Module {
 public:
  static constexpr const char *kType = "Residual",
                              *kDoc = "y = layers(x) + shortcut(x), shortcut x by default";

  explicit Residual(Sequential body, Sequential shortcut = Sequential(),
                    std::source_location where = std::source_location::current());

  Tensor forward(const Tensor& x) override;
  std::string_view type() const override { return kType; }
  void write_spec(nlohmann::json& spec) const override;

 protected:
  void members(MemberVisitor& member) override;

 private:
  LayerList body_, shortcut_;
};

}  // namespace wholestep::nn
