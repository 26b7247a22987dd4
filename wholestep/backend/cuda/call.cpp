#include "wholestep/backend/cuda/call.h"

#include <atomic>

namespace wholestep {
namespace {

std::atomic<bool> tf32{true};

}  // namespace

bool tf32_allowed() { return tf32; }
void set_tf32_allowed(bool allowed) { tf32 = allowed; }

std::string TensorTile::text() const { return device_function("TensorTile", m, n, warp_m, warp_n); }

TensorShape tensor_shape(int64_t m, int64_t n, int64_t k) {
  // About what the multiprocessors of a large GPU run at a time.
  constexpr int64_t kBusy = 132;
  constexpr TensorTile kTiles[] = {{128, 128, 32, 32}, {64, 256, 32, 32}, {256, 64, 32, 32},
                                   {32, 512, 32, 32},  {64, 128, 32, 16}, {128, 64, 16, 32},
                                   {32, 256, 16, 32},  {64, 64, 16, 16}};
  TensorShape best{};
  double least = 0;
  for (const TensorTile& tile : kTiles) {
    int64_t tiles = ceil_div(m, tile.m) * ceil_div(n, tile.n);
    int64_t splits =
        tiles >= kBusy
            ? 1
            : std::clamp<int64_t>(k / 64, 1, std::max<int64_t>(1, 2 * kBusy / std::max<int64_t>(tiles, 1)));
    if (k > 0) splits = ceil_div(k, ceil_div(ceil_div(k, splits), 32) * 32);
    // Time of a multiprocessor: shared memory reads of a slice, per output of a warp's tile, plus what is
    // fetched.
    double slice = static_cast<double>(tile.m * tile.n) / static_cast<double>(tile.warp_m * tile.warp_n) *
                       static_cast<double>(tile.warp_m / 16 * 4 + tile.warp_n / 8 * 2) * 4 +
                   static_cast<double>(tile.m + tile.n) * 2;
    double rounds = static_cast<double>(ceil_div(tiles * splits, kBusy)),
           time = rounds * slice * static_cast<double>(ceil_div(ceil_div(k, splits), 32)) +
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
