// The matrix product against f64, bit for bit against plain loops, and the same bits however it is cut into
// parts.
#include "wholestep/backend/cpu/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "backend/kernel_test_support.h"
#include "wholestep/backend/cpu/thread_pool.h"

namespace wholestep {
namespace {

// A product with its operands; C starts as `c`, and what lies between the columns of a row must survive.
struct Case {
  Gemm gemm;
  std::vector<float> a, b, bias, c;
  bool with_bias = false;
};

Case make_case(Gemm g, bool with_bias, uint64_t seed) {
  g.lda = (g.transpose_a ? g.m : g.k) + static_cast<int64_t>(seed % 3);
  g.ldb = (g.transpose_b ? g.k : g.n) + static_cast<int64_t>(seed % 2) * 5;
  g.ldc = g.n + static_cast<int64_t>(seed % 4);
  return {.gemm = g,
          .a = random_floats((g.transpose_a ? g.k : g.m) * g.lda, seed),
          .b = random_floats((g.transpose_b ? g.n : g.k) * g.ldb, seed + 1),
          .bias = random_floats(g.n, seed + 2),
          .c = random_floats(g.m * g.ldc, seed + 3),
          .with_bias = with_bias};
}

float a_at(const Case& x, int64_t i, int64_t k) {
  return x.a[static_cast<size_t>(x.gemm.transpose_a ? k * x.gemm.lda + i : i * x.gemm.lda + k)];
}
float b_at(const Case& x, int64_t k, int64_t j) {
  return x.b[static_cast<size_t>(x.gemm.transpose_b ? j * x.gemm.ldb + k : k * x.gemm.ldb + j)];
}

// The header's definition, word for word.
std::vector<float> by_definition(const Case& x, bool fused) {
  std::vector<float> c = x.c;
  const Gemm& g = x.gemm;
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < g.k; ++k)
        sum = fused ? std::fma(a_at(x, i, k), b_at(x, k, j), sum) : a_at(x, i, k) * b_at(x, k, j) + sum;
      float& out = c[static_cast<size_t>(i * g.ldc + j)];
      float value = g.alpha * sum;
      if (g.beta != 0) value += g.beta * out;
      if (x.with_bias) value += x.bias[static_cast<size_t>(j)];
      out = g.relu && value < 0 ? 0 : value;
    }
  }
  return c;
}

std::vector<float> run(const Case& x, Isa isa, const std::vector<GemmPart>& parts, int threads = 1) {
  std::vector<float> c = x.c;
  const Gemm& g = x.gemm;
  if (g.beta == 0)
    for (int64_t i = 0; i < g.m; ++i)
      for (int64_t j = 0; j < g.n; ++j) c[static_cast<size_t>(i * g.ldc + j)] = kNaN;
  ThreadPool pool(threads);
  std::vector<Workspace> workspaces;
  for (int i = 0; i < threads; ++i) workspaces.emplace_back(gemm_workspace_bytes(g));
  GemmOperands operands = {x.a.data(), x.b.data(), x.with_bias ? x.bias.data() : nullptr, c.data()};
  pool.run(static_cast<int64_t>(parts.size()), [&](int64_t i) {
    Workspace& workspace = workspaces[static_cast<size_t>(pool.slot())];
    workspace.poison();
    cpu_kernels(isa).gemm(g, operands, parts[static_cast<size_t>(i)], workspace.data());
  });
  for (Workspace& workspace : workspaces) EXPECT_TRUE(workspace.fence_is_intact());
  return c;
}

std::vector<GemmPart> whole(const Gemm& g) { return {{0, g.m, 0, g.n}}; }

std::vector<GemmPart> tiles_of(const Gemm& g, int64_t rows, int64_t columns) {
  std::vector<GemmPart> parts;
  for (int64_t i = 0; i < g.m; i += rows)
    for (int64_t j = 0; j < g.n; j += columns)
      parts.push_back({i, std::min(i + rows, g.m), j, std::min(j + columns, g.n)});
  return parts;
}

std::string describe(const Gemm& g, Isa isa) {
  return testing::PrintToString(std::array{g.m, g.n, g.k}) + (g.transpose_a ? " A^T" : " A") +
         (g.transpose_b ? " B^T " : " B ") + std::string(name(isa));
}

/// Those whose f32 kernels differ.
std::vector<Isa> f32_isas() {
  std::vector<Isa> isas = available_isas();
  std::erase_if(isas, [](Isa isa) { return isa > Isa::avx512; });
  return isas;
}

class GemmOnEveryIsa : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Cpu, GemmOnEveryIsa, testing::ValuesIn(f32_isas()),
                         [](const auto& param) { return std::string(name(param.param)); });

TEST_P(GemmOnEveryIsa, EqualsASequentialLoopBitForBitOverAwkwardShapes) {
  uint64_t seed = 1;
  for (int64_t m : {1, 2, 3, 7, 13, 15, 31, 65}) {
    for (int64_t n : {1, 5, 16, 17, 33, 100}) {
      for (int64_t k : {0, 1, 7, 16, 65}) {
        for (int layout = 0; layout < 4; ++layout) {
          Gemm g = {
              .m = m, .n = n, .k = k, .transpose_a = (layout & 1) != 0, .transpose_b = (layout & 2) != 0};
          if (seed % 3 == 1) g.alpha = 0.37f;
          if (seed % 5 == 1) g.beta = seed % 2 ? 1.f : -0.7f;
          g.relu = seed % 7 == 1;
          Case x = make_case(g, seed % 2 == 1, seed);
          ASSERT_TRUE(same_bits(run(x, GetParam(), whole(x.gemm)), by_definition(x, fuses(GetParam()))))
              << describe(g, GetParam());
          ++seed;
        }
      }
    }
  }
}

TEST_P(GemmOnEveryIsa, EqualsASequentialLoopBitForBitBeyondEveryBlock) {
  uint64_t seed = 11;
  // Blocks of rows, of columns, of depth, of depth for few columns; operands and results beyond the caches.
  for (auto [m, n, k] : {std::array<int64_t, 3>{340, 20, 200},
                         {7, 530, 200},
                         {20, 530, 400},
                         {338, 515, 5},
                         {480, 40, 1100},
                         {3, 2700, 200},
                         {200, 2700, 9}}) {
    for (int layout = 0; layout < 4; ++layout) {
      for (float beta : {0.f, 0.5f}) {
        Gemm g = {.m = m, .n = n, .k = k, .transpose_a = (layout & 1) != 0, .transpose_b = (layout & 2) != 0};
        g.beta = beta;
        g.relu = true;
        Case x = make_case(g, true, ++seed);
        ASSERT_TRUE(same_bits(run(x, GetParam(), whole(x.gemm)), by_definition(x, fuses(GetParam()))))
            << describe(g, GetParam()) << " beta " << beta;
      }
    }
  }
}

TEST_P(GemmOnEveryIsa, StaysWithinTheErrorBoundOfF64) {
  for (int64_t k : {1, 17, 300, 1000}) {
    Case x = make_case({.m = 19, .n = 37, .k = k, .transpose_b = true}, false, static_cast<uint64_t>(k));
    std::vector<float> c = run(x, GetParam(), whole(x.gemm));
    for (int64_t i = 0; i < 19; ++i) {
      for (int64_t j = 0; j < 37; ++j) {
        double sum = 0, magnitude = 0;
        for (int64_t t = 0; t < k; ++t) {
          double term = double{a_at(x, i, t)} * b_at(x, t, j);
          sum += term;
          magnitude += std::abs(term);
        }
        EXPECT_NEAR(c[static_cast<size_t>(i * x.gemm.ldc + j)], sum, error_bound(k, magnitude));
      }
    }
  }
}

TEST_P(GemmOnEveryIsa, GivesTheSameBitsInPartsAndOnThreads) {
  for (int layout = 0; layout < 4; ++layout) {
    Gemm g = {.m = 70, .n = 90, .k = 300, .transpose_a = (layout & 1) != 0, .transpose_b = (layout & 2) != 0};
    g.beta = 0.25f;
    Case x = make_case(g, true, 5);
    std::vector<float> expected = run(x, GetParam(), whole(x.gemm));
    for (auto [rows, columns] : {std::pair<int64_t, int64_t>{16, 90}, {70, 32}, {1, 90}, {7, 13}, {33, 89}})
      for (int threads : {1, 3})
        EXPECT_TRUE(same_bits(run(x, GetParam(), tiles_of(x.gemm, rows, columns), threads), expected))
            << describe(g, GetParam()) << " parts of " << rows << " x " << columns;
  }
}

TEST_P(GemmOnEveryIsa, NarrowPartsOfALargeProductStayWithinItsScratch) {
  // Parts of at most 64 columns have deeper blocks than the whole.
  for (bool transpose_b : {false, true}) {
    Case x = make_case({.m = 100, .n = 90, .k = 6000, .transpose_b = transpose_b}, true, 7);
    std::vector<float> expected = run(x, GetParam(), whole(x.gemm));
    for (int64_t columns : {1, 32, 64, 65})
      EXPECT_TRUE(same_bits(run(x, GetParam(), tiles_of(x.gemm, 100, columns)), expected)) << columns;
  }
}

TEST_P(GemmOnEveryIsa, ReluKeepsNaNAndInfinitiesPassThrough) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Gemm g = {.m = 2, .n = 20, .k = 3, .relu = true};
  Case x = make_case(g, false, 12);
  x.b.assign(x.b.size(), 1.f);
  x.a.assign(x.a.size(), -kInfinity);
  x.a[1] = kNaN;
  std::vector<float> c = run(x, GetParam(), whole(x.gemm));
  EXPECT_TRUE(std::isnan(c[0]) && std::isnan(c[19]));
  EXPECT_EQ(c[static_cast<size_t>(x.gemm.ldc)], 0.f);
}

TEST(Gemm, F64ReferenceAgreesWithADirectSum) {
  std::vector<double> a = {1, 2, 3, 4, 5, 6}, b = {1, -1, 2, 0.5, 3, -2}, bias = {10, -100}, c = {1, 1, 1, 1};
  // A [2, 3], B stored [2, 3] and read transposed.
  Gemm g = {.m = 2, .n = 2, .k = 3, .transpose_b = true, .lda = 3, .ldb = 3, .ldc = 2};
  gemm_f64(g, a.data(), b.data(), nullptr, c.data());
  EXPECT_EQ(c, (std::vector<double>{5, 0.5, 11, 5}));
  g.alpha = 2, g.beta = 1, g.relu = true;
  gemm_f64(g, a.data(), b.data(), bias.data(), c.data());
  EXPECT_EQ(c, (std::vector<double>{25, 0, 43, 0}));
}

}  // namespace
}  // namespace wholestep
