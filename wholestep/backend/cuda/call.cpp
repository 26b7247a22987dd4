#include "wholestep/backend/cuda/call.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

namespace wholestep {
namespace {

std::atomic<bool> tf32{true};
std::atomic<int> architecture{90};

}  // namespace

bool tf32_allowed() { return tf32; }
void set_tf32_allowed(bool allowed) { tf32 = allowed; }
int cuda_architecture() { return architecture; }
void set_cuda_architecture(int of) { architecture = of; }
int64_t cuda_shared_bytes() {
  // A block may have 163 KiB on sm_80 and 227 KiB on sm_90 and sm_100, on others, those of graphics
  // cards, 99.
  switch (cuda_architecture()) {
    case 80:
    case 87:
    case 90:
    case 100:
    case 103: return 160 * 1024;
    default: return 96 * 1024;
  }
}
int64_t cuda_lane_bytes() {
  // So much leaves room beside it for a block that adds up sums.
  return cuda_architecture() == 90 ? 216 * 1024 : cuda_shared_bytes();
}

std::string TensorTile::text() const { return device_function("TensorTile", m, n, warp_m, warp_n, stages); }

TensorShape tensor_shape(int64_t m, int64_t n, int64_t k) {
  // Those of fewer than 16 warps' tiles share out each slice of the sum.
  constexpr TensorTile kTiles[] = {{128, 128, 32, 32}, {64, 256, 32, 32}, {256, 64, 32, 32},
                                   {32, 512, 32, 32},  {64, 128, 32, 16}, {128, 64, 16, 32},
                                   {32, 256, 16, 32},  {64, 64, 16, 16},  {32, 128, 32, 32},
                                   {128, 32, 32, 32},  {64, 64, 32, 32},  {32, 64, 16, 16}};
  const int64_t half = cuda_lane_bytes() / 2;  // of a multiprocessor's shared memory
  TensorShape best{};
  double least = 0;
  for (TensorTile tile : kTiles) {
    if (tile.shared_bytes() > cuda_shared_bytes()) continue;
    int64_t tiles = ceil_div(m, tile.m) * ceil_div(n, tile.n), splits = 1;
    if (tiles > 0) splits = std::clamp<int64_t>(k / 64, 1, std::max<int64_t>(1, kCudaBusyBlocks / tiles));
    if (k > 0) splits = ceil_div(k, rounded_up(ceil_div(k, splits), 32));
    int64_t slices = ceil_div(ceil_div(k, splits), 32),
            parts = 16 * tile.warp_m * tile.warp_n / (tile.m * tile.n),
            rounds = ceil_div(tiles * splits, kCudaBusyBlocks);
    const bool in_turn = rounds > 1 && tile.warp_m * tile.warp_n <= 512 && tile.shared_bytes() <= half;
    for (; tile.stages < std::min<int64_t>(slices + 1, 4); ++tile.stages) {
      TensorTile deeper = tile;
      ++deeper.stages;
      if (deeper.shared_bytes() > (in_turn ? half : cuda_shared_bytes())) break;
    }
    // Cycles of a multiprocessor: the fragments and products of a slice, or its way from memory; then the
    // tile's way back, and the parts' to each other, beside another block's slices where there are several
    // and two fit, by memory and registers.
    const double side = static_cast<double>(tile.m + tile.n),
                 step = 4 * static_cast<double>(tile.warp_m + tile.warp_n) +
                        static_cast<double>(tile.warp_m * tile.warp_n) * 3 / 16,
                 slice = std::max(step * 4 / static_cast<double>(parts) + 2 * side, 6 * side),
                 end = static_cast<double>(tile.m * tile.n) / 8 + static_cast<double>(300 * parts) + 1200,
                 time = static_cast<double>(rounds) *
                            (slice * static_cast<double>(slices) + (in_turn ? end / 2 : end)) +
                        (splits > 1 ? 2000.0 : 0.0);
    if (best.tiles == 0 || time < least) best = {tile, tiles, splits}, least = time;
  }
  return best;
}

PhaseExtent CudaCall::phase(size_t i) const {
  const CudaPhase& p = phases[i];
  int64_t bytes = i > 0 ? p.workspace_bytes.value_or(workspace_bytes) : 0;  // what it reads
  for (size_t k = 0; k < inputs.size(); ++k) bytes += has_operand(p.reads, k) ? inputs[k].bytes() : 0;
  return {.chunks = p.chunks,
          .rows = p.rows,
          .row_inputs = p.row_inputs,
          .row_outputs = p.row_outputs,
          .strips = p.strips,
          .chunks_alone = p.alone.chunks,
          .stretch_alone = p.alone.stretch,
          .heavy = p.shared_bytes > kCudaSharedWithOthers,
          .reads = p.reads,
          .parts = p.writes == 0,
          .prompt = std::ranges::any_of(phases, [](const CudaPhase& of) { return of.library.has_value(); }),
          .brief = p.chunks == 1 && p.rows == 0 && i + 1 == phases.size() && bytes <= kCudaBriefBytes};
}

std::unique_ptr<CudaCall> cuda_call(const KernelRequest& request, std::string header) {
  auto call = std::make_unique<CudaCall>();
  call->headers = {std::move(header)};
  call->inputs.assign(request.inputs.begin(), request.inputs.end());
  call->outputs.assign(request.outputs.begin(), request.outputs.end());
  call->squares = request.attrs.has("squares");
  call->operand_squares = request.attrs.has("operand_squares");
  return call;
}

void give_squares(CudaCall& call) {
  constexpr int64_t kMostParts = kCudaThreads;  // one a thread of the block that adds them up
  const int64_t parts = call.phases.back().chunks;
  if (parts <= kMostParts) call.square_parts = parts;
}

CudaPhase cuda_library_phase(LibraryCall call) {
  const int64_t blocks = std::visit([](const auto& of) { return of.blocks(); }, call);
  return {.chunks = std::max<int64_t>(2, blocks), .library = std::move(call)};
}

CudaPhase cuda_row_phase(int64_t rows, uint64_t row_inputs, uint64_t row_outputs, std::string run,
                         int64_t shared_bytes) {
  return {.chunks = cuda_rows(rows).chunks(),
          .rows = rows,
          .row_inputs = row_inputs,
          .row_outputs = row_outputs,
          .run = std::move(run),
          .shared_bytes = shared_bytes};
}

std::string_view cuda_name(DType dtype) {
  switch (dtype) {
    case DType::f32: return "float";
    case DType::f64: return "double";
    case DType::i32: return "int32_t";
    case DType::i64: return "int64_t";
    case DType::u8: return "uint8_t";
    case DType::f16: return "f16";
    case DType::bf16: return "bf16";
    case DType::boolean: break;
  }
  return "bool";
}

}  // namespace wholestep
