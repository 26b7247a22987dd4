// The text form of an element-wise program, and the table's names.
#include "wholestep/ops/elementwise_program.h"

#include <fmt/format.h>

#include <array>
#include <sstream>

#include "wholestep/base/error.h"

namespace wholestep {
namespace {

struct Row {
  std::string_view name, expression;
  int arity;
};
constexpr std::array<Row, kElementwiseCodes> kRows = {{
#define UNARY(name, domain, expression, dx) {#name, #expression, 1},
#define BINARY(name, domain, expression, dx, dy) {#name, #expression, 2},
#define COMPARE(name, domain, expression) {#name, #expression, 2},
#define TERNARY(name, domain, expression, dx, dy, dz) {#name, #expression, 3},
#include "wholestep/ops/elementwise_table.inc"
#undef UNARY
#undef BINARY
#undef COMPARE
#undef TERNARY
}};
const Row& row(ElementwiseCode code) { return kRows[static_cast<size_t>(code)]; }

std::vector<std::string> parts_of(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

DType compute_type(const KernelRequest& request) {
  DType result = request.outputs[0].dtype;
  if (is_floating(result)) return is_half(result) ? DType::f32 : result;
  DType widest = request.inputs.empty()
                     ? result
                     : request.inputs.back().dtype;  // of where: a branch; of the rest: any operand
  if (is_half(widest)) return DType::f32;
  return widest == DType::boolean ? DType::u8 : widest;
}

}  // namespace

int arity(ElementwiseCode code) { return row(code).arity; }
std::string_view name(ElementwiseCode code) { return row(code).name; }
std::string_view expression(ElementwiseCode code) { return row(code).expression; }

ElementwiseCode elementwise_code(std::string_view op_name) {
  for (size_t i = 0; i < kElementwiseCodes; ++i)
    if (kRows[i].name == op_name) return static_cast<ElementwiseCode>(i);
  return ElementwiseCode::kCount;
}

std::string to_string(const ElementwiseProgram& program) {
  std::string text = fmt::format("{} {} |", name(program.compute), program.inputs);
  for (double value : program.immediates) text += fmt::format(" {}", value);
  text += " |";
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    const auto& instruction = program.instructions[i];
    text += fmt::format("{} {}", i ? ";" : "", name(instruction.code));
    if (is_half(instruction.rounded)) text += fmt::format(".{}", name(instruction.rounded));
    for (int k = 0; k < arity(instruction.code); ++k) text += fmt::format(" {}", instruction.operands[k]);
  }
  text += " |";
  for (int output : program.outputs) text += fmt::format(" {}", output);
  return text;
}

ElementwiseProgram parse_elementwise_program(const std::string& text) {
  std::vector<std::string> sections = parts_of(text, '|');
  WHOLESTEP_CHECK(sections.size() == 4);
  ElementwiseProgram program;
  std::string word;
  std::istringstream head(sections[0]), immediates(sections[1]), outputs(sections[3]);
  head >> word >> program.inputs;
  program.compute = dtype_from_name(word).value();
  while (immediates >> word) program.immediates.push_back(std::stod(word));
  for (const std::string& part : parts_of(sections[2], ';')) {
    std::istringstream line(part);
    if (!(line >> word)) continue;
    const size_t dot = word.find('.');
    ElementwiseProgram::Instruction instruction{.code = elementwise_code(word.substr(0, dot))};
    if (dot != std::string::npos) instruction.rounded = dtype_from_name(word.substr(dot + 1)).value();
    WHOLESTEP_CHECK(instruction.code != ElementwiseCode::kCount);
    for (int k = 0; k < arity(instruction.code); ++k) line >> instruction.operands[k];
    program.instructions.push_back(instruction);
  }
  for (int output; outputs >> output;) program.outputs.push_back(output);
  return program;
}

ElementwiseProgram elementwise_program(const KernelRequest& request) {
  if (request.attrs.has("program")) return parse_elementwise_program(request.attrs.text("program"));
  ElementwiseProgram program{.compute = compute_type(request),
                             .inputs = static_cast<int>(request.inputs.size()),
                             .immediates = {},
                             .instructions = {},
                             .outputs = {}};
  if (request.op == "full") {
    program.immediates = {request.attrs.number("value")};
    program.outputs = {0};
  } else if (request.op == "cast") {
    program.outputs = {0};
  } else {
    ElementwiseProgram::Instruction instruction{.code = elementwise_code(request.op)};
    WHOLESTEP_CHECK(arity(instruction.code) == program.inputs);
    for (int k = 0; k < program.inputs; ++k) instruction.operands[k] = k;
    program.instructions = {instruction};
    program.outputs = {program.inputs};
  }
  return program;
}

}  // namespace wholestep
