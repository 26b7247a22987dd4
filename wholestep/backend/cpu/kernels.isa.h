// The kernels that every instruction set's copy provides; kernels.isa.cpp puts them into the table.
#pragma once
#include "wholestep/backend/cpu/conv.h"
#include "wholestep/backend/cpu/gemm.h"

namespace wholestep::WHOLESTEP_ISA {

void gemm(const Gemm& gemm, const GemmOperands& operands, const GemmPart& part, void* workspace);
#if WHOLESTEP_BF16
void pack_shared(const Gemm& gemm, const GemmOperands& operands, int64_t begin, int64_t end, void* packed);
#endif
void conv_forward(const Conv2d& conv, const ConvForward& operands, const SampleRange& samples,
                  void* workspace);
void conv_input_gradient(const Conv2d& conv, const ConvInputGradient& operands, const SampleRange& samples,
                         void* workspace);

void conv_weight_gradient(const Conv2d& conv, const ConvWeightGradient& operands, const SampleRange& samples,
                          void* workspace);
void sum_chunks(const float* chunks, int64_t count, int64_t chunk_floats, int64_t begin, int64_t end,
                float* out);

}  // namespace wholestep::WHOLESTEP_ISA
