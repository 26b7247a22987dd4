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
  if (is_floating(compute)) return fmt::format("{}({})", cuda_name(compute), cuda_number(value));
  return fmt::format("{}({}ll)", cuda_name(compute), static_cast<int64_t>(value));
}

}  // namespace

std::string cuda_number(double value) {
  return fmt::format("__longlong_as_double({}ll)", std::bit_cast<int64_t>(value));
}

ElementwiseText::ElementwiseText(ElementwiseProgram text_of, std::span<const TensorType> program_operands,
                                 std::span<const TensorType> program_results)
    : program(std::move(text_of)), results(program_results.begin(), program_results.end()) {
  for (const TensorType& operand : program_operands)
    accesses.push_back(element_access(operand, results[0].shape, program.compute));
}

bool ElementwiseText::vectorises() const { return std::ranges::all_of(accesses, wholestep::vectorises); }

std::string ElementwiseText::parameters(const std::string& more) const {
  std::string text;
  for (size_t k = 0; k < accesses.size(); ++k)
    if (!given(k)) text += fmt::format(", const {}* p{}", cuda_name(accesses[k].dtype), k);
  for (size_t k = 0; k < results.size(); ++k)
    text += fmt::format(", {}* q{}", cuda_name(results[k].dtype), k);
  return text + more + ", char*";
}

std::string ElementwiseText::constants() const {
  std::string text = fmt::format("  using index = {};\n",
                                 results[0].shape.numel() < int64_t{1} << 31 ? "unsigned" : "int64_t");
  for (size_t k = 0; k < accesses.size(); ++k)
    if (accesses[k].scalar && !given(k))
      text += fmt::format("  const {0} r{1} = static_cast<{0}>(*p{1});\n", type(), k);
  return text + immediates();
}

std::string ElementwiseText::immediates() const {
  std::string text;
  for (size_t k = 0; k < program.immediates.size(); ++k)
    text += fmt::format("  const {} r{} = {};\n", type(), program.inputs + static_cast<int>(k),
                        immediate(program.immediates[k], program.compute));
  return text;
}

std::string ElementwiseText::rounds(int64_t count, const std::string& index,
                                    const std::string& between) const {
  std::string text,
      round = fmt::format("#pragma unroll\n    for (int u = 0; u < {}; ++u) {{\n{}", count, index);
  for (size_t k = 0; k < accesses.size(); ++k)
    if (loaded(k)) text += fmt::format("    {} v{}[{}];\n", loaded_type(k), k, count);
  text += round;
  for (size_t k = 0; k < accesses.size(); ++k)
    if (loaded(k)) {
      std::string at = is_staged(k)
                           ? staged[k]
                           : fmt::format("p{} + {}", k, accesses[k].contiguous() ? "i" : offset(accesses[k]));
      text += fmt::format("      v{}[u] = *reinterpret_cast<const {}*>({});\n", k, loaded_type(k), at);
    }
  text += "    }\n" + between + round;
  if (!first.empty())
    text += fmt::format("      const auto v0 = *reinterpret_cast<const Vector<{}, {}>*>({});\n", type(),
                        vector, first);
  for (size_t k = 0; k < results.size(); ++k)
    text += fmt::format("      Vector<{}, {}> w{};\n", cuda_name(results[k].dtype), vector, k);
  text += fmt::format("#pragma unroll\n      for (int e = 0; e < {}; ++e) {{\n{}      }}\n", vector,
                      reads() + instructions() + stores());
  for (size_t k = 0; k < results.size(); ++k)
    text += fmt::format("      *reinterpret_cast<Vector<{}, {}>*>(q{} + i) = w{};\n",
                        cuda_name(results[k].dtype), vector, k, k);
  return text + "    }\n";
}

std::string ElementwiseText::type() const { return std::string(cuda_name(program.compute)); }
bool ElementwiseText::is_staged(size_t k) const { return k < staged.size() && !staged[k].empty(); }
bool ElementwiseText::given(size_t k) const { return k == 0 && (!first.empty() || is_staged(0)); }
bool ElementwiseText::loaded(size_t k) const { return is_staged(k) || (!accesses[k].scalar && !given(k)); }
bool ElementwiseText::as_vector(size_t k) const { return accesses[k].strides.back() == 1; }
std::string ElementwiseText::loaded_type(size_t k) const {
  std::string element(cuda_name(accesses[k].dtype));
  return as_vector(k) ? fmt::format("Vector<{}, {}>", element, vector) : element;
}

std::string ElementwiseText::reads() const {
  std::string text;
  for (size_t k = 0; k < accesses.size(); ++k)
    if (loaded(k) || given(k))
      text += fmt::format("        const {0} r{1} = static_cast<{0}>(v{1}{2}{3});\n", type(), k,
                          loaded(k) ? "[u]" : "", !loaded(k) || as_vector(k) ? ".at[e]" : "");
  return text;
}

std::string ElementwiseText::instructions() const {
  std::string text;
  for (size_t k = 0; k < program.instructions.size(); ++k) {
    const auto& instruction = program.instructions[k];
    const bool rounds = is_half(instruction.rounded);
    text += fmt::format(
        "      const {} r{} = {}apply_{}<{}>(", type(), program.first_result() + static_cast<int>(k),
        rounds ? fmt::format("{}(", cuda_name(instruction.rounded)) : "", name(instruction.code), type());
    for (int operand = 0; operand < arity(instruction.code); ++operand)
      text += fmt::format("{}r{}", operand ? ", " : "", instruction.operands[operand]);
    text += rounds ? "));\n" : ");\n";
  }
  return text;
}

std::string ElementwiseText::stores() const {
  std::string text;
  for (size_t k = 0; k < results.size(); ++k) {
    DType dtype = results[k].dtype;
    text += dtype == DType::boolean
                ? fmt::format("      w{}.at[e] = r{} != {}(0);\n", k, program.outputs[k], type())
                : fmt::format("      w{}.at[e] = static_cast<{}>(r{});\n", k, cuda_name(dtype),
                              program.outputs[k]);
  }
  return text;
}

std::string ElementwiseText::function() const {
  WHOLESTEP_CHECK(program.inputs == 1 && program.outputs.size() == 1);
  return fmt::format("[]({} value) {{\n  const {} r0 = static_cast<{}>(value);\n{}{}  return r{};\n}}",
                     cuda_name(accesses[0].dtype), type(), type(), immediates(), instructions(),
                     program.outputs[0]);
}

namespace {

/// From so many instructions on, a program is called, not written into its caller: the updates of a step's
/// parameters then share one text, which a multiprocessor reads from memory once.
constexpr size_t kLongProgram = 8;

/// A device function over elements [begin, end), at most `most` of a block. Loads of a few rounds come first,
/// so that they are in flight together; in place, a thread still reads before it writes.
std::string define(CudaCall& call, const ElementwiseText& text, int64_t most) {
  int64_t step = kCudaThreads * text.vector, rounds = std::clamp<int64_t>(ceil_div(most, step), 1, 4);
  std::string constants = text.constants(),
              loads = text.rounds(
                  rounds,
                  fmt::format("      const index i = first + u * {};\n      if (i >= end) break;\n", step));
  return cuda_define(
      call, "elementwise",
      fmt::format("(int64_t begin, int64_t end{}) {{\n{}"
                  "  for (index first = index(begin) + threadIdx.x * {}; first < end; first += {}) {{\n"
                  "{}  }}\n}}\n",
                  text.parameters(), constants, text.vector, step * rounds, loads),
      text.program.instructions.size() >= kLongProgram);
}

/// The longest of the stretches, down to half of `most`, that divide the elements evenly; `most` where none
/// does.
int64_t even_stretch(int64_t elements, int64_t most) {
  for (int64_t even = most; even > most / 2; even -= ElementwiseText::kVector)
    if (elements % even == 0) return even;
  return most;
}

}  // namespace

std::unique_ptr<PreparedKernel> prepare_elementwise_cuda(const KernelRequest& request) {
  const Shape& shape = request.outputs[0].shape;
  int64_t elements = shape.numel(), rows = shape.rank() > 0 ? shape[0] : 1,
          row_elements = rows > 0 ? elements / rows : 0;
  ElementwiseText text(elementwise_program(request), request.inputs, request.outputs);
  bool vectorises = text.vectorises();
  // One instruction moves 16 bytes of a thread.
  auto wide = [](const TensorType& type) { return size_bytes(type.dtype) > 4; };
  int64_t widest = std::ranges::any_of(request.inputs, wide) || std::ranges::any_of(request.outputs, wide)
                       ? ElementwiseText::kVector / 2
                       : ElementwiseText::kVector;
  auto choose_vector = [&](int64_t run) {
    text.vector = vectorises && run % ElementwiseText::kVector == 0 ? widest : 1;
  };
  auto call = cuda_call(request, "elementwise.cuh");
  call->in_place = true;

  // Threads that a GPU has at a time take as few elements each as gives all of them some.
  choose_vector(elements);
  auto step = [&] { return kCudaThreads * text.vector; };
  while (text.vector > 1 && ceil_div(elements, step() / 2) <= kCudaBusyBlocks) text.vector /= 2;
  int64_t per_chunk = elements > 4 * kCudaBusyBlocks * step() ? 2 * step() : step();
  // Blocks that all run at once can fetch their operands before they may start, if all have as many.
  const bool at_once = ceil_div(elements, per_chunk) <= kCudaBusyBlocks;
  if (at_once && elements > per_chunk) per_chunk = even_stretch(elements, per_chunk);
  int64_t chunks = ceil_div(elements, per_chunk);
  std::string run =
      device_function("elements_of_stretch", define(*call, text, per_chunk), per_chunk, elements);
  const CudaPhase::Alone alone{
      .chunks = chunks, .run = run, .stretch = at_once && elements % per_chunk == 0 ? per_chunk : 0};
  if (rows <= 1 || row_elements > kCudaMaxRowElements) {
    call->phases.push_back({.chunks = chunks, .run = run, .alone = alone});
    return call;
  }
  choose_vector(row_elements);
  uint64_t row_inputs = 0;
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    const Shape& in = request.inputs[i].shape;
    if (in.rank() == shape.rank() && in[0] == rows) row_inputs |= uint64_t{1} << i;
  }
  std::string run_rows =
      device_function("elements_of_rows", define(*call, text, row_elements), rows, row_elements);
  call->phases.push_back(cuda_row_phase(rows, row_inputs, kAllOperands, run_rows));
  call->phases.back().alone = alone;
  return call;
}

}  // namespace wholestep
