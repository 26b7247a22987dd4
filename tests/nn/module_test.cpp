// Modules: names, modes, drawing of parameters, and errors that point at the layer.
#include "wholestep/nn/module.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/formula.h"
#include "wholestep/compile/compile.h"
#include "wholestep/graph/grad.h"
#include "wholestep/graph/graph.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/batch_norm.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/dropout.h"
#include "wholestep/nn/flatten.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/norm.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/optim/sgd.h"

namespace wholestep {
namespace {

using test::expect_error;

nn::Sequential small_mlp() {
  return nn::Sequential(nn::Flatten(), nn::Linear({.in_features = 12, .out_features = 5}), nn::ReLU(),
                        nn::Linear({.in_features = 5, .out_features = 3, .bias = false}));
}

TEST(Module, T25NamesAndShapesOfParametersAreThoseOfPyTorch) {
  nn::Sequential model = small_mlp();
  auto named = model.named_parameters();
  ASSERT_EQ(named.size(), 3u);
  EXPECT_EQ(named[0].first, "layers.1.weight");
  EXPECT_EQ(named[0].second.shape(), (Shape{5, 12}));
  EXPECT_EQ(named[1].first, "layers.1.bias");
  EXPECT_EQ(named[1].second.shape(), (Shape{5}));
  EXPECT_EQ(named[2].first, "layers.3.weight");
  EXPECT_EQ(named[2].second.shape(), (Shape{3, 5}));
  for (const auto& [name, tensor] : named) {
    EXPECT_EQ(tensor.name(), name);
    EXPECT_EQ(tensor.role(), TensorRole::kParameter);
    EXPECT_TRUE(tensor.requires_grad());
  }
}

TEST(Module, ResidualBranchesNest) {
  nn::Sequential model(
      nn::Residual(nn::Sequential(nn::Linear({.in_features = 4, .out_features = 6})),
                   nn::Sequential(nn::Linear({.in_features = 4, .out_features = 6, .bias = false}))),
      nn::Residual(nn::Sequential(
          nn::Tanh(), nn::Residual(nn::Sequential(nn::Linear({.in_features = 6, .out_features = 6}))))));
  std::vector<std::string> names;
  for (const auto& [name, tensor] : model.named_parameters()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{
                       "layers.0.layers.0.weight", "layers.0.layers.0.bias", "layers.0.shortcut.0.weight",
                       "layers.1.layers.1.layers.0.weight", "layers.1.layers.1.layers.0.bias"}));
  EXPECT_EQ(model(zeros({DType::f32, {2, 4}})).shape(), (Shape{2, 6}));
}

TEST(Module, AnErrorNamesLayerOperandsExpectationAndSourceLine) {
  nn::Sequential model(nn::Linear({.in_features = 12, .out_features = 5}),
                       nn::Linear({.in_features = 6, .out_features = 3}));
  expect_error(
      ErrorCode::kUsage,
      {"module_test.cpp:", "layers.1", "Linear(in_features=6, out_features=3)", "f32[2, 5]", "[..., 6]"},
      [&] {
        model(zeros({DType::f32, {2, 12}}));
      });
  nn::Sequential unflattened(nn::Linear({.in_features = 12, .out_features = 5}));
  expect_error(ErrorCode::kUsage, {"Flatten"}, [&] { unflattened(zeros({DType::f32, {2, 1, 3, 4}})); });
}

TEST(Module, AnErrorInsideAnOpNamesTheLayerToo) {
  nn::Sequential model(nn::Linear({.in_features = 3, .out_features = 5}));
  expect_error(ErrorCode::kUsage, {"module_test.cpp:", "layers.0", "matmul", "f64[2, 3]"}, [&] {
    model(zeros({DType::f64, {2, 3}}));
  });
}

TEST(Module, AnErrorOfACheckThatKnowsNoLayerNamesTheLayerToo) {
  nn::Sequential model(nn::Residual{nn::Sequential(nn::ReLU(), nn::Softmax({.dim = 3}))});
  expect_error(ErrorCode::kUsage,
               {"axis out of range (module_test.cpp:", ": layers.0.layers.1: Softmax(dim=3))", "got 3"}, [&] {
                 model(zeros({DType::f32, {2, 3}}));
               });
}

TEST(Module, AResidualWhoseBranchesDifferIsAnErrorThoughTheyWouldBroadcast) {
  nn::Residual block{nn::Sequential(nn::Linear({.in_features = 4, .out_features = 1}))};
  expect_error(ErrorCode::kUsage, {"branches", "[2, 1]", "[2, 4]", "shortcut"}, [&] {
    block(zeros({DType::f32, {2, 4}}));
  });
}

TEST(Module, ABadConfigListsAllItsProblems) {
  expect_error(ErrorCode::kBadConfig,
               {"module_test.cpp:", "Linear", "'in_features' got -1, expected at least 1",
                "'out_features' got 0, expected at least 1"},
               [] { nn::Linear({.in_features = -1}); });
}

TEST(Module, TheSameSeedDrawsTheSameParametersAndAnotherSeedOthers) {
  nn::Sequential a = small_mlp(), b = small_mlp();
  a.initialize(7);
  b.initialize(7);
  auto values = [](nn::Sequential& m) {
    auto span = m.parameters()[0].data<float>();
    return std::vector<float>(span.begin(), span.end());
  };
  EXPECT_EQ(values(a), values(b));
  b.initialize(8);
  EXPECT_NE(values(a), values(b));
}

TEST(Module, AParameterIsDrawnByItsNameWhateverElseTheModelHolds) {
  nn::Sequential a(nn::Linear({.in_features = 4, .out_features = 4}));
  nn::Sequential b(nn::Linear({.in_features = 4, .out_features = 4}),
                   nn::Linear({.in_features = 4, .out_features = 2}));
  a.initialize(3);
  b.initialize(3);
  for (int64_t i = 0; i < 16; ++i)
    EXPECT_EQ(a.parameters()[0].data<float>()[i], b.parameters()[0].data<float>()[i]);
  EXPECT_NE(b.parameters()[0].data<float>()[0], b.parameters()[2].data<float>()[0]);
}

TEST(Module, T6AModelThatWasNeverInitialisedDrawsFromSeed0OnFirstUse) {
  nn::Sequential used = small_mlp(), initialized = small_mlp();
  Tensor x = tensor<float>({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {1, 12});
  initialized.initialize(0);
  EXPECT_EQ(used(x).data<float>()[0], initialized(x).data<float>()[0]);
  EXPECT_NE(used(x).data<float>()[0], 0.0f);
}

TEST(Module, TrainAndEvalReachEveryLayer) {
  nn::Sequential model(nn::Residual(nn::Sequential(nn::Dropout({.p = 1}))));
  Tensor x = tensor<float>({1, 2, 3}, {1, 3});
  EXPECT_TRUE(model.training());
  EXPECT_EQ(model(x).data<float>()[2], 3.0f);  // dropped, so only the shortcut is left
  model.eval();
  EXPECT_FALSE(model.training());
  EXPECT_EQ(model(x).data<float>()[2], 6.0f);
  model.train();
  EXPECT_EQ(model(x).data<float>()[2], 3.0f);
}

TEST(Module, LinearAppliesToTheLastAxisOfMoreThanTwo) {
  nn::Linear layer({.in_features = 3, .out_features = 2});
  layer.initialize(1);
  Tensor x = tensor<float>({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {2, 2, 3});
  Tensor rows = tensor<float>({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {4, 3});
  Tensor y = layer(x), flat = layer(rows);
  EXPECT_EQ(y.shape(), (Shape{2, 2, 2}));
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(y.data<float>()[i], flat.data<float>()[i]);
}

TEST(Module, ConvertsToF64AndKeepsNamesAndValues) {
  nn::Sequential model = small_mlp();
  float before = model.parameters()[0].data<float>()[3];
  model.to(DType::f64);
  Tensor weight = model.parameters()[0];
  EXPECT_EQ(weight.dtype(), DType::f64);
  EXPECT_EQ(weight.data<double>()[3], static_cast<double>(before));
  EXPECT_EQ(weight.name(), "layers.1.weight");
  EXPECT_EQ(weight.role(), TensorRole::kParameter);
  EXPECT_TRUE(weight.requires_grad());
}

TEST(Module, ATraceTakesParametersAsInputsAndCarriesScopes) {
  nn::Sequential model = small_mlp();
  auto graph = std::make_shared<Graph>();
  {
    Trace trace(graph);
    Tensor x = graph->add_input(InputKind::kBatch, "x", {DType::f32, {2, 3, 4}});
    graph->add_output("y", model(x));
  }
  verify(*graph);
  std::vector<std::string> parameters, scopes;
  for (const GraphInput& input : graph->inputs)
    if (input.kind == InputKind::kParameter) parameters.push_back(input.name);
  for (const Node& node : graph->nodes) scopes.push_back(node.scope);
  EXPECT_EQ(parameters, (std::vector<std::string>{"layers.1.weight", "layers.1.bias", "layers.3.weight"}));
  EXPECT_EQ(scopes, (std::vector<std::string>{"layers.0", "layers.1", "layers.2", "layers.3"}));
}

/// A module as a user writes one, with a parameter used twice.
class Twice final : public nn::Module {
 public:
  Tensor forward(const Tensor& x) override { return inner_(inner_(x)); }

 protected:
  void members(nn::MemberVisitor& member) override {
    member.child("first", inner_);
    member.child("second", inner_);
  }

 private:
  nn::Linear inner_{{.in_features = 3, .out_features = 3}};
};

TEST(Module, ASharedParameterIsListedOnceUnderItsFirstName) {
  Twice model;
  auto named = model.named_parameters();
  ASSERT_EQ(named.size(), 2u);
  EXPECT_EQ(named[0].first, "first.weight");
  EXPECT_EQ(named[0].second.name(), "first.weight");
}

TEST(Freeze, FrozenLayersKeepTheirWeightsInEagerAndInCompiledSteps) {
  for (bool compiled : {false, true}) {
    nn::Sequential model(nn::Linear({.in_features = 4, .out_features = 5}), nn::Tanh(),
                         nn::Linear({.in_features = 5, .out_features = 3}));
    model.initialize(1);
    model[0].freeze();
    EXPECT_EQ(model.trainable_parameters().size(), 2u);
    std::vector<Tensor> before;
    for (const Tensor& p : model.parameters()) before.push_back(p.clone());
    optim::SGD sgd({.lr = 0.1});
    sgd.attach(model.trainable_parameters());
    Tensor x = tensor(test::formula_values<float>(1, 8), {2, 4}), labels = tensor<int64_t>({0, 2}, {2});
    auto step = [&](const Tensor& in) {
      sgd.step(grad(nn::CrossEntropyLoss()(model(in), labels), sgd.parameters()));
    };
    if (compiled) {
      auto graph = std::make_shared<Graph>();
      {
        Trace trace(graph);
        step(graph->add_input(InputKind::kBatch, "x", x.type()));
      }
      CompiledStep plan(make_plan(graph));
      plan.write("x", x);
      plan.run();
    } else {
      step(x);
    }
    std::vector<Tensor> after = model.parameters();
    for (size_t i = 0; i < after.size(); ++i)
      EXPECT_EQ(std::ranges::equal(after[i].bytes(), before[i].bytes()), i < 2) << compiled << " " << i;
    model.unfreeze();
    EXPECT_EQ(model.trainable_parameters().size(), 4u);
  }
}

TEST(Edit, LayersThatStayKeepTheirWeightsAndNewOnesDrawTheirs) {
  nn::Sequential model(nn::Linear({.in_features = 4, .out_features = 5}), nn::ReLU(),
                       nn::Linear({.in_features = 5, .out_features = 3}));
  model.initialize(1);
  Tensor first = model.parameters()[0].clone(), old = model.parameters()[2].clone();
  model.insert(1, nn::LayerNorm({.normalized_shape = {5}}));
  model.replace(3, nn::Linear({.in_features = 5, .out_features = 2}));
  EXPECT_EQ(model(zeros({DType::f32, {1, 4}})).shape(), (Shape{1, 2}));
  std::vector<std::string> names;
  for (const auto& [name, p] : model.named_parameters()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"layers.0.weight", "layers.0.bias", "layers.1.weight",
                                             "layers.1.bias", "layers.3.weight", "layers.3.bias"}));
  EXPECT_TRUE(std::ranges::equal(model.parameters()[0].bytes(), first.bytes()));
  EXPECT_NE(model.parameters()[4].data<float>()[0], 0.0f);
  model.erase(1).erase(1);
  EXPECT_EQ(model.size(), 2u);
  expect_error(ErrorCode::kUsage, {"no such layer", "got 2", "less than 2"}, [&] { model.erase(2); });
}

TEST(Edit, WeightsThatStillFitAreCopiedByName) {
  nn::Sequential from(nn::Linear({.in_features = 4, .out_features = 5}), nn::BatchNorm1d({.num_features = 5}),
                      nn::Linear({.in_features = 5, .out_features = 3}));
  nn::Sequential to(nn::Linear({.in_features = 4, .out_features = 5}), nn::BatchNorm1d({.num_features = 5}),
                    nn::Linear({.in_features = 5, .out_features = 7}), nn::PReLU());
  from.initialize(1);
  to.initialize(2);
  nn::Fitting fitting = nn::copy_fitting(from, to);
  EXPECT_EQ(fitting.fresh, (std::vector<std::string>{"layers.2.weight", "layers.2.bias", "layers.3.weight"}));
  EXPECT_EQ(fitting.kept.size(), 7u);
  EXPECT_TRUE(std::ranges::equal(to.parameters()[0].bytes(), from.parameters()[0].bytes()));
}

}  // namespace
}  // namespace wholestep
