// Optimizers against PyTorch's trajectories, and what they promise about state.
#include "wholestep/optim/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "optim/problem.h"
#include "support/expect_error.h"
#include "support/formula.h"
#include "support/graph_interpreter.h"
#include "wholestep/graph/grad.h"
#include "wholestep/io/json.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/optim/adam.h"
#include "wholestep/optim/sgd.h"

namespace wholestep {
namespace {

using nlohmann::json;
using test::expect_error;
using test::optimizer_from;
using test::Problem;
using test::trained;

const json& reference() {
  static const json all = test::read_reference("optimizers.json");
  return all;
}

TEST(Optimizer, TrajectoriesOver1000StepsEqualPyTorchInF64) { test::follows<double>(reference(), 1e-10); }
TEST(Optimizer, TrajectoriesOver1000StepsEqualPyTorchInF32) { test::follows<float>(reference(), 1e-5); }

TEST(Optimizer, T20MomentumEqualsATenLineReference) {
  Problem<double> problem;
  optim::SGD sgd({.lr = 0.02, .momentum = 0.9});
  sgd.attach(problem.parameters());
  std::vector<double> p = problem.values(), v(p.size());
  for (int step = 0; step < 100; ++step) {
    std::vector<Tensor> grads = problem.gradients();
    for (size_t i = 0; i < p.size(); ++i) {
      double g = i < 12 ? grads[0].data<double>()[i] : grads[1].data<double>()[i - 12];
      v[i] = 0.9 * v[i] + g;
      p[i] -= 0.02 * v[i];
    }
    sgd.step(grads);
    for (size_t i = 0; i < p.size(); ++i) ASSERT_NEAR(problem.values()[i], p[i], 1e-12) << step;
  }
}

TEST(Optimizer, T21T39EveryStepChangesEveryParameter) {
  for (const char* type : {"sgd", "adam", "adamw"}) {
    auto optimizer = optimizer_from({{"type", type}});
    Problem<float> problem;
    optimizer->attach(problem.parameters());
    for (int step = 0; step < 20; ++step) {
      std::vector<float> before = problem.values();
      optimizer->step(problem.gradients());
      std::vector<float> after = problem.values();
      for (size_t i = 0; i < before.size(); ++i) EXPECT_NE(before[i], after[i]) << type << " " << step;
    }
  }
}

TEST(Optimizer, T43ARateOfZeroLeavesEveryBit) {
  for (const json& c : reference()["trajectories"]) {
    json spec = c["optimizer"];
    spec["lr"] = 0;
    EXPECT_EQ(trained<float>(*optimizer_from(spec), 5), Problem<float>().values()) << spec;
  }
}

TEST(Optimizer, T48AChangedRateTakesEffectOnTheVeryNextUpdate) {
  for (const char* type : {"sgd", "adam", "adamw"}) {
    auto optimizer = optimizer_from({{"type", type}, {"lr", 0.1}});
    Problem<float> problem;
    optimizer->attach(problem.parameters());
    optimizer->step(problem.gradients());
    std::vector<float> after_one = problem.values();
    EXPECT_NE(after_one, Problem<float>().values());
    optimizer->set_learning_rate(0);
    for (int i = 0; i < 3; ++i) optimizer->step(problem.gradients());
    EXPECT_EQ(problem.values(), after_one);
    optimizer->set_learning_rate(0.1);
    optimizer->step(problem.gradients());
    EXPECT_NE(problem.values(), after_one);
  }
}

TEST(Optimizer, T54EveryOptionChangesTheTrajectory) {
  auto end = [](const json& spec) { return trained<double>(*optimizer_from(spec), 10); };
  auto differ = [&](const json& a, const json& b) { EXPECT_NE(end(a), end(b)) << a << " and " << b; };
  json momentum = {{"type", "sgd"}, {"momentum", 0.9}};
  differ({{"type", "sgd"}}, momentum);
  differ(momentum, {{"type", "sgd"}, {"momentum", 0.9}, {"dampening", 0.1}});
  differ(momentum, {{"type", "sgd"}, {"momentum", 0.9}, {"nesterov", true}});
  differ(momentum, {{"type", "sgd"}, {"momentum", 0.9}, {"weight_decay", 0.1}});
  differ({{"type", "sgd"}}, {{"type", "sgd"}, {"weight_decay", 0.1}});
  for (const char* type : {"adam", "adamw"}) {
    differ({{"type", type}}, {{"type", type}, {"lr", 0.002}});
    differ({{"type", type}}, {{"type", type}, {"betas", {0.8, 0.999}}});
    differ({{"type", type}}, {{"type", type}, {"betas", {0.9, 0.99}}});
    differ({{"type", type}}, {{"type", type}, {"eps", 1e-3}});
    differ({{"type", type}}, {{"type", type}, {"weight_decay", 0.5}});
  }
  differ({{"type", "adam"}, {"weight_decay", 0.1}}, {{"type", "adamw"}, {"weight_decay", 0.1}});
}

TEST(Optimizer, T64AnOptimizerFromAConfigIsTheOneWrittenInCode) {
  optim::SGD sgd({.lr = 0.01, .momentum = 0.9, .nesterov = true});
  optim::Adam adam({.lr = 0.01, .betas = {0.8, 0.95}});
  optim::AdamW adamw({.lr = 0.01});
  EXPECT_EQ(trained<float>(sgd, 20),
            trained<float>(
                *optimizer_from({{"type", "sgd"}, {"lr", 0.01}, {"momentum", 0.9}, {"nesterov", true}}), 20));
  EXPECT_EQ(trained<float>(adam, 20),
            trained<float>(*optimizer_from({{"type", "adam"}, {"lr", 0.01}, {"betas", {0.8, 0.95}}}), 20));
  EXPECT_EQ(trained<float>(adamw, 20),
            trained<float>(*optimizer_from({{"type", "adamw"}, {"lr", 0.01}}), 20));
}

TEST(Optimizer, ATracedStepEqualsAnEagerOneBitForBit) {
  for (const json& c : reference()["trajectories"]) {
    auto eager = optimizer_from(c["optimizer"]), traced = optimizer_from(c["optimizer"]);
    eager->set_schedule(
        std::make_shared<optim::Cosine>(optim::CosineConfig{.total_steps = 30, .warmup = {.steps = 5}}));
    traced->set_schedule(eager->schedule());
    Problem<float> eager_problem, traced_problem;
    eager->attach(eager_problem.parameters());
    traced->attach(traced_problem.parameters());
    auto graph = std::make_shared<Graph>();
    {
      Trace trace(graph);
      traced->step(traced_problem.gradients());
    }
    verify(*graph);
    for (int i = 0; i < 40; ++i) {
      if (i == 20) eager->set_learning_rate(0.5), traced->set_learning_rate(0.5);
      eager->step(eager_problem.gradients());
      test::interpret(*graph, {});
      ASSERT_EQ(eager_problem.values(), traced_problem.values()) << c["optimizer"] << " step " << i;
    }
    EXPECT_EQ(traced->step_count().item<int64_t>(), 40);
  }
}

TEST(Optimizer, RateAndStepAreInputsOfATraceNotConstants) {
  optim::Adam adam({.lr = 0.123});
  Problem<float> problem;
  adam.attach(problem.parameters());
  auto graph = std::make_shared<Graph>();
  {
    Trace trace(graph);
    adam.step(problem.gradients());
  }
  std::vector<std::string> states, updated;
  for (const GraphInput& input : graph->inputs)
    if (input.kind == InputKind::kState) states.push_back(input.name);
  for (const Update& update : graph->updates) updated.push_back(graph->find_input(update.target)->name);
  EXPECT_THAT(states, testing::UnorderedElementsAre("optimizer.learning_rate", "optimizer.step", "w.exp_avg",
                                                    "w.exp_avg_sq", "b.exp_avg", "b.exp_avg_sq"));
  EXPECT_THAT(updated, testing::UnorderedElementsAre("optimizer.step", "w", "w.exp_avg", "w.exp_avg_sq", "b",
                                                     "b.exp_avg", "b.exp_avg_sq"));
  EXPECT_EQ(to_string(*graph).find("0.123"), std::string::npos);
}

TEST(Optimizer, StateHasStableNamesAndStartsAtZero) {
  optim::SGD sgd({.momentum = 0.9});
  Problem<float> problem;
  sgd.attach(problem.parameters());
  std::vector<std::string> names;
  for (const Tensor& t : sgd.state()) names.push_back(t.name());
  EXPECT_EQ(names, (std::vector<std::string>{"optimizer.step", "optimizer.learning_rate", "w.momentum_buffer",
                                             "b.momentum_buffer"}));
  EXPECT_EQ(sgd.state()[2].shape(), (Shape{3, 4}));
  EXPECT_EQ(sgd.state()[2].data<float>()[5], 0.0f);
}

TEST(Optimizer, MisuseIsAnErrorThatSaysWhatToDo) {
  optim::SGD sgd;
  Problem<float> problem;
  expect_error(ErrorCode::kUsage, {"at least one parameter", "model.parameters()"}, [&] { sgd.attach({}); });
  expect_error(ErrorCode::kUsage, {"twice", "'w'"}, [&] { sgd.attach({problem.w, problem.b, problem.w}); });
  expect_error(ErrorCode::kUsage, {"parameters of a module", "f32[8, 3]"}, [&] { sgd.attach({problem.x}); });
  expect_error(ErrorCode::kUsage, {"one gradient a parameter", "attach"}, [&] { sgd.step({}); });
  sgd.attach(problem.parameters());
  std::vector<Tensor> swapped = {problem.b, problem.w};
  expect_error(ErrorCode::kUsage, {"does not fit", "(w)", "f32[4]", "f32[3, 4]"}, [&] { sgd.step(swapped); });
}

TEST(Optimizer, BadOptionsAreAllListedWithTheNearestName) {
  expect_error(ErrorCode::kBadConfig,
               {"optimizer", "'lr' got -1, expected at least 0", "'betas'", "'weight_dcay'", "weight_decay"},
               [] {
                 optimizer_from({{"type", "adam"}, {"lr", -1}, {"betas", {0.9, 2}}, {"weight_dcay", 0.1}});
               });
  expect_error(ErrorCode::kBadConfig, {"'type' got 'adm'", "adam"}, [] {
    optimizer_from({{"type", "adm"}});
  });
  expect_error(ErrorCode::kBadConfig, {"'type' is missing"}, [] { optimizer_from({{"lr", 1}}); });
  expect_error(ErrorCode::kBadConfig, {"nesterov", "momentum"}, [] {
    optimizer_from({{"type", "sgd"}, {"nesterov", true}});
  });
  expect_error(ErrorCode::kBadConfig, {"optimizer sgd", "nesterov", "momentum"},
               [] { optim::SGD({.nesterov = true}); });
}

TEST(Optimizer, AConfigSurvivesTheRoundTripThroughItsJsonForm) {
  for (const json& c : reference()["trajectories"]) {
    json first = json::object(), second = json::object();
    auto optimizer = optimizer_from(c["optimizer"]);
    optimizer->write_spec(first);
    optimizer_from(first)->write_spec(second);
    EXPECT_EQ(first, second);
    EXPECT_EQ(first["lr"], c["optimizer"]["lr"]);
  }
  EXPECT_EQ(optim::SGD({.lr = 0.5, .momentum = 0.9}).description(), "sgd(lr=0.5, momentum=0.9)");
}

}  // namespace
}  // namespace wholestep
