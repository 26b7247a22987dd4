// The CPU kernel of element-wise ops and fused regions.
#pragma once
#include "wholestep/backend/cpu/call.h"
#include "wholestep/ops/elementwise_program.h"

namespace wholestep {

/// Elements of a result: `count` runs of `length` neighbours, `stride` apart.
struct ElementRuns {
  int64_t begin, length, count = 1, stride = 0;
};
/// Runs a program on such elements. Where `first` is given, it holds what register 0 has for them, in the
/// compute type, without gaps, and operand 0 is not read.
using ElementwiseRun = std::function<void(const CpuArgs&, const ElementRuns&, const void* first)>;
ElementwiseRun elementwise_run_cpu(ElementwiseProgram program, std::span<const TensorType> operands,
                                   std::span<const TensorType> results);

/// Whether such a program runs as a loop compiled ahead of time (elementwise_compiled_loops.h): where the
/// operand by which it chooses, if there is one, is true.
bool runs_as_one_loop(const ElementwiseProgram& program, std::span<const TensorType> operands,
                      std::span<const TensorType> results);

/// For op "fused" (its program in the attributes) and for every single element-wise op.
std::unique_ptr<PreparedKernel> prepare_elementwise_cpu(const KernelRequest& request);

}  // namespace wholestep
