// What computes, by the name a person gives it: "cpu", "cuda" (the first GPU), "cuda:N", or "auto".
#pragma once
#include <string>

#include "wholestep/backend/backend.h"

namespace wholestep {

struct Device {
  Backend* backend = nullptr;
  std::string name = {};     ///< "cpu", "cuda:0"
  std::string title = {};    ///< "NVIDIA H200"; "" of the CPU
  std::string refusal = {};  ///< where "auto" took the CPU: why no GPU
};

enum class DeviceUse {
  kRun,
  kPlan,  ///< plans are made and not run: a GPU need not be there
};

/// "auto" takes the first GPU that can be used, else the CPU. kBadConfig naming the devices there are, or
/// saying why that GPU cannot be used.
Device find_device(const std::string& name = "auto", DeviceUse use = DeviceUse::kRun);

}  // namespace wholestep
