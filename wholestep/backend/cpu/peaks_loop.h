// The loop that measures arithmetic, one per instruction set.
#pragma once
#include <cstdint>

#include "wholestep/backend/cpu/isa.h"

namespace wholestep {

struct PeakLoop {
  float (*run)(int64_t rounds);
  int64_t flops_per_round;
};

WHOLESTEP_DECLARE_PER_ISA(extern const PeakLoop kPeakLoop;)

}  // namespace wholestep
