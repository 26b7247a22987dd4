// Every CUDA kernel of every op on every case of its row, on a GPU: against a naive f64 evaluation, in memory
// that shows every stray write, with the same bits as one graph, call by call and again.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "support/case_program.h"
#include "support/cuda_device.h"
#include "support/kernel_run.h"
#include "support/op_reference.h"
#include "wholestep/compile/compile.h"
#include "wholestep/ops/registry.h"

namespace wholestep::test {
namespace {

/// The arena of the cases after one run of their program.
std::vector<std::byte> after_a_run(const CaseProgram& cases, Backend& backend) {
  std::shared_ptr<Memory> memory = backend.allocate(static_cast<int64_t>(cases.image.size()));
  std::byte* base = memory->data();
  backend.copy_in(base, cases.image.data(), memory->bytes());
  backend.load(cases.program, std::span(&base, 1))->run(1);
  std::vector<std::byte> after(cases.image.size());
  backend.copy_out(after.data(), base, memory->bytes());
  return after;
}

class CudaOp : public testing::TestWithParam<const OpDef*> {};
INSTANTIATE_TEST_SUITE_P(AllOps, CudaOp, testing::ValuesIn(all_ops()),
                         [](const auto& row) { return row.param->name; });

/// Kernels for the oldest architecture, on the GPU there is; that of the library is its own.
class CudaOpForSm80 : public CudaOp {};
INSTANTIATE_TEST_SUITE_P(AllOps, CudaOpForSm80, testing::ValuesIn(all_ops()),
                         [](const auto& row) { return row.param->name; });

TEST_P(CudaOpForSm80, MatchesTheReferenceAndWritesNothingElse) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  const CappedAt older(80);
  const OpDef& op = *GetParam();
  Backend& backend = cuda_backend();
  auto is_small = [](const KernelRequest& request, const PreparedKernel&) {
    return flops(find_op(request.op), request) < 1 << 23;
  };
  for (const Kernel& kernel : op.kernels) {
    if (kernel.backend != "cuda") continue;
    const CaseProgram cases(op, kernel, is_small);
    if (cases.items.empty()) continue;  // needs a newer one
    const std::vector<std::byte> after = after_a_run(cases, backend);
    cases.expect_results(op, kernel, after);
    if (HasFatalFailure()) return;
  }
}

TEST_P(CudaOp, MatchesTheReferenceAndWritesNothingElse) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  EverythingByLibraries small_ones_too;
  const OpDef& op = *GetParam();
  Backend& backend = cuda_backend();
  for (const Kernel& kernel : op.kernels) {
    if (kernel.backend != "cuda" || !runs_here(kernel.name)) continue;
    CaseProgram cases(op, kernel);
    ASSERT_FALSE(cases.items.empty()) << "no case of " << op.name << " is accepted by kernel " << kernel.name;
    std::shared_ptr<Memory> memory = backend.allocate(static_cast<int64_t>(cases.image.size()));
    std::byte* base = memory->data();
    auto executable = backend.load(cases.program, std::span(&base, 1));
    std::vector<std::byte> after(cases.image.size()), again(after.size());
    auto run = [&](std::vector<std::byte>& result, auto&& what) {
      backend.copy_in(base, cases.image.data(), memory->bytes());
      what();
      backend.copy_out(result.data(), base, memory->bytes());
    };
    run(after, [&] { executable->run(1); });
    cases.expect_results(op, kernel, after);
    if (HasFatalFailure()) return;
    run(again, [&] { executable->run(1); });
    EXPECT_TRUE(after == again) << op.name << " " << kernel.name << " gave other bits the second time";
    for (size_t c = 0; c < cases.items.size(); c += std::max<size_t>(1, cases.items.size() / 3)) {
      run(again, [&] { executable->run_call(c); });
      for (size_t o = 0; o < cases.items[c].outputs.size(); ++o) {
        int64_t at = cases.program.calls[c].outputs[o].offset;
        EXPECT_EQ(std::memcmp(after.data() + at, again.data() + at,
                              static_cast<size_t>(cases.items[c].outputs[o].bytes())),
                  0)
            << cases.items[c].text << " gave other bits when it ran alone";
      }
    }
  }
}

/// The NaN that GPUs make has every bit of its mantissa set: it must not be rounded away on its way into
/// tensor cores.
class CudaSums : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Ops, CudaSums, testing::Values("matmul", "conv2d", "conv2d_dx", "conv2d_dw"),
                         [](const auto& row) { return std::string(row.param); });

TEST_P(CudaSums, GivesANaNWhereAnOperandHasOne) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  EverythingByLibraries small_ones_too;
  const OpDef& op = find_op(GetParam());
  Backend& backend = cuda_backend();
  for (const Kernel& kernel : op.kernels) {
    if (kernel.backend != "cuda" || !runs_here(kernel.name)) continue;
    CaseProgram cases(op, kernel);
    for (size_t c = 0; c < cases.items.size(); ++c) {
      Tensor& first = cases.items[c].inputs[0];
      if (first.dtype() != DType::f32) continue;
      std::ranges::fill(first.data<float>(), std::bit_cast<float>(0x7fffffffu));
      std::ranges::copy(first.bytes(), cases.image.begin() + cases.program.calls[c].inputs[0].offset);
    }
    const std::vector<std::byte> after = after_a_run(cases, backend);
    for (size_t c = 0; c < cases.items.size(); ++c) {
      const CaseProgram::Item& item = cases.items[c];
      if (item.inputs[0].dtype() != DType::f32) continue;
      auto expected = expected_results(op, item.inputs, item.attrs);
      const std::byte* got = after.data() + cases.program.calls[c].outputs[0].offset;
      for (size_t i = 0; i < (*expected)[0].values.size(); ++i)
        ASSERT_EQ(std::isnan(element(item.outputs[0], got, i)), std::isnan((*expected)[0].values[i]))
            << "kernel " << kernel.name << " of " << item.text << " element " << i;
    }
  }
}

}  // namespace
}  // namespace wholestep::test
