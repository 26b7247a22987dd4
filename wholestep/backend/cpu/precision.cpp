#include "wholestep/backend/cpu/precision.h"

#include <atomic>

#include "wholestep/backend/cpu/kernels.h"

namespace wholestep {
namespace {

std::atomic<Precision> precision_of_products{Precision::f32};

}  // namespace

std::string_view name(Precision precision) { return precision == Precision::f32 ? "f32" : "bf16"; }

Precision product_precision() { return precision_of_products; }

void set_product_precision(Precision precision) {
  if (precision == Precision::bf16) bf16_kernels();  // or its error
  precision_of_products = precision;
}

}  // namespace wholestep
