// Every row of the op table on operands of f16 and bf16: what it gives in f32, rounded once, and so its
// gradients.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/kernel_run.h"
#include "support/op_case.h"
#include "support/op_reference.h"
#include "support/test_device.h"
#include "wholestep/graph/grad.h"
#include "wholestep/graph/widen.h"

namespace wholestep::test {
namespace {

class OpInHalf : public testing::TestWithParam<const OpDef*> {
 protected:
  const OpDef& op() const { return *GetParam(); }
  void SetUp() override { WHOLESTEP_NEEDS_TEST_DEVICE(); }
  std::vector<OpCase> cases() const { return of_part(in_halves(op().cases())); }
  static std::vector<Tensor> placed(std::vector<Tensor> operands) {
    for (Tensor& t : operands) t = on_test_device(t);
    return operands;
  }
};

INSTANTIATE_TEST_SUITE_P(AllOps, OpInHalf, testing::ValuesIn(all_ops()),
                         [](const auto& row) { return row.param->name; });

TEST_P(OpInHalf, ResultsAreTheExactOnesOfItsOperandsRoundedOnce) {
  for (const OpCase& request : cases()) {
    std::vector<Tensor> operands = make_operands(request),
                        results = apply(op(), placed(operands), request.attrs);
    Types types;
    for (const Tensor& t : results) types.push_back(t.type());
    EXPECT_EQ(types, infer_types(op(), request.inputs, request.attrs)) << describe(op(), request);
    auto expected = expected_results(op(), widened(operands), request.attrs);
    ASSERT_TRUE(expected) << describe(op(), request);
    for (size_t o = 0; o < results.size(); ++o) {
      const Expected& e = (*expected)[o];
      std::vector<double> got = as_doubles(results[o]);
      ASSERT_EQ(got.size(), e.values.size());
      for (size_t i = 0; i < got.size(); ++i) {
        double bound = error_bound(op(), operands, widened(types), request.attrs, o, e, i);
        if (is_half(types[o].dtype)) bound += error_bound(op(), operands, types, request.attrs, o, e, i);
        ASSERT_LE(std::abs(got[i] - e.values[i]), bound)
            << describe(op(), request) << " output " << o << " element " << i;
      }
    }
  }
}

TEST_P(OpInHalf, GradientsAreThoseOfTheRuleInF32RoundedOnce) {
  if (!op().vjp) return;
  for (const OpCase& request : cases()) {
    std::vector<Tensor> operands = placed(make_operands(request)), wanted;
    for (Tensor& t : operands)
      if (is_floating(t.dtype())) wanted.push_back(t.set_requires_grad());
    std::vector<Tensor> results = apply(op(), operands, request.attrs), outputs, seeds, expected;
    Types types;
    for (const Tensor& t : results) types.push_back(t.type());
    std::vector<Tensor> drawn = placed(make_operands({.inputs = types, .low = 0.1, .high = 1}, 3)),
                        given(drawn.size());
    for (size_t i = 0; i < results.size(); ++i)
      if (is_floating(types[i].dtype)) outputs.push_back(results[i]), seeds.push_back(given[i] = drawn[i]);
    if (outputs.empty()) continue;
    std::vector<Tensor> got = grad(outputs, wanted, seeds);
    NoGrad no_grad;
    OpRecord in_f32{op(), request.attrs, widened(operands), widened(results), {}};
    for (const Tensor& t : operands) in_f32.needs_grad.push_back(is_floating(t.dtype()));
    std::vector<Tensor> rule = op().vjp(in_f32, widened(given));
    for (size_t i = 0; i < operands.size(); ++i)
      if (in_f32.needs_grad[i])
        expected.push_back((rule[i].defined() ? rule[i] : zeros(operands[i].type())).to(operands[i].dtype()));
    EXPECT_TRUE(same_bytes(got, expected)) << describe(op(), request);
  }
}

}  // namespace
}  // namespace wholestep::test
