// Writes where the elements of a copy come from as constants of its device function.
#include "wholestep/ops/shape_cuda.h"

#include <fmt/format.h>

#include <array>

#include "wholestep/backend/cuda/elements.h"

namespace wholestep {
namespace {

constexpr int64_t kVector = 4;

/// The result's axes with the operand's strides along them, neighbours of one pattern merged.
struct Source {
  std::vector<int64_t> extents, strides;
  int64_t offset = 0;

  Source(const Shape& out, const std::array<int64_t, Shape::kMaxRank>& steps, int64_t first) : offset(first) {
    for (int axis = 0; axis < out.rank(); ++axis) {
      int64_t step = steps[static_cast<size_t>(axis)];
      if (out[axis] == 1) continue;
      if (!extents.empty() && strides.back() == step * out[axis]) {
        extents.back() *= out[axis];
        strides.back() = step;
      } else {
        extents.push_back(out[axis]);
        strides.push_back(step);
      }
    }
    if (extents.empty()) extents = {1}, strides = {1};
  }
  /// Whether kVector neighbours of the result are neighbours of the operand, or one element of it.
  bool vectorises() const {
    if (extents.back() % kVector != 0 || strides.back() > 1) return false;
    if (strides.back() == 0) return true;
    return offset % kVector == 0 && std::ranges::all_of(strides.begin(), strides.end() - 1,
                                                        [](int64_t step) { return step % kVector == 0; });
  }
};

/// Elements of a copy into `out`, by rows where the operands have the same.
CudaElements elements_of(const Shape& out, bool rows_match, int64_t vector) {
  return {rows_match ? out[0] : 1, out.numel(), 2 * kCudaThreads * vector};
}

std::unique_ptr<PreparedKernel> strided_call(const KernelRequest& q, const Shape& out,
                                             const std::array<int64_t, Shape::kMaxRank>& steps,
                                             int64_t offset, bool rows_match) {
  Source source(out, steps, offset);
  CudaElements split = elements_of(out, rows_match, kVector);
  const bool whole_rows = split.rows == 0 || out.numel() / split.rows % kVector == 0;
  const int64_t vector = whole_rows && source.vectorises() ? kVector : 1;
  split.per_chunk = 2 * kCudaThreads * vector;
  auto call = cuda_call(q, "shape.cuh");
  call->phases.push_back(split.phase(
      1, 1,
      device_function("strided_copy", split.type(), std::max(q.inputs[0].shape.numel(), out.numel()),
                      source.offset, cuda_axes(source.extents, source.strides), vector)));
  return call;
}

/// Elements from `axis` on.
int64_t block_of(const Shape& shape, int64_t axis) {
  int64_t elements = 1;
  for (int i = static_cast<int>(axis); i < shape.rank(); ++i) elements *= shape[i];
  return elements;
}

}  // namespace

std::unique_ptr<PreparedKernel> prepare_reshape_cuda(const KernelRequest& q) {
  const Shape &in = q.inputs[0].shape, &out = q.outputs[0].shape;
  return strided_call(q, out, out.strides(), 0, in.rank() > 0 && out.rank() > 0 && in[0] == out[0]);
}

std::unique_ptr<PreparedKernel> prepare_permute_cuda(const KernelRequest& q) {
  auto in = q.inputs[0].shape.strides(), steps = in;
  const auto& axes = q.attrs.integers("axes");
  for (size_t i = 0; i < axes.size(); ++i) steps[i] = in[static_cast<size_t>(axes[i])];
  return strided_call(q, q.outputs[0].shape, steps, 0, !axes.empty() && axes[0] == 0);
}

std::unique_ptr<PreparedKernel> prepare_expand_cuda(const KernelRequest& q) {
  const Shape &in = q.inputs[0].shape, &out = q.outputs[0].shape;
  auto from = in.strides();
  std::array<int64_t, Shape::kMaxRank> steps{};
  for (int axis = 0; axis < out.rank(); ++axis)
    if (int own = axis - (out.rank() - in.rank()); own >= 0 && in[own] != 1)
      steps[static_cast<size_t>(axis)] = from[static_cast<size_t>(own)];
  return strided_call(q, out, steps, 0, in.rank() == out.rank() && in.rank() > 0 && in[0] == out[0]);
}

std::unique_ptr<PreparedKernel> prepare_slice_cuda(const KernelRequest& q) {
  auto steps = q.inputs[0].shape.strides();
  int64_t axis = q.attrs.integer("axis"), start = q.attrs.integer("start");
  return strided_call(q, q.outputs[0].shape, steps, start * steps[static_cast<size_t>(axis)], axis != 0);
}

std::unique_ptr<PreparedKernel> prepare_pad_cuda(const KernelRequest& q) {
  const Shape &in = q.inputs[0].shape, &out = q.outputs[0].shape;
  const int64_t axis = q.attrs.integer("axis"), whole = block_of(out, axis), part = block_of(in, axis),
                before = q.attrs.integer("before") * block_of(in, axis + 1);
  const int64_t vector = whole % kVector == 0 && part % kVector == 0 && before % kVector == 0 ? kVector : 1;
  CudaElements split = elements_of(out, axis != 0, vector);
  auto call = cuda_call(q, "shape.cuh");
  call->phases.push_back(
      split.phase(1, 1, device_function("pad_copy", split.type(), out.numel(), whole, before, part, vector)));
  return call;
}

std::unique_ptr<PreparedKernel> prepare_concat_cuda(const KernelRequest& q) {
  const Shape& out = q.outputs[0].shape;
  const int64_t axis = q.attrs.integer("axis"), whole = block_of(out, axis);
  std::string_view type = cuda_name(q.outputs[0].dtype);
  int64_t vector = kVector;
  std::vector<int64_t> ends, parts;
  std::vector<size_t> operands;
  std::string body = "(Lane lane";
  for (size_t i = 0; i < q.inputs.size(); ++i) {
    int64_t part = block_of(q.inputs[i].shape, axis);
    body += fmt::format(", const {}* p{}", type, i);
    if (part == 0) continue;
    if (part % kVector != 0) vector = 1;
    ends.push_back((ends.empty() ? 0 : ends.back()) + part);
    parts.push_back(part);
    operands.push_back(i);
  }
  CudaElements split = elements_of(out, axis != 0, vector);
  auto call = cuda_call(q, "shape.cuh");
  if (ends.empty() || split.elements == 0) {
    call->phases.push_back({.chunks = 0});
    return call;
  }
  std::string choice = cuda_branch("place", ends, [&](size_t k) {
    return fmt::format("x = p{} + outer * {} + (place - {});", operands[k], parts[k], ends[k] - parts[k]);
  });
  body += fmt::format(
      ", {0}* y, char*) {{\n"
      "  using I = IndexFor<{1}>;\n  const auto own = {2}::of(lane);\n"
      "  for (I i = I(own.begin) + threadIdx.x * {3}; i < own.end; i += kThreads * {3}) {{\n"
      "    const I outer = i / I({4}), place = i % I({4});\n    const {0}* x;\n    {5}\n"
      "    *reinterpret_cast<Vector<{0}, {3}>*>(y + i) = *reinterpret_cast<const Vector<{0}, {3}>*>(x);\n"
      "  }}\n}}\n",
      type, out.numel(), split.type(), vector, whole, choice);
  call->phases.push_back(split.phase(kAllOperands, 1, cuda_define(*call, "concat", body)));
  return call;
}

}  // namespace wholestep
