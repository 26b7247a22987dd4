// Whole networks against PyTorch: losses of 200 training steps from the same weights on the same batches.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support/formula.h"
#include "wholestep/compile/compile.h"
#include "wholestep/graph/grad.h"
#include "wholestep/io/json.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/loss.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/optim/optimizer.h"

namespace wholestep {
namespace {

using nlohmann::json;
using test::formula_labels;
using test::formula_values;

const json& reference() {
  static const json all =
      read_json_file(std::string(WHOLESTEP_SOURCE_DIR) + "/tests/reference/trajectories.json");
  return all;
}

void set_parameters(nn::Module& model) {
  double fan_in = 1;
  uint32_t stream = 1;
  for (const Tensor& p : model.parameters()) {
    if (p.rank() > 1) fan_in = static_cast<double>(p.numel() / p.dim(0));
    std::vector<double> values = formula_values<double>(stream++, p.numel());
    for (size_t i = 0; i < values.size(); ++i)
      p.data<float>()[i] = static_cast<float>(values[i] * std::sqrt(6 / fan_in));
  }
}

/// Batch `b`: noise plus the pattern of each sample's label.
std::pair<Tensor, Tensor> batch(uint32_t b, const nn::Model& model) {
  int64_t rows = reference()["batch"].get<int64_t>(), width = model.input.numel();
  std::vector<int64_t> labels = formula_labels(2000 + b, rows, model.classes);
  std::vector<float> x = formula_values<float>(1000 + b, rows * width);
  for (size_t n = 0; n < labels.size(); ++n) {
    std::vector<float> pattern = formula_values<float>(3000 + static_cast<uint32_t>(labels[n]), width);
    for (size_t i = 0; i < pattern.size(); ++i) x[n * pattern.size() + i] += pattern[i];
  }
  Shape shape{rows};
  for (int64_t extent : model.input) shape.push_back(extent);
  return {tensor(x, shape), tensor(labels, {rows})};
}

/// A network and its optimizer at the start of a run, and one training step as a function of a batch.
struct Training {
  nn::Model model;
  std::unique_ptr<optim::Optimizer> optimizer;

  explicit Training(const json& run) : model(nn::find_model(run["model"])) {
    set_parameters(*model.module);
    ConfigReader reader(run["optimizer"], "optimizer");
    optimizer = optim::read_optimizer(reader);
    reader.finish();
    optimizer->attach(model.module->parameters());
  }
  Tensor step(const Tensor& x, const Tensor& labels) {
    Tensor loss = nn::CrossEntropyLoss()((*model.module)(x), labels);
    optimizer->step(grad(loss, optimizer->parameters()));
    return loss;
  }
  CompiledStep compiled(const TensorType& x, const TensorType& labels) {
    auto graph = std::make_shared<Graph>();
    Trace trace(graph);
    graph->add_output("loss", step(graph->add_input(InputKind::kBatch, "x", x),
                                   graph->add_input(InputKind::kBatch, "labels", labels)));
    return CompiledStep(make_plan(graph));
  }
};

/// Runs op by op and as one compiled step: equal to each other bit for bit, and to PyTorch within 1e-4.
void compare_with_pytorch(const std::string& name) {
  int runs = 0;
  for (const json& run : reference()["runs"]) {
    if (run["model"] != name) continue;
    ++runs;
    Training eager(run), traced(run);
    std::vector<std::pair<Tensor, Tensor>> batches;
    for (uint32_t b = 0; b < reference()["batches"].get<uint32_t>(); ++b)
      batches.push_back(batch(b, eager.model));
    CompiledStep compiled = traced.compiled(batches[0].first.type(), batches[0].second.type());
    ASSERT_EQ(run["losses"].size(), 200u);
    for (size_t step = 0; step < 200; ++step) {
      const auto& [x, labels] = batches[step % batches.size()];
      double loss = eager.step(x, labels).item<double>(), expected = run["losses"][step].get<double>();
      compiled.write("x", x);
      compiled.write("labels", labels);
      compiled.run();
      ASSERT_NEAR(loss, expected, 1e-4 * expected) << run["optimizer"] << " step " << step;
      ASSERT_EQ(compiled.output("loss").item<double>(), loss) << run["optimizer"] << " step " << step;
    }
  }
  EXPECT_EQ(runs, 2);
}

TEST(Trajectory, LossesOfLenetEqualPyTorchOver200Steps) { compare_with_pytorch("lenet"); }
TEST(Trajectory, LossesOfTheMlpEqualPyTorchOver200Steps) { compare_with_pytorch("w3"); }
TEST(Trajectory, LossesOfTheStridedCnnEqualPyTorchOver200Steps) { compare_with_pytorch("w4s"); }

}  // namespace
}  // namespace wholestep
