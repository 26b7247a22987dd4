#include "wholestep/backend/cuda_runtime/compiler.h"

#include <fmt/format.h>
#include <nvrtc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "wholestep/base/error.h"
#include "wholestep/base/fingerprint.h"

namespace wholestep {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kCacheBytes = int64_t{256} << 20;

std::vector<std::string> options_for(const std::string& architecture) {
  // No contraction: a multiply and an add stay two operations wherever they are inlined, so that a step gives
  // the same bits whole and call by call.
  return {"--gpu-architecture=" + architecture,
          "--std=c++20",
          "--fmad=false",
          "--device-as-default-execution-space",
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

fs::path cache_folder() {
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg)
    return fs::path(xdg) / "wholestep" / "cuda";
  if (const char* home = std::getenv("HOME"); home && *home)
    return fs::path(home) / ".cache" / "wholestep" / "cuda";
  return {};
}

std::vector<std::byte> read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) return {};
  std::vector<std::byte> bytes(static_cast<size_t>(in.tellg()));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  constexpr char kElf[] = {0x7f, 'E', 'L', 'F'};
  bool whole = in && bytes.size() > sizeof(kElf) && std::memcmp(bytes.data(), kElf, sizeof(kElf)) == 0;
  return whole ? bytes : std::vector<std::byte>();
}

/// Drops the oldest files until the rest and `more` bytes fit.
void make_room(const fs::path& folder, int64_t more) {
  struct Entry {
    fs::file_time_type time;
    int64_t bytes;
    fs::path path;
  };
  std::vector<Entry> entries;
  int64_t total = more;
  std::error_code ignored;
  for (const auto& file : fs::directory_iterator(folder, ignored)) {
    entries.push_back(
        {file.last_write_time(ignored), static_cast<int64_t>(file.file_size(ignored)), file.path()});
    total += entries.back().bytes;
  }
  std::ranges::sort(entries, {}, &Entry::time);
  for (const Entry& entry : entries) {
    if (total <= kCacheBytes) return;
    fs::remove(entry.path, ignored);
    total -= entry.bytes;
  }
}

/// A cache that cannot be written is only slower.
void keep(const fs::path& path, const std::vector<std::byte>& bytes) {
  std::error_code failed;
  fs::create_directories(path.parent_path(), failed);
  if (failed) return;
  make_room(path.parent_path(), static_cast<int64_t>(bytes.size()));
  fs::path aside = path;
  aside += fmt::format(".{}", ::getpid());
  {
    std::ofstream out(aside, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!out) failed = std::make_error_code(std::errc::io_error);
  }
  if (!failed) fs::rename(aside, path, failed);
  if (failed) fs::remove(aside, failed);
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
  std::vector<std::string> options = options_for(architecture);
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
  check(nvrtcGetCUBINSize(p.program, &bytes), "to size its result");
  std::vector<std::byte> code(bytes);
  check(nvrtcGetCUBIN(p.program, reinterpret_cast<char*>(code.data())), "to give its result");
  return code;
}

std::vector<std::byte> compile_cuda_cached(const CudaSource& source, const std::string& architecture) {
  std::vector<std::string> options = options_for(architecture);
  std::string version = nvrtc_version();
  std::vector<std::string_view> texts = {source.text, version};
  for (const std::string& option : options) texts.push_back(option);
  for (const CudaHeader& header : cuda_headers()) texts.push_back(header.text);
  fs::path folder = cache_folder();
  if (folder.empty()) return compile_cuda(source, architecture);
  fs::path path = folder / (fingerprint(texts) + "." + architecture + ".cubin");
  if (std::vector<std::byte> code = read(path); !code.empty()) {
    std::error_code ignored;
    fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
    return code;
  }
  std::vector<std::byte> code = compile_cuda(source, architecture);
  keep(path, code);
  return code;
}

std::string nvrtc_version() {
  int major = 0, minor = 0;
  nvrtcVersion(&major, &minor);
  return fmt::format("{}.{}", major, minor);
}

}  // namespace wholestep
