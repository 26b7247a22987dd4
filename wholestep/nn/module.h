// Module: a function of one tensor with parameters of its own. Calling it runs at once on a concrete tensor
// and records on a symbolic one. Modules are moved, never copied: a copy would share its parameters by
// surprise.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wholestep/base/function_ref.h"
#include "wholestep/graph/op.h"
#include "wholestep/nn/init.h"

namespace wholestep::nn {

class Module;
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// Visits what a module is made of; see Module::members().
class MemberVisitor {
 public:
  virtual ~MemberVisitor() = default;
  virtual void parameter(const std::string& name, Tensor& tensor) = 0;  ///< trained
  virtual void buffer(const std::string& name, Tensor& tensor) = 0;     ///< kept, not trained
  virtual void child(const std::string& name, Module& module) = 0;
};

class Module {
 public:
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  virtual Tensor forward(const Tensor& x) = 0;
  /// forward(), with the module's path and source line attached to every op and error inside. The first call
  /// draws the parameters from seed 0 where initialize() has not been called.
  Tensor operator()(const Tensor& x);

  // Parameters and buffers under PyTorch's names ("layers.0.weight"), each once, in order of declaration.
  std::vector<Tensor> parameters();
  NamedTensors named_parameters();
  NamedTensors named_buffers();

  /// Takes every parameter out of training, or back in: requires_grad() off or on. What optimizers attach to,
  /// gradients and updates are of trainable_parameters() alone. (Buffers go on as before; eval() stops them.)
  Module& freeze();
  Module& unfreeze();
  std::vector<Tensor> trainable_parameters();

  /// Draws every parameter anew, each from a stream of its own keyed by (seed, full name), and resets
  /// buffers.
  void initialize(uint64_t seed);
  /// Gives every tensor its full name, counted from this module, and its role in a trace. Happens by itself
  /// on first use; call it after changing the structure of a module that was used before.
  void set_names();
  /// Converts floating-point parameters and buffers (new tensors; attach optimizers afterwards).
  void to(DType dtype);
  /// Moves parameters and buffers to a device, for eager calls there; compiled steps move them by themselves.
  void to(Backend& device);
  void to(const std::string& device);  ///< "cpu", "cuda", "cuda:N"; kBadConfig naming what there is

  Module& train(bool on = true);  ///< of this module and all inside it; on after construction
  Module& eval() { return train(false); }
  bool training() const { return training_; }

  virtual std::string_view type() const { return "Module"; }
  virtual std::string description() const { return std::string(type()); }  ///< "Linear(in_features=4, ...)"
  /// Adds this module's part of model.json to an object; kUsage for modules written in C++ only.
  virtual void write_spec(nlohmann::json& spec) const;
  virtual const Module& last() const { return *this; }  ///< the innermost module that makes the output

  const std::string& source() const { return source_; }
  /// Of this module and of those inside it that were made where it was.
  void set_source(const std::string& source);

 protected:
  explicit Module(std::source_location where = std::source_location::current());
  Module(Module&&) = default;
  Module& operator=(Module&&) = default;

  /// Names every parameter, buffer and child to the visitor, always the same ones in the same order.
  virtual void members(MemberVisitor&) {}
  /// Sets own parameters and buffers to fresh values. The children have drawn theirs, which a module made of
  /// layers may change.
  virtual void reset_parameters(const init::Draws&) {}
  /// What operator() does around forward(), for calls with other operands, of which x is the first.
  Tensor call(const Tensor& x, FunctionRef<Tensor()> forward);
  /// Throws kUsage naming layer, operand and expectation.
  [[noreturn]] void refuse(const Tensor& x, const std::string& what, const std::string& expected,
                           const std::string& hint = "") const;
  /// To be called where children or parameters were added, so that they are named and drawn on next use.
  void structure_changed() { ready_ = false; }
  /// Room for a parameter: f32 zeros until it is initialised.
  static Tensor new_parameter(const Shape& shape);

 private:
  struct Walk;
  void prepare();
  /// Of the modules wanted: what a module holds first, then the module itself.
  void draw_parameters(uint64_t seed, FunctionRef<bool(const Module&)> wanted);

  std::string name_;    // within the parent
  std::string source_;  // "lenet.cpp:12"
  bool training_ = true, ready_ = false;
};

/// Which of a module's tensors another one had.
struct Fitting {
  std::vector<std::string> kept, fresh;  ///< names: copied, and left as they were
};
/// Copies into `to` every parameter and buffer that `from` has under the same name with the same shape and
/// dtype: what is left of a model's training when some of its layers are others.
Fitting copy_fitting(Module& from, Module& to);

/// While alive, `called` hears of every module call on this thread after it returns: for summaries,
/// activation statistics. Scope::path() is the module's path during the call.
class ForwardHook {
 public:
  using Called = std::function<void(Module& module, const Tensor& x, const Tensor& y)>;
  explicit ForwardHook(Called called);
  ~ForwardHook();
  ForwardHook(const ForwardHook&) = delete;
  ForwardHook& operator=(const ForwardHook&) = delete;

 private:
  friend class Module;
  Called called_;
  ForwardHook* before_;
};

/// "lenet.cpp:12"
std::string source_line(std::source_location where);

}  // namespace wholestep::nn
