// The sum of squares of a product, from the Gram matrices of its operands.
#include <cmath>
#include <limits>

#include "wholestep/backend/cpu/call.h"
#include "wholestep/ops/gram_loops.h"
#include "wholestep/ops/matmul_fused.h"

namespace wholestep {
namespace {

template <class T>
const GramLoops<T>& gram_loops() {
  if constexpr (std::is_same_v<T, float>) return WHOLESTEP_OF_ACTIVE_ISA(kGramLoopsF32);
  else return WHOLESTEP_OF_ACTIVE_ISA(kGramLoopsF64);
}

/// An operand's columns of k elements: element i of column c lies at i * row + c * column.
struct Columns {
  Columns(int of, int64_t extent, int64_t k, bool along_sum)
      : operand(of), split(extent), row(along_sum ? 1 : extent), column(along_sum ? k : 1) {}
  int operand;
  Split split;
  int64_t row, column;
};

template <class T>
std::unique_ptr<PreparedKernel> squares_call(const KernelRequest& request) {
  const GramLoops<T>& loops = gram_loops<T>();
  const MatmulDims d = product_dims(request);
  Columns more(0, d.m, d.k, !d.transpose_a), fewer(1, d.n, d.k, d.transpose_b);
  if (d.m < d.n) std::swap(more, fewer);
  const int64_t first = more.split.chunks(), chunks = first + fewer.split.chunks(),
                gram_bytes = aligned(d.k * d.k * int64_t{sizeof(double)}),
                scratch_bytes = aligned(loops.scratch_bytes(d.k));
  auto gram = [gram_bytes](const CpuArgs& args, int64_t chunk) {
    return reinterpret_cast<double*>(args.workspace + chunk * gram_bytes);
  };
  auto call = std::make_unique<CpuCall>();
  call->workspace_bytes = chunks * (gram_bytes + scratch_bytes);
  call->phases.push_back({.chunks = chunks, .run = [=, &loops](const CpuArgs& args, int64_t chunk) {
                            const Columns& columns = chunk < first ? more : fewer;
                            const Range part = columns.split[chunk < first ? chunk : chunk - first];
                            loops.gram(args.in<T>(columns.operand) + part.begin * columns.column, d.k,
                                       part.size(), columns.row, columns.column, gram(args, chunk),
                                       args.workspace + chunks * gram_bytes + chunk * scratch_bytes);
                          }});
  call->phases.push_back({.chunks = 1, .run = [=](const CpuArgs& args, int64_t) {
                            constexpr bool kF32 = std::is_same_v<T, float>;
                            constexpr double kInfinity = std::numeric_limits<double>::infinity(),
                                             kMostSquares = kF32 ? kMostReach * kMostReach : kInfinity,
                                             kMost = kF32 ? kMostReach : kInfinity;
                            double total = 0, reach = 0;
                            bool finite = true;
                            for (int64_t i = 0; i < d.k; ++i)
                              for (int64_t j = i; j < d.k; ++j) {
                                double g = 0, h = 0;
                                for (int64_t c = 0; c < chunks; ++c)
                                  (c < first ? g : h) += gram(args, c)[i * d.k + j];
                                total += (i == j ? 1 : 2) * (g * h);
                                if (i != j) continue;
                                reach += std::sqrt(g * h);
                                finite = finite && g < kMostSquares && h < kMostSquares;
                              }
                            *args.out<double>(0) = finite && reach < kMost ? std::max(total, 0.0) : kInfinity;
                          }});
  return call;
}

}  // namespace

std::unique_ptr<PreparedKernel> prepare_matmul_squares_cpu(const KernelRequest& request) {
  return request.inputs[0].dtype == DType::f32 ? squares_call<float>(request) : squares_call<double>(request);
}

}  // namespace wholestep
