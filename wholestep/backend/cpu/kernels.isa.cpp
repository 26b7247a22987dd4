// One instruction set's column of the table.
#include "wholestep/backend/cpu/kernels.isa.h"

#include "wholestep/backend/cpu/kernels.h"

namespace wholestep::WHOLESTEP_ISA {

extern const CpuKernels kKernels;
const CpuKernels kKernels = {
    .gemm = gemm,
};

}  // namespace wholestep::WHOLESTEP_ISA
