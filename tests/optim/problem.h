// The problem of tests/reference/optimizers.py and optim.py: the mean of (x w + b - y)^2.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "support/formula.h"
#include "support/test_device.h"
#include "wholestep/graph/grad.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/optim/optimizer.h"

namespace wholestep::test {

inline std::unique_ptr<optim::Optimizer> optimizer_from(const nlohmann::json& spec) {
  ConfigReader reader(spec, "optimizer");
  auto optimizer = optim::read_optimizer(reader);
  reader.finish();
  return optimizer;
}

inline std::unique_ptr<optim::Schedule> schedule_from(const nlohmann::json& spec) {
  ConfigReader reader(spec, "schedule");
  auto schedule = optim::read_schedule(reader);
  reader.finish();
  return schedule;
}

/// In dtype T.
template <class T>
struct Problem {
  Tensor w = drawn(1, {3, 4}), b = drawn(2, {4}), x = drawn(3, {8, 3}), y = drawn(4, {8, 4});

  Problem() {
    w.set_requires_grad().set_role(TensorRole::kParameter, "w");
    b.set_requires_grad().set_role(TensorRole::kParameter, "b");
  }
  std::vector<Tensor> parameters() const { return {w, b}; }
  Tensor loss() const { return mean(square(matmul(x, w) + b - y)); }
  std::vector<Tensor> gradients() const { return grad(loss(), parameters()); }
  std::vector<T> values() const {
    std::vector<T> all;
    for (const Tensor& t : {w.to_host(), b.to_host()})
      all.insert(all.end(), t.template data<T>().begin(), t.template data<T>().end());
    return all;
  }

 private:
  static Tensor drawn(uint32_t stream, const Shape& shape) {
    return on_test_device(tensor(formula_values<T>(stream, shape.numel()), shape));
  }
};

template <class T>
std::vector<T> trained(optim::Optimizer& optimizer, int steps) {
  Problem<T> problem;
  optimizer.attach(problem.parameters());
  for (int i = 0; i < steps; ++i) optimizer.step(problem.gradients());
  return problem.values();
}

/// 1,000 steps of each of the file's trajectories, eagerly; `relative` to the largest parameter, as single
/// ones pass through 0.
template <class T>
void follows(const nlohmann::json& expected, double relative) {
  WHOLESTEP_NEEDS_TEST_DEVICE();
  for (const nlohmann::json& c : of_part(expected["trajectories"])) {
    auto optimizer = optimizer_from(c["optimizer"]);
    Problem<T> problem;
    optimizer->attach(problem.parameters());
    size_t kept = 0;
    for (int64_t step = 1; step <= 1000; ++step) {
      optimizer->step(problem.gradients());
      if (step != expected["steps"][kept].get<int64_t>()) continue;
      std::vector<T> values = problem.values();
      double scale = 0, worst = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        double wanted = c["values"][kept][i].get<double>();
        scale = std::max(scale, std::abs(wanted));
        worst = std::max(worst, std::abs(static_cast<double>(values[i]) - wanted));
      }
      EXPECT_LE(worst, relative * scale) << c["optimizer"] << " step " << step;
      ++kept;
    }
    EXPECT_EQ(kept, expected["steps"].size());
    EXPECT_EQ(optimizer->step_count().template item<int64_t>(), 1000);
  }
}

}  // namespace wholestep::test
