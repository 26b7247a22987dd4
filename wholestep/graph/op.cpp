// apply(): inference with good errors, then record or run. Kernel choice is the same for eager and compiled
// execution.
#include "wholestep/graph/op.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <unordered_map>

#include "wholestep/backend/memory_cache.h"
#include "wholestep/graph/grad.h"
#include "wholestep/graph/graph.h"

namespace wholestep {
namespace {

thread_local std::string scope_path, scope_source;

std::string describe_operands(const OpDef& op, std::span<const TensorType> inputs) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < inputs.size(); ++i)
    parts.push_back(i < op.operands.size() ? op.operands[i] + " " + to_string(inputs[i])
                                           : to_string(inputs[i]));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::vector<Tensor> record(Graph& graph, const OpDef& op, const std::vector<Tensor>& inputs,
                           const Attrs& attrs, const Types& output_types) {
  std::vector<int> values;
  for (const Tensor& input : inputs) values.push_back(graph.value_of(input));
  std::vector<Tensor> outputs;
  for (int value : graph.add_node(op, attrs, std::move(values), output_types))
    outputs.push_back(graph.tensor(value));
  graph.nodes.back().differentiable = grad_enabled();
  return outputs;
}

std::vector<Tensor> run_eagerly(const OpDef& op, const std::vector<Tensor>& inputs, const Attrs& attrs,
                                const Types& input_types, const Types& output_types) {
  Backend& backend = cpu_backend();
  KernelRequest request{op.name, input_types, output_types, attrs};
  KernelChoice choice = choose_kernel(op, request, backend.name());
  std::unique_ptr<PreparedKernel> kernel = choice.kernel->prepare(request);
  std::vector<Tensor> outputs;
  for (const TensorType& type : output_types) outputs.push_back(empty(type));
  std::vector<const void*> in;
  std::vector<void*> out;
  std::vector<Tensor> host;  // eager ops run on the CPU, on copies of what lies on a device
  for (const Tensor& input : inputs) in.push_back(host.emplace_back(input.to_host()).bytes().data());
  for (const Tensor& output : outputs) out.push_back(output.bytes().data());
  std::shared_ptr<Memory> workspace =
      kernel->workspace_bytes > 0 ? eager_memory().allocate(kernel->workspace_bytes, op.name) : nullptr;
  backend.run(*kernel, in, out, workspace ? workspace->data() : nullptr);
  return outputs;
}

}  // namespace

double flops(const OpDef& op, const KernelRequest& request) {
  if (op.flops) return op.flops(request);
  double total = 0;
  for (const TensorType& output : request.outputs) total += static_cast<double>(output.shape.numel());
  return total;
}

const OpDef& find_op(std::string_view name) {
  static const auto* by_name = [] {
    auto* map = new std::unordered_map<std::string_view, const OpDef*>;
    for (const OpDef* op : all_ops()) map->emplace(op->name, op);
    return map;
  }();
  auto it = by_name->find(name);
  if (it == by_name->end())
    throw Error(ErrorCode::kFailure, {.what = fmt::format("no op is named '{}'", name)});
  return *it->second;
}

Types infer_types(const OpDef& op, std::span<const TensorType> inputs, const Attrs& attrs) {
  try {
    for (const TensorType& type : inputs)
      if (is_half(type.dtype) && !op.elementwise && !op.takes_half) throw_not_computed(type.dtype);
    return op.infer(inputs, attrs);
  } catch (const Error& error) {
    ErrorParts parts = error.parts();
    std::string place = fmt::format("{} of {}", op.name, describe_operands(op, inputs));
    if (!scope_path.empty()) place = fmt::format("{}: {}", scope_path, place);
    if (!scope_source.empty()) place = fmt::format("{}: {}", scope_source, place);
    parts.where = parts.where.empty() ? place : place + ": " + parts.where;
    throw Error(error.code(), std::move(parts));
  }
}

std::vector<Tensor> apply(const OpDef& op, const std::vector<Tensor>& inputs, const Attrs& attrs) {
  Types input_types;
  Graph* graph = nullptr;
  bool needs_tape = false;
  for (const Tensor& input : inputs) {
    input_types.push_back(input.type());
    if (input.symbolic()) graph = input.impl()->graph.get();
    else if (input.role() != TensorRole::kValue && Trace::current()) graph = Trace::current();
    else needs_tape |= input.requires_grad();
  }
  Types output_types = infer_types(op, input_types, attrs);
  if (graph) return record(*graph, op, inputs, attrs, output_types);
  std::vector<Tensor> outputs = run_eagerly(op, inputs, attrs, input_types, output_types);
  if (needs_tape && grad_enabled()) tape({std::shared_ptr<void>(), &op}, inputs, attrs, outputs);
  return outputs;
}

Tensor apply1(const OpDef& op, const std::vector<Tensor>& inputs, const Attrs& attrs) {
  return apply(op, inputs, attrs)[0];
}

KernelChoice choose_kernel(const OpDef& op, const KernelRequest& request, std::string_view backend) {
  KernelChoice choice;
  if (backend == "null") {
    static const Kernel null_kernel{.backend = "null", .name = "null", .prepare = [](const KernelRequest&) {
                                      return std::make_unique<PreparedKernel>();
                                    }};
    choice.kernel = &null_kernel;
    return choice;
  }
  for (const Kernel& kernel : op.kernels) {
    if (kernel.backend != backend) continue;
    std::string refusal = kernel.refuse ? kernel.refuse(request) : "";
    if (refusal.empty()) {
      choice.kernel = &kernel;
      return choice;
    }
    choice.refusals.push_back(fmt::format("{}: {}", kernel.name, refusal));
  }
  throw Error(ErrorCode::kFailure,
              {.what = fmt::format("no {} kernel accepts this {}", backend, op.name),
               .where = scope_path,
               .got = fmt::format("{} {}", describe_operands(op, request.inputs), to_string(request.attrs)),
               .hint = fmt::format("{}", fmt::join(choice.refusals, "; "))});
}

Scope::Scope(const std::string& name, std::string source)
    : path_before_(scope_path), source_before_(scope_source) {
  if (!name.empty()) scope_path = scope_path.empty() ? name : scope_path + "." + name;
  if (!source.empty()) scope_source = std::move(source);
}
Scope::~Scope() {
  scope_path = std::move(path_before_);
  scope_source = std::move(source_before_);
}
const std::string& Scope::path() { return scope_path; }
const std::string& Scope::source() { return scope_source; }

}  // namespace wholestep
