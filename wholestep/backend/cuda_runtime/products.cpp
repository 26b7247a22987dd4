#include "wholestep/backend/cuda_runtime/products.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <memory>

#include "wholestep/base/error.h"

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
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, p.biased()
                                           ? p.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS
                                       : p.relu ? CUBLASLT_EPILOGUE_RELU
                                                : CUBLASLT_EPILOGUE_DEFAULT);
    if (p.biased()) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
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

/// One product with its algorithm.
class ProductAlgorithm final : public LibraryAlgorithm {
 public:
  ProductAlgorithm(cublasLtHandle_t library, const CudaProduct& product,
                   const cublasLtMatmulAlgo_t& algorithm)
      : library_(library), product_(product), algorithm_(algorithm) {}

  void run(const LibraryOperands& at, cudaStream_t stream) const override {
    Description description(product_, at.bias);
    const float one32 = 1, zero32 = 0;
    const double one64 = 1, zero64 = 0;
    const bool f64 = product_.dtype == DType::f64;
    auto room = static_cast<size_t>(product_.scratch_bytes());
    void* scratch = at.scratch;
    std::align(kScratchAlignment, room - kScratchAlignment, scratch, room);
    const void *one = f64 ? static_cast<const void*>(&one64) : &one32,
               *zero = f64 ? static_cast<const void*>(&zero64) : &zero32;
    check(cublaslt().matmul(library_, &description.operation, one, at.b, &description.first, at.a,
                            &description.second, zero, at.d, &description.result, at.d, &description.result,
                            &algorithm_, scratch, room, stream),
          "to run " + product_.text());
  }

 private:
  cublasLtHandle_t library_;
  CudaProduct product_;
  cublasLtMatmulAlgo_t algorithm_;
};

}  // namespace

ProductLibrary::~ProductLibrary() {
  if (handle_) cublaslt().destroy(handle_);
}

std::string ProductLibrary::version() const { return std::to_string(cublaslt().version()); }

Proposals ProductLibrary::propose(const CudaProduct& product) {
  constexpr int kAsked = 12;
  if (!handle_) check(cublaslt().create(&handle_), "to start");
  Description description(product);
  cublasLtMatmulPreferenceOpaque_t preference{};
  check(cublaslt().prefer(&preference, sizeof(preference)), "to take a preference");
  auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    check(cublaslt().set_preference(&preference, attribute, &value, sizeof(value)), "to take a preference");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
         static_cast<uint64_t>(product.scratch_bytes() - kScratchAlignment));
  for (auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    prefer(attribute, static_cast<uint32_t>(product.at.alignment()));
  cublasLtMatmulHeuristicResult_t found[kAsked];
  int count = 0;
  check(cublaslt().propose(handle_, &description.operation, &description.first, &description.second,
                           &description.result, &description.result, &preference, kAsked, found, &count),
        "to propose an algorithm for " + product.text());
  Proposals algorithms;
  for (int i = 0; i < count; ++i)
    if (found[i].state == CUBLAS_STATUS_SUCCESS)
      algorithms.push_back(std::make_shared<ProductAlgorithm>(handle_, product, found[i].algo));
  if (algorithms.empty()) check(CUBLAS_STATUS_NOT_SUPPORTED, "to propose an algorithm for " + product.text());
  return algorithms;
}

}  // namespace wholestep
