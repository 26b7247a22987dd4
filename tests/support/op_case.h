// The cases of the op table made concrete: reproducible operands, their f64 twins, and a text for messages.
#pragma once
#include <string>
#include <vector>

#include "wholestep/graph/op.h"

namespace wholestep::test {

/// Operands of a case, drawn from Philox: floating-point ones in [low, high] (with `distinct`: all elements
/// of all operands apart and away from 0), integers in [0, bound).
std::vector<Tensor> make_operands(const OpCase& request, uint64_t seed = 1);

/// How far a floating-point element of the case may move without meeting another one or 0; infinite unless
/// distinct.
double gap_between_elements(const OpCase& request);

/// The same case with every f32 (also in attributes) replaced by f64.
OpCase as_f64(OpCase request);
/// The cases that have operands of f32, with those in f16, and again in bf16; without the few largest, which
/// add time and no dtype.
std::vector<OpCase> in_halves(const std::vector<OpCase>& requests);
/// The tensor's elements as f64, whatever its dtype.
std::vector<double> as_doubles(const Tensor& t);
/// A copy with another dtype, converted element by element by C++.
Tensor converted(const Tensor& t, DType dtype);

bool has_floating_operand(const OpCase& request);
std::string describe(const OpDef& op, const OpCase& request);  ///< "sum(f32[7, 13]) {axes=[0]}"

}  // namespace wholestep::test
