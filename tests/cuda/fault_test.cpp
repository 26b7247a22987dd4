// What goes wrong on a GPU has a name: allocations, compilation, and faults of a kernel, after which the
// process ends with an exit code and its last checkpoint is whole. Where a fault loses the device, the test
// runs in a process of its own.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "cuda/own_kernel.h"
#include "support/cuda_device.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "wholestep/data/digits.h"
#include "wholestep/nn/flatten.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/optim/sgd.h"
#include "wholestep/train/run_folder.h"
#include "wholestep/train/trainer.h"

namespace wholestep::test {
namespace {

CudaSource source_of(const std::string& body) {
  auto graph = std::make_shared<Graph>();
  TensorType type{DType::f32, {16}};
  int x = graph->value_of(graph->add_input(InputKind::kBatch, "x", type));
  graph->add_output("y", graph->tensor(graph->add_node(kOwnKernel, {{"body", body}}, {x}, {type})[0]));
  Plan plan = make_plan(graph, {.backend = &cuda_planner()});
  return write_regions(make_program(plan), build_regions(plan.schedule, Placement::kFewest));
}

TEST(CudaFault, AKernelThatDoesNotCompileIsReportedInTheCompilersWords) {
  std::string why;
  const CudaLibrary* library = cuda_library(&why);
  if (!library) GTEST_SKIP() << "no CUDA library: " << why;
  EXPECT_GT(library->compile(source_of("y[threadIdx.x % 16] = x[threadIdx.x % 16];"), "sm_90").size(), 0u);
  expect_error(ErrorCode::kFailure,
               {"the CUDA kernels of a plan do not compile", "sm_90", "error", "\"nowhere\" is undefined"},
               [&] { library->compile(source_of("y[0] = nowhere;"), "sm_90"); });
}

TEST(CudaFault, AnArchitectureThatThereIsNotIsNamed) {
  std::string why;
  const CudaLibrary* library = cuda_library(&why);
  if (!library) GTEST_SKIP() << "no CUDA library: " << why;
  expect_error(ErrorCode::kFailure, {"the CUDA kernels of a plan do not compile", "sm_1", "architecture"},
               [&] { library->compile(source_of("y[0] = x[0];"), "sm_1"); });
}

TEST(CudaFault, ADeviceThatThereIsNotIsABadConfiguration) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  expect_error(ErrorCode::kBadConfig, {"CUDA device 99 cannot be used", "numbered from 0"},
               [] { cuda_backend(99); });
}

TEST(CudaFault, AnAllocationTheDeviceCannotHoldIsRefusedAndNothingIsLost) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  Backend& backend = cuda_backend();
  BackendCounters before = backend.counters();
  expect_error(ErrorCode::kPlanRefused,
               {"the GPU has not enough memory", "1125899906842624 bytes asked for", "free"},
               [&] { backend.allocate(int64_t{1} << 50); });
  EXPECT_EQ(backend.counters().allocations, before.allocations);
  EXPECT_EQ(backend.counters().bytes_in_use, before.bytes_in_use);
  auto memory = backend.allocate(64);
  std::array<std::byte, 64> bytes{};
  bytes.fill(std::byte{7});
  backend.copy_out(bytes.data(), memory->data(), 64);
  EXPECT_EQ(bytes[63], std::byte{0});
}

/// Copies its input, and writes to address 16 where a sample begins with a white pixel.
class Mine final : public nn::Module {
 public:
  explicit Mine(std::source_location where = std::source_location::current()) : Module(where) {}
  Tensor forward(const Tensor& x) override {
    std::string body =
        "for (int64_t i = threadIdx.x; i < " + std::to_string(x.numel()) +
        "; i += kThreads) {\n"
        "  y[i] = x[i];\n"
        "  if (i % 784 == 0 && x[i] > 1) *reinterpret_cast<volatile float*>(uint64_t(16)) = 1;\n"
        "}";
    return apply1(kOwnKernel, {x}, {{"body", body}});
  }
};

/// Digits, of which one begins with a white pixel.
class OneMarked final : public Dataset {
 public:
  OneMarked(std::shared_ptr<const Dataset> data, int64_t marked) : data_(std::move(data)), marked_(marked) {}
  int64_t size() const override { return data_->size(); }
  const Shape& sample_shape() const override { return data_->sample_shape(); }
  const std::vector<std::string>& class_names() const override { return data_->class_names(); }
  int32_t label(int64_t index) const override { return data_->label(index); }
  void read(int64_t index, std::span<uint8_t> out) const override {
    data_->read(index, out);
    if (index == marked_) out[0] = 255;
  }

 private:
  std::shared_ptr<const Dataset> data_;
  int64_t marked_;
};

/// Trains until the tenth step faults, says so as the command does, and ends with its exit code.
[[noreturn]] void train_into_the_fault(bool call_by_call) {
  int code = 0;
  {
    TempDir folder;
    DataSplits data = make_digits({.train = 320, .test = 16});
    data.train = std::make_shared<OneMarked>(data.train, 9 * 16 + 5);
    nn::Sequential model(Mine(), nn::Flatten(), nn::Linear({.in_features = 784, .out_features = 10}));
    try {
      Trainer({.max_epochs = 1,
               .batch_size = 16,
               .checkpoint_every_steps = 4,
               .shuffle = false,
               .backend = &cuda_backend(),
               .call_by_call = call_by_call,
               .run_folder = folder.path()})
          .fit(model, optim::SGD({.lr = 0.01}), nn::CrossEntropyLoss(), data);
    } catch (const Error& error) {
      std::fprintf(stderr, "%s\n", error.what());
      code = static_cast<int>(error.code());
    }
    auto found = find_checkpoint(folder.path(), Prefer::kLast);
    std::fprintf(stderr, "checkpoint %s\n", found && found->damage.empty() ? "whole" : "damaged");
  }
  std::exit(code);
}

TEST(CudaFaultDeathTest, AnIllegalAddressNamesItsSubmissionsAndLeavesTheLastCheckpointWhole) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(train_into_the_fault(false), testing::ExitedWithCode(1),
              "the GPU reported a fault while running a step of [0-9]+ kernels for [0-9]+ calls, noticed "
              ".*submission.*got cudaErrorIllegalAddress.*--call-by-call.*checkpoint whole");
}

TEST(CudaFaultDeathTest, CallByCallAnIllegalAddressNamesItsKernel) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(train_into_the_fault(true), testing::ExitedWithCode(1),
              "the GPU reported a fault while running layers.0 own_kernel .*got cudaErrorIllegalAddress.*"
              "checkpoint whole");
}

}  // namespace
}  // namespace wholestep::test
