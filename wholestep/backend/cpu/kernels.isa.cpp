// One instruction set's column of the table.
#include "wholestep/backend/cpu/kernels.isa.h"

#if WHOLESTEP_BF16
#include "wholestep/backend/cpu/bf16.h"
#endif
#include "wholestep/backend/cpu/kernels.h"

namespace wholestep::WHOLESTEP_ISA {

extern const CpuKernels kKernels;
const CpuKernels kKernels = {
    .gemm = gemm,
    .conv_forward = conv_forward,
    .conv_input_gradient = conv_input_gradient,
    .conv_weight_gradient = conv_weight_gradient,
    .sum_chunks = sum_chunks,
#if WHOLESTEP_BF16
    .pack_shared = pack_shared,
    .gemm_workspace_bytes = bf16_gemm_workspace_bytes,
    .conv_forward_workspace_bytes = bf16_conv_forward_workspace_bytes,
    .conv_input_gradient_workspace_bytes = bf16_conv_input_gradient_workspace_bytes,
    .conv_weight_gradient_workspace_bytes = bf16_conv_weight_gradient_workspace_bytes,
#else
    .pack_shared = nullptr,
    .gemm_workspace_bytes = gemm_workspace_bytes,
    .conv_forward_workspace_bytes = conv_forward_workspace_bytes,
    .conv_input_gradient_workspace_bytes = conv_input_gradient_workspace_bytes,
    .conv_weight_gradient_workspace_bytes = conv_weight_gradient_workspace_bytes,
#endif
};

}  // namespace wholestep::WHOLESTEP_ISA
