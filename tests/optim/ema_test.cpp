// Averages of weights against their definition, eager and traced; groups of parameters.
#include "wholestep/optim/ema.h"

#include <gtest/gtest.h>

#include "optim/problem.h"
#include "support/expect_error.h"
#include "wholestep/compile/compile.h"
#include "wholestep/graph/graph.h"
#include "wholestep/optim/adam.h"
#include "wholestep/optim/muon.h"
#include "wholestep/optim/sgd.h"

namespace wholestep {
namespace {

using test::expect_error;
using test::Problem;

TEST(Ema, BeginsWithTheFirstUpdateAndThenMovesByItsDecay) {
  Problem<double> problem;
  optim::SGD sgd({.lr = 0.05});
  sgd.attach(problem.parameters());
  optim::Ema ema(problem.parameters(), 0.9);
  std::vector<double> average;
  for (int step = 0; step < 50; ++step) {
    sgd.step(problem.gradients());
    ema.update();
    std::vector<double> now = problem.values();
    if (step == 0) average = now;
    else
      for (size_t i = 0; i < now.size(); ++i) average[i] = 0.9 * average[i] + (1 - 0.9) * now[i];
    for (size_t i = 0; i < 12; ++i) ASSERT_NEAR(ema.averages()[0].data<double>()[i], average[i], 1e-14);
    for (size_t i = 0; i < 4; ++i) ASSERT_NEAR(ema.averages()[1].data<double>()[i], average[12 + i], 1e-14);
  }
  EXPECT_EQ(ema.state().back().item<int64_t>(), 50);
  ema.apply();
  EXPECT_NEAR(problem.values()[3], average[3], 1e-14);
}

TEST(Ema, IsPartOfACompiledStepWithTheSameBits) {
  Problem<float> eager, compiled;
  optim::Adam a({.lr = 0.05}), b({.lr = 0.05});
  a.attach(eager.parameters());
  b.attach(compiled.parameters());
  optim::Ema eager_ema(eager.parameters(), 0.8), compiled_ema(compiled.parameters(), 0.8);
  auto graph = std::make_shared<Graph>();
  {
    Trace trace(graph);
    b.step(compiled.gradients());
    compiled_ema.update();
  }
  CompiledStep step(make_plan(graph));
  for (int i = 0; i < 10; ++i) {
    a.step(eager.gradients());
    eager_ema.update();
    step.run();
    for (size_t k = 0; k < 2; ++k)
      ASSERT_TRUE(std::ranges::equal(eager_ema.averages()[k].bytes(), compiled_ema.averages()[k].bytes()));
  }
}

TEST(Ema, MisuseIsNamed) {
  Problem<float> problem;
  expect_error(ErrorCode::kUsage, {"decay", "got 1"}, [&] { optim::Ema(problem.parameters(), 1); });
  expect_error(ErrorCode::kUsage, {"parameters of a module", "f32[8, 3]"}, [&] { optim::Ema({problem.x}); });
}

TEST(Groups, EachHasItsOwnOptimizerAndRate) {
  Problem<double> grouped, w_alone, b_alone;
  optim::Adam adam({.lr = 0.05});
  adam.add_group("b", optim::SGD({.lr = 0.1, .momentum = 0.9}));
  adam.attach(grouped.parameters());
  std::vector<std::string> names;
  for (const Tensor& t : adam.state()) names.push_back(t.name());
  EXPECT_EQ(names, (std::vector<std::string>{"optimizer.step", "optimizer.learning_rate",
                                             "optimizer.groups.0.learning_rate", "w.exp_avg", "w.exp_avg_sq",
                                             "b.momentum_buffer"}));
  optim::Adam for_w({.lr = 0.05});
  optim::SGD for_b({.lr = 0.1, .momentum = 0.9});
  for_w.attach({w_alone.w});
  for_b.attach({b_alone.b});
  for (int i = 0; i < 20; ++i) {
    if (i == 10) adam.groups()[0]->set_learning_rate(0.01), for_b.set_learning_rate(0.01);
    std::vector<Tensor> grads = grouped.gradients();
    adam.step(grads);
    for_w.step(std::vector<Tensor>{grads[0]});
    for_b.step(std::vector<Tensor>{grads[1]});
    for (size_t k = 0; k < 12; ++k) ASSERT_EQ(grouped.values()[k], w_alone.values()[k]);
    for (size_t k = 12; k < 16; ++k) ASSERT_EQ(grouped.values()[k], b_alone.values()[k]);
  }
  EXPECT_EQ(adam.step_count().item<int64_t>(), 20);
}

TEST(Groups, MisuseIsNamed) {
  optim::SGD sgd, with_groups;
  with_groups.add_group("w", optim::SGD());
  expect_error(ErrorCode::kUsage, {"no groups itself", "'*'"},
               [&] { sgd.add_group("'*'", std::make_shared<optim::SGD>(std::move(with_groups))); });
  Problem<float> problem;
  optim::SGD misspelt;
  misspelt.add_group("*.bais", optim::SGD());
  expect_error(ErrorCode::kUsage, {"a group of parameters is empty", "'*.bais'"},
               [&] { misspelt.attach(problem.parameters()); });
  auto refused = [](const nlohmann::json& groups, std::initializer_list<std::string> parts) {
    expect_error(ErrorCode::kBadConfig, parts, [&] {
      test::optimizer_from({{"type", "sgd"}, {"groups", groups}});
    });
  };
  refused({{{"lr", 0.1}}}, {"groups[0]", "'parameters' is missing"});
  refused({{{"parameters", "b"}, {"lrr", 0.1}}}, {"groups[0]", "'lrr'", "'lr'"});
  refused("b", {"'groups' expected an array of tables"});
}

TEST(Muon, MakesSingularValuesAboutOne) {
  for (Shape shape : {Shape{3, 8}, Shape{8, 3}, Shape{5, 5}}) {
    Tensor x = tensor(test::formula_values<double>(3, shape.numel()), shape);
    Tensor o = optim::orthogonalized(x, {3.4445, -4.775, 2.0315}, 8, 1e-7);
    bool wide = shape[0] < shape[1];
    Tensor gram = matmul(o, o, !wide, wide);
    double trace = 0, n = static_cast<double>(gram.dim(0));
    for (int64_t i = 0; i < gram.dim(0); ++i)
      trace += gram.data<double>()[static_cast<size_t>(i * gram.dim(0) + i)];
    EXPECT_GT(trace, 0.45 * n) << to_string(shape);
    EXPECT_LT(trace, 1.5 * n) << to_string(shape);
  }
}

}  // namespace
}  // namespace wholestep
