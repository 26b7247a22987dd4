// Choosing the reduction loops.
#include "wholestep/ops/reduce_loops.h"

namespace wholestep {

template <>
const ReduceLoops<float>& reduce_loops<float>() {
  return WHOLESTEP_OF_ACTIVE_ISA(kReduceLoopsF32);
}
template <>
const ReduceLoops<double>& reduce_loops<double>() {
  return WHOLESTEP_OF_ACTIVE_ISA(kReduceLoopsF64);
}

}  // namespace wholestep
