// Chooses how a reduction is laid out over threads and blocks: by rows of the batch, by tiles of outputs, or,
// where that gives too few blocks, in parts that a second phase joins.
#include "wholestep/ops/reduce_cuda.h"

#include <fmt/format.h>

#include "wholestep/backend/cuda/elements.h"
#include "wholestep/ops/reduce_walk.h"

namespace wholestep {
namespace {

constexpr int64_t kTargetBlocks = 1024;
/// Elements a thread folds before the reduction is worth a second phase, and at least in each part. Where so
/// many outputs keep all threads busy, each folds the larger number, since joining costs more than folding.
constexpr int64_t kMaxPerThread = 32, kMinPerThread = 8, kManyOutputs = 16384;
constexpr int64_t kTotalBytes = 16;  // of the largest total, argmax's

/// `fold` is the device type that folds elements, without its argument.
std::unique_ptr<PreparedKernel> reduce_call(const KernelRequest& q, std::string_view fold_name) {
  const Shape& x = q.inputs[0].shape;
  const std::vector<int64_t>& axes = q.attrs.integers("axes");
  Walk walk(x, axes);
  auto call = cuda_call(q, "reduce.cuh");
  if (walk.kept == 0) {
    call->phases.push_back({.chunks = 0});
    return call;
  }
  const int64_t rows = keeps_rows(x, axes) ? x[0] : 1, longest = x.numel() / rows;
  const bool by_rows = CudaElements(rows, walk.kept, 1, longest).rows > 0, apart = !walk.inner_reduced();

  int64_t together =
      by_rows ? cuda_rows(rows).per_chunk * (walk.kept / rows) : std::min<int64_t>(walk.kept, 32);
  // What a lane folds, it folds at once.
  auto at_once = [](int64_t count) { return std::max<int64_t>(32, kCudaThreads / cuda_group(count)); };
  int64_t group = apart ? std::min(cuda_group(walk.reduced), kCudaThreads / cuda_group(together))
                        : cuda_group(ceil_div(walk.reduced,
                                              walk.kept >= kManyOutputs ? kMaxPerThread : kMinPerThread),
                                     by_rows ? at_once(together) : kCudaThreads),
          outputs = kCudaThreads / group, vector = !apart && walk.reduced_extents.back() % 4 == 0 ? 4 : 1;
  CudaElements split(rows, walk.kept, outputs, longest);

  std::string fold = fmt::format("{}<{}>", fold_name, cuda_name(q.inputs[0].dtype)),
              kept = cuda_axes(walk.kept_extents, walk.kept_strides),
              reduced =
                  walk.reduced > 0 ? cuda_axes(walk.reduced_extents, walk.reduced_strides) : "Axes<0, 1>";
  const int64_t shared_bytes = apart ? kCudaThreads * kTotalBytes : kCudaThreads / 32 * kTotalBytes;
  const int64_t tiles = ceil_div(walk.kept, outputs);
  if (!by_rows && walk.reduced / group > kMaxPerThread && tiles < kTargetBlocks) {
    // A part is a sample, so that whoever makes the sample folds it too, or a run of any.
    const bool samples = walk.reduced % x[0] == 0 && cuda_rows(x[0]).per_chunk == 1 && x[0] > 1 &&
                         std::ranges::find(axes, 0) != axes.end() && x.numel() / x[0] <= kCudaMaxRowElements;
    int64_t parts = samples ? x[0] : std::min(kTargetBlocks / tiles, walk.reduced / (group * kMinPerThread));
    int64_t per_part = samples ? walk.reduced / parts
                               : ceil_div(ceil_div(walk.reduced, parts), group * vector) * group * vector;
    parts = ceil_div(walk.reduced, per_part);
    if (parts > 1) {
      if (samples)
        group = std::min({group, cuda_group(ceil_div(per_part, apart ? 1 : kMinPerThread)),
                          apart ? group : at_once(walk.kept)});
      std::string run = device_function("reduce_parts", fold, parts, per_part, samples, x.numel(), kept,
                                        reduced, group, apart, vector);
      call->workspace_bytes = parts * walk.kept * kTotalBytes;
      call->phases.push_back(
          samples ? cuda_row_phase(parts, 1, 0, run, shared_bytes)
                  : CudaPhase{.chunks = tiles * parts, .run = run, .shared_bytes = shared_bytes});
      call->phases.back().writes = 0;
      const bool many = walk.kept > 1;
      group = std::min(cuda_group(parts),
                       many ? kCudaThreads / cuda_group(std::min<int64_t>(walk.kept, 32)) : kCudaThreads);
      CudaElements join(1, walk.kept, kCudaThreads / group);
      call->phases.push_back(
          join.phase(0, 0, device_function("reduce_join", fold, join.type(), walk.kept, parts, group, many),
                     kCudaThreads * kTotalBytes));
      call->phases.back().reads = 0;
      return call;
    }
  }
  call->phases.push_back(split.phase(
      1, 1,
      device_function("reduce_outputs", fold, split.type(), x.numel(), kept, reduced, group, apart, vector),
      shared_bytes));
  return call;
}

}  // namespace

std::unique_ptr<PreparedKernel> prepare_sum_cuda(const KernelRequest& q) { return reduce_call(q, "SumOf"); }
std::unique_ptr<PreparedKernel> prepare_max_cuda(const KernelRequest& q) { return reduce_call(q, "MaxOf"); }
std::unique_ptr<PreparedKernel> prepare_argmax_cuda(const KernelRequest& q) {
  return reduce_call(q, "ArgmaxOf");
}

/// Tiles of all operands are numbered through and shared out; the blocks' sums are few enough for one block,
/// which adds what are sums already.
std::unique_ptr<PreparedKernel> prepare_sum_squares_cuda(const KernelRequest& q) {
  constexpr int64_t kTile = 8 * kCudaThreads, kFewLoads = 32;  // of a thread, all under way at once
  const std::vector<int64_t> sums = q.attrs.has("sums") ? q.attrs.integers("sums") : std::vector<int64_t>();
  std::string_view type;
  std::vector<int64_t> ends, sizes;
  std::vector<size_t> operands;
  int64_t loads = 0;
  uint64_t given = 0;  // operands, as CudaPhase::reads
  std::string parameters = "(Lane lane";
  struct Reads {
    int64_t loads = 0;
    std::string begin, add;
  };
  std::vector<Reads> of_given(1);  // each under way at once
  for (size_t i = 0; i < q.inputs.size(); ++i) {
    int64_t n = q.inputs[i].shape.numel();
    parameters += fmt::format(", const {}* p{}", cuda_name(q.inputs[i].dtype), i);
    if (n == 0) continue;
    if (std::ranges::find(sums, static_cast<int64_t>(i)) != sums.end()) {
      given = i < 64 ? given | uint64_t{1} << i : kAllOperands;
      if (of_given.back().loads >= kFewLoads) of_given.emplace_back();
      Reads& reads = of_given.back();
      reads.loads += ceil_div(n, kCudaThreads);
      reads.begin += fmt::format("  const ShareOf<{}, double> g{}(p{});\n", n, i, i);
      reads.add += fmt::format("  total = g{}.plus(total);\n", i);
      continue;
    }
    type = cuda_name(q.inputs[i].dtype);
    loads += ceil_div(n, kCudaThreads);
    ends.push_back((ends.empty() ? 0 : ends.back()) + ceil_div(n, kTile));
    sizes.push_back(n);
    operands.push_back(i);
  }
  parameters += ", double* y, char* workspace) {\n  double total = 0;\n";
  auto call = cuda_call(q, "reduce.cuh");
  auto add = [&](int64_t blocks, uint64_t reads, std::string_view name, const std::string& body) {
    call->phases.push_back({.chunks = blocks,
                            .reads = reads,
                            .run = cuda_define(*call, name, parameters + body + "}\n"),
                            .shared_bytes = kCudaSumBytes});
  };
  /// The end: `rest` and what is given.
  auto total_of = [&](Reads rest) {
    std::string body = rest.begin + of_given[0].begin + rest.add + of_given[0].add;
    for (size_t i = 1; i < of_given.size(); ++i) body += of_given[i].begin + of_given[i].add;
    return body + "  store_sum(lane, total, y);\n";
  };
  if (loads <= kFewLoads) {
    Reads rest;
    for (size_t k = 0; k < operands.size(); ++k) {
      rest.begin += fmt::format("  const ShareOf<{}, {}> s{}(p{});\n", sizes[k], type, k, operands[k]);
      rest.add += fmt::format("  total = s{}.plus_squares(total);\n", k);
    }
    add(1, kAllOperands, "squares", total_of(rest));
    return call;
  }
  const int64_t tiles = ends.back(), per_block = ceil_div(tiles, kCudaThreads),
                blocks = ceil_div(tiles, per_block);
  const std::string find_tile = cuda_branch("tile", ends, [&](size_t k) {
    int64_t first = k > 0 ? ends[k - 1] : 0;
    return fmt::format("x = p{0} + (tile - {1}) * {2}; n = {3} - (tile - {1}) * {2};", operands[k], first,
                       kTile, sizes[k]);
  });
  add(blocks, given == 0 || q.inputs.size() > 64 ? kAllOperands : ~given, "squares",
      fmt::format("  const int64_t begin = lane.chunk * {0}, end = begin + {0} < {1} ? begin + {0} : {1};\n"
                  "  for (int64_t tile = begin; tile < end; ++tile) {{\n"
                  "    const {2}* x;\n    int64_t n;\n    {3}\n"
                  "    total = add_squares(total, x, n < {4} ? n : {4});\n  }}\n"
                  "  store_sum(lane, total, reinterpret_cast<double*>(workspace) + lane.chunk);\n",
                  per_block, tiles, type, find_tile, kTile));
  call->phases.back().writes = 0;
  add(1, given, "join_squares",
      total_of({.begin = fmt::format(
                    "  const ShareOf<{}, double> s(reinterpret_cast<const double*>(workspace));\n", blocks),
                .add = "  total = s.plus(total);\n"}));
  call->workspace_bytes = blocks * int64_t{sizeof(double)};
  return call;
}

}  // namespace wholestep
