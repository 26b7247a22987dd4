// Shared memory that kernels ask for, and what a block may have.
#include <gtest/gtest.h>

#include "support/cuda_device.h"
#include "support/cuda_plan.h"
#include "wholestep/backend/cuda/region_source.h"
#include "wholestep/compile/region_work.h"
#include "wholestep/ops/registry.h"

namespace wholestep::test {
namespace {

/// An architecture, and the KiB of a block at most, from the table of compute capabilities in NVIDIA's CUDA
/// C++ Programming Guide.
struct Limit {
  int architecture;
  int64_t kib;
};
class SharedMemoryOfOps : public testing::TestWithParam<Limit> {};
INSTANTIATE_TEST_SUITE_P(Architectures, SharedMemoryOfOps,
                         testing::Values(Limit{80, 163}, Limit{86, 99}, Limit{87, 163}, Limit{89, 99},
                                         Limit{90, 227}, Limit{100, 227}, Limit{120, 99}),
                         [](const auto& limit) { return "Sm" + std::to_string(limit.param.architecture); });
class SharedMemoryOfSteps : public testing::TestWithParam<Limit> {};
INSTANTIATE_TEST_SUITE_P(Architectures, SharedMemoryOfSteps,
                         testing::Values(Limit{80, 163}, Limit{86, 99}, Limit{90, 227}),
                         [](const auto& limit) { return "Sm" + std::to_string(limit.param.architecture); });

TEST_P(SharedMemoryOfOps, IsEnoughForEveryKernel) {
  const PlansFor plans(GetParam().architecture);
  int kernels = 0;
  for (bool tf32 : {true, false}) {
    set_tf32_allowed(tf32);
    for (const OpDef* op : all_ops())
      for (const OpCase& of : op->cases ? op->cases() : std::vector<OpCase>()) {
        const Types outputs = infer_types(*op, of.inputs, of.attrs);
        const KernelRequest request{op->name, of.inputs, outputs, of.attrs};
        for (const Kernel& kernel : op->kernels) {
          if (kernel.backend != "cuda" || (kernel.refuse && !kernel.refuse(request).empty())) continue;
          const auto prepared = kernel.prepare(request);
          for (const CudaPhase& phase : dynamic_cast<const CudaCall&>(*prepared).phases)
            EXPECT_LE(phase.shared_bytes, GetParam().kib * 1024) << op->name << " " << kernel.name;
          ++kernels;
        }
      }
  }
  set_tf32_allowed(true);
  EXPECT_GT(kernels, 1000);
}

TEST_P(SharedMemoryOfSteps, IsEnoughForEveryKernel) {
  const PlansFor plans(GetParam().architecture);
  for (auto [name, batch] : {std::pair("lenet", 64),
                             {"w1", 32},
                             {"w2", 64},
                             {"w3", 128},
                             {"w4", 32},
                             {"w4s", 32},
                             {"simple-cnn", 32},
                             {"resnet18", 8},
                             {"vit-b-16", 4}}) {
    const Plan plan = cuda_train_plan(name, batch);
    int64_t most = 0;
    for (const CudaKernelSource& kernel : write_regions(make_program(plan), plan_regions(plan)).kernels)
      most = std::max(most, kernel.shared_bytes);
    EXPECT_LE(most, GetParam().kib * 1024) << name;
    EXPECT_GT(most, 0) << name;
  }
}

}  // namespace
}  // namespace wholestep::test
