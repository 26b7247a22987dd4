// One loop per listed program, vectorised by the compiler for each instruction set.
#include "wholestep/ops/elementwise_compiled_loops.h"

#include <cmath>
#include <utility>

#include "wholestep/ops/elementwise_program.h"
#include "wholestep/ops/math.isa.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

/// A row of the table.
template <ElementwiseCode code>
struct Row;
#define UNARY(row, domain, expression, ...)                                                         \
  template <>                                                                                       \
  struct Row<ElementwiseCode::row> {                                                                \
    static constexpr const char* kName = #row;                                                      \
    template <class T>                                                                              \
    [[gnu::always_inline]] static inline T value(T x, [[maybe_unused]] T y, [[maybe_unused]] T z) { \
      return static_cast<T>(expression);                                                            \
    }                                                                                               \
  };
#define BINARY UNARY
#define COMPARE UNARY
#define TERNARY UNARY
#include "wholestep/ops/elementwise_table.inc"
#undef UNARY
#undef BINARY
#undef COMPARE
#undef TERNARY

/// Names by code.
struct Names {
  const char* of[kElementwiseCodes];
};
template <std::size_t... code>
consteval Names all_names(std::index_sequence<code...>) {
  return {{Row<static_cast<ElementwiseCode>(code)>::kName...}};
}
constexpr Names kNames = all_names(std::make_index_sequence<kElementwiseCodes>());

/// A program's text as a template argument.
template <std::size_t N>
struct Text {
  char characters[N];
  consteval Text(const char (&text)[N]) {
    for (std::size_t i = 0; i < N; ++i) characters[i] = text[i];
  }
};

constexpr int kMost = 32;  // operands, immediates, instructions and results of a program
struct Program {
  struct Instruction {
    ElementwiseCode code{};
    int operands[3] = {0, 0, 0};
  };
  char kinds[kMost] = {};
  int operands = 0, immediates = 0, instructions = 0, results = 0;
  Instruction instruction[kMost] = {};
  int result[kMost] = {};
  constexpr int first_result() const { return operands + immediates; }
};

class Parser {
 public:
  consteval explicit Parser(const char* text) : at_(text) {}
  consteval Program program() {
    Program p;
    for (; *at_ != ' '; ++at_) p.kinds[p.operands++] = *at_;
    p.immediates = number();
    expect('|');
    do p.instruction[p.instructions++] = instruction();
    while (accept(';'));
    expect('|');
    while (*at_ != 0) p.result[p.results++] = number();
    return p;
  }

 private:
  consteval void spaces() {
    while (*at_ == ' ') ++at_;
  }
  consteval bool digit() const { return *at_ >= '0' && *at_ <= '9'; }
  consteval int number() {
    spaces();
    if (!digit()) throw "a number is missing";
    int value = 0;
    for (; digit(); ++at_) value = 10 * value + (*at_ - '0');
    spaces();
    return value;
  }
  consteval bool accept(char c) {
    spaces();
    return *at_ == c ? ++at_, true : false;
  }
  consteval void expect(char c) {
    if (!accept(c)) throw "a separator is missing";
  }
  consteval Program::Instruction instruction() {
    spaces();
    const char* name = at_;
    while (*at_ != ' ') ++at_;
    int code = 0;
    while (!same(kNames.of[code], name, at_)) ++code;
    Program::Instruction instruction = {static_cast<ElementwiseCode>(code), {0, 0, 0}};
    for (int k = 0; *at_ != ';' && *at_ != '|'; ++k) instruction.operands[k] = number();
    return instruction;
  }
  static consteval bool same(const char* word, const char* begin, const char* end) {
    for (; begin < end; ++begin, ++word)
      if (*word != *begin) return false;
    return *word == 0;
  }

  const char* at_;
};

template <Text text>
struct Compiled {
  static constexpr Program kProgram = Parser(text.characters).program();

  template <int k>
  [[gnu::always_inline]] static inline void load(const void* const* operands, const float* fixed, int64_t i,
                                                 float* registers) {
    if constexpr (kProgram.kinds[k] == 'v') registers[k] = static_cast<const float*>(operands[k])[i];
    else if constexpr (kProgram.kinds[k] == 'u')
      registers[k] = static_cast<float>(static_cast<const uint8_t*>(operands[k])[i]);
    else registers[k] = fixed[k];
  }
  template <int k>
  [[gnu::always_inline]] static inline void compute(float* registers) {
    constexpr Program::Instruction in = kProgram.instruction[k];
    registers[kProgram.first_result() + k] =
        Row<in.code>::value(registers[in.operands[0]], registers[in.operands[1]], registers[in.operands[2]]);
  }

  template <int... operand, int... immediate, int... instruction, int... result>
  static void loop(const void* const* given, const float* immediates, float* const* results, int64_t n,
                   std::integer_sequence<int, operand...>, std::integer_sequence<int, immediate...>,
                   std::integer_sequence<int, instruction...>, std::integer_sequence<int, result...>) {
    const void* const operands[] = {given[operand]...};
    float* const to[] = {results[result]...};
    const float fixed[] = {
        (kProgram.kinds[operand] == 's' ? *static_cast<const float*>(operands[operand]) : 0)...};
    [[maybe_unused]] const float constants[] = {immediates[immediate]..., 0};
    // All of element i's operands are read before its results are written, so a result may lie over one.
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; ++i) {
      float registers[kProgram.first_result() + kProgram.instructions];
      (load<operand>(operands, fixed, i, registers), ...);
      ((registers[kProgram.operands + immediate] = constants[immediate]), ...);
      (compute<instruction>(registers), ...);
      ((to[result][i] = registers[kProgram.result[result]]), ...);
    }
  }
  static void run(const void* const* operands, const float* immediates, float* const* results, int64_t n) {
    loop(operands, immediates, results, n, std::make_integer_sequence<int, kProgram.operands>{},
         std::make_integer_sequence<int, kProgram.immediates>{},
         std::make_integer_sequence<int, kProgram.instructions>{},
         std::make_integer_sequence<int, kProgram.results>{});
  }
};

constexpr CompiledProgram kPrograms[] = {
#define PROGRAM(text) {text, Compiled<text>::run},
#include "wholestep/ops/elementwise_compiled.inc"
#undef PROGRAM
};

}  // namespace

extern const CompiledPrograms kCompiledPrograms;
const CompiledPrograms kCompiledPrograms = {kPrograms, kPrograms + sizeof(kPrograms) / sizeof(*kPrograms)};

}  // namespace wholestep::WHOLESTEP_ISA
