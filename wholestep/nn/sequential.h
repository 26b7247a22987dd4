// Containers: layers in a row, a row with a way around it, and layers side by side.
#pragma once
#include <concepts>
#include <memory>
#include <vector>

#include "wholestep/io/config_fields.h"
#include "wholestep/nn/module.h"

namespace wholestep::nn {

/// The layers of a container, applied in order and named "<list>.0", "<list>.1", ...
class LayerList {
 public:
  void add(std::unique_ptr<Module> layer) { layers_.push_back(std::move(layer)); }
  void insert(size_t i, std::unique_ptr<Module> layer);
  void erase(size_t i);
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

  // Editing. Layers that stay keep their weights; new ones draw theirs on next use. Optimizers and plans made
  // before know nothing of it. kUsage where there is no layer i.
  Sequential& insert(size_t i, std::unique_ptr<Module> layer);  ///< before layer i, or at the end
  Sequential& erase(size_t i);
  Sequential& replace(size_t i, std::unique_ptr<Module> layer) {
    return erase(i).insert(i, std::move(layer));
  }
  template <std::derived_from<Module> L>
  Sequential& insert(size_t i, L layer) {
    return insert(i, std::make_unique<L>(std::move(layer)));
  }
  template <std::derived_from<Module> L>
  Sequential& replace(size_t i, L layer) {
    return replace(i, std::make_unique<L>(std::move(layer)));
  }
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

struct ParallelConfig {
  static constexpr const char *kType = "Parallel", *kDoc = "each layer applied to x, their results joined";
  std::string join = "concat";
  int64_t dim = 1;
  ConfigFields fields();
};

/// y = the results of all layers for the same x, concatenated along dim, or added. Inside, layers are called
/// "layers.0",
/// ...
class Parallel final : public Module {
 public:
  using Config = ParallelConfig;
  explicit Parallel(Sequential branches, ParallelConfig config = {},
                    std::source_location where = std::source_location::current());

  Tensor forward(const Tensor& x) override;
  std::string_view type() const override { return Config::kType; }
  void write_spec(nlohmann::json& spec) const override;

 protected:
  void members(MemberVisitor& member) override { branches_.members("layers", member); }

 private:
  LayerList branches_;
  ParallelConfig config_;
};

}  // namespace wholestep::nn
