// Losses: values, gradients, and what they refuse.
#include "wholestep/nn/loss.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_error.h"
#include "support/formula.h"
#include "support/small_models.h"
#include "wholestep/graph/grad.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/flatten.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/ops/elementwise.h"

namespace wholestep {
namespace {

using test::expect_error;
using test::formula_values;

TEST(Loss, T1AnUntrainedNetworkLosesLnKWithinOnePercent) {
  for (const nn::ZooEntry& entry : nn::zoo()) {
    if (!test::is_small(entry.name)) continue;
    double total = 0, expected = 0;
    for (uint64_t seed = 0; seed < 6; ++seed) {  // single draws of the last layer's bias stray a little
      nn::Model model = nn::find_model(entry.name);
      model.module->initialize(seed);
      // Biases drawn from +-1/sqrt(8) are a preference of their own among two classes.
      if (entry.name == "w1") nn::init::constant(model.module->parameters().back(), 0);
      Shape batch{64};
      for (int64_t extent : model.input) batch.push_back(extent);
      Tensor x = zeros({DType::f32, batch});
      nn::init::normal(x, 0, 1, nn::init::stream(9, "x"));
      std::vector<int64_t> labels;
      for (int64_t n = 0; n < 64; ++n) labels.push_back(n % model.classes);
      total += nn::CrossEntropyLoss()((*model.module)(x), tensor(labels, {64})).item<double>();
      expected += std::log(static_cast<double>(model.classes));
    }
    EXPECT_NEAR(total, expected, 0.01 * expected) << entry.name;
  }
}

TEST(Loss, T4CertainLogitsLoseNothingOrTheirWholeDistance) {
  nn::CrossEntropyLoss loss;
  Tensor logits = tensor<float>({20, -20, -20, 20}, {2, 2});
  EXPECT_LT(loss(logits, tensor<int64_t>({0, 1}, {2})).item<double>(), 1e-6);
  EXPECT_NEAR(loss(logits, tensor<int64_t>({1, 0}, {2})).item<double>(), 40, 1e-4);
}

TEST(Loss, T26EveryLabelDtypeWorksOrIsATypedError) {
  Tensor logits = tensor(formula_values<float>(1, 6), {2, 3});
  nn::CrossEntropyLoss loss;
  double expected = loss(logits, tensor<int64_t>({2, 0}, {2})).item<double>();
  EXPECT_EQ(loss(logits, tensor<int32_t>({2, 0}, {2})).item<double>(), expected);
  EXPECT_EQ(loss(logits, tensor<uint8_t>({2, 0}, {2})).item<double>(), expected);
  expect_error(ErrorCode::kUsage, {"integer class labels", "f32[2]"}, [&] {
    loss(logits, tensor<float>({2, 0}, {2}));
  });
  nn::MSELoss mse;
  expect_error(ErrorCode::kUsage, {"one shape and dtype", "f32[2, 3]", "i64[2]"}, [&] {
    mse(logits, tensor<int64_t>({2, 0}, {2}));
  });
}

TEST(Loss, T37TheLossOfABatchIsTheMeanOfItsSamples) {
  Tensor logits = tensor(formula_values<double>(1, 35), {7, 5});
  std::vector<int64_t> labels = test::formula_labels(2, 7, 5);
  nn::CrossEntropyLoss loss;
  double total = 0;
  for (int64_t n = 0; n < 7; ++n) {
    std::vector<double> row(logits.data<double>().begin() + n * 5, logits.data<double>().begin() + n * 5 + 5);
    total += loss(tensor(row, {1, 5}), tensor<int64_t>({labels[static_cast<size_t>(n)]}, {1})).item<double>();
  }
  EXPECT_NEAR(loss(logits, tensor(labels, {7})).item<double>(), total / 7, 1e-14);
}

TEST(Loss, T57SquaredErrorAndItsGradientAreMeansOverAllElementsOfAnyBatch) {
  for (int64_t batch : {1, 7, 32}) {
    Tensor y = tensor(formula_values<double>(1, batch * 3), {batch, 3}).set_requires_grad();
    Tensor t = tensor(formula_values<double>(2, batch * 3), {batch, 3});
    double n = static_cast<double>(batch * 3), expected = 0;
    for (size_t i = 0; i < static_cast<size_t>(batch * 3); ++i)
      expected += std::pow(y.data<double>()[i] - t.data<double>()[i], 2) / n;
    for (Tensor loss : {nn::MSELoss()(y, t), nn::mse_loss(y, t)}) {
      EXPECT_NEAR(loss.item<double>(), expected, 1e-14);
      std::vector<Tensor> inputs = {y};
      Tensor dy = grad(loss, inputs)[0];
      for (size_t i = 0; i < static_cast<size_t>(batch * 3); ++i)
        EXPECT_NEAR(dy.data<double>()[i], 2 * (y.data<double>()[i] - t.data<double>()[i]) / n, 1e-15);
    }
  }
}

TEST(Loss, SquaredErrorRefusesWhatWouldBroadcast) {
  Tensor column = zeros({DType::f32, {4, 1}}), row = zeros({DType::f32, {4}});
  expect_error(ErrorCode::kUsage, {"one shape", "f32[4, 1]", "f32[4]", "reshape"},
               [&] { nn::mse_loss(column, row); });
  EXPECT_EQ(nn::MSELoss().per_sample(row, row).shape(), (Shape{4}));
}

TEST(Loss, T56AModelThatEndsInSoftmaxIsRefusedUnderCrossEntropy) {
  nn::Sequential plain(nn::Flatten(), nn::Linear({.in_features = 4, .out_features = 2}));
  nn::Sequential ends(nn::Flatten(), nn::Linear({.in_features = 4, .out_features = 2}), nn::Softmax());
  nn::Sequential nested(nn::Flatten(), nn::Sequential(nn::Linear({.in_features = 4, .out_features = 2}),
                                                      nn::Softmax(), nn::Identity()));
  nn::CrossEntropyLoss cross_entropy;
  EXPECT_NO_THROW(cross_entropy.check(plain));
  for (nn::Sequential* model : {&ends, &nested})
    expect_error(ErrorCode::kBadConfig, {"ends in Softmax", "loss_test.cpp:", "logits", "remove the Softmax"},
                 [&] { cross_entropy.check(*model); });
  EXPECT_NO_THROW(nn::MSELoss().check(ends));
}

TEST(Loss, AreFoundByNameWithTheNearestOffered) {
  EXPECT_EQ(nn::make_loss("cross-entropy")->name(), "cross-entropy");
  EXPECT_EQ(nn::make_loss("mse")->name(), "mse");
  expect_error(ErrorCode::kBadConfig, {"'cross_entropy'", "did you mean 'cross-entropy'"},
               [] { nn::make_loss("cross_entropy"); });
}

}  // namespace
}  // namespace wholestep
