// The kernels that every instruction set's copy provides; kernels.isa.cpp puts them into the table.
#pragma once
#include "wholestep/backend/cpu/gemm.h"

namespace wholestep::WHOLESTEP_ISA {

void gemm(const Gemm& gemm, const GemmOperands& operands, const GemmPart& part, void* workspace);

}  // namespace wholestep::WHOLESTEP_ISA
