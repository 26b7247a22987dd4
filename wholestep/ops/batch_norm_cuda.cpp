// Batch normalisation on CUDA: parts of the samples are rows of the batch where a sample is small, else as
// many as fill the device.
#include "wholestep/ops/batch_norm_cuda.h"

#include <bit>

#include "wholestep/backend/cuda/elements.h"

namespace wholestep {
namespace {

constexpr int64_t kTargetBlocks = 1024;
/// More parts than this are joined once, in a phase of their own, instead of by every block.
constexpr int64_t kMaxPartsAgain = 64;
/// Runs shorter than this are summed by threads side by side along the channels.
constexpr int64_t kShortRun = 8;

/// How a phase shares out samples and channels: blocks of `per` samples times `tile` channels.
struct Shares {
  int64_t per, tile;
  int64_t blocks(int64_t n, int64_t channels) const { return ceil_div(n, per) * ceil_div(channels, tile); }
};

/// `name` is that of the device functions without _collect, _join and _apply.
std::unique_ptr<PreparedKernel> batch_norm_call(const KernelRequest& q, std::string_view name,
                                                uint64_t row_inputs) {
  const Shape& x = q.inputs[0].shape;
  const int64_t n = x[0], channels = x[1], run = x.numel() / (n * channels);
  const bool by_rows = n > 1 && channels * run <= kCudaMaxRowElements;

  Shares collect, apply;
  if (by_rows) {
    collect = apply = {cuda_rows(n).per_chunk, channels};
  } else {
    collect.per = ceil_div(n, std::clamp<int64_t>(kTargetBlocks / channels, 1, std::min(n, kMaxPartsAgain)));
    collect.tile = std::clamp<int64_t>(2048 / (collect.per * run), 1, std::min(channels, kCudaThreads));
    apply.tile = std::clamp<int64_t>(8192 / run, 1, std::min(channels, kCudaThreads));
    apply.per = std::clamp<int64_t>(16384 / (apply.tile * run), 1, n);
  }
  const int64_t parts = ceil_div(n, collect.per), vector = run % 4 == 0 ? 4 : 1;
  const bool joined = parts > kMaxPartsAgain, apart = run < kShortRun;

  const int64_t count = collect.per * run, wide = kCudaThreads / cuda_group(collect.tile);
  const int64_t group = apart ? std::min(cuda_group(count), wide) : std::max(cuda_group(count / 8), wide);
  const int64_t join_group = std::min(cuda_group(parts), kCudaThreads / cuda_group(joined ? 32 : apply.tile)),
                apply_group = joined ? kCudaThreads / cuda_group(apply.tile) : join_group;

  auto call = cuda_call(q, "batch_norm.cuh");
  call->workspace_bytes = (parts + joined) * channels * 2 * int64_t{sizeof(double)};
  std::string problem = device_function("BatchNormOf", n, channels, run, collect.per,
                                        std::bit_cast<uint64_t>(q.attrs.number("eps")));
  auto function = [&](std::string_view what) { return std::string(name) + std::string(what); };
  const int64_t fold_bytes = kCudaThreads * int64_t{sizeof(double)},
                constants_bytes = kCudaThreads / apply_group * 4 * size_bytes(q.inputs[0].dtype);

  auto add = [&](const Shares& shares, uint64_t row_outputs, std::string run_text, int64_t shared_bytes) {
    if (by_rows) call->phases.push_back(cuda_row_phase(n, row_inputs, row_outputs, run_text, shared_bytes));
    else
      call->phases.push_back(
          {.chunks = shares.blocks(n, channels), .run = run_text, .shared_bytes = shared_bytes});
  };
  add(collect, 0,
      device_function(function("_collect"), problem, collect.per, collect.tile, group, apart, vector),
      fold_bytes);
  if (joined)
    call->phases.push_back({.chunks = ceil_div(channels, kCudaThreads / join_group),
                            .run = device_function(function("_join"), problem, join_group),
                            .shared_bytes = fold_bytes});
  // The results of channels are written whole, by the blocks of the first samples.
  add(apply, 1,
      device_function(function("_apply"), problem, apply.per, apply.tile, apply_group, joined, vector),
      fold_bytes + constants_bytes);
  return call;
}

}  // namespace

std::unique_ptr<PreparedKernel> prepare_batch_norm_cuda(const KernelRequest& q) {
  return batch_norm_call(q, "batch_norm", 1);
}
std::unique_ptr<PreparedKernel> prepare_batch_norm_dx_cuda(const KernelRequest& q) {
  return batch_norm_call(q, "batch_norm_dx", 1 | 1 << 4);
}

}  // namespace wholestep
