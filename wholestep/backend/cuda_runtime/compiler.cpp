#include "wholestep/backend/cuda_runtime/compiler.h"

#include <fmt/format.h>
#include <nvrtc.h>

#include <cstring>

#include "wholestep/backend/disk_cache.h"
#include "wholestep/base/error.h"
#include "wholestep/base/fingerprint.h"

namespace wholestep {
namespace {

/// Sources of more kernels are compiled by as many threads as there are. Others, done in seconds, are
/// optimized as a whole.
constexpr size_t kManyKernels = 32;

std::vector<std::string> options_for(const CudaSource& source, const std::string& architecture) {
  // No contraction: a multiply and an add stay two operations wherever they are inlined, so that a step gives
  // the same bits whole and call by call.
  return {"--gpu-architecture=" + architecture,
          "--std=c++20",
          "--fmad=false",
          "--device-as-default-execution-space",
          fmt::format("--split-compile={}", source.kernels.size() > kManyKernels ? 0 : 1),
          fmt::format("-DWHOLESTEP_CUDA_THREADS={}", kCudaThreads),
          fmt::format("-DWHOLESTEP_CUDA_ROW_CHUNKS={}", kCudaRowChunks)};
}

struct NvrtcProgram {
  nvrtcProgram program = nullptr;
  ~NvrtcProgram() {
    if (program) nvrtcDestroyProgram(&program);
  }
};

void check(nvrtcResult result, const char* doing) {
  if (result != NVRTC_SUCCESS)
    throw Error(ErrorCode::kFailure,
                {.what = fmt::format("NVRTC failed {}", doing), .got = nvrtcGetErrorString(result)});
}

bool is_ptx(const std::string& architecture) { return architecture.starts_with("compute_"); }

/// Not cut short on its way to the disk.
bool is_whole(std::span<const std::byte> code, bool ptx) {
  constexpr char kElf[] = {0x7f, 'E', 'L', 'F'};
  if (ptx) return !code.empty() && code.back() == std::byte{0};
  return code.size() > sizeof(kElf) && std::memcmp(code.data(), kElf, sizeof(kElf)) == 0;
}

}  // namespace

std::vector<std::byte> compile_cuda(const CudaSource& source, const std::string& architecture) {
  std::vector<const char*> names, texts;
  for (const CudaHeader& header : cuda_headers())
    names.push_back(header.name.c_str()), texts.push_back(header.text.c_str());
  NvrtcProgram p;
  check(nvrtcCreateProgram(&p.program, source.text.c_str(), "step.cu", static_cast<int>(names.size()),
                           texts.data(), names.data()),
        "to take a program");
  std::vector<std::string> options = options_for(source, architecture);
  std::vector<const char*> arguments;
  for (const std::string& option : options) arguments.push_back(option.c_str());
  if (nvrtcCompileProgram(p.program, static_cast<int>(arguments.size()), arguments.data()) != NVRTC_SUCCESS) {
    size_t bytes = 0;
    nvrtcGetProgramLogSize(p.program, &bytes);
    std::string log(bytes, '\0');
    nvrtcGetProgramLog(p.program, log.data());
    throw Error(ErrorCode::kFailure, {.what = "the CUDA kernels of a plan do not compile",
                                      .where = architecture,
                                      .got = log.substr(0, 4000)});
  }
  size_t bytes = 0;
  const bool ptx = is_ptx(architecture);
  check((ptx ? nvrtcGetPTXSize : nvrtcGetCUBINSize)(p.program, &bytes), "to size its result");
  std::vector<std::byte> code(bytes);
  check((ptx ? nvrtcGetPTX : nvrtcGetCUBIN)(p.program, reinterpret_cast<char*>(code.data())),
        "to give its result");
  return code;
}

std::vector<std::byte> compile_cuda_cached(const CudaSource& source, const std::string& architecture) {
  std::vector<std::string> options = options_for(source, architecture);
  std::string version = nvrtc_version();
  std::vector<std::string_view> texts = {source.text, version};
  for (const std::string& option : options) texts.push_back(option);
  for (const CudaHeader& header : cuda_headers()) texts.push_back(header.text);
  const DiskCache cache("cuda");
  const bool ptx = is_ptx(architecture);
  const std::string name = fingerprint(texts) + "." + architecture + (ptx ? ".ptx" : ".cubin");
  std::vector<std::byte> code = cache.read(name);
  if (is_whole(code, ptx)) return code;
  code = compile_cuda(source, architecture);
  cache.write(name, code);
  return code;
}

std::string nvrtc_version() {
  int major = 0, minor = 0;
  nvrtcVersion(&major, &minor);
  return fmt::format("{}.{}", major, minor);
}

}  // namespace wholestep
