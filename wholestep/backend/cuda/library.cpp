#include "wholestep/backend/cuda/library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>

#include "wholestep/backend/cuda/call.h"
#include "wholestep/base/error.h"
#include "wholestep/base/version.h"

namespace wholestep {
namespace {

constexpr const char* kName = "libwholestep_cuda.so";

/// Beside this code, in the lib folder beside its folder, one folder up, or wherever the loader looks.
std::vector<std::string> candidates() {
  std::vector<std::string> paths;
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(&cuda_report), &info) && info.dli_fname) {
    std::filesystem::path folder = std::filesystem::absolute(info.dli_fname).parent_path();
    for (const std::filesystem::path& place : {folder, folder / ".." / "lib", folder / ".."})
      if (std::filesystem::exists(place / kName)) paths.push_back((place / kName).string());
  }
  paths.push_back(kName);
  return paths;
}

struct Loaded {
  const CudaLibrary* library = nullptr;
  std::string why;
};

/// Of all candidates the first that is there says why it cannot be used.
Loaded load() {
  Loaded loaded;
  std::vector<std::string> paths = candidates();
  bool none_built = paths.size() == 1;
  for (const std::string& path : paths) {
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
      const char* why = dlerror();
      if (loaded.why.empty()) loaded.why = none_built ? fmt::format("{} was not built", kName) : why;
      continue;
    }
    auto entry = reinterpret_cast<const CudaLibrary& (*)()>(dlsym(handle, "wholestep_cuda_library"));
    if (!entry) {
      loaded.why = fmt::format("{} is not Wholestep's CUDA library", path);
    } else if (const CudaLibrary& library = entry(); std::string_view(library.version) != version()) {
      loaded.why = fmt::format("{} is of version {}, not {}", path, library.version, version());
    } else {
      loaded.library = &library;
      return loaded;
    }
    dlclose(handle);
  }
  return loaded;
}

const Loaded& loaded() {
  static const Loaded result = load();
  return result;
}

std::atomic<int> architecture_cap{0};

class CudaPlanner final : public Backend {
 public:
  std::string_view name() const override { return "cuda"; }
  std::shared_ptr<Memory> allocate(int64_t) override { refuse(); }
  void copy_in(std::byte*, const std::byte*, int64_t) override { refuse(); }
  void copy_out(std::byte*, const std::byte*, int64_t) override { refuse(); }
  void copy(std::byte*, const std::byte*, int64_t) override { refuse(); }
  void run(const PreparedKernel&, std::span<const void* const>, std::span<void* const>, std::byte*) override {
    refuse();
  }
  Placement placement() const override { return kCudaPlacement; }
  std::unique_ptr<Executable> load(const Program&, std::span<std::byte* const>) override { refuse(); }
  int64_t feed_depth() const override { return kCudaFeedDepth; }
  BackendCounters counters() const override { return {}; }

 private:
  [[noreturn]] static void refuse() {
    throw Error(ErrorCode::kUsage, {.what = "a plan was made for a GPU without one, and cannot run",
                                    .hint = "use cuda_backend()"});
  }
};

}  // namespace

std::string architecture_refusal(int major, int minor) {
  if (major >= 8) return "";
  return fmt::format("its architecture is sm_{}{}; sm_80 and later can be used", major, minor);
}

std::string device_refusal(const CudaReport& report, int index) {
  if (!report.refusal.empty()) return report.refusal;
  if (index < 0 || index >= static_cast<int>(report.devices.size()))
    return fmt::format("there are {} devices, numbered from 0", report.devices.size());
  return report.devices[static_cast<size_t>(index)].refusal;
}

const CudaLibrary* cuda_library(std::string* why) {
  if (why) *why = loaded().why;
  return loaded().library;
}

CudaReport cuda_report() {
  if (const CudaLibrary* library = loaded().library) return library->report();
  return {.devices = {}, .versions = "", .refusal = loaded().why, .cudnn_refusal = loaded().why};
}

Backend& cuda_backend(int device) {
  if (const CudaLibrary* library = loaded().library) {
    const int cap = architecture_cap;
    Backend& backend = library->backend(device, cap);
    static std::mutex mutex;
    static std::map<int, int> architectures;  // of devices
    std::lock_guard lock(mutex);
    auto [of, first] = architectures.try_emplace(device);
    if (first) {
      const CudaReport report = library->report();
      const CudaDevice& found = report.devices[static_cast<size_t>(device)];
      of->second = 10 * found.major + found.minor;
      set_cudnn_available(report.cudnn_refusal.empty());
    }
    set_cuda_architecture(cap > 0 ? cap : of->second);
    return backend;
  }
  throw Error(ErrorCode::kBadConfig, {.what = "there is no CUDA device to use",
                                      .got = loaded().why,
                                      .expected = "an NVIDIA GPU, its driver, and the CUDA 13 libraries",
                                      .hint = "--device cpu, or see `wholestep devices`"});
}

void set_cuda_architecture_cap(int architecture) {
  if (architecture != 0 && architecture < 80)
    throw Error(ErrorCode::kBadConfig, {.what = "no kernels are made for a GPU this old",
                                        .got = fmt::format("sm_{}", architecture),
                                        .expected = "80 for sm_80, or later; 0 for no cap"});
  architecture_cap = architecture;
}

Backend& cuda_planner() {
  static CudaPlanner planner;
  return planner;
}

}  // namespace wholestep
