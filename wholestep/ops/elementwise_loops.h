// The loops behind the element-wise table, one set per instruction set.
#pragma once
#include <cstdint>

#include "wholestep/backend/cpu/isa.h"
#include "wholestep/ops/elementwise_program.h"

namespace wholestep {

/// out[i] = expression(x[i], y[i], z[i]) for i < n; out may be any of the operands. Null where the dtype is
/// not taken.
template <class T>
using ElementwiseLoop = void (*)(const T* x, const T* y, const T* z, T* out, int64_t n);

struct ElementwiseLoops {
  ElementwiseLoop<float> f32[kElementwiseCodes];
  ElementwiseLoop<double> f64[kElementwiseCodes];
  ElementwiseLoop<int32_t> i32[kElementwiseCodes];
  ElementwiseLoop<int64_t> i64[kElementwiseCodes];
  ElementwiseLoop<uint8_t> u8[kElementwiseCodes];
};

WHOLESTEP_DECLARE_PER_ISA(extern const ElementwiseLoops kElementwiseLoops;)

}  // namespace wholestep
