// The CTC loss against PyTorch's, by tests/reference/ctc.py, and against all ways written out.
#include "wholestep/nn/ctc_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support/compiled.h"
#include "support/expect_error.h"
#include "support/formula.h"
#include "support/gradient_check.h"
#include "support/op_case.h"
#include "support/test_device.h"
#include "wholestep/compile/compile.h"
#include "wholestep/graph/grad.h"
#include "wholestep/io/json.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/softmax.h"

namespace wholestep {
namespace {

using nlohmann::json;
using test::expect_error;

Tensor integers(const json& values, const Shape& shape) {
  std::vector<int64_t> list;
  for (const json& v : values)
    for (const json& one : v.is_array() ? v : json::array({v})) list.push_back(one);
  return test::on_test_device(tensor(list, shape));
}

struct Case {
  nn::CTCLoss loss;
  Tensor logits, targets, input_lengths, target_lengths;
  Case(const json& c, DType dtype)
      : loss({.blank = c["config"].value("blank", int64_t{0}),
              .reduction = c["config"].value("reduction", "mean"),
              .zero_infinity = c["config"].value("zero_infinity", false)}) {
    Shape shape(c["shape"].get<std::vector<int64_t>>());
    std::vector<double> values = test::formula_values<double>(1, shape.numel());
    for (double& v : values) v *= 2;
    logits = test::on_test_device(cast(tensor(values, shape), dtype)).set_requires_grad();
    int64_t n = shape[1];
    targets = integers(c["targets"], {n, static_cast<int64_t>(c["targets"][0].size())});
    input_lengths = integers(c["input_lengths"], {n});
    target_lengths = integers(c["target_lengths"], {n});
  }
  std::vector<Tensor> value_and_gradient(const Tensor& x) const {
    Tensor value = loss(log_softmax(x, 2), targets, input_lengths, target_lengths);
    std::vector<Tensor> inputs = {x};
    return {value, grad(value.rank() == 0 ? value : sum(square(value)), inputs)[0]};
  }
};

void compare(DType dtype, double tolerance) {
  WHOLESTEP_NEEDS_TEST_DEVICE();
  json reference = test::read_reference("ctc.json");
  for (const json& given : test::of_part(reference["cases"])) {
    SCOPED_TRACE(given["config"].dump() + given["targets"].dump());
    Case c(given, dtype);
    std::vector<Tensor> got = c.value_and_gradient(c.logits);
    for (auto [tensor, key] : {std::pair{got[0], "value"}, {got[1], "gradient"}}) {
      std::vector<double> values = test::as_doubles(tensor);
      ASSERT_EQ(values.size(), given[key].size());
      for (size_t i = 0; i < values.size(); ++i) {
        double wanted = given[key][i];
        EXPECT_NEAR(values[i], wanted, tolerance * (1 + std::abs(wanted))) << key << " " << i;
      }
    }
    test::expect_compiled_gives([&](const std::vector<Tensor>& x) { return c.value_and_gradient(x[0]); },
                                {c.logits}, got, "ctc");
  }
}

TEST(CTCLoss, ValuesAndGradientsEqualPyTorchInF64) { compare(DType::f64, 1e-10); }
TEST(CTCLoss, ValuesAndGradientsEqualPyTorchInF32) { compare(DType::f32, 2e-5); }

TEST(CTCLoss, GradientsMatchCentralDifferences) {
  json reference = read_json_file(std::string(WHOLESTEP_SOURCE_DIR) + "/tests/reference/ctc.json");
  for (const json& given : reference["cases"]) {
    Case c(given, DType::f64);
    auto f = [&](const std::vector<Tensor>& x) {
      return test::weighted_sum({c.loss(log_softmax(x[0], 2), c.targets, c.input_lengths, c.target_lengths)});
    };
    EXPECT_TRUE(test::gradients_agree(f, {c.logits})) << given["config"] << given["targets"];
  }
}

TEST(CTCLoss, IsTheProbabilityOfAllWaysToSpellATarget) {
  constexpr int64_t kSteps = 5, kClasses = 3;
  Tensor logits = tensor(test::formula_values<double>(4, kSteps * kClasses), {kSteps, 1, kClasses});
  std::vector<double> log_p = test::as_doubles(log_softmax(logits, 2));
  const std::vector<int64_t> target = {1, 2, 2};
  double probability = 0;
  for (int way = 0; way < 243; ++way) {  // 3^5
    std::vector<int64_t> spelled;
    int64_t before = 0;
    double log_way = 0;
    for (int64_t t = 0, rest = way; t < kSteps; ++t, rest /= kClasses) {
      int64_t label = rest % kClasses;
      log_way += log_p[static_cast<size_t>(t * kClasses + label)];
      if (label != 0 && label != before) spelled.push_back(label);
      before = label;
    }
    if (spelled == target) probability += std::exp(log_way);
  }
  Tensor loss = nn::CTCLoss({.reduction = "sum"})(log_softmax(logits, 2), tensor(target, {1, 3}),
                                                  tensor<int64_t>({5}, {1}), tensor<int64_t>({3}, {1}));
  EXPECT_NEAR(loss.item<double>(), -std::log(probability), 1e-12);
}

TEST(CTCLoss, ATargetTooLongForItsInputCostsInfinityOrNothing) {
  Tensor log_p = log_softmax(tensor(test::formula_values<double>(4, 6), {2, 1, 3}), 2);
  auto loss = [&](bool zero) {
    return nn::CTCLoss({.zero_infinity = zero})(log_p, tensor<int64_t>({1, 1}, {1, 2}),
                                                tensor<int64_t>({2}, {1}), tensor<int64_t>({2}, {1}))
        .item<double>();
  };
  EXPECT_EQ(loss(false), std::numeric_limits<double>::infinity());
  EXPECT_EQ(loss(true), 0);
}

TEST(CTCLoss, MisuseIsNamed) {
  Tensor log_p = zeros({DType::f32, {4, 2, 3}}), targets = tensor<int64_t>({1, 2, 1, 1}, {2, 2}),
         lengths = tensor<int64_t>({4, 3}, {2}), two = tensor<int64_t>({2, 2}, {2});
  nn::CTCLoss ctc;
  expect_error(ErrorCode::kUsage, {"input_lengths[0]", "got 5", "expected 1 to 4"}, [&] {
    ctc(log_p, targets, tensor<int64_t>({5, 3}, {2}), two);
  });
  expect_error(ErrorCode::kUsage, {"target_lengths[1]", "got 3", "expected 0 to 2"}, [&] {
    ctc(log_p, targets, lengths, tensor<int64_t>({2, 3}, {2}));
  });
  expect_error(ErrorCode::kUsage, {"one of target_lengths a sample", "f32[2]", "i32 or i64 [2]"}, [&] {
    ctc(log_p, targets, lengths, zeros({DType::f32, {2}}));
  });
  expect_error(ErrorCode::kUsage, {"do not fit the loss ctc", "f32[4, 3] and i64[2, 2]"}, [&] {
    ctc(zeros({DType::f32, {4, 3}}), targets, lengths, two);
  });
  expect_error(ErrorCode::kUsage, {"the blank of the loss ctc is no class", "got 3", "0 to 2"},
               [&] { nn::CTCLoss({.blank = 3})(log_p, targets, lengths, two); });
  expect_error(ErrorCode::kUsage, {"index out of range", "got 3", "0 to 2"}, [&] {
    ctc(log_p, tensor<int64_t>({1, 3, 1, 1}, {2, 2}), lengths, two);
  });
}

}  // namespace
}  // namespace wholestep
