// The text of shapes in a row of the op table, held against what the row infers.
#pragma once
#include <string>

#include "wholestep/graph/op.h"

namespace wholestep::test {

/// What OpDef::shapes gets wrong of this case: names of operands, ranks, extents that letters and attributes
/// give; "" where it holds. Results with words behind their brackets are not looked at.
std::string shape_rule_error(const OpDef& op, const OpCase& request);

}  // namespace wholestep::test
