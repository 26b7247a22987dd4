// Every CUDA kernel of every op on its smallest cases, with nothing else in the way, for a memory checker to
// watch: operands alone are written before the run, so that whatever else is read was never written. The
// DISABLED_ ones hold one mistake each, which shows that the checker sees it.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "cuda/own_kernel.h"
#include "support/cuda_device.h"
#include "support/kernel_run.h"
#include "support/op_case.h"
#include "wholestep/backend/cuda/call.h"
#include "wholestep/compile/compile.h"
#include "wholestep/ops/registry.h"

namespace wholestep::test {
namespace {

constexpr size_t kCases = 5;

/// Device memory nobody has written: the backend's own is cleared.
class RawMemory {
 public:
  explicit RawMemory(int64_t bytes) {
    void* driver = dlopen("libcuda.so.1", RTLD_NOW);
    auto allocate = reinterpret_cast<int (*)(unsigned long long*, size_t)>(dlsym(driver, "cuMemAlloc_v2"));
    free_ = reinterpret_cast<int (*)(unsigned long long)>(dlsym(driver, "cuMemFree_v2"));
    EXPECT_EQ(allocate(&address_, static_cast<size_t>(std::max<int64_t>(bytes, 1))), 0);
  }
  ~RawMemory() { free_(address_); }
  RawMemory(const RawMemory&) = delete;
  RawMemory& operator=(const RawMemory&) = delete;
  std::byte* data() const { return reinterpret_cast<std::byte*>(address_); }

 private:
  unsigned long long address_ = 0;
  int (*free_)(unsigned long long) = nullptr;
};

/// Requests of one kernel, each operand, result and workspace in an allocation of its own.
struct Requests {
  Program program;
  std::vector<std::unique_ptr<RawMemory>> memory;
  std::vector<std::byte*> arenas;
  std::vector<std::pair<int, Tensor>> operands;  // arena, value
  std::vector<std::pair<int, int64_t>> results;  // arena, bytes

  /// Up to a multiple of 16, since operands are fetched in units of 16 bytes.
  int place(int64_t bytes) {
    memory.push_back(std::make_unique<RawMemory>(rounded_up(bytes, 16)));
    arenas.push_back(memory.back()->data());
    return static_cast<int>(arenas.size()) - 1;
  }
  void add(const OpDef& op, const Kernel& kernel, const std::vector<Tensor>& inputs, const Attrs& attrs) {
    Types types;
    for (const Tensor& t : inputs) types.push_back(t.type());
    Types outputs = infer_types(op, types, attrs);
    Call call;
    call.kernel.label = op.name;
    call.kernel.kernel = kernel.prepare({op.name, types, outputs, attrs});
    for (const Tensor& t : inputs) {
      operands.emplace_back(place(t.type().bytes()), t);
      call.inputs.push_back({operands.back().first, 0});
      call.kernel.inputs.push_back(operands.back().first);
    }
    for (const TensorType& type : outputs) {
      results.emplace_back(place(type.bytes()), type.bytes());
      call.outputs.push_back({results.back().first, 0});
      call.kernel.outputs.push_back(results.back().first);
    }
    call.workspace = {place(call.kernel.kernel->workspace_bytes), 0};
    program.calls.push_back(std::move(call));
    const auto prepared = program.calls.back().kernel.kernel;
    for (const Attrs& more : with_sums(attrs, *prepared)) add(op, kernel, inputs, more);
  }
  void run() {
    Backend& backend = cuda_backend();
    for (auto& [arena, value] : operands) {
      std::vector<std::byte> padded(static_cast<size_t>(rounded_up(value.type().bytes(), 16)));
      std::ranges::copy(value.bytes(), padded.begin());
      backend.copy_in(arenas[static_cast<size_t>(arena)], padded.data(), std::ssize(padded));
    }
    backend.load(program, arenas)->run(1);
    for (auto [arena, bytes] : results) {
      std::vector<std::byte> host(static_cast<size_t>(bytes));
      backend.copy_out(host.data(), arenas[static_cast<size_t>(arena)], bytes);
    }
  }
};

int64_t size_of(const OpDef& op, const OpCase& request) {
  int64_t bytes = 0;
  for (const TensorType& type : request.inputs) bytes += type.bytes();
  for (const TensorType& type : infer_types(op, request.inputs, request.attrs)) bytes += type.bytes();
  return bytes;
}

class CudaSanitize : public testing::TestWithParam<const OpDef*> {};
INSTANTIATE_TEST_SUITE_P(AllOps, CudaSanitize, testing::ValuesIn(all_ops()),
                         [](const auto& row) { return row.param->name; });

TEST_P(CudaSanitize, RunsItsSmallestCasesOnMemoryNobodyHasWritten) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  EverythingByLibraries small_ones_too;
  const OpDef& op = *GetParam();
  std::vector<OpCase> cases = op.cases();
  std::ranges::stable_sort(cases, {}, [&](const OpCase& c) { return size_of(op, c); });
  cuda_backend().allocate(64);  // makes the device current
  for (const Kernel& kernel : op.kernels) {
    if (kernel.backend != "cuda" || !runs_here(kernel.name)) continue;
    Requests requests;
    for (const OpCase& request : cases) {
      if (requests.program.calls.size() >= kCases) break;
      std::vector<Tensor> inputs = make_operands(request);
      if (size_of(op, request) == 0 || !refusal(op, kernel, inputs, request.attrs).empty()) continue;
      requests.add(op, kernel, inputs, request.attrs);
    }
    ASSERT_FALSE(requests.program.calls.empty()) << kernel.name;
    requests.run();
  }
}

void run_mistake(const std::string& body) {
  cuda_backend().allocate(64);
  Requests requests;
  requests.add(kOwnKernel, kOwnKernel.kernels[0], {tensor(std::vector<float>(512, 1.0f), {512})},
               {{"body", body}});
  requests.run();
}

TEST(Mistake, DISABLED_WritesBehindItsResultForMemcheck) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  run_mistake("y[threadIdx.x + (1 << 24)] = x[threadIdx.x];");
}
TEST(Mistake, DISABLED_ReadsItsNeighboursSharedMemoryTooEarlyForRacecheck) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  run_mistake(
      "float* shared = reinterpret_cast<float*>(lane.shared);\n"
      "shared[threadIdx.x] = x[threadIdx.x];\n"
      "y[threadIdx.x] = shared[(threadIdx.x + 64) % kThreads];");
}
TEST(Mistake, DISABLED_ReadsAWorkspaceNobodyHasWrittenForInitcheck) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  run_mistake("y[threadIdx.x] = x[threadIdx.x] + reinterpret_cast<const float*>(workspace)[threadIdx.x];");
}
/// The waiting thread is not among those it waits for.
TEST(Mistake, DISABLED_WaitsForOthersOfItsWarpAloneForSynccheck) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  run_mistake("y[threadIdx.x] = x[threadIdx.x];\nif (threadIdx.x % 32 == 0) __syncwarp(2);");
}

}  // namespace
}  // namespace wholestep::test
