// Texts of elements.h: nested conditions are binary, since a concat or a sum of squares may have hundreds of
// operands.
#include "wholestep/backend/cuda/elements.h"

#include <fmt/format.h>

#include <bit>

#include "wholestep/base/fingerprint.h"

namespace wholestep {

CudaElements::CudaElements(int64_t row_count, int64_t element_count, int64_t run, int64_t longest)
    : rows(row_count), elements(element_count), per_chunk(run) {
  if (rows <= 1 || std::max(longest, elements / rows) > kCudaMaxRowElements) rows = 0;
}

std::string CudaElements::type() const { return device_function("Elements", rows, elements, per_chunk); }

CudaPhase CudaElements::phase(uint64_t row_inputs, uint64_t row_outputs, std::string run,
                              int64_t shared_bytes) const {
  if (elements == 0) return {.chunks = 0};
  if (rows > 0) return cuda_row_phase(rows, row_inputs, row_outputs, std::move(run), shared_bytes);
  return {.chunks = ceil_div(elements, per_chunk), .run = std::move(run), .shared_bytes = shared_bytes};
}

std::string cuda_axes(std::span<const int64_t> extents, std::span<const int64_t> strides) {
  std::string text = "Axes<";
  for (size_t i = 0; i < extents.size(); ++i)
    text += fmt::format("{}{}, {}", i > 0 ? ", " : "", extents[i], strides[i]);
  return text + ">";
}

std::string cuda_branch(std::string_view index, std::span<const int64_t> ends,
                        const std::function<std::string(size_t)>& leaf) {
  auto write = [&](auto& self, size_t first, size_t last) -> std::string {
    if (last - first <= 1) return leaf(first);
    size_t middle = (first + last) / 2;
    return fmt::format("if ({} < {}) {{ {} }} else {{ {} }}", index, ends[middle - 1],
                       self(self, first, middle), self(self, middle, last));
  };
  return write(write, 0, ends.size());
}

std::string cuda_define(CudaCall& call, std::string_view prefix, const std::string& body, bool called) {
  std::string name = fmt::format("{}_{}", prefix, fingerprint(body).substr(0, 16));
  call.definitions.push_back(
      fmt::format("{}__device__ void {}{}", called ? "__noinline__ " : "", name, body));
  return name;
}

int64_t cuda_group(int64_t n, int64_t most) {
  return std::min(most, static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(n, 1)))));
}

}  // namespace wholestep
