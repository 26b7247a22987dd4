// Every loss against PyTorch: values and gradients over reductions, options and the ends of the range of
// logits.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "support/expect_error.h"
#include "support/formula.h"
#include "support/gradient_check.h"
#include "support/test_device.h"
#include "wholestep/compile/compile.h"
#include "wholestep/graph/grad.h"
#include "wholestep/io/json.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/element_losses.h"
#include "wholestep/nn/embedding_losses.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"

namespace wholestep {
namespace {

using nlohmann::json;
using test::expect_error;

const json& reference() {
  static const json all = test::read_reference("losses.json");
  return all;
}

std::unique_ptr<nn::Loss> loss_from(const json& spec) {
  ConfigReader reader(spec, "loss");
  auto loss = nn::read_loss(reader);
  reader.finish();
  return loss;
}

Tensor input_of(const json& given, DType dtype) {
  Shape shape(given["shape"].get<std::vector<int64_t>>());
  return test::on_test_device(given.contains("labels")
                                  ? tensor(given["labels"].get<std::vector<int64_t>>(), shape)
                                  : cast(tensor(given["values"].get<std::vector<double>>(), shape), dtype));
}

/// The loss of a case as a function of its inputs.
std::function<Tensor(const std::vector<Tensor>&)> function_of(const json& c, const std::string& reduction) {
  json config = c["config"];
  if (c["loss"] == "cosine-embedding") {
    nn::CosineEmbeddingLoss loss({.margin = config.value("margin", 0.0), .reduction = reduction});
    return [loss](const std::vector<Tensor>& x) { return loss(x[0], x[1], x[2]); };
  }
  if (c["loss"] == "triplet-margin") {
    nn::TripletMarginLoss loss({.margin = config.value("margin", 1.0),
                                .p = config.value("p", 2.0),
                                .eps = config.value("eps", 1e-6),
                                .swap = config.value("swap", false),
                                .reduction = reduction});
    return [loss](const std::vector<Tensor>& x) { return loss(x[0], x[1], x[2]); };
  }
  config["type"] = c["loss"];
  config["reduction"] = reduction;
  std::shared_ptr<nn::Loss> loss = loss_from(config);
  return [loss](const std::vector<Tensor>& x) { return (*loss)(x[0], x[1]); };
}

void expect_near(const Tensor& got, const json& wanted, double relative, const std::string& what) {
  Tensor values = cast(got, DType::f64).to_host();
  ASSERT_EQ(values.numel(), static_cast<int64_t>(wanted.size())) << what;
  for (size_t i = 0; i < wanted.size(); ++i) {
    double w = wanted[i].get<double>();
    EXPECT_NEAR(values.data<double>()[i], w, relative * std::max(1.0, std::abs(w)))
        << what << " [" << i << "]";
  }
}

void compare(DType dtype, double relative) {
  WHOLESTEP_NEEDS_TEST_DEVICE();
  for (const json& c : test::of_part(reference()["cases"]))
    for (const json& result : c["results"]) {
      std::string what = c["loss"].get<std::string>() + c["config"].dump() + result["reduction"].dump();
      bool at_ends = c["loss"] == "bce" && c["inputs"][0]["shape"].size() == 1;
      if (dtype == DType::f32 && at_ends) continue;  // 1 - 1e-9 is 1 in f32
      double within = at_ends ? 1e-8 : relative;     // PyTorch's 1e-12 there is that of f32
      std::vector<Tensor> inputs, differentiated;
      for (const json& given : c["inputs"]) inputs.push_back(input_of(given, dtype));
      for (size_t i = 0; i < result["grads"].size(); ++i)
        differentiated.push_back(inputs[i].set_requires_grad());
      Tensor loss = function_of(c, result["reduction"])(inputs);
      expect_near(loss, result["value"], within, what);
      std::vector<Tensor> grads = grad(loss.rank() == 0 ? loss : sum(square(loss)), differentiated);
      for (size_t i = 0; i < grads.size(); ++i)
        expect_near(grads[i], result["grads"][i], within, what + " gradient");
    }
}

TEST(Losses, ValuesAndGradientsEqualPyTorchInF64) { compare(DType::f64, 1e-10); }
TEST(Losses, ValuesAndGradientsEqualPyTorchInF32) { compare(DType::f32, 1e-5); }

TEST(Losses, EveryTypeAndOptionHasACase) {
  for (const auto& type : nn::loss_types())
    for (const ConfigFieldRow& field : type.fields) {
      bool found = field.name == "reduction";
      for (const json& c : reference()["cases"])
        found = found || (c["loss"] == type.name && c["config"].contains(field.name));
      EXPECT_TRUE(found) << type.name << " " << field.name;
    }
}

TEST(Losses, FirstDerivativesOfLossesOfEmbeddingsMatchCentralDifferences) {
  int checked = 0;
  for (const json& c : reference()["cases"]) {
    if (c["loss"] != "cosine-embedding" && c["loss"] != "triplet-margin") continue;
    for (const json& result : c["results"]) {
      std::vector<Tensor> inputs, varied;
      for (const json& given : c["inputs"]) inputs.push_back(input_of(given, DType::f64));
      for (size_t i = 0; i < result["grads"].size(); ++i) varied.push_back(inputs[i]);
      auto f = [&](const std::vector<Tensor>& x) {
        std::vector<Tensor> all = inputs;
        std::ranges::copy(x, all.begin());
        return test::weighted_sum({function_of(c, result["reduction"])(all)});
      };
      EXPECT_TRUE(test::gradients_agree(f, varied)) << c["loss"] << c["config"] << result["reduction"];
      ++checked;
    }
  }
  EXPECT_EQ(checked, 15);
}

TEST(Losses, SecondDerivativesMatchCentralDifferences) {
  for (const json& c : reference()["cases"]) {
    if (c["inputs"][0]["shape"].size() == 1) continue;  // ends of a range, where there are none
    bool extreme = std::ranges::any_of(c["inputs"][0]["values"],
                                       [](const json& v) { return std::abs(v.get<double>()) > 10; });
    if (extreme || c["loss"] == "l1" || c["loss"] == "hinge-embedding" || c["loss"] == "multi-margin" ||
        c["loss"] == "triplet-margin")
      continue;  // linear, or with kinks
    std::vector<Tensor> inputs;
    for (const json& given : c["inputs"]) inputs.push_back(input_of(given, DType::f64));
    auto f = function_of(c, "mean");
    auto slope = [&](const std::vector<Tensor>& x) {
      std::vector<Tensor> all = inputs, wanted = {x[0]};
      all[0] = x[0];
      return sum(sin(grad(f(all), wanted, /*create_graph=*/true)[0]));
    };
    EXPECT_TRUE(test::gradients_agree(slope, {inputs[0]})) << c["loss"] << c["config"];
  }
}

TEST(Losses, ACompiledLossEqualsAnEagerOneBitForBit) {
  for (const json& c : reference()["cases"]) {
    std::vector<Tensor> inputs;
    for (const json& given : c["inputs"]) inputs.push_back(input_of(given, DType::f32));
    auto f = function_of(c, "mean");
    inputs[0].set_requires_grad().set_role(TensorRole::kParameter, "x");
    std::vector<Tensor> wanted = {inputs[0]};
    auto graph = std::make_shared<Graph>();
    {
      Trace trace(graph);
      Tensor loss = f(inputs);
      graph->add_output("loss", loss);
      graph->add_output("dx", grad(loss, wanted)[0]);
    }
    CompiledStep step(make_plan(graph));
    step.run();
    Tensor loss = f(inputs), dx = grad(loss, wanted)[0];
    EXPECT_TRUE(std::ranges::equal(step.output("loss").bytes(), loss.bytes())) << c["loss"] << c["config"];
    EXPECT_TRUE(std::ranges::equal(step.output("dx").bytes(), dx.bytes())) << c["loss"] << c["config"];
  }
}

TEST(Losses, T67ALabelOutOfRangeIsAnErrorWithItsIndexAndNaNInACompiledStep) {
  for (const char* type : {"cross-entropy", "nll", "multi-margin"}) {
    auto loss = loss_from({{"type", type}, {"weight", {1, 2, 3}}});
    Tensor x = tensor(test::formula_values<float>(1, 12), {4, 3});
    for (int64_t bad : {-1, 3}) {
      Tensor labels = tensor<int64_t>({0, 1, bad, 2}, {4});
      expect_error(ErrorCode::kUsage,
                   {"class label out of range", "labels[2]", "got " + std::to_string(bad), "expected 0 to 2"},
                   [&] { (*loss)(x, labels); });
      auto graph = std::make_shared<Graph>();
      {
        Trace trace(graph);
        Tensor slot = graph->add_input(InputKind::kBatch, "labels", labels.type());
        graph->add_output("loss", (*loss)(x, slot));
      }
      CompiledStep step(make_plan(graph));
      step.write("labels", labels);
      step.run();
      EXPECT_TRUE(std::isnan(step.output("loss").item<float>())) << type << " " << bad;
    }
  }
  Tensor ignored = tensor<int64_t>({0, 1, -100, 2}, {4});
  auto loss = loss_from({{"type", "cross-entropy"}, {"ignore_index", -100}});
  EXPECT_TRUE(
      std::isfinite((*loss)(tensor(test::formula_values<float>(1, 12), {4, 3}), ignored).item<float>()));
}

TEST(Losses, ClassLabelsBecomeTheTargetsThatEachLossTakes) {
  Tensor output = tensor(test::formula_values<float>(1, 6), {2, 3}), labels = tensor<int32_t>({2, 0}, {2});
  auto values = [](const Tensor& t) {
    Tensor v = cast(t, DType::f32);
    return std::vector<float>(v.data<float>().begin(), v.data<float>().end());
  };
  for (const auto& type : nn::loss_types()) {
    auto loss = loss_from({{"type", type.name}});
    Tensor target = loss->target_of(labels, output);
    bool takes_labels = type.name == "cross-entropy" || type.name == "nll" || type.name == "multi-margin";
    std::vector<float> wanted = {0, 0, 1, 1, 0, 0};
    if (takes_labels) wanted = {2, 0};
    if (type.name == "hinge-embedding") wanted = {-1, -1, 1, 1, -1, -1};
    EXPECT_EQ(values(target), wanted) << type.name;
  }
  Tensor logit = tensor<float>({0.3F, -0.2F}, {2, 1});  // T55: one logit, two classes
  EXPECT_EQ(values(nn::BCEWithLogitsLoss().target_of(tensor<int32_t>({1, 0}, {2}), logit)),
            (std::vector<float>{1, 0}));
}

TEST(Losses, SayWhatProbabilitiesAndClassesAnOutputStandsFor) {
  Tensor x = tensor<float>({2, -1, 0.5F, -3, 1, 0}, {2, 3}), one = tensor<float>({0.3F, -0.2F}, {2, 1});
  auto at = [](const Tensor& t, size_t i) { return t.data<float>()[i]; };
  EXPECT_NEAR(at(nn::CrossEntropyLoss().probabilities(x), 0), 1 / (1 + std::exp(-3) + std::exp(-1.5)), 1e-6);
  EXPECT_NEAR(at(nn::BCEWithLogitsLoss().probabilities(x), 0), 1 / (1 + std::exp(-2)), 1e-6);
  EXPECT_NEAR(at(nn::NLLLoss().probabilities(x), 1), std::exp(-1), 1e-6);
  Tensor two = nn::BCEWithLogitsLoss().probabilities(one);
  EXPECT_EQ(two.shape(), (Shape{2, 2}));
  EXPECT_NEAR(at(two, 1), 1 / (1 + std::exp(-0.3)), 1e-6);
  EXPECT_NEAR(at(two, 0) + at(two, 1), 1, 1e-6);
  auto classes = [](const Tensor& t) {
    return std::vector<int64_t>(t.data<int64_t>().begin(), t.data<int64_t>().end());
  };
  EXPECT_EQ(classes(nn::BCEWithLogitsLoss().classes(one)), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(classes(nn::CrossEntropyLoss().classes(x)), (std::vector<int64_t>{0, 1}));
}

TEST(Losses, MisuseIsNamed) {
  Tensor x = tensor(test::formula_values<float>(1, 6), {2, 3});
  expect_error(ErrorCode::kUsage,
               {"the loss huber", "one shape and dtype", "f32[2, 3] and f32[3]", "reshape"}, [&] {
                 nn::HuberLoss()(x, tensor<float>({1, 2, 3}, {3}));
               });
  expect_error(ErrorCode::kUsage,
               {"the loss bce takes probabilities", "output[1]", "expected 0 to 1", "bce-with-logits"}, [&] {
                 nn::BCELoss()(tensor<float>({0.5F, 1.5F}, {2}), tensor<float>({0, 1}, {2}));
               });
  expect_error(ErrorCode::kUsage, {"one weight a class", "got 2 weights", "expected 3"}, [&] {
    nn::CrossEntropyLoss({.weight = {1, 2}})(x, tensor<int64_t>({0, 1}, {2}));
  });
  expect_error(ErrorCode::kUsage, {"the loss nll", "integer class labels", "f32[2]"}, [&] {
    nn::NLLLoss()(x, tensor<float>({0, 1}, {2}));
  });
  expect_error(ErrorCode::kUsage, {"pos_weight", "got 2 weights", "expected 3"}, [&] {
    nn::BCEWithLogitsLoss({.pos_weight = {1, 2}})(x, x);
  });
  expect_error(ErrorCode::kUsage, {"a target of 1 or -1 a pair", "f32[2, 3]", "f32[2]"},
               [&] { nn::CosineEmbeddingLoss()(x, x, x); });
  expect_error(ErrorCode::kUsage, {"embeddings have two axes", "triplet-margin"}, [&] {
    Tensor flat = tensor<float>({1, 2}, {2});
    nn::TripletMarginLoss()(flat, flat, flat);
  });
  expect_error(ErrorCode::kBadConfig, {"loss huber", "'delta' must be above 0"},
               [] { nn::HuberLoss({.delta = 0}); });
  expect_error(ErrorCode::kBadConfig, {"'reduction' got 'men', did you mean 'mean'?"},
               [] { nn::MSELoss({.reduction = "men"}); });
  expect_error(ErrorCode::kBadConfig, {"'cross_entropy'", "did you mean 'cross-entropy'"}, [] {
    loss_from({{"type", "cross_entropy"}});
  });
  nn::Sequential ends(nn::Linear({.in_features = 4, .out_features = 2}), nn::Sigmoid());
  for (const char* type : {"bce-with-logits", "focal"})
    expect_error(ErrorCode::kBadConfig, {"ends in Sigmoid", type, "losses_test.cpp:", "remove the Sigmoid"},
                 [&] {
                   loss_from({{"type", type}})->check(ends);
                 });
  EXPECT_NO_THROW(nn::BCELoss().check(ends));
  nn::Sequential plain(nn::Linear({.in_features = 4, .out_features = 2}));
  expect_error(ErrorCode::kBadConfig, {"ends in Linear, and bce takes probabilities", "bce-with-logits"},
               [&] { nn::BCELoss().check(plain); });
}

/// A loss outside the library: distances to the power of four, with a weight a sample.
class QuarticLoss final : public nn::Loss {
 public:
  std::string_view name() const override { return "quartic"; }
  Tensor unreduced(const Tensor& output, const Tensor& target) const override {
    nn::check_same_type(name(), output, target);
    return square(square(output - target));
  }
};

TEST(Losses, OneOfOnesOwnIsReducedAndDifferentiatedAsTheOthers) {
  Tensor x = tensor(test::formula_values<double>(1, 6), {2, 3}),
         t = tensor(test::formula_values<double>(2, 6), {2, 3});
  QuarticLoss loss;
  double expected = 0;
  for (size_t i = 0; i < 6; ++i) expected += std::pow(x.data<double>()[i] - t.data<double>()[i], 4) / 6;
  EXPECT_NEAR(loss(x, t).item<double>(), expected, 1e-14);
  EXPECT_EQ(loss.per_sample(x, t).shape(), (Shape{2}));
  EXPECT_TRUE(test::gradients_agree([&](const std::vector<Tensor>& v) { return loss(v[0], t); }, {x}));
}

}  // namespace
}  // namespace wholestep
