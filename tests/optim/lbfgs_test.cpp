// L-BFGS: quadratics in about as many iterations as they have unknowns, curved valleys, small networks, eager
// and compiled.
#include "wholestep/optim/lbfgs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "support/formula.h"
#include "wholestep/compile/compile.h"
#include "wholestep/graph/grad.h"
#include "wholestep/graph/graph.h"
#include "wholestep/io/json.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/element_losses.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"
#include "wholestep/optim/sgd.h"

namespace wholestep {
namespace {

using test::expect_error;
using test::formula_values;

Tensor parameter(const std::vector<double>& values, const std::string& name = "x") {
  Tensor t = tensor(values, {static_cast<int64_t>(values.size())});
  return t.set_requires_grad().set_role(TensorRole::kParameter, name);
}

/// (x - c)^T A (x - c) / 2 of a random positive A, whose smallest eigenvalue is above 1.
struct Quadratic {
  int64_t n;
  Tensor m, c, x;
  explicit Quadratic(int64_t size, uint32_t stream)
      : n(size),
        m(tensor(formula_values<double>(stream, size * size), {size, size})),
        c(tensor(formula_values<double>(stream + 1, size), {size})),
        x(parameter(formula_values<double>(stream + 2, size))) {}
  optim::LossAndGrads operator()() const {
    Tensor d = reshape(x - c, {1, n}), md = matmul(d, m);
    Tensor loss = (sum(square(md)) + sum(square(d))) * 0.5;
    std::vector<Tensor> inputs = {x};
    return {loss.item<double>(), grad(loss, inputs)};
  }
};

TEST(LBFGS, T50SolvesConvexQuadraticsInNPlus5IterationsWithALossThatOnlyFalls) {
  for (int64_t n : {1, 2, 3, 5, 8, 13})
    for (uint32_t stream : {10u, 20u, 30u}) {
      Quadratic problem(n, stream);
      optim::LBFGS lbfgs({.max_iter = 1, .max_eval = 30, .tolerance_change = 0});
      lbfgs.attach({problem.x});
      double before = problem().loss, first = before;
      for (int64_t i = 0; i < n + 5 && !lbfgs.converged(); ++i) {
        double after = lbfgs.step(problem);
        if (!lbfgs.converged()) {
          EXPECT_LT(after, before) << n << " iteration " << i;
        }
        EXPECT_EQ(after, problem().loss);  // the parameters are where it says
        before = after;
      }
      EXPECT_LT(before, 1e-9 * first) << "n = " << n << ", stream " << stream;
      for (size_t i = 0; i < static_cast<size_t>(n); ++i)
        EXPECT_NEAR(problem.x.data<double>()[i], problem.c.data<double>()[i], 1e-4) << n;
    }
}

TEST(LBFGS, FindsTheMinimumOfRosenbrocksValley) {
  Tensor x = parameter({-1.2, 1});
  auto valley = [&]() -> optim::LossAndGrads {
    Tensor a = slice(x, 0, 0, 1), b = slice(x, 0, 1, 2);
    Tensor loss = sum(square(1.0 - a) + 100.0 * square(b - square(a)));
    std::vector<Tensor> inputs = {x};
    return {loss.item<double>(), grad(loss, inputs)};
  };
  optim::LBFGS lbfgs({.max_iter = 100, .tolerance_change = 1e-14});
  lbfgs.attach({x});
  EXPECT_LT(lbfgs.step(valley), 1e-12);
  EXPECT_TRUE(lbfgs.converged());
  EXPECT_NEAR(x.data<double>()[0], 1, 1e-5);
  EXPECT_NEAR(x.data<double>()[1], 1, 1e-5);
  EXPECT_LT(lbfgs.iterations(), 60);
}

TEST(LBFGS, TakesPyTorchsWayStepByStep) {
  nlohmann::json reference =
      read_json_file(std::filesystem::path(WHOLESTEP_SOURCE_DIR) / "tests/reference/lbfgs.json");
  for (const nlohmann::json& c : reference["cases"]) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const nlohmann::json &problem = c["problem"], &options = c["options"];
    std::function<optim::LossAndGrads()> evaluate;
    Tensor x;
    if (problem["type"] == "quadratic") {
      auto quadratic =
          std::make_shared<Quadratic>(problem["n"].get<int64_t>(), problem["stream"].get<uint32_t>());
      x = quadratic->x;
      evaluate = [quadratic] { return (*quadratic)(); };
    } else {
      x = parameter(c["start"].get<std::vector<double>>());
      evaluate = [x]() -> optim::LossAndGrads {
        int64_t n = x.numel();
        Tensor a = slice(x, 0, 0, n - 1), b = slice(x, 0, 1, n);
        Tensor loss = sum(square(1.0 - a) + 100.0 * square(b - square(a)));
        std::vector<Tensor> inputs = {x};
        return {loss.item<double>(), grad(loss, inputs)};
      };
    }
    optim::LBFGSConfig config{.max_iter = 1, .max_eval = 30};
    config.lr = options.value("lr", config.lr);
    config.history_size = options.value("history_size", config.history_size);
    optim::LBFGS lbfgs(config);
    lbfgs.attach({x});
    int step = 0;
    for (const nlohmann::json& expected : c["steps"]) {
      SCOPED_TRACE("step " + std::to_string(++step));
      EXPECT_NEAR(lbfgs.step(evaluate), expected["loss"].get<double>(),
                  1e-8 * (1 + expected["loss"].get<double>()));
      for (size_t i = 0; i < static_cast<size_t>(x.numel()); ++i)
        EXPECT_NEAR(x.data<double>()[i], expected["x"][i].get<double>(), 1e-8);
      EXPECT_EQ(lbfgs.evaluations(), expected["evaluations"].get<int64_t>());
    }
  }
}

/// A network that is to learn a curve.
struct Fit {
  nn::Sequential model{nn::Linear({.in_features = 1, .out_features = 12}), nn::Tanh(),
                       nn::Linear({.in_features = 12, .out_features = 1})};
  Tensor x = tensor(formula_values<float>(1, 40), {40, 1}), y = sin(x * 3.0);

  Fit() { model.initialize(3); }
  Tensor loss() { return nn::MSELoss()(model(x), y); }
  optim::LossAndGrads evaluate() {
    Tensor l = loss();
    return {l.item<double>(), grad(l, model.parameters())};
  }
};

TEST(LBFGS, BeatsGradientDescentOnASmallNetwork) {
  Fit fit, other;
  optim::LBFGS lbfgs({.max_iter = 60});
  lbfgs.attach(fit.model.parameters());
  double end = lbfgs.step([&] { return fit.evaluate(); });
  double best = 1e9;
  for (double lr : {0.02, 0.05, 0.1, 0.2}) {
    Fit descent;
    optim::SGD sgd({.lr = lr});
    sgd.attach(descent.model.parameters());
    for (int64_t i = 0; i < lbfgs.evaluations(); ++i) sgd.step(descent.evaluate().grads);
    best = std::min(best, descent.evaluate().loss);
  }
  EXPECT_LT(end, 0.1 * best) << lbfgs.evaluations() << " evaluations of each";
  EXPECT_NEAR(fit.evaluate().loss, end, 1e-7);
}

TEST(LBFGS, ACompiledClosureTakesTheSameWayAsAnEagerOne) {
  Fit eager, compiled;
  auto graph = std::make_shared<Graph>();
  std::vector<Tensor> parameters = compiled.model.parameters();
  {
    Trace trace(graph);
    Tensor loss = compiled.loss();
    graph->add_output("loss", loss);
    std::vector<Tensor> grads = grad(loss, parameters);
    for (size_t i = 0; i < grads.size(); ++i) graph->add_output(parameters[i].name(), grads[i]);
  }
  CompiledStep step(make_plan(graph));
  optim::LBFGS a, b;
  a.attach(eager.model.parameters());
  b.attach(parameters);
  for (int i = 0; i < 3; ++i) {
    double wanted = a.step([&] { return eager.evaluate(); });
    double got = b.step([&]() -> optim::LossAndGrads {
      step.run();
      optim::LossAndGrads found{step.output("loss").item<double>(), {}};
      for (const Tensor& p : parameters) found.grads.push_back(step.output(p.name()));
      return found;
    });
    EXPECT_EQ(got, wanted);
  }
  EXPECT_EQ(a.evaluations(), b.evaluations());
}

TEST(LBFGS, HonoursItsLimits) {
  auto run = [](optim::LBFGSConfig config) {
    Fit fit;
    optim::LBFGS lbfgs(config);
    lbfgs.attach(fit.model.parameters());
    double loss = lbfgs.step([&] { return fit.evaluate(); });
    return std::tuple(loss, lbfgs.iterations(), lbfgs.evaluations(), lbfgs.converged());
  };
  auto [loss, iterations, evaluations, converged] = run({});
  EXPECT_LE(iterations, 20);
  EXPECT_LE(evaluations, 26);  // 20 * 5 / 4, and one to go back
  EXPECT_FALSE(converged);
  EXPECT_LE(std::get<1>(run({.max_iter = 5})), 5);
  EXPECT_LE(std::get<2>(run({.max_eval = 7})), 8);
  EXPECT_TRUE(std::get<3>(run({.tolerance_grad = 0.5})));
  EXPECT_TRUE(std::get<3>(run({.tolerance_change = 0.5})));
  EXPECT_NE(std::get<0>(run({.history_size = 1})), loss);
  EXPECT_NE(std::get<0>(run({.lr = 0.5})), loss);
}

TEST(LBFGS, MisuseIsNamed) {
  optim::LBFGS lbfgs;
  expect_error(ErrorCode::kUsage, {"at least one parameter"}, [&] { lbfgs.attach({}); });
  expect_error(ErrorCode::kUsage, {"at least one parameter", "attach"},
               [&] { lbfgs.step([] { return optim::LossAndGrads{}; }); });
  lbfgs.attach({parameter({1, 2})});
  expect_error(ErrorCode::kUsage, {"gradients do not fit", "got 0 gradients", "expected 1"},
               [&] { lbfgs.step([] { return optim::LossAndGrads{}; }); });
  expect_error(ErrorCode::kBadConfig, {"lbfgs", "'max_iter' got 0"}, [] { optim::LBFGS({.max_iter = 0}); });
}

}  // namespace
}  // namespace wholestep
