// Every CUDA kernel of every op without a GPU: its text as C++ on the host, on the smaller cases of its row,
// against a naive f64 evaluation, in memory that shows stray writes, and shared memory full of NaNs.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "support/case_program.h"
#include "support/cuda_device.h"
#include "support/cuda_on_host.h"
#include "support/cuda_plan.h"
#include "support/kernel_run.h"
#include "wholestep/compile/region_work.h"
#include "wholestep/ops/registry.h"

namespace wholestep::test {
namespace {

/// 512 fibers take turns at every barrier of every block, so that there are not to be many.
bool is_small(const KernelRequest& request, const PreparedKernel& prepared) {
  int64_t blocks = 0;
  for (const CudaPhase& phase : dynamic_cast<const CudaCall&>(prepared).phases) {
    if (phase.library) return false;
    blocks += phase.chunks;
  }
  return blocks <= 64 && flops(find_op(request.op), request) < 1 << 23;
}

class CudaOpOnHost : public testing::TestWithParam<const OpDef*> {};
INSTANTIATE_TEST_SUITE_P(AllOps, CudaOpOnHost, testing::ValuesIn(all_ops()),
                         [](const auto& row) { return row.param->name; });

TEST_P(CudaOpOnHost, MatchesTheReferenceAndWritesNothingElse) {
  if (std::string why = no_cuda_on_host(); !why.empty()) GTEST_SKIP() << why;
  const PlansFor oldest(80);
  const OpDef& op = *GetParam();
  for (const Kernel& kernel : op.kernels) {
    if (kernel.backend != "cuda") continue;
    const CaseProgram cases(op, kernel, is_small);
    if (cases.items.empty()) {
      EXPECT_TRUE(kernel.name == "cuBLASLt" || kernel.name == "cuDNN" || kernel.name == "tensor shifted")
          << kernel.name << " is not run";
      continue;
    }
    std::vector<ScheduledKernel> schedule;
    for (const Call& call : cases.program.calls) schedule.push_back(call.kernel);
    const CudaSource source = write_regions(cases.program, build_regions(schedule, kCudaPlacement));
    const CudaOnHost kernels(source);
    FencedBytes arena(static_cast<int64_t>(cases.image.size()));
    std::byte* base = arena.data();
    std::ranges::copy(cases.image, base);
    kernels.run(std::span(&base, 1));
    EXPECT_TRUE(arena.fences_intact()) << kernel.name;
    cases.expect_results(op, kernel, {base, base + cases.image.size()});
    if (HasFatalFailure()) return;
  }
}

/// Results of matmul_squares in f32, then in f64.
std::vector<double> squares_of(std::vector<OpCase> (*cases_of)()) {
  OpDef op = find_op("matmul_squares");
  op.cases = cases_of;
  const Kernel& kernel = *std::ranges::find(op.kernels, "cuda", &Kernel::backend);
  const CaseProgram cases(op, kernel);
  std::vector<ScheduledKernel> schedule;
  for (const Call& call : cases.program.calls) schedule.push_back(call.kernel);
  const CudaOnHost kernels(write_regions(cases.program, build_regions(schedule, kCudaPlacement)));
  FencedBytes arena(static_cast<int64_t>(cases.image.size()));
  std::byte* base = arena.data();
  std::ranges::copy(cases.image, base);
  kernels.run(std::span(&base, 1));
  std::vector<double> results;
  for (size_t c = 0; c < cases.items.size(); ++c)
    results.push_back(element(cases.items[c].outputs[0], base + cases.program.calls[c].outputs[0].offset, 0));
  return results;
}
/// All elements are this value.
std::vector<OpCase> squares_case(double value) {
  return {{.inputs = {{DType::f32, {3, 5}}, {DType::f32, {3, 300}}},
           .attrs = {{"transpose_a", true}, {"transpose_b", false}},
           .low = value,
           .high = value}};
}

TEST(CudaOnHost, TheSquaresOfAProductAreFiniteWhereItsElementsAre) {
  if (std::string why = no_cuda_on_host(); !why.empty()) GTEST_SKIP() << why;
  std::vector<double> got = squares_of([] { return squares_case(1e15); });
  EXPECT_NEAR(got[0] / (5 * 300 * 9e60), 1, 1e-6);
  got = squares_of([] { return squares_case(1e20); });
  EXPECT_EQ(got[0], HUGE_VAL) << "elements of 3e40 are infinite in f32";
  EXPECT_NEAR(got[1] / (5 * 300 * 9e80), 1, 1e-12);
  for (double squares : squares_of([] { return squares_case(std::nan("")); }))
    EXPECT_FALSE(std::isfinite(squares));
}

/// New weight, new momentum and the input's gradient, which a ReLU masks, the first two over the old ones
/// where `in_place`.
std::vector<std::vector<std::byte>> momentum_step(const Kernel& kernel, int64_t m, bool in_place) {
  const int64_t n = 256, k = 19;
  const OpDef& op = find_op("matmul_fused");
  const OpCase request = {
      .inputs = {{DType::f32, {k, m}}, {DType::f32, {k, n}}, {DType::f32, {m, n}}, {DType::f32, {m, n}}},
      .attrs = {{"transpose_a", true},
                {"transpose_b", false},
                {"input_gradient", int64_t{2}},
                {"masked", true},
                {"shape", std::vector<int64_t>{m, n}},
                {"outputs", "f32 f32"},
                {"program", "f32 3 | 0.5 | mul 2 3; add 4 0; sub 1 5 | 6 5"}}};
  const Types outputs = infer_types(op, request.inputs, request.attrs);
  Call call;
  call.kernel.kernel = kernel.prepare({op.name, request.inputs, outputs, request.attrs});
  int64_t bytes = 0;
  auto place = [&](int64_t size) { return BufferRef{0, std::exchange(bytes, bytes + aligned(size))}; };
  auto number = [](std::vector<int>& values, BufferRef ref) {
    values.push_back(static_cast<int>(ref.offset));
  };
  for (const TensorType& type : request.inputs) call.inputs.push_back(place(type.bytes()));
  for (size_t o = 0; o < outputs.size(); ++o)
    call.outputs.push_back(in_place && o < 2 ? call.inputs[o + 2] : place(outputs[o].bytes()));
  call.workspace = place(call.kernel.kernel->workspace_bytes);
  for (BufferRef ref : call.inputs) number(call.kernel.inputs, ref);
  for (BufferRef ref : call.outputs) number(call.kernel.outputs, ref);
  FencedBytes arena(bytes);
  std::byte* base = arena.data();
  std::vector<Tensor> operands = make_operands(request);
  const std::span<float> x = operands[1].data<float>();
  using Float = std::numeric_limits<float>;
  const float special[] = {std::nanf(""),
                           -std::nanf(""),
                           0,
                           -0.0f,
                           Float::min(),
                           -Float::min(),
                           Float::denorm_min(),
                           Float::infinity(),
                           -Float::infinity(),
                           Float::max(),
                           std::bit_cast<float>(0x7f801000)};
  std::ranges::copy(special, x.begin());
  for (size_t i = 0; i < operands.size(); ++i)
    std::ranges::copy(operands[i].bytes(), base + call.inputs[i].offset);
  CudaOnHost(write_call(call)).run(std::span(&base, 1));
  EXPECT_TRUE(arena.fences_intact()) << kernel.name;
  const auto* dx = reinterpret_cast<const float*>(base + call.outputs[2].offset);
  for (size_t i = 0; i < x.size(); ++i)
    EXPECT_EQ(dx[i] != 0, x[i] > 0) << kernel.name << " makes " << dx[i] << " where a ReLU gave " << x[i];
  std::vector<std::vector<std::byte>> results;
  for (size_t o = 0; o < outputs.size(); ++o)
    results.emplace_back(base + call.outputs[o].offset, base + call.outputs[o].offset + outputs[o].bytes());
  return results;
}

TEST(CudaOnHost, TheInputGradientIsOfTheWeightThatTheUpdateWritesOver) {
  if (std::string why = no_cuda_on_host(); !why.empty()) GTEST_SKIP() << why;
  for (const Kernel& kernel : find_op("matmul_fused").kernels)
    for (int64_t m : {64, 68}) {  // whole tiles, and not
      if (kernel.backend != "cuda" || (kernel.name == "tensor columns" && m == 68)) continue;
      EXPECT_EQ(momentum_step(kernel, m, true), momentum_step(kernel, m, false)) << kernel.name << " " << m;
    }
}

/// Every phase a region of its own, one after the other: nothing is fetched, kept or waited for within a
/// kernel.
Regions apart(const Plan& plan, const Program& program) {
  Regions regions;
  for (size_t c : call_order(plan)) {
    if (program.calls[c].kernel.view) continue;
    const auto& phases = dynamic_cast<const CudaCall&>(*program.calls[c].kernel.kernel).phases;
    for (size_t p = 0; p < phases.size(); ++p) {
      const bool alone = phases[p].alone.chunks > 0;
      const int64_t chunks = alone ? phases[p].alone.chunks : phases[p].chunks;
      regions.regions.push_back({{{.rows = 0,
                                   .chunks = chunks,
                                   .alone = alone,
                                   .steps = {{static_cast<int>(c), static_cast<int>(p)}}}},
                                 chunks});
    }
  }
  return regions;
}

/// Parameters and state after `steps` steps on a batch of random pixels, bit for bit.
std::vector<std::vector<std::byte>> after_steps(const Plan& plan, const CudaSource& source, int steps) {
  std::vector<FencedBytes> arenas;
  arenas.emplace_back(plan.memory.arena_bytes());
  for (const GraphInput& input : plan.graph->inputs) {
    if (input.kind == InputKind::kBatch) continue;
    arenas.emplace_back(input.binding.type().bytes());
    std::ranges::copy(input.binding.bytes(), arenas.back().data());
  }
  std::vector<std::byte*> bases;
  for (FencedBytes& arena : arenas) bases.push_back(arena.data());
  for (const GraphInput& input : plan.graph->inputs) {
    if (input.kind != InputKind::kBatch) continue;
    const TensorType& type = plan.graph->type(input.value);
    std::byte* at = bases[0] + plan.places[static_cast<size_t>(input.value)].offset;
    for (int64_t i = 0; i < type.shape.numel(); ++i)
      if (type.dtype == DType::u8) at[i] = static_cast<std::byte>((i * 7919 + i / 13) % 251);
      else reinterpret_cast<int32_t*>(at)[i] = static_cast<int32_t>(i % 2);
  }
  const CudaOnHost kernels(source);
  for (int step = 0; step < steps; ++step) kernels.run(bases);
  std::vector<std::vector<std::byte>> result;
  for (const FencedBytes& arena : arenas) {
    EXPECT_TRUE(arena.fences_intact());
    result.emplace_back(arena.data(), arena.data() + arena.size());
  }
  result.erase(result.begin());  // the plan's own
  return result;
}

class CudaStepOnHost : public testing::TestWithParam<std::pair<const char*, int64_t>> {};
INSTANTIATE_TEST_SUITE_P(Zoo, CudaStepOnHost,
                         testing::Values(std::pair("w1", 3), std::pair("lenet", 2), std::pair("w3", 3),
                                         std::pair("w4s", 2), std::pair("lstm", 3)),
                         [](const auto& row) { return std::string(row.param.first); });

/// What lanes fetch, keep in shared memory, store, tell and wait for changes no bit.
TEST_P(CudaStepOnHost, AStepInLanesIsTheStepPhaseByPhase) {
  if (std::string why = no_cuda_on_host(); !why.empty()) GTEST_SKIP() << why;
  const auto [name, batch] = GetParam();  // for sm_90, but without its products
  const Plan plan =
      std::string_view(name) == "lstm" ? cuda_recurrent_plan(batch) : cuda_train_plan(name, batch);
  const Program program = make_program(plan);
  const auto whole = after_steps(plan, write_regions(program, plan_regions(plan)), 2),
             parts = after_steps(plan, write_regions(program, apart(plan, program)), 2);
  size_t changed = 0, i = 0;
  for (const GraphInput& input : plan.graph->inputs) {
    if (input.kind == InputKind::kBatch) continue;
    EXPECT_TRUE(whole[i] == parts[i]) << input.name;
    changed += !std::ranges::equal(whole[i], input.binding.bytes());
    ++i;
  }
  EXPECT_GT(changed, i / 2) << "the step does nothing";
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
