// Every optimizer and schedule against the references of tests/reference/optim.py.
#include <gtest/gtest.h>

#include <set>

#include "optim/problem.h"
#include "support/expect_error.h"
#include "support/graph_interpreter.h"
#include "wholestep/compile/compile.h"
#include "wholestep/graph/graph.h"
#include "wholestep/io/json.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/optim/sequence.h"

namespace wholestep {
namespace {

using nlohmann::json;
using test::optimizer_from;
using test::Problem;
using test::schedule_from;

const json& reference() {
  static const json all = test::read_reference("optim.json");
  return all;
}

/// Specs of all trajectories there are, those of optimizers.json too.
std::vector<json> optimizer_specs() {
  std::vector<json> specs;
  for (const json& c : reference()["trajectories"]) specs.push_back(c["optimizer"]);
  json first = test::read_reference("optimizers.json");
  for (const json& c : first["trajectories"]) specs.push_back(c["optimizer"]);
  return specs;
}

TEST(Trajectory, Of1000StepsEqualsTheReferenceInF64) { test::follows<double>(reference(), 1e-10); }
TEST(Trajectory, Of1000StepsEqualsTheReferenceInF32) { test::follows<float>(reference(), 1e-5); }

TEST(Trajectory, T54EveryOptionOfEveryOptimizerIsVariedAndChangesTheTrajectory) {
  auto end = [](const json& spec) {  // signs of a momentum differ late
    return test::trained<double>(*optimizer_from(spec), spec["type"] == "lion" ? 1000 : 200);
  };
  for (const auto& type : optim::optimizer_types())
    for (const ConfigFieldRow& field : type.fields) {
      int varied = 0;
      for (json spec : optimizer_specs()) {
        if (spec["type"] != type.name || !spec.contains(field.name)) continue;
        if (spec[field.name] == json::parse(field.fallback)) continue;
        ++varied;
        std::vector<double> with = end(spec);
        spec.erase(field.name);
        if (spec.contains("nesterov") && field.name == "momentum") spec.erase("nesterov");
        EXPECT_NE(with, end(spec)) << type.name << " " << field.name;
      }
      EXPECT_GT(varied, 0) << type.name << " has no trajectory with its own " << field.name;
    }
}

TEST(Trajectory, ATracedAndACompiledStepEqualAnEagerOneBitForBit) {
  for (const json& spec : optimizer_specs()) {
    auto eager = optimizer_from(spec), compiled = optimizer_from(spec);
    auto schedule = schedule_from({{"type", "cosine"}, {"total_steps", 30}, {"warmup_steps", 5}});
    eager->set_schedule(std::move(schedule));
    compiled->set_schedule(eager->schedule());
    Problem<float> eager_problem, compiled_problem;
    eager->attach(eager_problem.parameters());
    compiled->attach(compiled_problem.parameters());
    auto graph = std::make_shared<Graph>();
    {
      Trace trace(graph);
      compiled->step(compiled_problem.gradients());
    }
    verify(*graph);
    CompiledStep step(make_plan(graph));
    for (int i = 0; i < 40; ++i) {
      if (i == 20) eager->set_learning_rate(0.5), compiled->set_learning_rate(0.5);
      eager->step(eager_problem.gradients());
      step.run();
      ASSERT_EQ(eager_problem.values(), compiled_problem.values()) << spec << " step " << i;
    }
    std::vector<Tensor> a = eager->state(), b = compiled->state();
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i)
      EXPECT_TRUE(std::ranges::equal(a[i].bytes(), b[i].bytes())) << spec << " " << a[i].name();
  }
}

TEST(Trajectory, EveryOptimizerLeavesEveryBitAtARateOfZeroAndMovesAtAnyOther) {
  for (const auto& type : optim::optimizer_types()) {
    auto optimizer = optimizer_from({{"type", type.name}});
    Problem<float> problem;
    optimizer->attach(problem.parameters());
    for (int i = 0; i < 3; ++i) {  // T21, T39: every step changes every parameter
      std::vector<float> before = problem.values();
      optimizer->step(problem.gradients());
      std::vector<float> after = problem.values();
      for (size_t k = 0; k < before.size(); ++k) EXPECT_NE(before[k], after[k]) << type.name << " " << i;
    }
    std::vector<float> before = problem.values();
    optimizer->set_learning_rate(0);  // T43, T48: from the very next update on
    for (int i = 0; i < 3; ++i) optimizer->step(problem.gradients());
    EXPECT_EQ(problem.values(), before) << type.name;
    optimizer->set_learning_rate(0.1);
    optimizer->step(problem.gradients());
    EXPECT_NE(problem.values(), before) << type.name;
  }
}

TEST(Trajectory, EveryConfigSurvivesTheRoundTripThroughItsJsonForm) {
  for (const json& spec : optimizer_specs()) {
    json first = json::object(), second = json::object();
    optimizer_from(spec)->write_spec(first);
    optimizer_from(first)->write_spec(second);
    EXPECT_EQ(first, second);
    for (const auto& [key, value] : spec.items())
      if (first.contains(key) && key != "groups") {
        EXPECT_EQ(first[key], value) << spec;
      }
  }
}

TEST(Trajectory, SchedulesEqualPyTorchStepByStep) {
  std::set<std::string> types = {"step", "cosine", "reduce-on-plateau"};  // of optimizers.json, and below
  for (const json& c : reference()["schedules"]) {
    types.insert(c["schedule"]["type"]);
    auto schedule = schedule_from(c["schedule"]);
    std::vector<double> rates = schedule->curve(c["lr"].get<double>(), 60);
    for (size_t i = 0; i < 60; ++i)
      EXPECT_NEAR(rates[i], c["rates"][i].get<double>(), 1e-12) << c["schedule"] << " step " << i;
    json spec = json::object(), again = json::object();
    schedule->write_spec(spec);
    schedule_from(spec)->write_spec(again);
    EXPECT_EQ(spec, again);
    EXPECT_EQ(schedule_from(spec)->curve(0.2, 60), schedule->curve(0.2, 60));
  }
  EXPECT_EQ(types.size(), optim::schedule_types().size());
}

TEST(Trajectory, AFunctionOfTheStepEqualsPyTorchStepByStep) {
  const std::vector<std::function<Tensor(const Tensor&)>> factors = {
      [](const Tensor& t) { return pow(0.95, t); }, [](const Tensor& t) { return 1.0 / (1.0 + t * 0.1); },
      [](const Tensor& t) { return minimum((t + 1.0) / 20.0, 1.0); }};
  ASSERT_EQ(reference()["lambdas"].size(), factors.size());
  for (size_t k = 0; k < factors.size(); ++k) {
    const json& c = reference()["lambdas"][k];
    std::vector<double> rates = optim::Lambda(factors[k]).curve(c["lr"].get<double>(), 60);
    for (size_t i = 0; i < 60; ++i)
      EXPECT_NEAR(rates[i], c["rates"][i].get<double>(), 1e-14) << "function " << k << " step " << i;
  }
}

TEST(Trajectory, ReduceOnPlateauEqualsPyTorchAlsoWhenItsStateIsCarriedOver) {
  std::vector<double> losses = reference()["losses"].get<std::vector<double>>();
  for (const json& c : reference()["plateaus"]) {
    auto schedule = schedule_from(c["schedule"]);
    double base = c["lr"].get<double>();
    for (size_t i = 0; i < losses.size(); ++i) {
      EXPECT_NEAR(schedule->curve(base, 1)[0], c["rates"][i].get<double>(), 1e-12)
          << c["schedule"] << " " << i;
      schedule->observe(losses[i], base);
      if (i % 7 != 3) continue;
      auto resumed = schedule_from(c["schedule"]);
      for (size_t k = 0; k < resumed->state().size(); ++k) resumed->state()[k].assign(schedule->state()[k]);
      schedule = std::move(resumed);
    }
    EXPECT_NE(c["rates"].back(), c["rates"].front()) << c["schedule"];
  }
}

TEST(Trajectory, AScheduleOverTheWholeRunLearnsItsLength) {
  for (const char* type : {"linear", "polynomial", "one-cycle", "cosine"}) {
    const char* key =
        std::string(type) == "linear" || std::string(type) == "polynomial" ? "total_iters" : "total_steps";
    auto open = schedule_from({{"type", type}, {key, 0}}), given = schedule_from({{"type", type}, {key, 40}});
    test::expect_error(ErrorCode::kUsage, {type, "how long the run is"}, [&] { open->curve(0.1, 1); });
    open->set_run_steps(40);
    EXPECT_EQ(open->curve(0.1, 50), given->curve(0.1, 50)) << type;
  }
}

TEST(Trajectory, ASchedulesMistakesAreNamed) {
  auto refused = [](const json& spec, std::initializer_list<std::string> parts) {
    test::expect_error(ErrorCode::kBadConfig, parts, [&] { schedule_from(spec); });
  };
  refused({{"type", "multi-step"}}, {"'milestones' is missing"});
  refused({{"type", "multi-step"}, {"milestones", {5, 2}}}, {"'milestones' must rise"});
  refused({{"type", "exponential"}}, {"'gamma' is missing"});
  refused({{"type", "cosine-restarts"}}, {"'T_0' is missing"});
  refused({{"type", "one-cycle"}, {"anneal_strategy", "cosine"}}, {"'cosine'", "'cos'"});
  refused({{"type", "sequence"}}, {"'schedules' expected an array of tables"});
  refused({{"type", "sequence"}, {"schedules", {{{"type", "constant"}}}}, {"milestones", {3}}},
          {"1 schedules need as many milestones but one, got 1"});
  refused({{"type", "sequence"}, {"schedules", {{{"type", "constnt"}}}}}, {"schedules[0]", "constant"});
  refused({{"type", "sequence"},
           {"schedules", {{{"type", "constant"}}, {{"type", "reduce-on-plateau"}}}},
           {"milestones", {3}}},
          {"reduce-on-plateau counts epochs"});
}

}  // namespace
}  // namespace wholestep
