// Names of devices.
#include "wholestep/backend/device.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "wholestep/backend/cuda/library.h"
#include "wholestep/base/error.h"
#include "wholestep/base/suggest.h"

namespace wholestep {
namespace {

Device cuda_device(int index, DeviceUse use) {
  Device device{.name = fmt::format("cuda:{}", index)};
  if (use == DeviceUse::kPlan) {
    device.backend = &cuda_planner();
    return device;
  }
  device.backend = &cuda_backend(index);
  device.title = cuda_report().devices[static_cast<size_t>(index)].name;
  return device;
}

Device best_device(DeviceUse use) {
  CudaReport report = cuda_report();
  std::string why = report.refusal;
  for (const CudaDevice& gpu : report.devices) {
    if (gpu.refusal.empty()) return cuda_device(gpu.index, use);
    why += fmt::format("{}{}: {}", why.empty() ? "" : "; ", gpu.name, gpu.refusal);
  }
  return {.backend = &cpu_backend(), .name = "cpu", .refusal = why};
}

/// N of "cuda:N", 0 of "cuda".
std::optional<int> cuda_index(std::string_view name) {
  constexpr std::string_view kCuda = "cuda";
  if (!name.starts_with(kCuda)) return std::nullopt;
  name.remove_prefix(kCuda.size());
  if (name.empty()) return 0;
  int index = 0;
  const char* end = name.data() + name.size();
  auto [stop, failed] = std::from_chars(name.data() + 1, end, index);
  if (name[0] != ':' || failed != std::errc() || stop != end || index < 0) return std::nullopt;
  return index;
}

}  // namespace

Device find_device(const std::string& name, DeviceUse use) {
  if (name == "auto") return best_device(use);
  if (name == "cpu") return {.backend = &cpu_backend(), .name = "cpu"};
  if (std::optional<int> index = cuda_index(name)) return cuda_device(*index, use);
  static const std::vector<std::string> kNames = {"auto", "cpu", "cuda"};
  throw Error(ErrorCode::kBadConfig, {.what = "there is no such device",
                                      .got = fmt::format("'{}'", name),
                                      .expected = "auto, cpu, cuda or cuda:N",
                                      .hint = suggest(name, kNames)});
}

}  // namespace wholestep
