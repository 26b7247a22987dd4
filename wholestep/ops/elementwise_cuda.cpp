// Writes an element-wise program as one device function: operands are loaded, converted, taken through the
// instructions in registers and stored, four neighbours at a time where all operands allow it.
#include "wholestep/ops/elementwise_cuda.h"

#include <fmt/format.h>

#include <bit>

#include "wholestep/backend/cuda/elements.h"
#include "wholestep/base/error.h"
#include "wholestep/ops/element_access.h"
#include "wholestep/ops/elementwise_program.h"

namespace wholestep {
namespace {

constexpr int64_t kVector = 4;
bool vectorises(const ElementAccess& access) {
  if (access.scalar) return true;
  for (size_t axis = 0; axis + 1 < access.strides.size(); ++axis)
    if (access.strides[axis] % kVector != 0) return false;
  return access.extents.back() % kVector == 0 && access.strides.back() <= 1;
}

/// The operand's offset at flat index i of the result.
std::string offset(const ElementAccess& access) {
  std::string text;
  int64_t inner = 1;
  for (size_t axis = access.extents.size(); axis-- > 0; inner *= access.extents[axis]) {
    if (access.strides[axis] == 0) continue;
    std::string index = inner == 1 ? "i" : fmt::format("i / {}", inner);
    if (axis > 0) index = fmt::format("({}) % {}", index, access.extents[axis]);
    text += fmt::format("{}({}) * {}", text.empty() ? "" : " + ", index, access.strides[axis]);
  }
  return text.empty() ? "0" : text;
}

std::string immediate(double value, DType compute) {
  if (is_floating(compute))
    return fmt::format("{}(__longlong_as_double({}ll))", cuda_name(compute), std::bit_cast<int64_t>(value));
  return fmt::format("{}({}ll)", cuda_name(compute), static_cast<int64_t>(value));
}

struct Writer {
  const KernelRequest& request;
  ElementwiseProgram program;
  std::vector<ElementAccess> accesses;
  int64_t vector = kVector;

  std::string type() const { return std::string(cuda_name(program.compute)); }

  /// Everything behind the function's name.
  std::string body(int64_t rows, int64_t elements, int64_t per_chunk) const {
    std::string text = "(Lane lane";
    for (size_t k = 0; k < request.inputs.size(); ++k)
      text += fmt::format(", const {}* p{}", cuda_name(request.inputs[k].dtype), k);
    for (size_t k = 0; k < request.outputs.size(); ++k)
      text += fmt::format(", {}* q{}", cuda_name(request.outputs[k].dtype), k);
    text += fmt::format(", char*) {{\n  using index = {};\n",
                        elements < int64_t{1} << 31 ? "unsigned" : "int64_t");
    if (rows > 0)
      text += fmt::format(
          "  Range r = rows_of<{}>(lane);\n  const index begin = r.begin * {}, end = r.end * {};\n", rows,
          elements / rows, elements / rows);
    else
      text += fmt::format("  const index begin = lane.chunk * {}, end = begin + {} < {} ? begin + {} : {};\n",
                          per_chunk, per_chunk, elements, per_chunk, elements);
    for (size_t k = 0; k < accesses.size(); ++k)
      if (accesses[k].scalar) text += fmt::format("  const {0} r{1} = static_cast<{0}>(*p{1});\n", type(), k);
    for (size_t k = 0; k < program.immediates.size(); ++k)
      text += fmt::format("  const {} r{} = {};\n", type(), program.inputs + static_cast<int>(k),
                          immediate(program.immediates[k], program.compute));
    // Loads of a few rounds first, so that they are in flight together; in place, a thread still reads before
    // it writes.
    int64_t length = rows > 0 ? elements / rows : per_chunk, step = kCudaThreads * vector,
            rounds = std::clamp<int64_t>((length + step - 1) / step, 1, 4);
    text += fmt::format("  for (index first = begin + threadIdx.x * {}; first < end; first += {}) {{\n",
                        vector, step * rounds);
    for (size_t k = 0; k < accesses.size(); ++k)
      if (!accesses[k].scalar) text += fmt::format("    {} v{}[{}];\n", loaded(k), k, rounds);
    std::string round = fmt::format(
        "#pragma unroll\n    for (int u = 0; u < {}; ++u) {{\n      const index i = first + u * {};\n      "
        "if (i >= end) break;\n",
        rounds, step);
    text += round;
    for (size_t k = 0; k < accesses.size(); ++k)
      if (!accesses[k].scalar) text += load(k);
    text += "    }\n" + round;
    for (size_t k = 0; k < request.outputs.size(); ++k)
      text += fmt::format("      Vector<{}, {}> w{};\n", cuda_name(request.outputs[k].dtype), vector, k);
    text += fmt::format("#pragma unroll\n      for (int e = 0; e < {}; ++e) {{\n{}      }}\n", vector,
                        instructions());
    for (size_t k = 0; k < request.outputs.size(); ++k)
      text += fmt::format("      *reinterpret_cast<Vector<{}, {}>*>(q{} + i) = w{};\n",
                          cuda_name(request.outputs[k].dtype), vector, k, k);
    return text + "    }\n  }\n}\n";
  }

  bool as_vector(size_t k) const { return accesses[k].strides.back() == 1; }
  std::string loaded(size_t k) const {
    std::string type(cuda_name(accesses[k].dtype));
    return as_vector(k) ? fmt::format("Vector<{}, {}>", type, vector) : type;
  }
  std::string load(size_t k) const {
    std::string at = accesses[k].contiguous() ? "i" : offset(accesses[k]);
    return fmt::format("      v{0}[u] = *reinterpret_cast<const {1}*>(p{0} + {2});\n", k, loaded(k), at);
  }

  std::string instructions() const {
    std::string text;
    for (size_t k = 0; k < accesses.size(); ++k)
      if (!accesses[k].scalar)
        text += fmt::format("        const {0} r{1} = static_cast<{0}>(v{1}[u]{2});\n", type(), k,
                            as_vector(k) ? ".at[e]" : "");
    for (size_t k = 0; k < program.instructions.size(); ++k) {
      const auto& instruction = program.instructions[k];
      text += fmt::format("      const {} r{} = apply_{}<{}>(", type(),
                          program.first_result() + static_cast<int>(k), name(instruction.code), type());
      for (int operand = 0; operand < arity(instruction.code); ++operand)
        text += fmt::format("{}r{}", operand ? ", " : "", instruction.operands[operand]);
      text += ");\n";
    }
    for (size_t k = 0; k < request.outputs.size(); ++k) {
      DType dtype = request.outputs[k].dtype;
      text += dtype == DType::boolean
                  ? fmt::format("      w{}.at[e] = r{} != {}(0);\n", k, program.outputs[k], type())
                  : fmt::format("      w{}.at[e] = static_cast<{}>(r{});\n", k, cuda_name(dtype),
                                program.outputs[k]);
    }
    return text;
  }
};

}  // namespace

std::unique_ptr<PreparedKernel> prepare_elementwise_cuda(const KernelRequest& request) {
  const Shape& shape = request.outputs[0].shape;
  int64_t elements = shape.numel(), rows = shape.rank() > 0 ? shape[0] : 1,
          row_elements = rows > 0 ? elements / rows : 0;
  Writer writer{.request = request, .program = elementwise_program(request), .accesses = {}};
  for (const TensorType& input : request.inputs)
    writer.accesses.push_back(element_access(input, shape, writer.program.compute));
  bool by_rows = rows > 1 && row_elements <= kCudaMaxRowElements;
  if ((by_rows ? row_elements : elements) % kVector != 0 || !std::ranges::all_of(writer.accesses, vectorises))
    writer.vector = 1;

  auto call = cuda_call(request, "elementwise.cuh");
  call->in_place = true;
  int64_t per_chunk = kCudaThreads * writer.vector * 2;
  std::string function =
      cuda_define(*call, "elementwise", writer.body(by_rows ? rows : 0, elements, per_chunk));
  CudaPhase phase = {.chunks = (elements + per_chunk - 1) / per_chunk};
  if (by_rows) {
    uint64_t row_inputs = 0;
    for (size_t i = 0; i < request.inputs.size(); ++i) {
      const Shape& in = request.inputs[i].shape;
      if (in.rank() == shape.rank() && in[0] == rows) row_inputs |= uint64_t{1} << i;
    }
    phase = cuda_row_phase(rows, row_inputs, kAllOperands, "");
  }
  phase.run = function;
  call->phases.push_back(std::move(phase));
  return call;
}

}  // namespace wholestep
