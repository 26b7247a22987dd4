// Phases that libraries of CUDA compute: products of matrices by cuBLASLt, convolutions by cuDNN. Here are
// their sizes, where their operands lie and what room they need; backend/cuda_runtime runs them.
#pragma once
#include <optional>
#include <string>
#include <variant>

#include "wholestep/backend/cpu/conv.h"
#include "wholestep/base/dtype.h"

namespace wholestep {

/// Where an operand lies: so many bytes behind the start of an input or output of the call, or of its
/// workspace.
struct LibraryPlace {
  enum class In { kNowhere, kInput, kOutput, kWorkspace } in = In::kNowhere;
  int64_t index = 0, offset = 0;
};

/// Of every kind of call: d follows from a, b and perhaps a bias.
struct LibraryPlaces {
  LibraryPlace a = {}, b = {}, bias = {}, d = {};
  LibraryPlace scratch = {};  ///< scratch_bytes() of the workspace
  int64_t alignment() const;  ///< bytes that the places of a, b and d are multiples of, at most kAlignment
};
struct LibraryBytes {
  int64_t a = 0, b = 0, bias = 0, d = 0;
};

/// Scratch is used from the next multiple of so many bytes on.
constexpr int64_t kScratchAlignment = 256;

/// d [batch, m, n] = op(a) op(b), each row by row, plus a bias [n], clipped at 0 where `relu`. In f32 or f64.
struct CudaProduct {
  static constexpr const char* kLibrary = "cuBLASLt";
  DType dtype = DType::f32;
  bool tf32 = false;  ///< f32 operands may be rounded to it
  int64_t batch = 1, m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  bool shared_a = false;  ///< one a for the whole batch
  bool relu = false;
  int64_t d_stride = 0;  ///< elements from one product to the next; 0: m n
  LibraryPlaces at = {};
  bool biased() const { return at.bias.in != LibraryPlace::In::kNowhere; }
  LibraryBytes bytes() const;
  int64_t scratch_bytes() const;  ///< room for parts of the sums
  int64_t blocks() const;         ///< about what it is divided among
  /// Sizes and everything else that a choice of algorithm depends on.
  std::string text() const;
};

/// One of the three of a convolution of f32: of y from x and weight, dx from dy and weight, dw from x and dy.
struct CudaConvolution {
  static constexpr const char* kLibrary = "cuDNN";
  static constexpr DType dtype = DType::f32;
  enum class Of { kResult, kInput, kWeight } of = Of::kResult;
  bool tf32 = false;
  int64_t batch = 1;
  Conv2d conv = {};
  LibraryPlaces at = {};
  int64_t x_bytes() const;
  int64_t weight_bytes() const;
  int64_t y_bytes() const;
  LibraryBytes bytes() const;
  /// Room for all operands with their channels last, eight at a time, and for parts of the sums.
  int64_t scratch_bytes() const;
  int64_t blocks() const;
  std::string text() const;
};

using LibraryCall = std::variant<CudaProduct, CudaConvolution>;

inline LibraryPlaces& places(LibraryCall& call) {
  return std::visit([](auto& of) -> LibraryPlaces& { return of.at; }, call);
}
inline const LibraryPlaces& places(const LibraryCall& call) {
  return std::visit([](const auto& of) -> const LibraryPlaces& { return of.at; }, call);
}
inline int64_t scratch_bytes(const LibraryCall& call) {
  return std::visit([](const auto& of) { return of.scratch_bytes(); }, call);
}
/// With the library's name.
std::string text(const LibraryCall& call);

/// About what the library divides a product of such a result among.
int64_t cuda_product_blocks(int64_t m, int64_t n);

/// From so many multiplications and additions on, and so many rows and columns, the library is ahead of
/// kernels of ours: docs/performance.md.
constexpr int64_t kCudaProductFlops = int64_t{1} << 28, kCudaProductSide = 64;

/// What plans leave to the libraries: what these do faster than kernels of ours; or, to measure and to test,
/// nothing, or all that they can. Plans keep what they were made with.
enum class LibraryUse { kNever, kWhereAhead, kAlways };
LibraryUse library_use();
void set_library_use(LibraryUse use);
/// Why no call is theirs by that alone, "" where all are; else nothing.
std::optional<std::string> refused_by_library_use();

/// Whether there is cuDNN: yes until a GPU is used, then what that machine has.
bool cudnn_available();
void set_cudnn_available(bool available);

}  // namespace wholestep
