// apply(): inference with good errors, then record or run. Kernel choice is the same for eager and compiled
// execution.
#include "wholestep/graph/op.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <map>
#include <mutex>
#include <tuple>
#include <unordered_map>

#include "wholestep/backend/cuda/call.h"
#include "wholestep/backend/memory_cache.h"
#include "wholestep/graph/grad.h"
#include "wholestep/graph/graph.h"
#include "wholestep/graph/widen.h"

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

/// Where an eager op runs: on the device where operands lie. Those on the host are copied there.
Backend& device_of(const OpDef& op, const std::vector<Tensor>& inputs) {
  Backend* device = nullptr;
  for (const Tensor& input : inputs) {
    Backend* lies_on = input.impl()->storage->device;
    if (device && lies_on && lies_on != device)
      throw Error(ErrorCode::kUsage, {.what = fmt::format("operands of {} lie on two devices", op.name),
                                      .where = scope_path,
                                      .hint = "to() copies a tensor to a device"});
    if (lies_on) device = lies_on;
  }
  return device ? *device : cpu_backend();
}

/// Made anew for the host, where that takes no time; for a device, whose kernels are compiled, kept.
std::shared_ptr<const PreparedKernel> eager_kernel(const OpDef& op, const KernelRequest& request,
                                                   Backend& device) {
  constexpr size_t kMostKept = 4096;
  const Kernel& kernel = *choose_kernel(op, request, device.name()).kernel;
  if (device.host_memory()) return kernel.prepare(request);
  std::string key = fmt::format("{} {} {} {} {}", static_cast<const void*>(&device), cuda_architecture(),
                                tf32_allowed(), reinterpret_cast<const void*>(kernel.prepare), op.name);
  for (const TensorType& type : request.inputs) key += ' ' + to_string(type);
  key += " > ";
  for (const TensorType& type : request.outputs) key += ' ' + to_string(type);
  key += to_string(request.attrs);
  // They may outlive every static object, the driver's too.
  static auto& mutex = *new std::mutex;
  static auto& kept = *new std::unordered_map<std::string, std::shared_ptr<const PreparedKernel>>;
  std::lock_guard lock(mutex);
  if (auto found = kept.find(key); found != kept.end()) return found->second;
  if (kept.size() == kMostKept) kept.clear();
  return kept[key] = kernel.prepare(request);
}

/// The operand on a device. A single element of the host's, a constant of an expression as a rule, comes
/// again and again: it is kept there by its value, since a copy waits for all that was asked of the device.
Tensor operand_on(Backend& device, const Tensor& operand) {
  constexpr size_t kMostKept = 1024;
  const Storage& storage = *operand.impl()->storage;
  if (lies_on(storage, device) || storage.device || operand.numel() != 1) return operand.to(device);
  uint64_t bits = 0;
  std::memcpy(&bits, storage.data, static_cast<size_t>(operand.type().bytes()));
  static auto& mutex = *new std::mutex;  // as in eager_kernel()
  static auto& kept = *new std::map<std::tuple<Backend*, DType, uint64_t>, Tensor>;
  const std::tuple key{&device, operand.dtype(), bits};
  std::lock_guard lock(mutex);
  if (auto found = kept.find(key); found != kept.end()) return found->second;
  if (kept.size() == kMostKept) kept.clear();
  return kept[key] = operand.to(device);
}

std::vector<Tensor> run_eagerly(Backend& device, const OpDef& op, const std::vector<Tensor>& inputs,
                                const Attrs& attrs, const Types& input_types, const Types& output_types) {
  if (runs_widened(op, input_types)) {
    NoGrad no_grad;
    std::vector<Tensor> results =
        run_eagerly(device, op, widened(inputs), attrs, widened(input_types), widened(output_types));
    for (size_t i = 0; i < results.size(); ++i) results[i] = results[i].to(output_types[i].dtype);
    return results;
  }
  std::shared_ptr<const PreparedKernel> kernel =
      eager_kernel(op, {op.name, input_types, output_types, attrs}, device);
  std::vector<Tensor> there, outputs;
  for (const Tensor& input : inputs) there.push_back(operand_on(device, input));
  for (const TensorType& type : output_types) outputs.push_back(empty(type, device));
  std::vector<const void*> in;
  std::vector<void*> out;
  for (const Tensor& input : there) in.push_back(input.impl()->storage->data);
  for (const Tensor& output : outputs) out.push_back(output.impl()->storage->data);
  std::shared_ptr<Memory> workspace =
      kernel->workspace_bytes > 0 ? eager_memory(device).allocate(kernel->workspace_bytes, op.name) : nullptr;
  device.run(*kernel, in, out, workspace ? workspace->data() : nullptr);
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
    Types types = op.infer(inputs, attrs);
    for (const char* sums : {"squares", "operand_squares"})
      if (attrs.has(sums)) types.push_back({DType::f64, {attrs.integer(sums)}});
    return types;
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
  std::vector<Tensor> outputs =
      run_eagerly(device_of(op, inputs), op, inputs, attrs, input_types, output_types);
  if (needs_tape && grad_enabled()) tape({std::shared_ptr<void>(), &op}, inputs, attrs, outputs);
  return outputs;
}

Attrs full_attrs(double value, const TensorType& type) {
  return {{"value", value},
          {"dtype", std::string(name(type.dtype))},
          {"shape", std::vector<int64_t>(type.shape.begin(), type.shape.end())}};
}

std::vector<Tensor> apply_on(Backend& device, const OpDef& op, const Attrs& attrs) {
  return run_eagerly(device, op, {}, attrs, {}, infer_types(op, {}, attrs));
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
