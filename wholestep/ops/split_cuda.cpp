// Writes where each element of x goes as nested conditions of constants: concat the other way round.
#include "wholestep/ops/split_cuda.h"

#include <fmt/format.h>

#include "wholestep/backend/cuda/elements.h"

namespace wholestep {

std::unique_ptr<PreparedKernel> prepare_split_cuda(const KernelRequest& q) {
  const Shape& x = q.inputs[0].shape;
  const int axis = static_cast<int>(q.attrs.integer("axis"));
  int64_t inner = 1;
  for (int i = axis + 1; i < x.rank(); ++i) inner *= x[i];
  std::string_view type = cuda_name(q.inputs[0].dtype);
  std::string body = fmt::format("(Lane lane, const {}* x", type);
  int64_t vector = 4;
  std::vector<int64_t> ends, parts;
  std::vector<size_t> results;
  for (size_t i = 0; i < q.outputs.size(); ++i) {
    body += fmt::format(", {}* p{}", type, i);
    int64_t part = q.outputs[i].shape[axis] * inner;
    if (part == 0) continue;
    if (part % vector != 0) vector = 1;
    ends.push_back((ends.empty() ? 0 : ends.back()) + part);
    parts.push_back(part);
    results.push_back(i);
  }
  auto call = cuda_call(q, "elements.cuh");
  if (x.numel() == 0) {
    call->phases.push_back({.chunks = 0});
    return call;
  }
  CudaElements split(axis != 0 ? x[0] : 1, x.numel(), 2 * kCudaThreads * vector);
  std::string choice = cuda_branch("place", ends, [&](size_t k) {
    return fmt::format("y = p{} + outer * {} + (place - {});", results[k], parts[k], ends[k] - parts[k]);
  });
  body += fmt::format(
      ", char*) {{\n"
      "  using I = IndexFor<{1}>;\n  const auto own = {2}::of(lane);\n"
      "  for (I i = I(own.begin) + threadIdx.x * {3}; i < own.end; i += kThreads * {3}) {{\n"
      "    const I outer = i / I({4}), place = i % I({4});\n    {0}* y;\n    {5}\n"
      "    *reinterpret_cast<Vector<{0}, {3}>*>(y) = *reinterpret_cast<const Vector<{0}, {3}>*>(x + i);\n"
      "  }}\n}}\n",
      type, x.numel(), split.type(), vector, ends.back(), choice);
  call->phases.push_back(split.phase(1, kAllOperands, cuda_define(*call, "split", body)));
  return call;
}

}  // namespace wholestep
