// Binding a plan to memory, and running it.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>

#include "wholestep/compile/compile.h"

namespace wholestep {
namespace {

std::atomic<int64_t> moves{0};  // calls of pack(): steps look at their tensors again where it has grown

bool all_finite(DType dtype, std::span<const std::byte> bytes) {
  return visit_stored(dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (is_floating(kDTypeOf<T>)) {
      const T* data = reinterpret_cast<const T*>(bytes.data());
      for (size_t i = 0; i < bytes.size() / sizeof(T); ++i)
        if (!std::isfinite(static_cast<double>(data[i]))) return false;
    }
    return true;
  });
}

}  // namespace

int64_t packed_bytes(std::span<const Tensor> tensors) {
  int64_t total = 0;
  for (const Tensor& t : tensors) total += aligned(t.type().bytes());
  return total;
}

std::shared_ptr<Memory> pack(Backend& backend, std::span<const Tensor> tensors) {
  std::shared_ptr<Memory> memory = backend.allocate(packed_bytes(tensors));
  int64_t offset = 0;
  for (const Tensor& t : tensors) {
    Storage& storage = *t.impl()->storage;
    std::byte* place = memory->data() + offset;
    Tensor host = t.to_host();
    backend.copy_in(place, host.impl()->storage->data, t.type().bytes());
    storage.data = place;
    storage.memory = memory;
    storage.device = backend.host_memory() ? nullptr : &backend;
    offset += aligned(t.type().bytes());
  }
  ++moves;
  return memory;
}

std::vector<size_t> call_order(const Plan& plan) {
  std::vector<size_t> order(plan.schedule.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {},
                           [&](size_t i) { return std::pair(plan.spans[i].first, plan.spans[i].last); });
  return order;
}

Program make_program(const Plan& plan) {
  std::vector<int> arena_of(plan.graph->values.size());
  int arenas = 1;
  for (const GraphInput& input : plan.graph->inputs)
    if (input.kind != InputKind::kBatch) arena_of[static_cast<size_t>(input.value)] = arenas++;
  auto ref = [&](int value) -> BufferRef {
    const ValuePlace& place = plan.places[static_cast<size_t>(value)];
    if (place.in == ValuePlace::In::kBound) return {arena_of[static_cast<size_t>(place.bound_value)], 0};
    return {0, place.offset};
  };
  Program program;
  for (size_t i = 0; i < plan.schedule.size(); ++i) {
    Call call{.kernel = plan.schedule[i], .inputs = {}, .outputs = {}, .workspace = {0, plan.workspaces[i]}};
    for (int value : call.kernel.inputs) call.inputs.push_back(ref(value));
    for (int value : call.kernel.outputs) call.outputs.push_back(ref(value));
    program.calls.push_back(std::move(call));
  }
  for (const GraphOutput& output : plan.graph->outputs) program.outputs.push_back(output.value);
  return program;
}

CompiledStep::CompiledStep(Plan plan) : CompiledStep(std::move(plan), nullptr) {}

CompiledStep::CompiledStep(Plan plan, std::shared_ptr<Memory> arena)
    : plan_(std::move(plan)), arena_(std::move(arena)) {
  if (!arena_) arena_ = plan_.backend->allocate(plan_.memory.arena_bytes());
  WHOLESTEP_CHECK(arena_->bytes() >= plan_.memory.arena_bytes());
  std::vector<Tensor> elsewhere;
  for (const GraphInput& input : plan_.graph->inputs)
    if (input.kind != InputKind::kBatch && !lies_on(*input.binding.impl()->storage, *plan_.backend))
      elsewhere.push_back(input.binding);
  if (!elsewhere.empty()) pack(*plan_.backend, elsewhere);
  moves_seen_ = moves;
  bases_ = {arena_->data()};
  for (const GraphInput& input : plan_.graph->inputs)
    if (input.kind != InputKind::kBatch) {
      bases_.push_back(input.binding.impl()->storage->data);
      held_.push_back(input.binding.impl()->storage->memory);
    }
  order_ = call_order(plan_);
  executable_ = plan_.backend->load(make_program(plan_), bases_);
}

void CompiledStep::run(int64_t steps) {
  if (int64_t now = moves.load(std::memory_order_relaxed); now != moves_seen_) {
    size_t base = 1;
    for (const GraphInput& input : plan_.graph->inputs)
      if (input.kind != InputKind::kBatch && input.binding.impl()->storage->data != bases_[base++])
        throw Error(ErrorCode::kUsage, {.what = "a tensor of the step was moved after the step was made",
                                        .where = input.name,
                                        .hint = "make the step again, or use one device for one model"});
    moves_seen_ = now;
  }
  if (!plan_.call_by_call) return executable_->run(steps);
  for (int64_t step = 0; step < steps; ++step)
    for (size_t i : order_) executable_->run_call(i);
}

std::byte* CompiledStep::address(int value) const {
  const ValuePlace& place = plan_.places[static_cast<size_t>(value)];
  if (place.in == ValuePlace::In::kBound)
    return plan_.graph->find_input(place.bound_value)->binding.impl()->storage->data;
  return arena_->data() + place.offset;
}

std::span<std::byte> CompiledStep::host_bytes(int value) const {
  if (!plan_.backend->host_memory())
    throw Error(ErrorCode::kUsage, {.what = "the host cannot touch the step's values: they lie on a device",
                                    .got = std::string(plan_.backend->name()),
                                    .hint = "write() and read() copy"});
  return {address(value), static_cast<size_t>(plan_.graph->type(value).bytes())};
}

const GraphInput& CompiledStep::batch_input(const std::string& name) const {
  for (const GraphInput& input : plan_.graph->inputs)
    if (input.kind == InputKind::kBatch && input.name == name) return input;
  throw Error(ErrorCode::kUsage, {.what = "the step has no batch input of this name", .got = name});
}

const GraphOutput& CompiledStep::find_output(const std::string& name) const {
  for (const GraphOutput& output : plan_.graph->outputs)
    if (output.name == name) return output;
  throw Error(ErrorCode::kUsage, {.what = "the step has no output of this name", .got = name});
}

int64_t CompiledStep::input_bytes(const std::string& name) const {
  return plan_.graph->type(batch_input(name).value).bytes();
}

std::span<std::byte> CompiledStep::input(const std::string& name) const {
  return host_bytes(batch_input(name).value);
}

BatchPiece CompiledStep::piece(const std::string& name, std::span<const std::byte> bytes) const {
  int value = batch_input(name).value;
  if (static_cast<int64_t>(bytes.size()) != plan_.graph->type(value).bytes())
    throw Error(ErrorCode::kUsage, {.what = "a batch of the wrong size",
                                    .where = name,
                                    .got = fmt::format("{} bytes", bytes.size()),
                                    .expected = to_string(plan_.graph->type(value))});
  return {address(value), bytes};
}

void CompiledStep::write(const std::string& name, std::span<const std::byte> bytes) const {
  plan_.backend->copy_in(piece(name, bytes).device, bytes.data(), static_cast<int64_t>(bytes.size()));
}

void CompiledStep::write(const std::string& name, const Tensor& value) const {
  if (const TensorType& type = plan_.graph->type(batch_input(name).value); type != value.type())
    throw Error(ErrorCode::kUsage, {.what = "a batch of the wrong type",
                                    .where = name,
                                    .got = to_string(value.type()),
                                    .expected = to_string(type)});
  write(name, value.to_host().bytes());
}

std::span<const std::byte> CompiledStep::output_bytes(const std::string& name) const {
  return host_bytes(find_output(name).value);
}

void CompiledStep::read(const std::string& name, std::span<std::byte> host) const {
  int value = find_output(name).value;
  WHOLESTEP_CHECK(static_cast<int64_t>(host.size()) == plan_.graph->type(value).bytes());
  plan_.backend->copy_out(host.data(), address(value), static_cast<int64_t>(host.size()));
}

Tensor CompiledStep::output(const std::string& name) const {
  Tensor copy = zeros(plan_.graph->type(find_output(name).value));
  read(name, copy.bytes());
  return copy;
}

std::string CompiledStep::first_non_finite() {
  std::vector<std::byte> host;
  auto finite = [&](int value) {
    const TensorType& type = plan_.graph->type(value);
    if (!is_floating(type.dtype)) return true;
    host.resize(static_cast<size_t>(type.bytes()));
    plan_.backend->copy_out(host.data(), address(value), type.bytes());
    return all_finite(type.dtype, host);
  };
  std::string found;
  size_t first = plan_.schedule.size();
  for (size_t i : order_) {
    const Node& node = plan_.graph->nodes[i];
    std::string bad_inputs;
    for (size_t k = 0; k < node.inputs.size(); ++k)
      if (!finite(node.inputs[k]))
        bad_inputs += fmt::format("{}operand {}", bad_inputs.empty() ? "" : ", ", k);
    executable_->run_call(i);
    for (int value : node.outputs)
      if (i < first && !finite(value)) {
        first = i;
        found = plan_.schedule[i].label;
        if (!node.source.empty()) found += " at " + node.source;
        found +=
            bad_inputs.empty() ? " (its operands are finite)" : " (already not finite: " + bad_inputs + ")";
      }
  }
  return found;
}

}  // namespace wholestep
