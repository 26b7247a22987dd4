#include "wholestep/backend/cuda_runtime/products.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <span>

#include "wholestep/backend/cuda_runtime/check.h"
#include "wholestep/backend/cuda_runtime/queue.h"
#include "wholestep/backend/disk_cache.h"
#include "wholestep/base/fingerprint.h"
#include "wholestep/base/philox.h"

namespace wholestep {
namespace {

/// cuBLASLt, loaded when the first product asks for it: that takes longer than small networks train. What
/// ends with _internal is what the inline functions of its header call.
struct CublasLt {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtGetVersion) version;
  decltype(&cublasLtGetStatusString) status_text;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) propose;
  decltype(&cublasLtMatmulDescInit_internal) describe;
  decltype(&cublasLtMatmulDescSetAttribute) set_option;
  decltype(&cublasLtMatrixLayoutInit_internal) lay;
  decltype(&cublasLtMatrixLayoutSetAttribute) set_layout;
  decltype(&cublasLtMatmulPreferenceInit_internal) prefer;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference;
};

const CublasLt& cublaslt() {
  static const CublasLt library = [] {
    void* handle = dlopen("libcublasLt.so.13", RTLD_NOW | RTLD_LOCAL);
    auto find = [&]<class Function>(Function*& function, const char* name) {
      function = handle ? reinterpret_cast<Function*>(dlsym(handle, name)) : nullptr;
      if (!function)
        throw Error(ErrorCode::kFailure, {.what = "large products need cuBLASLt, which cannot be loaded",
                                          .got = dlerror(),
                                          .expected = "libcublasLt.so.13, of the CUDA 13 libraries"});
    };
    CublasLt found{};
    find(found.create, "cublasLtCreate");
    find(found.destroy, "cublasLtDestroy");
    find(found.version, "cublasLtGetVersion");
    find(found.status_text, "cublasLtGetStatusString");
    find(found.matmul, "cublasLtMatmul");
    find(found.propose, "cublasLtMatmulAlgoGetHeuristic");
    find(found.describe, "cublasLtMatmulDescInit_internal");
    find(found.set_option, "cublasLtMatmulDescSetAttribute");
    find(found.lay, "cublasLtMatrixLayoutInit_internal");
    find(found.set_layout, "cublasLtMatrixLayoutSetAttribute");
    find(found.prefer, "cublasLtMatmulPreferenceInit_internal");
    find(found.set_preference, "cublasLtMatmulPreferenceSetAttribute");
    return found;
  }();
  return library;
}

void check(cublasStatus_t status, const std::string& doing) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error(ErrorCode::kFailure,
                {.what = "cuBLASLt failed " + doing, .got = cublaslt().status_text(status)});
}

/// A product as cuBLASLt sees it. It counts columns first, so a matrix of ours is its transpose there, and
/// d = op(a) op(b) becomes d' = op(b)' op(a)'.
struct Description {
  cublasLtMatmulDescOpaque_t operation{};
  cublasLtMatrixLayoutOpaque_t first{}, second{}, result{};  ///< op(b)', op(a)' and d'

  explicit Description(const CudaProduct& p, const void* bias = nullptr) {
    const bool f64 = p.dtype == DType::f64;
    const cudaDataType_t type = f64 ? CUDA_R_64F : CUDA_R_32F;
    const cublasComputeType_t sums = f64      ? CUBLAS_COMPUTE_64F
                                     : p.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                              : CUBLAS_COMPUTE_32F;
    check(cublaslt().describe(&operation, sizeof(operation), sums, type), "to take a product");
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    const bool biased = p.bias.in != CudaProduct::Place::In::kNowhere;
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, biased ? p.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS
                                       : p.relu ? CUBLASLT_EPILOGUE_RELU
                                                : CUBLASLT_EPILOGUE_DEFAULT);
    if (biased) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    auto lay = [&](cublasLtMatrixLayoutOpaque_t& layout, int64_t rows, int64_t columns, int64_t stride) {
      check(cublaslt().lay(&layout, sizeof(layout), type, static_cast<uint64_t>(columns),
                           static_cast<uint64_t>(rows), columns),
            "to take a matrix");
      const auto batch = static_cast<int32_t>(p.batch);
      check(cublaslt().set_layout(&layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof(batch)),
            "to take a batch");
      check(cublaslt().set_layout(&layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride,
                                  sizeof(stride)),
            "to take a batch");
    };
    lay(first, p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.k * p.n);
    lay(second, p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.shared_a ? 0 : p.m * p.k);
    lay(result, p.m, p.n, p.d_stride > 0 ? p.d_stride : p.m * p.n);
  }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check(cublaslt().set_option(&operation, attribute, &value, sizeof(value)), "to take an option");
  }
};

/// Algorithms that cuBLASLt proposes, its favourite first.
std::vector<cublasLtMatmulAlgo_t> proposals(cublasLtHandle_t library, const CudaProduct& product) {
  constexpr int kAsked = 12;
  Description description(product);
  cublasLtMatmulPreferenceOpaque_t preference{};
  check(cublaslt().prefer(&preference, sizeof(preference)), "to take a preference");
  auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    check(cublaslt().set_preference(&preference, attribute, &value, sizeof(value)), "to take a preference");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
         static_cast<uint64_t>(product.scratch_bytes() - CudaProduct::kScratchAlignment));
  for (auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    prefer(attribute, static_cast<uint32_t>(product.alignment()));
  cublasLtMatmulHeuristicResult_t found[kAsked];
  int count = 0;
  check(cublaslt().propose(library, &description.operation, &description.first, &description.second,
                           &description.result, &description.result, &preference, kAsked, found, &count),
        "to propose an algorithm for " + product.text());
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  for (int i = 0; i < count; ++i)
    if (found[i].state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(found[i].algo);
  if (algorithms.empty()) check(CUBLAS_STATUS_NOT_SUPPORTED, "to propose an algorithm for " + product.text());
  return algorithms;
}

/// Operands to try algorithms on, in memory of their own.
class Trial {
 public:
  Trial(cublasLtHandle_t library, const CudaProduct& product) : library_(library), product_(product) {
    auto part = [&](int64_t elements) {
      int64_t at = bytes_;
      bytes_ += aligned(elements * size_bytes(product.dtype));
      return at;
    };
    a_ = part((product.shared_a ? 1 : product.batch) * product.m * product.k);
    b_ = part(product.batch * product.k * product.n);
    bias_ = part(product.n);
    d_ = part(product.batch * std::max(product.d_stride, product.m * product.n));
    result_bytes_ = bytes_ - d_;
    scratch_ = bytes_;
    bytes_ += product.scratch_bytes();
    void* memory = nullptr;
    if (cudaMalloc(&memory, static_cast<size_t>(bytes_)) != cudaSuccess) {
      cudaGetLastError();
      return;
    }
    memory_ = static_cast<std::byte*>(memory);
    const std::vector<double> f64 = random_values();
    const std::vector<float> f32(f64.begin(), f64.end());
    const std::span<const std::byte> values =
        product.dtype == DType::f64 ? std::as_bytes(std::span(f64)) : std::as_bytes(std::span(f32));
    for (int64_t at = 0; at < scratch_; at += static_cast<int64_t>(values.size()))  // the gaps of d, too
      copy(memory_ + at, values.data(), std::min<int64_t>(static_cast<int64_t>(values.size()), scratch_ - at),
           cudaMemcpyHostToDevice);
  }
  ~Trial() { cudaFree(memory_); }
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  explicit operator bool() const { return memory_ != nullptr; }

  /// Microseconds of one run, the least of three; a fault, or a refusal, is no time at all.
  float time(const cublasLtMatmulAlgo_t& algorithm) {
    constexpr float kNever = std::numeric_limits<float>::infinity();
    float least = kNever;
    CudaEvent begin(cudaEventDefault), end(cudaEventDefault);
    LibraryProduct run(library_, product_, algorithm);
    for (int round = 0; round < 4; ++round) {  // the first one loads it
      cudaEventRecord(begin.get(), stream_.get());
      try {
        run.run(memory_ + a_, memory_ + b_, memory_ + bias_, memory_ + d_, memory_ + scratch_, stream_.get());
      } catch (const Error&) {
        return kNever;
      }
      cudaEventRecord(end.get(), stream_.get());
      check_cuda(cudaEventSynchronize(end.get()), "trying an algorithm for " + product_.text());
      float milliseconds = 0;
      cudaEventElapsedTime(&milliseconds, begin.get(), end.get());
      if (round > 0) least = std::min(least, milliseconds * 1000);
    }
    return least;
  }
  /// What the last run left: all of it, or pieces from everywhere.
  std::vector<std::byte> result() {
    constexpr int64_t kPieces = 16, kPiece = int64_t{1} << 20;
    const int64_t piece = std::min(kPiece, result_bytes_), step = (result_bytes_ - piece) / (kPieces - 1);
    std::vector<std::byte> bytes(static_cast<size_t>(kPieces * piece));
    for (int64_t i = 0; i < kPieces; ++i)
      copy(bytes.data() + i * piece, memory_ + d_ + i * step, piece, cudaMemcpyDeviceToHost);
    return bytes;
  }

 private:
  static void copy(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind) {
    check_cuda(cudaMemcpy(to, from, static_cast<size_t>(bytes), kind), "trying algorithms of a product");
  }
  static std::vector<double> random_values() {
    PhiloxStream random(1, 2);
    std::vector<double> values(1 << 20);
    for (double& value : values) value = random.uniform(-1, 1);
    return values;
  }

  cublasLtHandle_t library_;
  const CudaProduct& product_;
  CudaStream stream_;
  int64_t a_ = 0, b_ = 0, bias_ = 0, d_ = 0, scratch_ = 0, bytes_ = 0, result_bytes_ = 0;
  std::byte* memory_ = nullptr;
};

/// The number of the fastest algorithm that gives the bits of the first.
size_t fastest(Trial& trial, std::span<const cublasLtMatmulAlgo_t> algorithms) {
  size_t best = 0;
  float least = trial.time(algorithms[0]);
  const std::vector<std::byte> bits = trial.result();
  for (size_t i = 1; i < algorithms.size(); ++i)
    if (float time = trial.time(algorithms[i]); time < least && trial.result() == bits)
      least = time, best = i;
  return best;
}

}  // namespace

void LibraryProduct::run(const void* a, const void* b, const void* bias, void* d, void* scratch,
                         cudaStream_t stream) const {
  Description description(product_, bias);
  const float one32 = 1, zero32 = 0;
  const double one64 = 1, zero64 = 0;
  const bool f64 = product_.dtype == DType::f64;
  auto room = static_cast<size_t>(product_.scratch_bytes());
  std::align(CudaProduct::kScratchAlignment, room - CudaProduct::kScratchAlignment, scratch, room);
  const void *one = f64 ? static_cast<const void*>(&one64) : &one32,
             *zero = f64 ? static_cast<const void*>(&zero64) : &zero32;
  check(cublaslt().matmul(library_, &description.operation, one, b, &description.first, a,
                          &description.second, zero, d, &description.result, d, &description.result,
                          &algorithm_, scratch, room, stream),
        "to run " + product_.text());
}

ProductLibrary::~ProductLibrary() {
  if (library_) cublaslt().destroy(library_);
}

std::shared_ptr<const LibraryProduct> ProductLibrary::prepare(const CudaProduct& product) {
  std::lock_guard lock(mutex_);
  if (!library_) check(cublaslt().create(&library_), "to start");
  auto& prepared = prepared_[product.text()];
  if (!prepared) prepared = std::make_shared<const LibraryProduct>(library_, product, choose(product));
  return prepared;
}

cublasLtMatmulAlgo_t ProductLibrary::choose(const CudaProduct& product) const {
  const std::vector<cublasLtMatmulAlgo_t> algorithms = proposals(library_, product);
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, device_), "asking what the device is like");
  const DiskCache cache("cuda");
  const std::string version = std::to_string(cublaslt().version()), text = product.text(),
                    name = fingerprint(std::array<std::string_view, 3>{properties.name, version, text}) +
                           ".product";
  // The number of the algorithm, and what only a file that was written whole holds.
  auto kept_as = [&](size_t number) {
    const std::string digits = std::to_string(number);
    return digits + " " + fingerprint(std::array<std::string_view, 2>{name, digits}) + "\n";
  };
  const std::vector<std::byte> kept = cache.read(name);
  for (size_t i = 0; i < algorithms.size(); ++i)
    if (const std::string line = kept_as(i); std::ranges::equal(kept, std::as_bytes(std::span(line))))
      return algorithms[i];
  Trial trial(library_, product);
  if (!trial) return algorithms[0];
  const size_t best = fastest(trial, algorithms);
  const std::string choice = kept_as(best);
  cache.write(name, std::as_bytes(std::span(choice)));
  return algorithms[best];
}

}  // namespace wholestep
