// Binding a plan to memory, and running it.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

#include "wholestep/compile/compile.h"

namespace wholestep {
namespace {

bool all_finite(DType dtype, std::span<const std::byte> bytes) {
  return visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_floating_point_v<T>) {
      const T* data = reinterpret_cast<const T*>(bytes.data());
      for (size_t i = 0; i < bytes.size() / sizeof(T); ++i)
        if (!std::isfinite(data[i])) return false;
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
    backend.copy_in(place, storage.data, t.type().bytes());
    storage.data = place;
    storage.memory = memory;
    offset += aligned(t.type().bytes());
  }
  return memory;
}

CompiledStep::CompiledStep(Plan plan) : CompiledStep(std::move(plan), nullptr) {}

CompiledStep::CompiledStep(Plan plan, std::shared_ptr<Memory> arena)
    : plan_(std::move(plan)), arena_(std::move(arena)) {
  if (!arena_) arena_ = plan_.backend->allocate(plan_.memory.arena_bytes());
  WHOLESTEP_CHECK(arena_->bytes() >= plan_.memory.arena_bytes());
  // Arena 0 is this plan's; then one for every tensor that lives elsewhere.
  std::vector<std::byte*> bases = {arena_->data()};
  std::vector<int> arena_of(plan_.graph->values.size());
  for (const GraphInput& input : plan_.graph->inputs)
    if (input.kind != InputKind::kBatch) {
      arena_of[static_cast<size_t>(input.value)] = static_cast<int>(bases.size());
      bases.push_back(input.binding.bytes().data());
    }
  auto ref = [&](int value) -> BufferRef {
    const ValuePlace& place = plan_.places[static_cast<size_t>(value)];
    if (place.in == ValuePlace::In::kBound) return {arena_of[static_cast<size_t>(place.bound_value)], 0};
    return {0, place.offset};
  };
  Program program;
  for (size_t i = 0; i < plan_.schedule.size(); ++i) {
    Call call{
        .kernel = plan_.schedule[i], .inputs = {}, .outputs = {}, .workspace = {0, plan_.workspaces[i]}};
    for (int value : call.kernel.inputs) call.inputs.push_back(ref(value));
    for (int value : call.kernel.outputs) call.outputs.push_back(ref(value));
    program.calls.push_back(std::move(call));
  }
  executable_ = plan_.backend->load(program, bases);
}

std::byte* CompiledStep::address(int value) const {
  const ValuePlace& place = plan_.places[static_cast<size_t>(value)];
  if (place.in == ValuePlace::In::kBound)
    return plan_.graph->find_input(place.bound_value)->binding.bytes().data();
  return arena_->data() + place.offset;
}

std::span<std::byte> CompiledStep::input(const std::string& name) const {
  for (const GraphInput& input : plan_.graph->inputs)
    if (input.kind == InputKind::kBatch && input.name == name)
      return {address(input.value), static_cast<size_t>(plan_.graph->type(input.value).bytes())};
  throw Error(ErrorCode::kUsage, {.what = "the step has no batch input of this name", .got = name});
}

void CompiledStep::write(const std::string& name, const Tensor& value) const {
  for (const GraphInput& input : plan_.graph->inputs)
    if (input.kind == InputKind::kBatch && input.name == name &&
        plan_.graph->type(input.value) != value.type())
      throw Error(ErrorCode::kUsage, {.what = "a batch of the wrong type",
                                      .where = name,
                                      .got = to_string(value.type()),
                                      .expected = to_string(plan_.graph->type(input.value))});
  std::span<std::byte> slot = input(name);
  plan_.backend->copy_in(slot.data(), value.bytes().data(), static_cast<int64_t>(slot.size()));
}

std::span<const std::byte> CompiledStep::output_bytes(const std::string& name) const {
  for (const GraphOutput& output : plan_.graph->outputs)
    if (output.name == name)
      return {address(output.value), static_cast<size_t>(plan_.graph->type(output.value).bytes())};
  throw Error(ErrorCode::kUsage, {.what = "the step has no output of this name", .got = name});
}

Tensor CompiledStep::output(const std::string& name) const {
  for (const GraphOutput& output : plan_.graph->outputs)
    if (output.name == name) {
      Tensor copy = zeros(plan_.graph->type(output.value));
      auto bytes = output_bytes(name);
      plan_.backend->copy_out(copy.bytes().data(), bytes.data(), static_cast<int64_t>(bytes.size()));
      return copy;
    }
  output_bytes(name);  // throws
  return {};
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
  for (size_t i = 0; i < plan_.schedule.size(); ++i) {
    const Node& node = plan_.graph->nodes[i];
    std::string bad_inputs;
    for (size_t k = 0; k < node.inputs.size(); ++k)
      if (!finite(node.inputs[k]))
        bad_inputs += fmt::format("{}operand {}", bad_inputs.empty() ? "" : ", ", k);
    executable_->run_call(i);
    for (int value : node.outputs)
      if (!finite(value)) {
        std::string text = plan_.schedule[i].label;
        if (!node.source.empty()) text += " at " + node.source;
        return text + (bad_inputs.empty() ? " (its operands are finite)"
                                          : " (already not finite: " + bad_inputs + ")");
      }
  }
  return "";
}

std::vector<double> CompiledStep::time_kernels(int repeats) {
  std::vector<double> best(plan_.schedule.size(), std::numeric_limits<double>::infinity());
  for (int r = 0; r < repeats; ++r)
    for (size_t i = 0; i < best.size(); ++i) {
      auto start = std::chrono::steady_clock::now();
      executable_->run_call(i);
      best[i] =
          std::min(best[i], std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
  return best;
}

}  // namespace wholestep
