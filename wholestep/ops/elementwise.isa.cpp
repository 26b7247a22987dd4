// One loop per row of the element-wise table and dtype, vectorised by the compiler for each instruction set.
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "wholestep/ops/elementwise_loops.h"
#include "wholestep/ops/math.isa.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

enum Domain { kFloat, kAny };

// Element i of every operand is read before element i of the result is written, so in-place use is safe:
// hence ivdep.
namespace loops {
#define LOOP(name, expression)                                          \
  template <class T>                                                    \
  void name(const T* px, const T* py, const T* pz, T* out, int64_t n) { \
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; ++i) {              \
      [[maybe_unused]] const T x = px[i], y = py[i], z = pz[i];         \
      out[i] = static_cast<T>(expression);                              \
    }                                                                   \
  }
#define UNARY(name, domain, expression, dx) LOOP(name, expression)
#define BINARY(name, domain, expression, dx, dy) LOOP(name, expression)
#define COMPARE(name, domain, expression) LOOP(name, expression)
#define TERNARY(name, domain, expression, dx, dy, dz) LOOP(name, expression)
#include "wholestep/ops/elementwise_table.inc"
#undef UNARY
#undef BINARY
#undef COMPARE
#undef TERNARY
#undef LOOP
}  // namespace loops

}  // namespace

extern const ElementwiseLoops kElementwiseLoops;
const ElementwiseLoops kElementwiseLoops = {
#define ROW(name, domain, T) (domain == kAny || std::is_floating_point_v<T>) ? &loops::name<T> : nullptr,
#define UNARY(name, domain, ...) ROW(name, domain, ELEMENT)
#define BINARY UNARY
#define COMPARE UNARY
#define TERNARY UNARY
#define ELEMENT float
    {
#include "wholestep/ops/elementwise_table.inc"
    },
#undef ELEMENT
#define ELEMENT double
    {
#include "wholestep/ops/elementwise_table.inc"
    },
#undef ELEMENT
#define ELEMENT int32_t
    {
#include "wholestep/ops/elementwise_table.inc"
    },
#undef ELEMENT
#define ELEMENT int64_t
    {
#include "wholestep/ops/elementwise_table.inc"
    },
#undef ELEMENT
#define ELEMENT uint8_t
    {
#include "wholestep/ops/elementwise_table.inc"
    },
#undef ELEMENT
};

}  // namespace wholestep::WHOLESTEP_ISA
