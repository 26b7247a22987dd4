// Devices by name.
#include "wholestep/backend/device.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "wholestep/backend/cuda/library.h"
#include "wholestep/compile/compile.h"
#include "wholestep/ops/elementwise.h"

namespace wholestep {
namespace {

using test::expect_error;

TEST(Device, AutoTakesTheFirstUsableGpuElseTheCpu) {
  CudaReport report = cuda_report();
  auto usable = std::ranges::find(report.devices, "", &CudaDevice::refusal);
  Device device = find_device();
  if (usable != report.devices.end()) {
    EXPECT_EQ(device.name, "cuda:" + std::to_string(usable->index));
    EXPECT_EQ(device.title, usable->name);
    EXPECT_EQ(device.refusal, "");
    EXPECT_FALSE(device.backend->host_memory());
  } else {
    EXPECT_EQ(device.name, "cpu");
    EXPECT_EQ(device.backend, &cpu_backend());
    EXPECT_NE(device.refusal, "");
  }
  EXPECT_EQ(find_device("cpu").refusal, "");
}

TEST(Device, RefusesNamesThatAreNoDevice) {
  for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda1", "CPU"})
    expect_error(ErrorCode::kBadConfig, {"there is no such device", "auto, cpu, cuda or cuda:N"},
                 [&] { find_device(name); });
  expect_error(ErrorCode::kBadConfig, {"Hint: --device cpu, or see `wholestep devices`"},
               [] { find_device("cuda:1000"); });
}

TEST(Device, AGpuOlderThanSm80IsRefusedByItsArchitecture) {
  EXPECT_EQ(architecture_refusal(7, 5), "its architecture is sm_75; sm_80 and later can be used");
  for (int major : {8, 9, 10, 12}) EXPECT_EQ(architecture_refusal(major, 0), "");
  CudaReport report;
  report.devices.resize(2);
  report.devices[0].refusal = architecture_refusal(7, 5);
  EXPECT_EQ(device_refusal(report, 0), architecture_refusal(7, 5));
  EXPECT_EQ(device_refusal(report, 1), "");
  EXPECT_EQ(device_refusal(report, 2), "there are 2 devices, numbered from 0");
  EXPECT_EQ(device_refusal({.devices = {}, .versions = "", .refusal = "no driver"}, 0), "no driver");
}

TEST(Device, APlanForAGpuNeedsNoneAndDoesNotRun) {
  auto graph = std::make_shared<Graph>();
  {
    Trace trace(graph);
    Tensor x = graph->add_input(InputKind::kBatch, "x", {DType::f32, {32, 5}});
    graph->add_output("y", relu(x) * 2 + 1);
  }
  Device device = find_device("cuda", DeviceUse::kPlan);
  EXPECT_EQ(device.name, "cuda:0");
  Plan plan = make_plan(graph, {.backend = device.backend});
  EXPECT_EQ(plan.kernels.size(), 1u);  // one fused region
  EXPECT_GE(plan.memory.arena_bytes(), 2 * 32 * 5 * 4);
  expect_error(ErrorCode::kUsage, {"a plan was made for a GPU without one"},
               [&] { CompiledStep step(std::move(plan)); });
}

}  // namespace
}  // namespace wholestep
