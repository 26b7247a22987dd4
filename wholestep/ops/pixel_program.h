// Convolutions that scale what they read: attribute `program`, element-wise over x, whose one result has the
// weight's dtype. What compile/ passes put there is how pixels become numbers.
#pragma once
#include <optional>
#include <string>

#include "wholestep/backend/cpu/call.h"
#include "wholestep/backend/cuda/call.h"
#include "wholestep/graph/op.h"
#include "wholestep/ops/elementwise_cpu.h"

namespace wholestep {

struct Graph;
struct Node;

/// The operands with x as the program leaves it; kUsage where it has other operands or results.
Types behind_program(std::span<const TensorType> inputs, const Attrs& attrs);
/// What a kernel says that reads x as it is, or "".
std::string refuse_program(const KernelRequest& request);
/// Of a program over u8 in f32 that multiplies and then adds: by what, and what. Else nothing.
struct PixelScale {
  float factor, shift;
};
std::optional<PixelScale> pixel_scale(const KernelRequest& request);
/// The node that makes x of one tensor of its shape, element by element in x's dtype, or null.
const Node* pixel_program(const Graph& graph, int x);

/// x of a request on a CPU: behind a program, samples are made in the workspace first.
class ProgrammedInput {
 public:
  explicit ProgrammedInput(const KernelRequest& request);
  int64_t workspace_bytes() const { return bytes_; }
  /// All of x, of which these samples are there.
  template <class T>
  const T* samples(const CpuArgs& args, Range of) const {
    if (bytes_ == 0) return args.in<T>(0);
    T* x = reinterpret_cast<T*>(args.workspace);
    void* results[] = {x};
    run_({args.inputs, results, nullptr}, {.begin = of.begin * sample_, .length = of.size() * sample_},
         nullptr);
    return x;
  }

 private:
  int64_t sample_ = 0, bytes_ = 0;
  ElementwiseRun run_;
};

/// The same as a C++ function of one element, for call's text.
std::string cuda_pixel_program(CudaCall& call, const KernelRequest& request);

}  // namespace wholestep
