// Sums of products by subscripts.
#pragma once
#include <string>
#include <vector>

#include "wholestep/graph/op.h"

namespace wholestep {

/// Einstein summation as NumPy and PyTorch write it: "bij,bjk->bik" is a product of batches of matrices, "ii"
/// a trace, "...ij->...ji" a transposition. Letters name the axes of each operand, in order; those that the
/// result does not name are summed over, and "..." stands for axes that broadcast. Without "->" the result
/// names "..." and then, in alphabetical order, the letters that occur once. Operands are combined from left
/// to right, each pair by one matmul(); of one floating-point dtype. kUsage where subscripts and operands do
/// not fit.
Tensor einsum(const std::string& equation, const std::vector<Tensor>& operands);

}  // namespace wholestep
