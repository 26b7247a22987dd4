// A fused element-wise region as data: a straight-line program over registers of one compute type. A single
// element-wise op is the program of one instruction, so fused and unfused execution run the same loops and
// give the same bits.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "wholestep/backend/backend.h"

namespace wholestep {

enum class ElementwiseCode : uint8_t {
#define UNARY(name, ...) name,
#define BINARY(name, ...) name,
#define COMPARE(name, ...) name,
#define TERNARY(name, ...) name,
#include "wholestep/ops/elementwise_table.inc"
#undef UNARY
#undef BINARY
#undef COMPARE
#undef TERNARY
  kCount
};
constexpr size_t kElementwiseCodes = static_cast<size_t>(ElementwiseCode::kCount);

int arity(ElementwiseCode code);
std::string_view name(ElementwiseCode code);
std::string_view expression(ElementwiseCode code);  ///< the scalar text, in x, y, z and T
/// kCount where the op is not in the table.
ElementwiseCode elementwise_code(std::string_view op_name);

/// Registers 0..inputs-1 are the operands, then come the immediates, then one register per instruction.
struct ElementwiseProgram {
  struct Instruction {
    ElementwiseCode code;
    int operands[3] = {-1, -1, -1};
    DType rounded = DType::f32;  ///< f16 or bf16: the result is rounded to it, within its register
  };
  DType compute = DType::f32;
  int inputs = 0;
  std::vector<double> immediates;
  std::vector<Instruction> instructions;
  std::vector<int> outputs;  ///< registers, in the op's output order

  int first_result() const { return inputs + static_cast<int>(immediates.size()); }
};

/// "f32 2 | 0.5 | mul 0 1; add.bf16 3 2 | 4": compute type and inputs, immediates, instructions, outputs.
std::string to_string(const ElementwiseProgram& program);
ElementwiseProgram parse_elementwise_program(const std::string& text);
/// Its attribute where the op has one; of every single element-wise op its program of at most one
/// instruction.
ElementwiseProgram elementwise_program(const KernelRequest& request);

}  // namespace wholestep
