// What the operands of products are rounded to on the CPU.
#pragma once
#include <string_view>

namespace wholestep {

enum class Precision {
  f32,   ///< nothing
  bf16,  ///< 8 bits of mantissa, to nearest even
};
std::string_view name(Precision precision);  ///< "f32", "bf16"

/// Whether products of f32 (matrix products, convolutions, and the gradients of both) may round their
/// operands. Sums, results, parameters and all else stay f32, so that nothing has to be scaled, and a kernel
/// that is slower in bf16 keeps its operands. f32 by default; plans keep what they were made with. What TF32
/// is on a GPU (backend/cuda/call.h), where this has no effect.
Precision product_precision();
/// kBadConfig for bf16 where active_isa() does not multiply it.
void set_product_precision(Precision precision);

}  // namespace wholestep
