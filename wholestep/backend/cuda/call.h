// What a CUDA kernel hands over when it is prepared: phases as CUDA C++, written for one request with every
// size a constant. Nothing here needs CUDA: plans for a GPU are made, printed and counted anywhere. The
// phases of a region become one kernel, compiled when the plan is loaded.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "wholestep/backend/cuda/library_call.h"
#include "wholestep/backend/phases.h"
#include "wholestep/base/integers.h"

namespace wholestep {

/// Threads of every block. A constant, since the order of sums within a block follows from it.
constexpr int64_t kCudaThreads = 512;
/// Dynamic shared memory a phase may ask for: what a block may have on cuda_architecture(), at most 160 KiB.
int64_t cuda_shared_bytes();
/// What lanes may have that have a multiprocessor each.
int64_t cuda_lane_bytes();
/// What leaves room for other blocks on a multiprocessor.
constexpr int64_t kCudaSharedWithOthers = 48 * 1024;
/// Blocks that share out the rows of a batch. Rows up to this many have a block each.
constexpr int64_t kCudaRowChunks = 1024;
/// About what the multiprocessors of a large GPU run at a time, where each has room for one block.
constexpr int64_t kCudaBusyBlocks = kLanesAlone;
/// Shared memory of a block_sum() in f64.
constexpr int64_t kCudaSumBytes = kCudaThreads / 32 * 8;
/// A phase of one block that reads no more is over before another kernel could begin.
constexpr int64_t kCudaBriefBytes = 4096;
/// The elements, at most four, that one instruction moves of rows of n; as in prelude.cuh.
constexpr int64_t largest_power(int64_t n) { return n % 4 == 0 ? 4 : n % 2 == 0 ? 2 : 1; }
inline Split cuda_rows(int64_t rows) { return Split(rows, kCudaRowChunks); }

/// Whether products and convolutions of f32 may run on tensor cores in TF32: operands rounded to 10 bits of
/// mantissa, sums in f32. On by default, as in the libraries we are compared with; off, every product is
/// exact f32. Plans keep what they were made with.
bool tf32_allowed();
void set_tf32_allowed(bool allowed);

/// The architecture that plans are made for, 80 for sm_80: 90 until a GPU is used, then the GPU's.
int cuda_architecture();
void set_cuda_architecture(int architecture);

/// The tile of a block on tensor cores, as TensorTile in tensor_core.cuh.
struct TensorTile {
  int64_t m, n, warp_m, warp_n, stages = 2;
  int64_t shared_bytes() const { return 4 * stages * 36 * (m + n + 16); }
  std::string text() const;
};
/// The tile and the number of parts of the sum that keep a GPU busy with c [m, n] over k.
struct TensorShape {
  TensorTile tile;
  int64_t tiles, splits;
};
TensorShape tensor_shape(int64_t m, int64_t n, int64_t k);

struct CudaPhase {
  int64_t chunks = 1;  ///< blocks
  int64_t rows = 0;    ///< as in PhaseExtent; chunk c has rows cuda_rows(rows)[c]
  uint64_t row_inputs = 0, row_outputs = 0;
  int64_t strips = 1;  ///< as PhaseExtent::strips; a block is given its number among all strips
  uint64_t reads = kAllOperands, writes = kAllOperands;  ///< inputs it looks at, outputs it makes
  std::optional<int64_t> workspace_bytes = {};           ///< of the workspace that it reads, if not all of it
  bool in_memory = false;  ///< operands must lie in memory, for instructions that read nothing else
  /// A device function with its template arguments: "softmax_rows<float, 64, 10>". It is called by all
  /// threads of block `lane.chunk` as run(lane, inputs..., outputs..., workspace).
  std::string run = {};
  int64_t shared_bytes = 0;  ///< at lane.shared, undefined at the start
  int64_t together = 1;      ///< blocks that a multiprocessor is to have registers for at a time
  /// The same where no other phase shares the lanes; no chunks: as with others. It uses no shared memory.
  struct Alone {
    int64_t chunks = 0;
    std::string run = {};
    int64_t stretch = 0;  ///< as PhaseExtent::stretch_alone
  } alone = {};
  std::optional<LibraryCall> library = {};  ///< instead of `run`: nothing shares its lanes
};

struct CudaCall final : PhasedKernel {
  std::vector<std::string> headers;      ///< device headers the phases come from, such as "softmax.cuh"
  std::vector<std::string> definitions;  ///< device functions made for this request; others may share them
  std::vector<TensorType> inputs, outputs;
  bool squares =
      false;  ///< the last output is sums of squares, which the last phase makes and alone is given
  bool operand_squares = false;  ///< the same, of what the first phase reads
  std::vector<CudaPhase> phases;
  size_t phase_count() const override { return phases.size(); }
  PhaseExtent phase(size_t i) const override;
};

/// A call without phases yet, with the operands of the request.
std::unique_ptr<CudaCall> cuda_call(const KernelRequest& request, std::string header);
/// A phase that a library computes.
CudaPhase cuda_library_phase(LibraryCall call);
/// The last phase, whose blocks each write a part of all results, gives the sums of their squares if asked;
/// not where there are more blocks than the one that adds them up has threads.
void give_squares(CudaCall& call);
/// A phase over the rows of the operands marked.
CudaPhase cuda_row_phase(int64_t rows, uint64_t row_inputs, uint64_t row_outputs, std::string run,
                         int64_t shared_bytes = 0);

std::string_view cuda_name(
    DType dtype);  ///< "float", "double", "int32_t", "int64_t", "uint8_t", "bool", "f16", "bf16"
/// name<a, b, c> of a device function.
template <class... Args>
std::string device_function(std::string_view name, const Args&... args);

namespace cuda_text {
inline std::string of(const std::string& text) { return text; }
inline std::string of(std::string_view text) { return std::string(text); }
inline std::string of(const char* text) { return text; }
inline std::string of(DType dtype) { return std::string(cuda_name(dtype)); }
inline std::string of(bool flag) { return flag ? "true" : "false"; }
inline std::string of(int64_t number) { return std::to_string(number); }
inline std::string of(uint64_t number) { return std::to_string(number) + "ull"; }
inline std::string of(int number) { return std::to_string(number); }
}  // namespace cuda_text

template <class... Args>
std::string device_function(std::string_view name, const Args&... args) {
  std::string text(name), separator = "<";
  ((text += separator + cuda_text::of(args), separator = ", "), ...);
  return text + (sizeof...(args) ? ">" : "");
}

}  // namespace wholestep
