// Runs an element-wise program block by block: a few hundred elements of every register stay in L1 while all
// instructions pass over them, so a fused region reads and writes memory once. Operands broadcast and convert
// as they are loaded. Programs that are compiled ahead of time run as one loop instead.
#include "wholestep/ops/elementwise_cpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>

#include "wholestep/backend/cpu/isa.h"
#include "wholestep/base/error.h"
#include "wholestep/ops/element_access.h"
#include "wholestep/ops/elementwise_compiled_loops.h"
#include "wholestep/ops/elementwise_loops.h"

namespace wholestep {
namespace {

constexpr int64_t kScratchBytes = 48 * 1024;
constexpr int64_t kMaxBlock = 512;
constexpr size_t kMaxOperands = 64, kMaxOutputs = 64;

const ElementwiseLoops& loops() { return WHOLESTEP_OF_ACTIVE_ISA(kElementwiseLoops); }

template <class T>
const ElementwiseLoop<T>* loops_of() {
  if constexpr (std::is_same_v<T, float>) return loops().f32;
  else if constexpr (std::is_same_v<T, double>) return loops().f64;
  else if constexpr (std::is_same_v<T, int32_t>) return loops().i32;
  else if constexpr (std::is_same_v<T, int64_t>) return loops().i64;
  else return loops().u8;
}

/// Elements [begin, begin + n) of the broadcast operand, converted to T.
template <class T, class S>
void load(const ElementAccess& access, const S* data, int64_t begin, int64_t n, T* out) {
  size_t rank = access.extents.size();
  int64_t index[Shape::kMaxRank], offset = 0, rest = begin;
  for (size_t axis = rank; axis-- > 0;) {
    index[axis] = rest % access.extents[axis];
    rest /= access.extents[axis];
    offset += index[axis] * access.strides[axis];
  }
  int64_t inner = access.extents[rank - 1], stride = access.strides[rank - 1];
  while (n > 0) {
    int64_t run = std::min(n, inner - index[rank - 1]);
    const S* from = data + offset;
    if (stride == 0) std::fill_n(out, run, static_cast<T>(*from));
    else if (stride == 1)
      for (int64_t i = 0; i < run; ++i) out[i] = static_cast<T>(from[i]);
    else
      for (int64_t i = 0; i < run; ++i) out[i] = static_cast<T>(from[i * stride]);
    out += run;
    n -= run;
    index[rank - 1] += run;
    offset += run * stride;
    for (size_t axis = rank - 1; axis > 0 && index[axis] == access.extents[axis]; --axis) {
      offset += access.strides[axis - 1] - index[axis] * access.strides[axis];
      index[axis] = 0;
      ++index[axis - 1];
    }
  }
}

template <class T>
void load_any(const ElementAccess& access, const void* data, int64_t begin, int64_t n, T* out) {
  visit_stored(access.dtype, [&](auto zero) {
    using S = std::conditional_t<std::is_same_v<decltype(zero), bool>, uint8_t, decltype(zero)>;
    load(access, static_cast<const S*>(data), begin, n, out);
  });
}

template <class T>
void store_any(const T* from, DType dtype, void* to, int64_t begin, int64_t n) {
  visit_stored(dtype, [&](auto zero) {
    using S = decltype(zero);
    if constexpr (std::is_same_v<S, bool>) {
      uint8_t* out = static_cast<uint8_t*>(to) + begin;
      for (int64_t i = 0; i < n; ++i) out[i] = from[i] != T(0);
    } else if constexpr (std::is_same_v<S, T>) {
      std::memcpy(static_cast<S*>(to) + begin, from, static_cast<size_t>(n) * sizeof(T));
    } else {
      S* out = static_cast<S*>(to) + begin;
      for (int64_t i = 0; i < n; ++i) out[i] = static_cast<S>(from[i]);
    }
  });
}

/// To what f16 or bf16 holds.
template <class T>
void round_to(DType half, T* values, int64_t n) {
  if constexpr (std::is_floating_point_v<T>)
    visit_stored(half, [&](auto zero) {
      using Half = decltype(zero);
      for (int64_t i = 0; i < n; ++i) values[i] = static_cast<T>(static_cast<Half>(values[i]));
    });
}

/// A program with everything decided that does not depend on data: accesses, scratch slots, where results go.
template <class T>
struct Plan {
  ElementwiseProgram program;
  std::vector<ElementAccess> accesses;
  std::vector<DType> output_dtypes;
  const ElementwiseLoop<T>* loops;
  std::vector<int> slot;             // per register: scratch slot, or -1 of an operand that is read in place
  std::vector<int> direct_output;    // per register: the output it may be computed into, or -1
  std::vector<uint64_t> read_later;  // per output: operands that are read in place after it is computed
  int slots = 0;
  int64_t block = kMaxBlock;
  CompiledElementwise compiled = nullptr;  // the whole program as one loop, where there is one
  std::vector<float> immediates = {};      // for that loop
  int64_t plateau = 0;  // for that loop: operands other than vectors change only there; 0: they never do

  void run(const CpuArgs& args, const ElementRuns& runs, const T* first) const;
  void run_compiled(const CpuArgs& args, int64_t begin, int64_t n, const T* first) const;
};

/// Whether an operand has one value for many neighbouring elements: of a channel, say, or of all there are.
bool in_plateaus(const ElementAccess& access) {
  return !access.direct && (access.scalar || (access.strides.back() == 0 && access.extents.back() >= 64));
}

/// Finds the loop of a program, if there is one.
template <class T>
void find_compiled(Plan<T>& plan) {
  if (!std::is_same_v<T, float> ||
      std::ranges::count(plan.output_dtypes, DType::f32) != std::ssize(plan.output_dtypes))
    return;
  std::string kinds;
  for (const ElementAccess& access : plan.accesses) {
    const bool pixels = access.dtype == DType::u8 && access.contiguous();
    kinds += access.direct ? 'v' : in_plateaus(access) ? 's' : pixels ? 'u' : '?';
    if (!access.scalar && in_plateaus(access)) plan.plateau = std::gcd(plan.plateau, access.extents.back());
  }
  std::string text = to_string(plan.program);
  text = fmt::format("{} {} {}", kinds, plan.program.immediates.size(),
                     text.substr(text.find('|', text.find('|') + 1)));
  const CompiledPrograms list = WHOLESTEP_OF_ACTIVE_ISA(kCompiledPrograms);
  for (const CompiledProgram* program = list.begin; program != list.end; ++program)
    if (text == program->text) plan.compiled = program->run;
  for (double value : plan.program.immediates) plan.immediates.push_back(static_cast<float>(value));
}

template <class T>
void Plan<T>::run_compiled(const CpuArgs& args, int64_t begin, int64_t n, const T* first) const {
  if constexpr (std::is_same_v<T, float>) {
    const void* operands[kMaxOperands];
    float scalars[kMaxOperands];
    float* results[kMaxOutputs];
    for (int64_t end = begin + n, here; begin < end; begin += here, first += first ? here : 0) {
      here = plateau == 0 ? n : std::min(end - begin, plateau - begin % plateau);
      for (size_t k = 0; k < accesses.size(); ++k)
        if (k == 0 && first) operands[k] = first;
        else if (in_plateaus(accesses[k]))
          load_any(accesses[k], args.inputs[k], begin, 1, &scalars[k]), operands[k] = &scalars[k];
        else
          operands[k] = static_cast<const std::byte*>(args.inputs[k]) + begin * size_bytes(accesses[k].dtype);
      for (size_t o = 0; o < program.outputs.size(); ++o)
        results[o] = args.out<float>(static_cast<int>(o)) + begin;
      compiled(operands, immediates.data(), results, here);
    }
  }
}

template <class T>
void assign_slots(Plan<T>& plan) {
  const ElementwiseProgram& p = plan.program;
  WHOLESTEP_CHECK(p.inputs <= static_cast<int>(kMaxOperands) && p.outputs.size() <= kMaxOutputs);
  int registers = p.first_result() + static_cast<int>(p.instructions.size());
  std::vector<int> last_use(static_cast<size_t>(registers), -1);
  for (int i = 0; i < static_cast<int>(p.instructions.size()); ++i)
    for (int k = 0; k < arity(p.instructions[static_cast<size_t>(i)].code); ++k)
      last_use[static_cast<size_t>(p.instructions[static_cast<size_t>(i)].operands[k])] = i;
  for (int r : p.outputs) last_use[static_cast<size_t>(r)] = registers;
  plan.slot.assign(static_cast<size_t>(registers), -1);
  plan.direct_output.assign(static_cast<size_t>(registers), -1);
  for (size_t o = 0; o < p.outputs.size(); ++o) {
    int r = p.outputs[o];
    if (r >= p.first_result() && plan.output_dtypes[o] == p.compute &&
        plan.direct_output[static_cast<size_t>(r)] < 0)
      plan.direct_output[static_cast<size_t>(r)] = static_cast<int>(o);
    plan.read_later.push_back(0);
    for (int in = 0; in < p.inputs; ++in)
      if (plan.accesses[static_cast<size_t>(in)].direct &&
          p.first_result() + last_use[static_cast<size_t>(in)] > r)
        plan.read_later[o] |= uint64_t{1} << in;
  }
  std::vector<int> free_slots;
  auto take = [&](int r) {
    if (free_slots.empty()) plan.slot[static_cast<size_t>(r)] = plan.slots++;
    else plan.slot[static_cast<size_t>(r)] = free_slots.back(), free_slots.pop_back();
  };
  for (int r = 0; r < p.first_result(); ++r)
    if (r >= p.inputs || !plan.accesses[static_cast<size_t>(r)].direct) take(r);
  for (int i = 0; i < static_cast<int>(p.instructions.size()); ++i) {
    int r = p.first_result() + i;
    take(r);
    // Registers loaded once for the whole range (scalars, immediates) keep their slots.
    for (int old = p.first_result(); old <= r; ++old)
      if (last_use[static_cast<size_t>(old)] == i && plan.slot[static_cast<size_t>(old)] >= 0)
        free_slots.push_back(plan.slot[static_cast<size_t>(old)]);
  }
}

template <class T>
void Plan<T>::run(const CpuArgs& args, const ElementRuns& runs, const T* first) const {
  if (runs.count * runs.length == 0) return;  // rows of nothing
  if (compiled) {
    for (int64_t i = 0; i < runs.count; ++i)
      run_compiled(args, runs.begin + i * runs.stride, runs.length,
                   first ? first + i * runs.length : nullptr);
    return;
  }
  alignas(64) std::byte scratch[kScratchBytes];
  T* base = reinterpret_cast<T*>(scratch);
  // Outputs may lie over operands: a result goes straight to memory where nothing reads what is there any
  // more.
  bool direct[kMaxOutputs];
  for (size_t o = 0; o < program.outputs.size(); ++o) {
    int r = program.outputs[o];
    direct[o] = direct_output[static_cast<size_t>(r)] == static_cast<int>(o);
    for (int in = 0; in < program.inputs; ++in)
      if (read_later[o] >> in & 1 && args.inputs[in] == args.outputs[o]) direct[o] = false;
  }
  auto slot_of = [&](int r) { return base + slot[static_cast<size_t>(r)] * block; };
  int64_t longest = std::min(block, runs.length);
  for (int r = 0; r < program.first_result(); ++r) {
    if (r >= program.inputs)
      std::fill_n(slot_of(r), longest,
                  static_cast<T>(program.immediates[static_cast<size_t>(r - program.inputs)]));
    else if (const ElementAccess& access = accesses[static_cast<size_t>(r)]; access.scalar && !access.direct)
      load_any(access, args.inputs[r], 0, 1, slot_of(r)), std::fill_n(slot_of(r), longest, *slot_of(r));
  }
  auto run_block = [&](int64_t begin, int64_t n, const T* given) {
    for (int r = 0; r < program.inputs; ++r)
      if (const ElementAccess& access = accesses[static_cast<size_t>(r)]; !access.direct && !access.scalar)
        load_any(access, args.inputs[r], begin, n, slot_of(r));
    auto address = [&](int r) -> T* {
      if (r == 0 && given) return const_cast<T*>(given);
      if (int o = direct_output[static_cast<size_t>(r)]; o >= 0 && direct[o]) return args.out<T>(o) + begin;
      return slot[static_cast<size_t>(r)] < 0 ? const_cast<T*>(args.in<T>(r)) + begin : slot_of(r);
    };
    for (size_t i = 0; i < program.instructions.size(); ++i) {
      const auto& instruction = program.instructions[i];
      const T* x = address(instruction.operands[0]);
      const T* y = instruction.operands[1] < 0 ? x : address(instruction.operands[1]);
      const T* z = instruction.operands[2] < 0 ? x : address(instruction.operands[2]);
      T* result = address(program.first_result() + static_cast<int>(i));
      loops[static_cast<size_t>(instruction.code)](x, y, z, result, n);
      if (is_half(instruction.rounded)) round_to(instruction.rounded, result, n);
    }
    for (size_t o = 0; o < program.outputs.size(); ++o)
      if (int r = program.outputs[o]; !direct[o])
        store_any(address(r), output_dtypes[o], args.outputs[o], begin, n);
  };
  for (int64_t i = 0; i < runs.count; ++i)
    for (int64_t at = 0; at < runs.length; at += block)
      run_block(runs.begin + i * runs.stride + at, std::min(block, runs.length - at),
                first ? first + i * runs.length + at : nullptr);
}

template <class T>
Plan<T> plan_of(ElementwiseProgram program, std::span<const TensorType> operands,
                std::span<const TensorType> results) {
  Plan<T> plan{.program = std::move(program),
               .accesses = {},
               .output_dtypes = {},
               .loops = loops_of<T>(),
               .slot = {},
               .direct_output = {},
               .read_later = {}};
  for (const TensorType& operand : operands)
    plan.accesses.push_back(element_access(operand, results[0].shape, plan.program.compute));
  for (const TensorType& result : results) plan.output_dtypes.push_back(result.dtype);
  assign_slots(plan);
  plan.block = std::min<int64_t>(
      kMaxBlock, kScratchBytes / static_cast<int64_t>(sizeof(T)) / std::max(1, plan.slots) / 16 * 16);
  WHOLESTEP_CHECK(plan.block > 0);
  find_compiled(plan);
  for (const auto& instruction : plan.program.instructions)
    WHOLESTEP_CHECK(plan.loops[static_cast<size_t>(instruction.code)]);
  return plan;
}

/// The operand, one bool for all elements, by which `where` decides: whether a step commits. -1: there is
/// none.
int deciding_operand(const ElementwiseProgram& program, std::span<const TensorType> operands) {
  for (const auto& instruction : program.instructions)
    if (int flag = instruction.operands[0];
        instruction.code == ElementwiseCode::where && flag < program.inputs)
      if (const TensorType& type = operands[static_cast<size_t>(flag)];
          type.dtype == DType::boolean && type.shape.numel() == 1)
        return flag;
  return -1;
}

/// What is left of a program where that operand is true: nothing is chosen, so nothing is read to choose
/// from. The choice of an operand stays: one that is a result as it is would be read where others may lie by
/// then.
ElementwiseProgram where_true(const ElementwiseProgram& program, int flag) {
  ElementwiseProgram left = program;
  left.instructions.clear();
  std::vector<int> now(static_cast<size_t>(program.first_result()));  // where each register is
  std::iota(now.begin(), now.end(), 0);
  for (auto instruction : program.instructions) {
    for (int k = 0; k < arity(instruction.code); ++k)
      instruction.operands[k] = now[static_cast<size_t>(instruction.operands[k])];
    if (instruction.code == ElementwiseCode::where && instruction.operands[0] == flag &&
        instruction.operands[1] >= left.first_result() && !is_half(instruction.rounded)) {
      now.push_back(instruction.operands[1]);
      continue;
    }
    now.push_back(left.first_result() + static_cast<int>(left.instructions.size()));
    left.instructions.push_back(instruction);
  }
  for (int& output : left.outputs) output = now[static_cast<size_t>(output)];
  return left;
}

}  // namespace

ElementwiseRun elementwise_run_cpu(ElementwiseProgram program, std::span<const TensorType> operands,
                                   std::span<const TensorType> results) {
  return visit(program.compute, [&](auto zero) -> ElementwiseRun {
    using T = std::conditional_t<std::is_same_v<decltype(zero), bool>, uint8_t, decltype(zero)>;
    const int flag = deciding_operand(program, operands);
    auto left =
        flag >= 0 ? std::optional(plan_of<T>(where_true(program, flag), operands, results)) : std::nullopt;
    return [plan = plan_of<T>(std::move(program), operands, results), left = std::move(left), flag](
               const CpuArgs& args, const ElementRuns& runs, const void* first) {
      (left && *args.in<bool>(flag) ? *left : plan).run(args, runs, static_cast<const T*>(first));
    };
  });
}

bool runs_as_one_loop(const ElementwiseProgram& program, std::span<const TensorType> operands,
                      std::span<const TensorType> results) {
  if (program.compute != DType::f32) return false;
  const int flag = deciding_operand(program, operands);
  return plan_of<float>(flag >= 0 ? where_true(program, flag) : program, operands, results).compiled !=
         nullptr;
}

std::unique_ptr<PreparedKernel> prepare_elementwise_cpu(const KernelRequest& request) {
  ElementwiseRun run = elementwise_run_cpu(elementwise_program(request), request.inputs, request.outputs);
  // Split by rows where there are rows, so that a batch passes through neighbouring layers without a barrier.
  const Shape& shape = request.outputs[0].shape;
  int64_t rows = shape.rank() > 0 ? shape[0] : 1, row_elements = rows > 0 ? shape.numel() / rows : 0;
  uint64_t row_inputs = 0;
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    const Shape& in = request.inputs[i].shape;
    if (in.rank() == shape.rank() && in.rank() > 0 && in[0] == rows) row_inputs |= uint64_t{1} << i;
  }
  std::unique_ptr<CpuCall> call;
  if (rows > 1)
    call = row_call(rows, row_inputs, kAllOperands, [run, row_elements](const CpuArgs& args, Range r) {
      run(args, {.begin = r.begin * row_elements, .length = r.size() * row_elements}, nullptr);
    });
  else
    call = split_call(
        (row_elements + kMaxBlock - 1) / kMaxBlock, [run, row_elements](const CpuArgs& args, Range r) {
          int64_t begin = r.begin * kMaxBlock;
          run(args, {.begin = begin, .length = std::min(row_elements, r.end * kMaxBlock) - begin}, nullptr);
        });
  call->in_place = true;
  return call;
}

}  // namespace wholestep
