// Programs compiled ahead of time: the bits of their instructions one by one, on every instruction set.
#include "wholestep/ops/elementwise_compiled_loops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "support/formula.h"
#include "wholestep/ops/elementwise_cpu.h"

namespace wholestep::test {
namespace {

std::vector<CompiledPrograms> of_every_isa() {
  std::vector<CompiledPrograms> all = {portable::kCompiledPrograms};
#if WHOLESTEP_X86
  if (detected_isa() >= Isa::avx2) all.push_back(avx2::kCompiledPrograms);
  if (detected_isa() >= Isa::avx512) all.push_back(avx512::kCompiledPrograms);
#endif
  return all;
}

/// The listed text as the program it stands for, with 0.1, 0.2, ... as immediates.
ElementwiseProgram program_of(const std::string& text, std::string& kinds) {
  const size_t space = text.find(' '), bar = text.find('|');
  kinds = text.substr(0, space);
  std::string full = "f32 " + std::to_string(kinds.size()) + " |";
  for (int i = 1, count = std::stoi(text.substr(space)); i <= count; ++i) full += " 0." + std::to_string(i);
  return parse_elementwise_program(full + " " + text.substr(bar));
}

using Values = std::vector<float>;

/// Every register of a program, an instruction at a time.
std::vector<Values> registers_of(const ElementwiseProgram& program, std::vector<Values> registers,
                                 int64_t n) {
  for (double value : program.immediates)
    registers.emplace_back(static_cast<size_t>(n), static_cast<float>(value));
  const TensorType type = {DType::f32, {n}};
  for (const auto& instruction : program.instructions) {
    const int count = arity(instruction.code);
    ElementwiseProgram one{
        .compute = DType::f32, .inputs = count, .immediates = {}, .instructions = {}, .outputs = {count}};
    one.instructions.push_back(
        {.code = instruction.code, .operands = {0, count > 1 ? 1 : -1, count > 2 ? 2 : -1}});
    const void* operands[3];
    for (int k = 0; k < count; ++k)
      operands[k] = registers[static_cast<size_t>(instruction.operands[k])].data();
    Values result(static_cast<size_t>(n));
    void* results[] = {result.data()};
    elementwise_run_cpu(one, std::vector<TensorType>(static_cast<size_t>(count), type), std::array{type})(
        {operands, results, nullptr}, {.begin = 0, .length = n}, nullptr);
    registers.push_back(std::move(result));
  }
  return registers;
}

TEST(ElementwiseCompiled, ListedProgramsGiveTheBitsOfTheirInstructions) {
  for (const CompiledPrograms& list : of_every_isa())
    for (const CompiledProgram* listed = list.begin; listed != list.end; ++listed)
      for (int64_t n : {1, 3, 16, 67, 1000}) {
        SCOPED_TRACE(std::string(listed->text) + " of " + std::to_string(n));
        std::string kinds;
        const ElementwiseProgram program = program_of(listed->text, kinds);
        std::vector<Values> operands;
        std::vector<std::vector<uint8_t>> pixels(kinds.size());
        std::vector<const void*> addresses;
        for (size_t k = 0; k < kinds.size(); ++k) {
          Values values = formula_values<float>(static_cast<int>(k) + 1, n);
          // Second moments are positive; every third gradient is zero, as of units that do nothing.
          for (size_t i = 0; i < values.size(); ++i)
            values[i] = i % 3 == 0 && k == 0 ? 0
                        : kinds[k] == 'u'    ? static_cast<float>(i % 256)
                                             : std::abs(values[i]);
          if (kinds[k] == 's') values.assign(values.size(), values[0] + 0.5f);
          pixels[k].assign(values.begin(), values.end());
          operands.push_back(std::move(values));
        }
        for (size_t k = 0; k < kinds.size(); ++k)
          addresses.push_back(kinds[k] == 'u' ? static_cast<const void*>(pixels[k].data())
                                              : operands[k].data());
        const std::vector<Values> expected = registers_of(program, operands, n);
        Values immediates(program.immediates.begin(), program.immediates.end());
        std::vector<Values> results(program.outputs.size(), Values(static_cast<size_t>(n), -77));
        std::vector<float*> to;
        for (Values& result : results) to.push_back(result.data());
        listed->run(addresses.data(), immediates.data(), to.data(), n);
        for (size_t o = 0; o < results.size(); ++o)
          EXPECT_EQ(std::memcmp(results[o].data(), expected[static_cast<size_t>(program.outputs[o])].data(),
                                results[o].size() * sizeof(float)),
                    0)
              << "result " << o;
        // The same where each result lies over the first operand not yet taken.
        std::vector<Values> before = operands;
        size_t next = 0;
        for (size_t o = 0; o < results.size(); ++o, ++next) {
          while (next < kinds.size() && kinds[next] != 'v') ++next;
          if (next == kinds.size()) break;
          to[o] = operands[next].data();
        }
        listed->run(addresses.data(), immediates.data(), to.data(), n);
        for (size_t o = 0; o < results.size(); ++o)
          EXPECT_EQ(std::memcmp(to[o], expected[static_cast<size_t>(program.outputs[o])].data(),
                                results[o].size() * sizeof(float)),
                    0)
              << "result " << o << " in place";
      }
}

// Vectors have square roots of their own: every mantissa at an even and an odd exponent, where the range of
// that way begins and in its middle, and what lies outside it, alone among numbers that do not.
TEST(ElementwiseCompiled, SquareRootsAreRoundedAsTheProcessors) {
  auto value = [](uint32_t exponent, uint32_t mantissa) {
    return std::bit_cast<float>(exponent << 23 | mantissa);
  };
  constexpr uint32_t kMantissas = 1u << 23, kBlock = 1u << 12;
  std::vector<Values> blocks;
  for (uint32_t exponent : {53, 54, 127, 128})
    for (uint32_t first = 0; first < kMantissas; first += kBlock) {
      Values& block = blocks.emplace_back();
      for (uint32_t i = 0; i < kBlock; ++i) block.push_back(value(exponent, first + i));
    }
  Values& others = blocks.emplace_back(16 * 8, 2.0f);
  const float outside[] = {0.0f,
                           -0.0f,
                           value(1, 0),
                           value(52, kMantissas - 1),
                           value(254, kMantissas - 1),
                           std::numeric_limits<float>::infinity(),
                           std::numeric_limits<float>::quiet_NaN(),
                           -1.0f};
  for (size_t i = 0; i < std::size(outside); ++i) others[16 * i + i] = outside[i];
  for (const CompiledPrograms& list : of_every_isa()) {
    const CompiledProgram* root = std::find_if(list.begin, list.end, [](const CompiledProgram& program) {
      return std::string(program.text) == "v 0 | sqrt 0 | 1";
    });
    ASSERT_NE(root, list.end);
    Values out(kBlock), expected(kBlock);
    for (const Values& block : blocks) {
      const void* from = block.data();
      float* to = out.data();
      root->run(&from, nullptr, &to, std::ssize(block));
      std::ranges::transform(block, expected.begin(), [](float x) { return std::sqrt(x); });
      for (size_t i = 0; i < block.size(); ++i)
        ASSERT_TRUE(out[i] == expected[i] || (std::isnan(out[i]) && std::isnan(expected[i]))) << block[i];
    }
  }
}

// A value for each channel: the loop goes from channel to channel, wherever a chunk begins.
TEST(ElementwiseCompiled, OperandsThatChangeSeldomAreReadWhereTheyChange) {
  const Shape shape = {2, 3, 8, 16};
  const std::vector<TensorType> operands = {{DType::u8, shape},
                                            {DType::f32, {3, 1, 1}},
                                            {DType::f32, {3, 1, 1}}},
                                results = {{DType::f32, shape}};
  std::string kinds;
  ElementwiseProgram program = program_of("uss 0 | mul 0 1; add 3 2 | 4", kinds);
  ASSERT_TRUE(runs_as_one_loop(program, operands, results));
  std::vector<uint8_t> pixels(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 7);
  const Values scale = {0.5f, 3, 0.25f}, shift = {1, 2, -3};
  Values out(pixels.size(), -77);
  const void* in[] = {pixels.data(), scale.data(), shift.data()};
  void* to[] = {out.data()};
  ElementwiseRun run = elementwise_run_cpu(program, operands, results);
  run({in, to, nullptr}, {.begin = 0, .length = 100}, nullptr);
  run({in, to, nullptr}, {.begin = 100, .length = shape.numel() - 100}, nullptr);
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t channel = i / 128 % 3;
    ASSERT_EQ(out[i], static_cast<float>(pixels[i]) * scale[channel] + shift[channel]) << i;
  }
}

}  // namespace
}  // namespace wholestep::test
