// What goes wrong on a GPU has a name: allocations, compilation, and faults of a kernel, after which the
// process ends with an exit code and its last checkpoint is whole. Where a fault loses the device, the test
// runs in a process of its own.
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cuda/own_kernel.h"
#include "support/cuda_device.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "wholestep/compile/region_work.h"
#include "wholestep/data/digits.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/flatten.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/optim/sgd.h"
#include "wholestep/train/checkpoint.h"
#include "wholestep/train/run_folder.h"
#include "wholestep/train/trainer.h"

namespace wholestep::test {
namespace {

namespace fs = std::filesystem;

CudaSource source_of(const std::string& body) {
  auto graph = std::make_shared<Graph>();
  TensorType type{DType::f32, {16}};
  int x = graph->value_of(graph->add_input(InputKind::kBatch, "x", type));
  graph->add_output("y", graph->tensor(graph->add_node(kOwnKernel, {{"body", body}}, {x}, {type})[0]));
  Plan plan = make_plan(graph, {.backend = &cuda_planner()});
  return write_regions(make_program(plan), plan_regions(plan));
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

TEST(CudaFault, AnArchitectureBeforeSm80OrBehindTheGpuIsABadConfiguration) {
  expect_error(ErrorCode::kBadConfig, {"no kernels are made for a GPU this old", "sm_75", "80"},
               [] { set_cuda_architecture_cap(75); });
  expect_error(ErrorCode::kBadConfig, {"sm_-1"}, [] { set_cuda_architecture_cap(-1); });
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  set_cuda_architecture_cap(999);
  expect_error(ErrorCode::kBadConfig, {"older than the architecture asked for", "sm_999", "at most sm_"},
               [] { cuda_backend(); });
  set_cuda_architecture_cap(0);
  EXPECT_EQ(cuda_backend().name(), "cuda");
}

TEST(CudaFault, PtxIsTextForAnArchitectureAndLaterOnes) {
  std::string why;
  const CudaLibrary* library = cuda_library(&why);
  if (!library) GTEST_SKIP() << "no CUDA library: " << why;
  const std::vector<std::byte> ptx = library->compile(source_of("y[0] = x[0];"), "compute_80");
  const std::string text(reinterpret_cast<const char*>(ptx.data()));
  EXPECT_EQ(text.size() + 1, ptx.size()) << "one 0, at the end";
  EXPECT_NE(text.find(".target sm_80"), std::string::npos);
}

/// While alive, a cache of compiled kernels of its own.
struct OwnCache {
  OwnCache() { setenv("XDG_CACHE_HOME", folder.path().c_str(), 1); }
  ~OwnCache() { before ? setenv("XDG_CACHE_HOME", before->c_str(), 1) : unsetenv("XDG_CACHE_HOME"); }
  fs::path only_file() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder / "wholestep" / "cuda")) files.push_back(entry);
    EXPECT_EQ(files.size(), 1u);
    return files.at(0);
  }
  std::optional<std::string> before = std::getenv("XDG_CACHE_HOME")
                                          ? std::optional<std::string>(std::getenv("XDG_CACHE_HOME"))
                                          : std::nullopt;
  TempDir folder;
};
/// A program of one kernel, loaded.
void load_one_kernel() {
  Call call;
  const TensorType type{DType::f32, {16}};
  call.kernel.label = "own_kernel";
  call.kernel.kernel = prepare_own_kernel(
      {kOwnKernel.name, {&type, 1}, {&type, 1}, Attrs{{"body", std::string("y[0] = x[0] + 1;")}}});
  call.inputs = {{0, 0}}, call.outputs = {{0, 64}}, call.workspace = {0, 128};
  call.kernel.inputs = {0}, call.kernel.outputs = {1};
  Program program;
  program.calls.push_back(std::move(call));
  std::shared_ptr<Memory> memory = cuda_backend().allocate(128 + kOwnWorkspace);
  std::byte* base = memory->data();
  cuda_backend().load(program, std::span(&base, 1))->run(1);
}

TEST(CudaFault, KernelsCompiledForAnotherArchitectureAreAnErrorThatNamesBoth) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  const OwnCache cache;
  load_one_kernel();
  const bool ampere = cuda_report().devices[0].major == 8;
  const std::vector<std::byte> other =
      cuda_library()->compile(source_of("y[0] = x[0] + 1;"), ampere ? "sm_90" : "sm_80");
  std::ofstream(cache.only_file(), std::ios::binary)
      .write(reinterpret_cast<const char*>(other.data()), std::ssize(other));
  expect_error(ErrorCode::kFailure,
               {"compiled kernels do not run on this GPU", "cudaError", "expected code for sm_", "cache"},
               [] { load_one_kernel(); });
  EXPECT_EQ(cuda_backend().name(), "cuda");
}

TEST(CudaFault, PtxThatWasCutShortOnTheDiskIsMadeAgain) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  if (cuda_report().devices[0].major == 8) GTEST_SKIP() << "nothing older than this GPU";
  const OwnCache cache;
  const CappedAt older(80);
  load_one_kernel();
  const auto whole = fs::file_size(cache.only_file());
  fs::resize_file(cache.only_file(), whole / 2);
  load_one_kernel();
  EXPECT_EQ(fs::file_size(cache.only_file()), whole);
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

/// Copies its input; one that faults writes to address 16 where a sample begins with a white pixel.
class Mine final : public nn::Module {
 public:
  explicit Mine(bool faults, std::source_location where = std::source_location::current())
      : Module(where), faults_(faults) {}
  Tensor forward(const Tensor& x) override {
    std::string body = "for (int64_t i = threadIdx.x; i < " + std::to_string(x.numel()) +
                       "; i += kThreads) {\n"
                       "  y[i] = x[i];\n";
    if (faults_)
      body += "  if (i % 784 == 0 && x[i] > 1) *reinterpret_cast<volatile float*>(uint64_t(16)) = 1;\n";
    return apply1(kOwnKernel, {x}, {{"body", body + "}"}});
  }

 private:
  bool faults_;
};

/// Twenty batches of digits; a sample of the tenth begins with a white pixel.
std::shared_ptr<const Dataset> marked_digits() {
  constexpr int64_t kSamples = 20 * 16, kMarked = 9 * 16 + 5;
  DataSplits data = make_digits({.train = kSamples, .test = 1});
  std::vector<uint8_t> pixels(kSamples * 784);
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < kSamples; ++i) {
    data.train->read(i, std::span(pixels).subspan(static_cast<size_t>(i) * 784, 784));
    labels.push_back(data.train->label(i));
  }
  for (int64_t i = 0; i < kSamples; ++i) pixels[static_cast<size_t>(i) * 784] = i == kMarked ? 255 : 0;
  return std::make_shared<InMemoryDataset>(data.train->sample_shape(), pixels, labels,
                                           data.train->class_names(), "marked digits");
}

struct Way {
  bool resident = false, call_by_call = false;
};

/// One epoch with a checkpoint every four steps; returns what was trained.
std::vector<float> train(bool faults, Way way, const fs::path& folder, const fs::path& resume = {}) {
  nn::Sequential model(Mine(faults), nn::Flatten(), nn::Linear({.in_features = 784, .out_features = 10}));
  model.initialize(1);
  Trainer({.max_epochs = 1,
           .batch_size = 16,
           .checkpoint_every_steps = 4,
           .resident = way.resident,
           .shuffle = false,
           .backend = &cuda_backend(),
           .call_by_call = way.call_by_call,
           .run_folder = folder})
      .fit(model, optim::SGD({.lr = 0.01}), nn::CrossEntropyLoss(), {marked_digits(), nullptr}, resume);
  std::vector<float> trained;
  for (const Tensor& parameter : model.parameters()) {
    Tensor host = parameter.to_host();
    trained.insert(trained.end(), host.data<float>().begin(), host.data<float>().end());
  }
  return trained;
}

/// Of a process and of the one it starts to fault in its place.
fs::path folder_of(pid_t process) {
  return fs::temp_directory_path() / ("wholestep-fault-" + std::to_string(process));
}

/// Trains until the tenth step faults, says so as the command does, and ends with its exit code.
[[noreturn]] void train_into_the_fault(Way way) {
  int code = 0;
  try {
    train(true, way, folder_of(::getppid()));
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    code = static_cast<int>(error.code());
  }
  std::exit(code);
}

/// The last checkpoint is that of step 8, and going on from it gives the bits of a run without a fault.
void expect_to_go_on(Way way) {
  fs::path folder = folder_of(::getpid());
  auto found = find_checkpoint(folder, Prefer::kLast);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->damage, "");
  EXPECT_EQ(read_checkpoint_json(found->path, "trainer_state.json").at("steps"), 8);
  std::vector<float> resumed = train(false, way, folder, found->path);
  EXPECT_EQ(resumed, train(false, way, folder));
  fs::remove_all(folder);
}

class CudaFaultDeathTest : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Samples, CudaFaultDeathTest, testing::Bool(),
                         [](const auto& row) { return row.param ? "Resident" : "Streamed"; });

TEST_P(CudaFaultDeathTest, AnIllegalAddressNamesItsSubmissionsAndTheRunGoesOnFromTheLastCheckpoint) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Way way{.resident = GetParam()};
  EXPECT_EXIT(train_into_the_fault(way), testing::ExitedWithCode(1),
              "the GPU reported a fault while running a step of [0-9]+ kernels for [0-9]+ calls, noticed "
              ".*submission.*got cudaErrorIllegalAddress.*--call-by-call");
  expect_to_go_on(way);
}

TEST_P(CudaFaultDeathTest, CallByCallAnIllegalAddressNamesItsKernel) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Way way{.resident = GetParam(), .call_by_call = true};
  EXPECT_EXIT(train_into_the_fault(way), testing::ExitedWithCode(1),
              "the GPU reported a fault while running layers.0 own_kernel .*got cudaErrorIllegalAddress");
  expect_to_go_on(way);
}

}  // namespace
}  // namespace wholestep::test
