// The matrix product in bf16 against f64 sums of operands rounded by themselves, over a grid of shapes, and
// the same bits however it is cut into parts.
#include <gtest/gtest.h>

#include <limits>

#include "backend/kernel_test_support.h"
#include "wholestep/backend/cpu/bf16.h"
#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/base/error.h"

namespace wholestep {
namespace {

std::vector<Isa> isas_with_bf16() {
  std::vector<Isa> isas = available_isas();
  std::erase_if(isas, [](Isa isa) { return isa <= Isa::avx512; });
  return isas;
}

struct Case {
  Gemm gemm;
  std::vector<float> a, b, bias, c;
};

Case make_case(Gemm g, uint64_t seed) {
  g.lda = (g.transpose_a ? g.m : g.k) + static_cast<int64_t>(seed % 3);
  g.ldb = (g.transpose_b ? g.k : g.n) + static_cast<int64_t>(seed % 2) * 5;
  g.ldc = g.n + static_cast<int64_t>(seed % 4);
  return {.gemm = g,
          .a = random_floats((g.transpose_a ? g.k : g.m) * g.lda, seed),
          .b = random_floats((g.transpose_b ? g.n : g.k) * g.ldb, seed + 1),
          .bias = random_floats(g.n, seed + 2),
          .c = random_floats(g.m * g.ldc, seed + 3)};
}

std::vector<float> run(const Case& x, Isa isa, int64_t part_rows, int64_t part_columns, int threads = 1) {
  const Gemm& g = x.gemm;
  std::vector<float> c = x.c;
  std::vector<GemmPart> parts;
  for (int64_t i = 0; i < g.m; i += part_rows)
    for (int64_t j = 0; j < g.n; j += part_columns)
      parts.push_back({i, std::min(i + part_rows, g.m), j, std::min(j + part_columns, g.n)});
  ThreadPool pool(threads);
  std::vector<Workspace> workspaces;
  for (int i = 0; i < threads; ++i) workspaces.emplace_back(bf16_kernels(isa).gemm_workspace_bytes(g));
  pool.run(static_cast<int64_t>(parts.size()), [&](int64_t i) {
    Workspace& workspace = workspaces[static_cast<size_t>(pool.slot())];
    workspace.poison();
    bf16_kernels(isa).gemm(g, {x.a.data(), x.b.data(), x.bias.data(), c.data()},
                           parts[static_cast<size_t>(i)], workspace.data());
  });
  for (Workspace& workspace : workspaces) EXPECT_TRUE(workspace.fence_is_intact());
  return c;
}
std::vector<float> run(const Case& x, Isa isa) { return run(x, isa, x.gemm.m, x.gemm.n); }

void expect_sums_of_rounded_operands(const Case& x, const std::vector<float>& got, const std::string& text) {
  const Gemm& g = x.gemm;
  const std::vector<float> a = as_bf16(x.a), b = as_bf16(x.b);
  for (int64_t i = 0; i < g.m; ++i)
    for (int64_t j = 0; j < g.ldc; ++j) {
      const size_t at = static_cast<size_t>(i * g.ldc + j);
      if (j >= g.n) {  // between rows
        ASSERT_EQ(got[at], x.c[at]) << text;
        continue;
      }
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < g.k; ++k) {
        const double term = double{a[static_cast<size_t>(g.transpose_a ? k * g.lda + i : i * g.lda + k)]} *
                            b[static_cast<size_t>(g.transpose_b ? j * g.ldb + k : k * g.ldb + j)];
        sum += term, magnitude += std::abs(term);
      }
      const double old = double{g.beta} * x.c[at], bias = x.bias[static_cast<size_t>(j)];
      double value = g.alpha * sum + old + bias;
      if (g.relu && value < 0) value = 0;
      ASSERT_NEAR(got[at], value, error_bound(g.k + 3, magnitude + std::abs(old) + std::abs(bias)))
          << text << " at " << i << ", " << j;
    }
}

std::string describe(const Gemm& g) {
  return testing::PrintToString(std::array{g.m, g.n, g.k}) + (g.transpose_a ? " A^T" : " A") +
         (g.transpose_b ? " B^T" : " B");
}

class GemmInBf16 : public testing::TestWithParam<Isa> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GemmInBf16);  // on a CPU without bf16
INSTANTIATE_TEST_SUITE_P(Cpu, GemmInBf16, testing::ValuesIn(isas_with_bf16()),
                         [](const auto& param) { return std::string(name(param.param)); });

TEST_P(GemmInBf16, AgreesWithSumsOfRoundedOperandsOverAwkwardShapes) {
  uint64_t seed = 1;
  for (int64_t m : {1, 2, 7, 16, 17, 31, 33, 65})
    for (int64_t n : {1, 5, 16, 17, 33, 100})
      for (int64_t k : {0, 1, 2, 7, 31, 32, 33, 65})
        for (int layout = 0; layout < 4; ++layout, ++seed) {
          Gemm g = {
              .m = m, .n = n, .k = k, .transpose_a = (layout & 1) != 0, .transpose_b = (layout & 2) != 0};
          if (seed % 3 == 1) g.alpha = 0.37f;
          if (seed % 5 == 1) g.beta = -0.7f;
          g.relu = seed % 7 == 1;
          Case x = make_case(g, seed);
          ASSERT_NO_FATAL_FAILURE(expect_sums_of_rounded_operands(x, run(x, GetParam()), describe(g)));
        }
}

TEST_P(GemmInBf16, AgreesWithSumsOfRoundedOperandsBeyondEveryBlock) {
  uint64_t seed = 11;
  for (auto [m, n, k] :
       {std::array<int64_t, 3>{290, 20, 70}, {7, 530, 40}, {33, 65, 1100}, {270, 520, 9}, {2, 3, 20000}})
    for (int layout = 0; layout < 4; ++layout)
      for (float beta : {0.f, 0.5f}) {
        Gemm g = {.m = m, .n = n, .k = k, .transpose_a = (layout & 1) != 0, .transpose_b = (layout & 2) != 0};
        g.beta = beta;
        Case x = make_case(g, ++seed);
        ASSERT_NO_FATAL_FAILURE(expect_sums_of_rounded_operands(x, run(x, GetParam()), describe(g)));
      }
}

TEST_P(GemmInBf16, GivesTheSameBitsInPartsAndOnThreads) {
  for (int layout = 0; layout < 4; ++layout) {
    Gemm g = {.m = 70, .n = 90, .k = 700, .transpose_a = (layout & 1) != 0, .transpose_b = (layout & 2) != 0};
    g.beta = 0.25f;
    Case x = make_case(g, 5);
    std::vector<float> expected = run(x, GetParam());
    for (auto [rows, columns] : {std::pair<int64_t, int64_t>{16, 90}, {70, 32}, {1, 90}, {7, 13}, {33, 89}})
      for (int threads : {1, 3})
        EXPECT_TRUE(same_bits(run(x, GetParam(), rows, columns, threads), expected))
            << describe(g) << " parts of " << rows << " x " << columns;
  }
}

TEST_P(GemmInBf16, GivesTheSameBitsFromAnOperandThatIsRoundedOnceForAllParts) {
  const CpuKernels& kernels = bf16_kernels(GetParam());
  for (auto [m, n, k] : {std::array<int64_t, 3>{37, 70, 600}, {70, 37, 33}, {5, 130, 7}})
    for (int layout = 0; layout < 4; ++layout) {
      Gemm g = {.m = m, .n = n, .k = k, .transpose_a = (layout & 1) != 0, .transpose_b = (layout & 2) != 0};
      g.alpha = 0.5f, g.beta = 0.25f, g.relu = true;
      Case x = make_case(g, 8);
      const bool shares_a = bf16_shares_a(x.gemm);
      Workspace packed(bf16_shared_bytes(x.gemm)), workspace(kernels.gemm_workspace_bytes(x.gemm));
      std::vector<float> c = x.c;
      GemmOperands operands = {x.a.data(), x.b.data(), x.bias.data(), c.data(), packed.data()};
      const int64_t columns = shares_a ? m : n;
      for (int64_t j = 0; j < columns; j += 16)
        kernels.pack_shared(x.gemm, operands, j, std::min(columns, j + 16), packed.data());
      for (int64_t i = 0; i < (shares_a ? n : m); i += 19) {
        const int64_t end = std::min(shares_a ? n : m, i + 19);
        kernels.gemm(x.gemm, operands, shares_a ? GemmPart{0, m, i, end} : GemmPart{i, end, 0, n},
                     workspace.data());
      }
      EXPECT_TRUE(packed.fence_is_intact() && workspace.fence_is_intact());
      EXPECT_TRUE(same_bits(c, run(x, GetParam()))) << describe(g);
    }
}

// 1 + 2^-8 and 1 + 3 * 2^-8 lie halfway between two values of bf16: the even ones are 1 and 1 + 2^-6.
TEST_P(GemmInBf16, RoundsOperandsToNearestEvenAndNothingElse) {
  Case x = make_case({.m = 1, .n = 1, .k = 2}, 12);
  x.a = {1 + 0x1p-8f, 0.f}, x.b = {1.f, 1.f}, x.bias = {0x1p-20f};
  EXPECT_EQ(run(x, GetParam())[0], 1 + 0x1p-20f);
  x.a = {1 + 3 * 0x1p-8f, 0.f};
  EXPECT_EQ(run(x, GetParam())[0], 1 + 0x1p-6f + 0x1p-20f);
  x.a = {1.f, 0x1p-20f};  // a sum that bf16 could not hold
  EXPECT_EQ(run(x, GetParam())[0], 1 + 0x1p-19f);
}

TEST_P(GemmInBf16, PassesNaNAndInfinitiesOn) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Case x = make_case({.m = 2, .n = 1, .k = 3}, 12);
  x.b.assign(x.b.size(), 1.f), x.a.assign(x.a.size(), 1.f);
  x.a[0] = kNaN, x.a[static_cast<size_t>(x.gemm.lda)] = -kInfinity;
  std::vector<float> c = run(x, GetParam());
  EXPECT_TRUE(std::isnan(c[0]));
  EXPECT_EQ(c[static_cast<size_t>(x.gemm.ldc)], -kInfinity);
}

TEST(Bf16Kernels, AreRefusedByNameWhereTheInstructionSetHasNone) {
  for (Isa isa : available_isas()) {
    if (isa > Isa::avx512) continue;
    try {
      bf16_kernels(isa);
      ADD_FAILURE() << "accepted " << name(isa);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadConfig);
      EXPECT_EQ(error.parts().got, name(isa));
      EXPECT_EQ(error.parts().expected, "amx_bf16 or avx512_bf16");
    }
  }
}

}  // namespace
}  // namespace wholestep
