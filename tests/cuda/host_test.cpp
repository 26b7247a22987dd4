// Every CUDA kernel of every op without a GPU: its text as C++ on the host, on the smaller cases of its row,
// against a naive f64 evaluation, in memory that shows stray writes, and shared memory full of NaNs.
#include <gtest/gtest.h>

#include <cmath>

#include "support/case_program.h"
#include "support/cuda_device.h"
#include "support/cuda_on_host.h"
#include "wholestep/ops/registry.h"

namespace wholestep::test {
namespace {

/// 512 fibers take turns at every barrier of every block, so that there are not to be many.
bool is_small(const OpDef& op, const KernelRequest& request, const PreparedKernel& prepared) {
  int64_t blocks = 0;
  for (const CudaPhase& phase : dynamic_cast<const CudaCall&>(prepared).phases) {
    if (phase.product) return false;
    blocks += phase.chunks;
  }
  return blocks <= 64 && flops(op, request) < 1 << 23;
}

class CudaOpOnHost : public testing::TestWithParam<const OpDef*> {};
INSTANTIATE_TEST_SUITE_P(AllOps, CudaOpOnHost, testing::ValuesIn(all_ops()),
                         [](const auto& row) { return row.param->name; });

TEST_P(CudaOpOnHost, MatchesTheReferenceAndWritesNothingElse) {
  if (std::string why = no_cuda_on_host(); !why.empty()) GTEST_SKIP() << why;
  const PlansForSm80 without_what_is_new;
  const OpDef& op = *GetParam();
  for (const Kernel& kernel : op.kernels) {
    if (kernel.backend != "cuda") continue;
    const CaseProgram cases(op, kernel, [&](const KernelRequest& request, const PreparedKernel& prepared) {
      return is_small(op, request, prepared);
    });
    if (cases.items.empty()) {
      EXPECT_TRUE(kernel.name == "cuBLASLt" || kernel.name == "tensor shifted")
          << kernel.name << " is not run";
      continue;
    }
    std::vector<ScheduledKernel> schedule;
    for (const Call& call : cases.program.calls) schedule.push_back(call.kernel);
    const CudaSource source = write_regions(cases.program, build_regions(schedule, kCudaPlacement));
    const CudaOnHost kernels(source);
    std::vector<std::byte> arena(cases.image.size() + 256);
    std::byte* base = arena.data() + (256 - reinterpret_cast<uintptr_t>(arena.data()) % 256) % 256;
    std::ranges::copy(cases.image, base);
    kernels.run(std::span(&base, 1));
    cases.expect_results(op, kernel, {base, base + cases.image.size()});
    if (HasFatalFailure()) return;
  }
}

/// A kernel of one block over one arena.
std::vector<float> run_on_host(const std::string& body) {
  CudaSource source;
  source.text =
      "#include \"prelude.cuh\"\nextern \"C\" __global__ void one(char* a0) {\n"
      "  extern __shared__ char shared[];\n  float* x = reinterpret_cast<float*>(a0);\n"
      "  float* in = reinterpret_cast<float*>(shared);\n" +
      body + "}\n";
  source.kernels.push_back(
      {.region = 0, .name = "one", .blocks = 1, .shared_bytes = kCudaThreads * 4, .arenas = {0}});
  std::vector<float> arena(kCudaThreads);
  std::byte* base = reinterpret_cast<std::byte*>(arena.data());
  CudaOnHost(source).run(std::span(&base, 1));
  return arena;
}

TEST(CudaOnHost, ThreadsMeetAtBarriersAndFindMistakesInThem) {
  if (std::string why = no_cuda_on_host(); !why.empty()) GTEST_SKIP() << why;
  const std::vector<float> turned = run_on_host(
      "in[threadIdx.x] = threadIdx.x; __syncthreads(); x[threadIdx.x] = in[kThreads - 1 - threadIdx.x];");
  for (size_t i = 0; i < turned.size(); ++i) ASSERT_EQ(turned[i], static_cast<float>(turned.size() - 1 - i));
  EXPECT_EQ(run_on_host("x[threadIdx.x] = warp_sum(float(threadIdx.x % 32));")[77], 496);
  EXPECT_EQ(run_on_host("if (threadIdx.x >= 256) return; __syncthreads(); x[threadIdx.x] = 1;")[255], 1)
      << "threads that have ended are not waited for";
  EXPECT_TRUE(
      std::isnan(run_on_host("in[threadIdx.x] = 1; x[threadIdx.x] = in[(threadIdx.x + 1) % kThreads];")[3]))
      << "a barrier is missing";
  EXPECT_THROW(run_on_host("if (threadIdx.x % 2) __syncthreads(); else __syncwarp();"), std::runtime_error)
      << "threads wait at different barriers";
  EXPECT_THROW(run_on_host("no words of C++"), std::runtime_error);
}

}  // namespace
}  // namespace wholestep::test
