// One loop per listed program, vectorised by the compiler for each instruction set; with AVX-512, programs of
// optimizers that take square roots are written in vectors.
#include "wholestep/ops/elementwise_compiled_loops.h"

#include <cmath>
#include <utility>

#include "wholestep/backend/cpu/vector.isa.h"
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

#if WHOLESTEP_ISA_avx512
constexpr bool kRootsInVectors = true;
/// Correctly rounded, as the processor's, but in the time of some multiplications: an estimate, made better
/// twice, the second time by what is left of x exactly. Vectors in which that could be too small for f32, and
/// those with zeros, infinities and NaN, take the processor's. A test goes through all mantissas.
[[gnu::always_inline]] inline Vec root(Vec x) {
  constexpr int32_t kLeast = (127 - 74) << 23, kMost = 254 << 23;
  const __m512i above = _mm512_sub_epi32(reinterpret_cast<__m512i>(x), _mm512_set1_epi32(kLeast));
  if (_mm512_cmpge_epu32_mask(above, _mm512_set1_epi32(kMost - kLeast)) != 0) [[unlikely]]
    return _mm512_maskz_sqrt_ps(0xffff, x);
  const Vec estimate = _mm512_maskz_rsqrt14_ps(0xffff, x), half = broadcast(0.5f);
  Vec h = estimate * half, y = estimate * x;
  const Vec error = _mm512_fnmadd_ps(h, y, half);
  y = fma(y, error, y), h = fma(h, error, h);
  return fma(_mm512_fnmadd_ps(y, y, x), h, y);
}
#else
constexpr bool kRootsInVectors = false;
inline Vec root(Vec x) { return x; }
#endif

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
  /// Whether it takes roots, and its expressions are those of vectors, too.
  constexpr bool arithmetic_with_roots() const {
    bool roots = false;
    for (int i = 0; i < operands; ++i)
      if (kinds[i] == 'u') return false;
    for (int i = 0; i < instructions; ++i) switch (instruction[i].code) {
        case ElementwiseCode::sqrt: roots = true; break;
        case ElementwiseCode::add:
        case ElementwiseCode::sub:
        case ElementwiseCode::mul:
        case ElementwiseCode::div:
        case ElementwiseCode::square: break;
        default: return false;
      }
    return roots;
  }
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

  /// Of one element, or of a vector of them.
  template <int k, class Register>
  [[gnu::always_inline]] static inline void load(const void* const* operands, const Register* fixed,
                                                 int64_t i, Register* registers) {
    if constexpr (kProgram.kinds[k] == 'v')
      __builtin_memcpy(registers + k, static_cast<const float*>(operands[k]) + i, sizeof(Register));
    else if constexpr (kProgram.kinds[k] == 'u')
      registers[k] = static_cast<Register>(static_cast<const uint8_t*>(operands[k])[i]);
    else registers[k] = fixed[k];
  }
  template <int k, class Register>
  [[gnu::always_inline]] static inline void compute(Register* registers) {
    constexpr Program::Instruction in = kProgram.instruction[k];
    Register& result = registers[kProgram.first_result() + k];
    const Register& x = registers[in.operands[0]];
    if constexpr (std::is_same_v<Register, Vec> && in.code == ElementwiseCode::sqrt) result = root(x);
    else result = Row<in.code>::value(x, registers[in.operands[1]], registers[in.operands[2]]);
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
    // All of an element's operands are read before its results are written, so a result may lie over one.
    auto step = [&]<class Register>(int64_t i, [[maybe_unused]] const Register* s,
                                    [[maybe_unused]] const Register* c) __attribute__((always_inline)) {
      Register registers[kProgram.first_result() + kProgram.instructions];
      (load<operand>(operands, s, i, registers), ...);
      ((registers[kProgram.operands + immediate] = c[immediate]), ...);
      (compute<instruction>(registers), ...);
      (__builtin_memcpy(to[result] + i, registers + kProgram.result[result], sizeof(Register)), ...);
    };
    int64_t i = 0;
    if constexpr (kRootsInVectors && kProgram.arithmetic_with_roots()) {
      const Vec wide[] = {broadcast(fixed[operand])...};
      const Vec wide_constants[] = {broadcast(constants[immediate])..., zero()};
      for (; i + kWidth <= n; i += kWidth) step(i, wide, wide_constants);
    }
    _Pragma("GCC ivdep") for (; i < n; ++i) step(i, fixed, constants);
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
