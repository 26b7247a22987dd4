// Module's walks over its members, and the call with its scope.
#include "wholestep/nn/module.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <ranges>
#include <set>

#include "wholestep/backend/device.h"
#include "wholestep/compile/compile.h"
#include "wholestep/ops/elementwise.h"

namespace wholestep::nn {
namespace {

thread_local ForwardHook* innermost_hook = nullptr;

std::string joined(const std::string& path, const std::string& name) {
  return path.empty() ? name : name.empty() ? path : path + "." + name;
}

}  // namespace

/// Goes through a module and everything inside it, depth first, with full names.
struct Module::Walk : MemberVisitor {
  std::function<void(Module& module, const std::string& path)> on_module = [](Module&, const std::string&) {};
  std::function<void(const std::string& full_name, Tensor&)> on_parameter = [](const std::string&, Tensor&) {
  };
  std::function<void(const std::string& full_name, Tensor&)> on_buffer = [](const std::string&, Tensor&) {};

  void run(Module& module) {
    on_module(module, path_);
    module.members(*this);
  }
  void parameter(const std::string& name, Tensor& tensor) override {
    if (tensor.defined()) on_parameter(joined(path_, name), tensor);
  }
  void buffer(const std::string& name, Tensor& tensor) override {
    if (tensor.defined()) on_buffer(joined(path_, name), tensor);
  }
  void child(const std::string& name, Module& module) override {
    std::string before = std::exchange(path_, joined(path_, name));
    module.name_ = name;
    run(module);
    path_ = std::move(before);
  }

 private:
  std::string path_;
};

Module::Module(std::source_location where) : source_(source_line(where)) {}

Tensor Module::operator()(const Tensor& x) {
  return call(x, [&] { return forward(x); });
}

Tensor Module::call(const Tensor& x, FunctionRef<Tensor()> forward) {
  prepare();
  Scope scope(name_, source_);
  Tensor y;
  try {
    y = forward();
  } catch (const Error& error) {  // from a check that knows no layer: say which it was
    if (error.parts().where.find(Scope::path()) != std::string::npos) throw;
    throw error.within(Scope::source() + ": " + Scope::path() + ": " + description());
  }
  for (ForwardHook* hook = innermost_hook; hook; hook = hook->before_) hook->called_(*this, x, y);
  return y;
}

void Module::prepare() {
  if (ready_) return;
  draw_parameters(0, [](const Module& module) { return !module.ready_; });
}

void Module::initialize(uint64_t seed) {
  draw_parameters(seed, [](const Module&) { return true; });
}

void Module::draw_parameters(uint64_t seed, FunctionRef<bool(const Module&)> wanted) {
  set_names();
  std::vector<std::pair<Module*, std::string>> modules;
  Walk walk;
  walk.on_module = [&](Module& module, const std::string& path) { modules.emplace_back(&module, path); };
  walk.run(*this);
  for (auto& [module, path] : modules | std::views::reverse) {
    if (wanted(*module)) module->reset_parameters({.seed = seed, .path = path});
    module->ready_ = true;
  }
}

void Module::set_names() {
  std::vector<const Tensor::Impl*> seen;  // a tensor used twice keeps its first name
  auto first = [&](const Tensor& t) {
    if (std::ranges::find(seen, t.impl().get()) != seen.end()) return false;
    seen.push_back(t.impl().get());
    return true;
  };
  Walk walk;
  walk.on_parameter = [&](const std::string& name, Tensor& t) {
    if (first(t)) t.set_role(TensorRole::kParameter, name);
  };
  walk.on_buffer = [&](const std::string& name, Tensor& t) {
    if (first(t)) t.set_role(TensorRole::kState, name);
  };
  walk.run(*this);
}

NamedTensors Module::named_parameters() {
  prepare();
  NamedTensors named;
  Walk walk;
  walk.on_parameter = [&](const std::string& name, Tensor& t) {
    if (std::ranges::none_of(named, [&](const auto& other) { return other.second.impl() == t.impl(); }))
      named.emplace_back(name, t);
  };
  walk.run(*this);
  return named;
}

NamedTensors Module::named_buffers() {
  prepare();
  NamedTensors named;
  Walk walk;
  walk.on_buffer = [&](const std::string& name, Tensor& t) { named.emplace_back(name, t); };
  walk.run(*this);
  return named;
}

std::vector<Tensor> Module::parameters() {
  std::vector<Tensor> tensors;
  for (const auto& [name, tensor] : named_parameters()) tensors.push_back(tensor);
  return tensors;
}

Module& Module::freeze() {
  for (Tensor& t : parameters()) t.set_requires_grad(false);
  return *this;
}
Module& Module::unfreeze() {
  for (Tensor& t : parameters()) t.set_requires_grad();
  return *this;
}
std::vector<Tensor> Module::trainable_parameters() {
  std::vector<Tensor> tensors = parameters();
  std::erase_if(tensors, [](const Tensor& t) { return !t.requires_grad(); });
  return tensors;
}

void Module::to(DType dtype) {
  if (!is_floating(dtype))
    throw Error(ErrorCode::kUsage, {.what = "parameters are floating-point numbers",
                                    .got = std::string(name(dtype)),
                                    .expected = "f32, f64, f16 or bf16"});
  prepare();
  NoGrad no_grad;
  std::map<std::shared_ptr<Tensor::Impl>, Tensor> converted;  // a tensor used twice stays one tensor
  auto convert = [&](const std::string&, Tensor& t) {
    if (!is_floating(t.dtype()) || t.dtype() == dtype) return;
    Tensor& to = converted[t.impl()];
    if (!to.defined()) {
      to = cast(t, dtype).detach();
      to.set_role(t.role(), t.name()).set_requires_grad(t.requires_grad());
    }
    t = to;
  };
  Walk walk;
  walk.on_parameter = walk.on_buffer = convert;
  walk.run(*this);
}

void Module::to(Backend& device) {
  prepare();
  std::vector<Tensor> moved;
  std::set<const Storage*> seen;  // a tensor used twice moves once
  Walk walk;
  walk.on_parameter = walk.on_buffer = [&](const std::string&, Tensor& t) {
    const Storage& storage = *t.impl()->storage;
    if (!lies_on(storage, device) && seen.insert(&storage).second) moved.push_back(t);
  };
  walk.run(*this);
  if (!moved.empty()) pack(device, moved);
}

void Module::to(const std::string& device) { to(*find_device(device).backend); }

Module& Module::train(bool on) {
  Walk walk;
  walk.on_module = [on](Module& module, const std::string&) { module.training_ = on; };
  walk.run(*this);
  return *this;
}

void Module::set_source(const std::string& source) {
  const std::string before = source_;
  Walk walk;
  walk.on_module = [&](Module& module, const std::string&) {
    if (module.source_ == before) module.source_ = source;
  };
  walk.run(*this);
}

void Module::write_spec(nlohmann::json&) const {
  throw Error(ErrorCode::kUsage, {.what = fmt::format("{} has no form in model.json", type()),
                                  .where = source_,
                                  .hint = "only models made of the library's layers can be saved as a model "
                                          "description; their weights always can"});
}

void Module::refuse(const Tensor& x, const std::string& what, const std::string& expected,
                    const std::string& hint) const {
  std::string place = Scope::path().empty() ? description() : Scope::path() + ": " + description();
  throw Error(ErrorCode::kUsage, {.what = what,
                                  .where = Scope::source() + ": " + place,
                                  .got = "x " + to_string(x.type()),
                                  .expected = expected,
                                  .hint = hint});
}

Tensor Module::new_parameter(const Shape& shape) {
  Tensor t = zeros({DType::f32, shape});
  t.set_requires_grad();
  return t;
}

Fitting copy_fitting(Module& from, Module& to) {
  auto all = [](Module& module) {
    NamedTensors named = module.named_parameters();
    for (auto& buffer : module.named_buffers()) named.push_back(std::move(buffer));
    return named;
  };
  std::map<std::string, Tensor> old;
  for (auto& [name, tensor] : all(from)) old[name] = tensor;
  Fitting result;
  for (auto& [name, tensor] : all(to)) {
    auto found = old.find(name);
    bool fits = found != old.end() && found->second.type() == tensor.type();
    if (fits) tensor.write(found->second.to_host().bytes());
    (fits ? result.kept : result.fresh).push_back(name);
  }
  return result;
}

ForwardHook::ForwardHook(Called called)
    : called_(std::move(called)), before_(std::exchange(innermost_hook, this)) {}
ForwardHook::~ForwardHook() { innermost_hook = before_; }

std::string source_line(std::source_location where) {
  std::string_view file = where.file_name();
  if (size_t slash = file.rfind('/'); slash != std::string_view::npos) file = file.substr(slash + 1);
  return fmt::format("{}:{}", file, where.line());
}

}  // namespace wholestep::nn
