// One instruction set's column of the table.
#include "wholestep/backend/cpu/kernels.isa.h"

#include "wholestep/backend/cpu/kernels.h"

namespace wholestep::WHOLESTEP_ISA {

extern const CpuKernels kKernels;
const CpuKernels kKernels = {
    .gemm = gemm,
    .conv_forward = conv_forward,
    .conv_input_gradient = conv_input_gradient,
    .conv_weight_gradient = conv_weight_gradient,
    .sum_chunks = sum_chunks,
};

}  // namespace wholestep::WHOLESTEP_ISA
