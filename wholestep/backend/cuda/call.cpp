#include "wholestep/backend/cuda/call.h"

#include <atomic>

namespace wholestep {
namespace {

std::atomic<bool> tf32{true};

}  // namespace

bool tf32_allowed() { return tf32; }
void set_tf32_allowed(bool allowed) { tf32 = allowed; }

std::string TensorTile::text() const { return device_function("TensorTile", m, n, stages); }

TensorShape tensor_shape(int64_t m, int64_t n, int64_t k) {
  // About what the multiprocessors of a large GPU run at a time.
  constexpr int64_t kBusy = 132;
  TensorShape best{};
  double least = 0;
  for (int64_t tile_m = 32; tile_m <= 512; tile_m *= 2)
    for (int64_t tile_n = 32; tile_n <= 512; tile_n *= 2) {
      int64_t elements = tile_m * tile_n, parts = 16 * 1024 / elements;  // of a slice, a warp each
      if (elements > 16 * 1024 || parts > 4) continue;
      int64_t tiles = ceil_div(m, tile_m) * ceil_div(n, tile_n), splits = 1;
      if (tiles > 0) splits = std::clamp<int64_t>(k / 64, 1, std::max<int64_t>(1, kBusy / tiles));
      if (k > 0) splits = ceil_div(k, rounded_up(ceil_div(k, splits), 32));
      int64_t slices = ceil_div(ceil_div(k, splits), 32);
      TensorTile tile{tile_m, tile_n};
      while (tile.stages < std::min<int64_t>(slices, 4) &&
             TensorTile{tile_m, tile_n, tile.stages + 1}.shared_bytes() <= kCudaSharedBytes)
        ++tile.stages;
      // Cycles of a multiprocessor: a slice's fragments and products, or its way from memory; the tile's way
      // back.
      double side = static_cast<double>(tile_m + tile_n),
             slice = std::max(1800.0 / static_cast<double>(parts) + 2 * side, 6 * side),
             time = static_cast<double>(ceil_div(tiles * splits, kBusy)) *
                        (slice * static_cast<double>(slices) + static_cast<double>(elements) / 8 + 1500) +
                    (splits > 1 ? 2000.0 : 0.0);
      if (best.tiles == 0 || time < least) best = {tile, tiles, splits}, least = time;
    }
  return best;
}

std::unique_ptr<CudaCall> cuda_call(const KernelRequest& request, std::string header) {
  auto call = std::make_unique<CudaCall>();
  call->headers = {std::move(header)};
  call->inputs.assign(request.inputs.begin(), request.inputs.end());
  call->outputs.assign(request.outputs.begin(), request.outputs.end());
  return call;
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
    case DType::boolean: break;
  }
  return "bool";
}

}  // namespace wholestep
