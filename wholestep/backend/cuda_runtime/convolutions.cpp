#include "wholestep/backend/cuda_runtime/convolutions.h"

#include "wholestep/base/error.h"

#if WHOLESTEP_CUDNN
#include <cudnn.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

namespace wholestep {
namespace {

struct Cudnn {
  decltype(&cudnnGetVersion) version;
  decltype(&cudnnGetCudartVersion) cuda_version;
  decltype(&cudnnGetErrorString) status_text;
  decltype(&cudnnGetLastErrorString) last_words;
  decltype(&cudnnCreate) create;
  decltype(&cudnnSetStream) set_stream;
  decltype(&cudnnCreateTensorDescriptor) create_tensor;
  decltype(&cudnnDestroyTensorDescriptor) destroy_tensor;
  decltype(&cudnnSetTensor4dDescriptor) set_tensor;
  decltype(&cudnnCreateFilterDescriptor) create_filter;
  decltype(&cudnnDestroyFilterDescriptor) destroy_filter;
  decltype(&cudnnSetFilter4dDescriptor) set_filter;
  decltype(&cudnnCreateConvolutionDescriptor) create_convolution;
  decltype(&cudnnDestroyConvolutionDescriptor) destroy_convolution;
  decltype(&cudnnSetConvolution2dDescriptor) set_convolution;
  decltype(&cudnnSetConvolutionGroupCount) set_groups;
  decltype(&cudnnSetConvolutionMathType) set_math;
  decltype(&cudnnGetConvolutionForwardAlgorithm_v7) propose_result;
  decltype(&cudnnGetConvolutionBackwardDataAlgorithm_v7) propose_input;
  decltype(&cudnnGetConvolutionBackwardFilterAlgorithm_v7) propose_weight;
  decltype(&cudnnGetConvolutionForwardWorkspaceSize) room_of_result;
  decltype(&cudnnGetConvolutionBackwardDataWorkspaceSize) room_of_input;
  decltype(&cudnnGetConvolutionBackwardFilterWorkspaceSize) room_of_weight;
  decltype(&cudnnConvolutionForward) run_result;
  decltype(&cudnnConvolutionBackwardData) run_input;
  decltype(&cudnnConvolutionBackwardFilter) run_weight;
  std::string why = {};  ///< it cannot be used; else ""
};

const Cudnn& loaded() {
  static const Cudnn library = [] {
    Cudnn found{};
    void* handle = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    auto find = [&]<class Function>(Function*& function, const char* name) {
      function = handle ? reinterpret_cast<Function*>(dlsym(handle, name)) : nullptr;
      if (const char* why = function ? nullptr : dlerror(); why && found.why.empty()) found.why = why;
    };
    find(found.version, "cudnnGetVersion");
    find(found.cuda_version, "cudnnGetCudartVersion");
    find(found.status_text, "cudnnGetErrorString");
    find(found.last_words, "cudnnGetLastErrorString");
    find(found.create, "cudnnCreate");
    find(found.set_stream, "cudnnSetStream");
    find(found.create_tensor, "cudnnCreateTensorDescriptor");
    find(found.destroy_tensor, "cudnnDestroyTensorDescriptor");
    find(found.set_tensor, "cudnnSetTensor4dDescriptor");
    find(found.create_filter, "cudnnCreateFilterDescriptor");
    find(found.destroy_filter, "cudnnDestroyFilterDescriptor");
    find(found.set_filter, "cudnnSetFilter4dDescriptor");
    find(found.create_convolution, "cudnnCreateConvolutionDescriptor");
    find(found.destroy_convolution, "cudnnDestroyConvolutionDescriptor");
    find(found.set_convolution, "cudnnSetConvolution2dDescriptor");
    find(found.set_groups, "cudnnSetConvolutionGroupCount");
    find(found.set_math, "cudnnSetConvolutionMathType");
    find(found.propose_result, "cudnnGetConvolutionForwardAlgorithm_v7");
    find(found.propose_input, "cudnnGetConvolutionBackwardDataAlgorithm_v7");
    find(found.propose_weight, "cudnnGetConvolutionBackwardFilterAlgorithm_v7");
    find(found.room_of_result, "cudnnGetConvolutionForwardWorkspaceSize");
    find(found.room_of_input, "cudnnGetConvolutionBackwardDataWorkspaceSize");
    find(found.room_of_weight, "cudnnGetConvolutionBackwardFilterWorkspaceSize");
    find(found.run_result, "cudnnConvolutionForward");
    find(found.run_input, "cudnnConvolutionBackwardData");
    find(found.run_weight, "cudnnConvolutionBackwardFilter");
    constexpr int kCuda = CUDART_VERSION / 1000;
    if (const int cuda = found.why.empty() ? static_cast<int>(found.cuda_version() / 1000) : kCuda;
        cuda != kCuda)
      found.why = fmt::format("libcudnn.so.9 is for CUDA {}, not {}", cuda, kCuda);
    return found;
  }();
  return library;
}

const Cudnn& cudnn() {
  if (const Cudnn& library = loaded(); library.why.empty()) return library;
  throw Error(ErrorCode::kFailure, {.what = "a plan has convolutions of cuDNN, which cannot be loaded",
                                    .got = loaded().why,
                                    .expected = "libcudnn.so.9, of cuDNN 9 for CUDA 13",
                                    .hint = "a plan that is made on this machine does without it"});
}

void check(cudnnStatus_t status, const std::string& doing) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char words[512] = {};
  cudnn().last_words(words, sizeof(words));
  throw Error(ErrorCode::kFailure,
              {.what = "cuDNN failed " + doing,
               .got = fmt::format("{}{}{}", cudnn().status_text(status), words[0] ? ": " : "", words)});
}

/// A description of cuDNN's that is destroyed with this.
template <class Described>
struct Owned {
  Described of = nullptr;
  cudnnStatus_t (*destroy)(Described);
  Owned(cudnnStatus_t (*create)(Described*), cudnnStatus_t (*destroyed_by)(Described))
      : destroy(destroyed_by) {
    check(create(&of), "to describe a convolution");
  }
  ~Owned() { destroy(of); }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
};

/// A convolution as cuDNN sees it.
struct Description {
  Owned<cudnnTensorDescriptor_t> x{cudnn().create_tensor, cudnn().destroy_tensor},
      y{cudnn().create_tensor, cudnn().destroy_tensor};
  Owned<cudnnFilterDescriptor_t> weight{cudnn().create_filter, cudnn().destroy_filter};
  Owned<cudnnConvolutionDescriptor_t> convolution{cudnn().create_convolution, cudnn().destroy_convolution};

  Description(const CudaConvolution& c, cudnnMathType_t math) {
    auto number = [](int64_t value) { return static_cast<int>(value); };
    const Conv2d& conv = c.conv;
    auto lay = [&](cudnnTensorDescriptor_t images, int64_t channels, int64_t height, int64_t width) {
      take(cudnn().set_tensor(images, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, number(c.batch), number(channels),
                              number(height), number(width)));
    };
    lay(x.of, conv.in_channels, conv.y.in, conv.x.in);
    lay(y.of, conv.out_channels, conv.y.out, conv.x.out);
    take(cudnn().set_filter(weight.of, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, number(conv.out_channels),
                            number(conv.in_channels / conv.groups), number(conv.y.kernel),
                            number(conv.x.kernel)));
    take(cudnn().set_convolution(convolution.of, number(conv.y.padding), number(conv.x.padding),
                                 number(conv.y.stride), number(conv.x.stride), number(conv.y.dilation),
                                 number(conv.x.dilation), CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    take(cudnn().set_groups(convolution.of, number(conv.groups)));
    take(cudnn().set_math(convolution.of, math));
  }

 private:
  static void take(cudnnStatus_t status) { check(status, "to take a convolution"); }
};

using Of = CudaConvolution::Of;

/// An algorithm's number among those of its kind, and what it may round f32 to.
struct Algorithm {
  int number;
  cudnnMathType_t math;
  bool operator==(const Algorithm&) const = default;
};

cudnnConvolutionFwdAlgo_t of_result(const Algorithm& a) {
  return static_cast<cudnnConvolutionFwdAlgo_t>(a.number);
}
cudnnConvolutionBwdDataAlgo_t of_input(const Algorithm& a) {
  return static_cast<cudnnConvolutionBwdDataAlgo_t>(a.number);
}
cudnnConvolutionBwdFilterAlgo_t of_weight(const Algorithm& a) {
  return static_cast<cudnnConvolutionBwdFilterAlgo_t>(a.number);
}

/// TF32, or exact f32.
cudnnMathType_t math_of(const CudaConvolution& c) { return c.tf32 ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH; }

/// Whether it sums products: the other ones transform.
bool sums_products(Of of, int number) {
  if (of == Of::kResult)
    return number == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM ||
           number == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM ||
           number == CUDNN_CONVOLUTION_FWD_ALGO_GEMM;
  if (of == Of::kInput)
    return number == CUDNN_CONVOLUTION_BWD_DATA_ALGO_0 || number == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
  return number == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0 || number == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1 ||
         number == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3;
}

/// What cuDNN expects to be fastest, of what can be used; `ask` is one of its functions with all but the last
/// three arguments.
template <class Found>
std::vector<Algorithm> asked(const CudaConvolution& c, auto ask) {
  constexpr int kAsked = 32;
  Found found[kAsked] = {};
  int count = 0;
  check(ask(kAsked, &count, found), "to propose an algorithm for " + c.text());
  std::vector<Algorithm> algorithms;
  for (const Found& f : std::span(found, static_cast<size_t>(count))) {
    const Algorithm algorithm{static_cast<int>(f.algo), c.tf32 ? f.mathType : CUDNN_FMA_MATH};
    if (f.status == CUDNN_STATUS_SUCCESS && f.determinism == CUDNN_DETERMINISTIC &&
        sums_products(c.of, algorithm.number) && algorithm.math != CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION &&
        std::ranges::find(algorithms, algorithm) == algorithms.end())
      algorithms.push_back(algorithm);
  }
  return algorithms;
}

std::vector<Algorithm> algorithms_of(cudnnHandle_t handle, const CudaConvolution& c) {
  const Description d(c, math_of(c));
  if (c.of == Of::kResult)
    return asked<cudnnConvolutionFwdAlgoPerf_t>(c, [&](auto... rest) {
      return cudnn().propose_result(handle, d.x.of, d.weight.of, d.convolution.of, d.y.of, rest...);
    });
  if (c.of == Of::kInput)
    return asked<cudnnConvolutionBwdDataAlgoPerf_t>(c, [&](auto... rest) {
      return cudnn().propose_input(handle, d.weight.of, d.y.of, d.convolution.of, d.x.of, rest...);
    });
  return asked<cudnnConvolutionBwdFilterAlgoPerf_t>(c, [&](auto... rest) {
    return cudnn().propose_weight(handle, d.x.of, d.y.of, d.convolution.of, d.weight.of, rest...);
  });
}

/// Bytes of scratch that it needs; nothing where it is not to be had after all.
std::optional<int64_t> room_of(cudnnHandle_t handle, const CudaConvolution& c, const Algorithm& a) {
  const Description d(c, a.math);
  size_t bytes = 0;
  const cudnnStatus_t status =
      c.of == Of::kResult ? cudnn().room_of_result(handle, d.x.of, d.weight.of, d.convolution.of, d.y.of,
                                                   of_result(a), &bytes)
      : c.of == Of::kInput
          ? cudnn().room_of_input(handle, d.weight.of, d.y.of, d.convolution.of, d.x.of, of_input(a), &bytes)
          : cudnn().room_of_weight(handle, d.x.of, d.y.of, d.convolution.of, d.weight.of, of_weight(a),
                                   &bytes);
  if (status != CUDNN_STATUS_SUCCESS) return std::nullopt;
  return static_cast<int64_t>(bytes);
}

}  // namespace

/// One for all streams. It stays until the process ends, as its backend does: by then cuDNN has been cleared
/// up.
struct ConvolutionLibrary::Handle {
  std::mutex mutex;
  cudnnHandle_t handle = nullptr;
  Handle() { check(cudnn().create(&handle), "to start"); }
};

class ConvolutionLibrary::Run final : public LibraryAlgorithm {
 public:
  Run(std::shared_ptr<Handle> handle, const CudaConvolution& convolution, const Algorithm& algorithm)
      : handle_(std::move(handle)), convolution_(convolution), algorithm_(algorithm) {}

  void run(const LibraryOperands& at, cudaStream_t stream) const override {
    const Description d(convolution_, algorithm_.math);
    const float one = 1, zero = 0;
    auto room = static_cast<size_t>(convolution_.scratch_bytes());
    void* scratch = at.scratch;
    std::align(kScratchAlignment, room - kScratchAlignment, scratch, room);
    std::lock_guard lock(handle_->mutex);
    cudnnHandle_t handle = handle_->handle;
    check(cudnn().set_stream(handle, stream), "to take a stream");
    const cudnnStatus_t status =
        convolution_.of == Of::kResult
            ? cudnn().run_result(handle, &one, d.x.of, at.a, d.weight.of, at.b, d.convolution.of,
                                 of_result(algorithm_), scratch, room, &zero, d.y.of, at.d)
        : convolution_.of == Of::kInput
            ? cudnn().run_input(handle, &one, d.weight.of, at.b, d.y.of, at.a, d.convolution.of,
                                of_input(algorithm_), scratch, room, &zero, d.x.of, at.d)
            : cudnn().run_weight(handle, &one, d.x.of, at.a, d.y.of, at.b, d.convolution.of,
                                 of_weight(algorithm_), scratch, room, &zero, d.weight.of, at.d);
    check(status, "to run " + convolution_.text());
  }

 private:
  std::shared_ptr<Handle> handle_;
  CudaConvolution convolution_;
  Algorithm algorithm_;
};

Proposals ConvolutionLibrary::propose(const CudaConvolution& convolution) {
  if (!handle_) handle_ = std::make_shared<Handle>();
  std::lock_guard lock(handle_->mutex);
  const int64_t room = convolution.scratch_bytes() - kScratchAlignment;
  const std::vector<Algorithm> algorithms = algorithms_of(handle_->handle, convolution);
  Proposals fitting;
  std::string needs;
  for (const Algorithm& algorithm : algorithms) {
    const std::optional<int64_t> needed = room_of(handle_->handle, convolution, algorithm);
    if (needed && *needed <= room) fitting.push_back(std::make_shared<Run>(handle_, convolution, algorithm));
    if (needed) needs += fmt::format("{}{}", needs.empty() ? "" : ", ", *needed);
  }
  if (fitting.empty())
    throw Error(ErrorCode::kFailure,
                {.what = "cuDNN has no algorithm for " + convolution.text(),
                 .got = needs.empty() ? fmt::format("{} that always give the same bits, and none runs",
                                                    algorithms.size())
                                      : fmt::format("scratch of {} bytes asked for", needs),
                 .expected = fmt::format("one that needs at most {} bytes of scratch", room),
                 .hint = "where cuDNN is not on the library path plans do without it"});
  return fitting;
}

std::string cudnn_version(std::string& why) {
  why = loaded().why;
  if (!why.empty()) return "";
  const size_t version = loaded().version();
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace wholestep

#else

namespace wholestep {

struct ConvolutionLibrary::Handle {};

Proposals ConvolutionLibrary::propose(const CudaConvolution& convolution) {
  throw Error(ErrorCode::kFailure, {.what = "cuDNN is to compute " + convolution.text(),
                                    .got = "a library built without cuDNN",
                                    .hint = "a plan that is made on this machine does without it"});
}

std::string cudnn_version(std::string& why) {
  why = "built without cuDNN";
  return "";
}

}  // namespace wholestep
#endif

namespace wholestep {

std::string ConvolutionLibrary::version() const {
  std::string why;
  return cudnn_version(why);
}

}  // namespace wholestep
