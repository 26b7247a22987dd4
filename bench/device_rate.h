// Times one function of large operands as a step of its own on a device.
#pragma once
#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "wholestep/base/philox.h"
#include "wholestep/wholestep.h"

namespace wholestep {

using TimedFunction = std::function<Tensor(std::span<const Tensor>)>;

/// f32 of [-2, 2), the first million of them again and again.
inline Tensor random_tensor(const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  PhiloxStream random(1, 1);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = i < 1 << 20 ? static_cast<float>(random.below(1 << 20)) * 4e-6f - 2 : values[i - (1 << 20)];
  return tensor(values, shape);
}

struct Timed {
  double seconds;      ///< of one step, the least of five rounds
  TensorType result;   ///< of the function
  std::string kernel;  ///< that makes it
};

inline std::string kernel_of_result(const Plan& plan) {
  const int result = plan.graph->outputs[0].value;
  for (const SelectedKernel& kernel : plan.kernels)
    if (plan.graph->nodes[static_cast<size_t>(kernel.node)].outputs[0] == result) return kernel.name;
  return "";
}

/// A step that computes function(operands) and keeps the result in device memory.
inline Timed time_on_device(std::span<const Shape> shapes, const TimedFunction& function,
                            const CompileOptions& options) {
  std::vector<Tensor> operands;
  for (size_t i = 0; i < shapes.size(); ++i)
    operands.push_back(random_tensor(shapes[i]).set_role(TensorRole::kState, "x" + std::to_string(i)));
  auto graph = std::make_shared<Graph>();
  Timed timed{.seconds = 1e9, .result = {}, .kernel = {}};
  {
    Trace trace(graph);
    Tensor y = function(operands), tick = graph->add_input(InputKind::kBatch, "tick", {DType::f32, {}});
    timed.result = y.type();
    graph->add_output("y", y);
    graph->add_output("tick", -tick);  // read to wait for the end
  }
  Plan plan = make_plan(graph, options);
  timed.kernel = kernel_of_result(plan);
  CompiledStep step(std::move(plan));
  auto seconds_of = [&](int64_t times) {
    using Clock = std::chrono::steady_clock;
    auto start = Clock::now();
    step.run(times);
    step.output("tick");
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  double once = seconds_of(16) / 16;
  const int64_t times = 16 * std::max<int64_t>(1, static_cast<int64_t>(0.02 / once / 16));
  for (int round = 0; round < 5; ++round)
    timed.seconds = std::min(timed.seconds, seconds_of(times) / static_cast<double>(times));
  return timed;
}

}  // namespace wholestep
