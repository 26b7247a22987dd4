// OpDef, one row of the op table, and apply(), which runs or records it. Everything the framework knows about
// an op is a reading of its row: inference, differentiation, kernels, cost, documentation and the cases its
// tests run.
#pragma once
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "wholestep/backend/backend.h"
#include "wholestep/graph/tensor.h"

namespace wholestep {

using Types = std::vector<TensorType>;
struct OpDef;

/// One application of an op, as the gradient rule sees it. Tensors are concrete in eager mode, symbolic in a
/// trace.
struct OpRecord {
  const OpDef& op;
  const Attrs& attrs;
  std::vector<Tensor> inputs, outputs;
  std::vector<bool> needs_grad;  ///< per input: rules may leave the others undefined
};

/// A request the test suite runs on every kernel, in every mode: operand types, attributes, and where values
/// may lie.
struct OpCase {
  Types inputs;
  Attrs attrs = {};
  double low = -2, high = 2;  ///< range of floating-point operands
  int64_t bound = 3;          ///< integer operands are in [0, bound)
  bool distinct = false;  ///< elements of an operand at least 1e-3 apart and away from 0 (kinks: max, relu)
  double multiple = 0;    ///< floating-point elements are rounded to multiples of it, so that sums are exact
};

struct OpDef {
  std::string name;
  std::string doc;                    ///< formula and where it is from
  std::vector<std::string> operands;  ///< names of the inputs, for messages
  /// "a [M, K], b [K, N] -> [M, N]" of operands and results, in order. "..." in brackets is any axes, which
  /// broadcast; behind an item, more of any shape; "shape..." the extents in an attribute. For the reference.
  std::string shapes = {};
  /// Types of the results; kUsage, saying what and why, for operands that do not fit.
  Types (*infer)(std::span<const TensorType> inputs, const Attrs& attrs) = nullptr;
  /// Gradients of the inputs, in this library's own ops; an undefined Tensor means no gradient. Of the output
  /// gradients at least one is defined; those of results that nothing depends on are not. Null: not
  /// differentiable.
  std::vector<Tensor> (*vjp)(const OpRecord& record, std::span<const Tensor> output_grads) = nullptr;
  std::string gradient = {};  ///< its formula, "dx = g * y, dy = g * x"; g, g1, ... are the results'
  double (*flops)(const KernelRequest& request) = nullptr;  ///< null: one per output element
  std::vector<OpCase> (*cases)() = nullptr;
  std::vector<Kernel> kernels = {};
  bool elementwise = false;  ///< computed element by element from broadcast inputs: may join a fused region
  bool takes_half = false;   ///< its kernels and its rule take f16 and bf16 as they are; else see widen.h
  std::source_location where = std::source_location::current();  ///< of the row
};

/// Of one call, as the row counts them.
double flops(const OpDef& op, const KernelRequest& request);

/// Every op, in the order of the documentation. Defined by ops/registry.cpp, the one list.
const std::vector<const OpDef*>& all_ops();
const OpDef& find_op(std::string_view name);  ///< kFailure where there is none

/// Infers the result types (errors name op, operands and the layer being built), then runs the op at once
/// where every input is concrete, or records it in the trace the inputs belong to.
std::vector<Tensor> apply(const OpDef& op, const std::vector<Tensor>& inputs, const Attrs& attrs = {});
/// An op without operands, at once and on this device.
std::vector<Tensor> apply_on(Backend& device, const OpDef& op, const Attrs& attrs);
/// Attributes of the op "full", whose result has this type and `value` everywhere.
Attrs full_attrs(double value, const TensorType& type);
/// For ops of one output.
Tensor apply1(const OpDef& op, const std::vector<Tensor>& inputs, const Attrs& attrs = {});

/// Result types with errors that name the op and its operands. Attribute squares, of any op and set by
/// compile/squares.cpp, asks for one more: so many f64 whose sum is that of the squares of all other results.
/// Attribute operand_squares, of a product, asks for so many whose sum is at least that of the squares of its
/// second operand, and not finite where one of its elements is not.
Types infer_types(const OpDef& op, std::span<const TensorType> inputs, const Attrs& attrs);

struct KernelChoice {
  const Kernel* kernel = nullptr;
  std::vector<std::string> refusals;  ///< "direct: groups is 2"
};
/// The first kernel of `backend` that accepts, and why the ones before it did not.
KernelChoice choose_kernel(const OpDef& op, const KernelRequest& request, std::string_view backend);

/// Names the part of the model being built: a path such as "layers.3" and where the user wrote it. While
/// alive, ops applied on this thread carry it and errors point at it.
class Scope {
 public:
  Scope(const std::string& name, std::string source);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  static const std::string& path();    ///< "layers.3", "" outside any scope
  static const std::string& source();  ///< "lenet.cpp:12"

 private:
  std::string path_before_, source_before_;
};

}  // namespace wholestep
