// The sum of squares of a product that is not made: what is infinite in the product is infinite in the sum,
// and nothing else.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/kernel_run.h"
#include "wholestep/backend/cpu/isa.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/registry.h"

namespace wholestep::test {
namespace {

/// Of a [k, m] and b [k, n] with these elements, on every instruction set; all the same.
class MatmulSquares : public testing::Test {
 protected:
  Tensor a_ = full({5, 3}, 1), b_ = full({5, 300}, 1);

  double squares() const {
    const OpDef& op = find_op("matmul_squares");
    double result = 0;
    for (Isa isa : available_isas()) {
      set_isa_cap(isa);
      KernelRun run(op, *cpu_kernels_of(op)[0], {a_, b_}, {{"transpose_a", true}, {"transpose_b", false}});
      const double got = run.run()[0].data<double>()[0];
      EXPECT_TRUE(isa == Isa::portable || got == result) << name(isa);
      result = got;
    }
    return result;
  }
  void TearDown() override { set_isa_cap(detected_isa()); }
};

TEST_F(MatmulSquares, IsExactWhereAllIsWhole) {
  EXPECT_EQ(squares(), 3 * 300 * 25.0);
  a_.data<float>()[0] = -4;  // element (0, 0): a column of the product is 0
  EXPECT_EQ(squares(), 2 * 300 * 25.0);
  for (float& x : a_.data<float>()) x = 0;
  EXPECT_EQ(squares(), 0);
}

TEST_F(MatmulSquares, IsFiniteWhereTheProductIsFarFromTheLargestNumber) {
  for (float& x : a_.data<float>()) x = 1e30f;
  for (float& x : b_.data<float>()) x = 1e3f;
  EXPECT_NEAR(squares() / (3 * 300 * 25e66), 1, 1e-6);
  a_.data<float>()[0] = 1e-30f;
  EXPECT_TRUE(std::isfinite(squares()));
}

TEST_F(MatmulSquares, IsNotFiniteWhereAnOperandIsNot) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (bool zeros_else : {false, true})
    for (Tensor* operand : {&a_, &b_})
      for (size_t at : {size_t{0}, operand->data<float>().size() - 1})
        for (float bad : {std::nanf(""), kInfinity, -kInfinity}) {
          Tensor good = operand->clone();
          if (zeros_else)
            for (Tensor* t : {&a_, &b_})
              for (float& x : t->data<float>()) x = 0;
          operand->data<float>()[at] = bad;
          EXPECT_FALSE(std::isfinite(squares())) << bad << " at " << at;
          *operand = good;
        }
}

/// The update makes it in f32.
TEST_F(MatmulSquares, IsNotFiniteWhereAPartOfAnElementIsTooLargeForF32) {
  b_.data<float>()[7] = 1e20f;
  a_.data<float>()[0] = 1e20f;
  EXPECT_FALSE(std::isfinite(squares())) << "1e40";
  a_.data<float>()[0] = 1, a_.data<float>()[3] = -1e19f, b_.data<float>()[307] = 1e20f;
  a_.data<float>()[0] = 1e19f;
  EXPECT_FALSE(std::isfinite(squares())) << "1e39 - 1e39";
  a_.data<float>()[0] = 1, a_.data<float>()[3] = 1, b_.data<float>()[7] = 1, b_.data<float>()[307] = 1;
  EXPECT_TRUE(std::isfinite(squares()));
  a_.data<float>()[0] = 3.4e38f, b_.data<float>()[7] = 1e-30f;
  EXPECT_FALSE(std::isfinite(squares())) << "infinite where it is rounded to bf16";
}

}  // namespace
}  // namespace wholestep::test
