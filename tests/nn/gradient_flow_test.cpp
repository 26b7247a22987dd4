// The report of norms by layer, against numbers written out.
#include "wholestep/nn/gradient_flow.h"

#include <gtest/gtest.h>

#include <cmath>

#include "wholestep/nn/activations.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/optim/sgd.h"

namespace wholestep::nn {
namespace {

TEST(GradientFlow, GivesTheNormsOfParametersGradientsAndUpdatesByLayer) {
  Sequential model(Linear({.in_features = 2, .out_features = 2}), ReLU(),
                   Linear({.in_features = 2, .out_features = 1, .bias = false}));
  model.initialize(3);
  std::vector<Tensor> p = model.parameters();  // weight, bias; weight
  p[0].assign(tensor(std::vector<float>{1, 2, 3, 4}, {2, 2}));
  p[1].assign(tensor(std::vector<float>{0, 1}, {2}));
  p[2].assign(tensor(std::vector<float>{1, -1}, {1, 2}));
  optim::SGD sgd({.lr = 0.5});
  sgd.attach(p);

  GradientFlow flow(model);
  EXPECT_EQ(flow.layers()[0].gradient, 0) << "before backward()";
  sum(model(tensor(std::vector<float>{1, 1}, {1, 2}))).backward();  // hidden 3 and 8
  std::vector<Tensor> grads;
  for (const Tensor& t : p) grads.push_back(t.grad());
  sgd.step(grads);

  std::vector<LayerFlow> layers = flow.layers();
  ASSERT_EQ(layers.size(), 2u);
  EXPECT_EQ(layers[0].layer, "layers.0");
  EXPECT_EQ(layers[1].layer, "layers.2");
  // Gradients: weight [[1, 1], [-1, -1]] and bias [1, -1]; [[3, 8]].
  EXPECT_NEAR(layers[0].gradient, std::sqrt(6.0), 1e-6);
  EXPECT_NEAR(layers[1].gradient, std::sqrt(73.0), 1e-5);
  EXPECT_NEAR(layers[0].update, 0.5 * std::sqrt(6.0), 1e-6);
  EXPECT_NEAR(layers[1].update, 0.5 * std::sqrt(73.0), 1e-5);
  // After it: [[0.5, 1.5], [3.5, 4.5]], [-0.5, 1.5]; [[-0.5, -5]].
  EXPECT_NEAR(layers[0].parameter, std::sqrt(0.25 + 2.25 + 12.25 + 20.25 + 0.25 + 2.25), 1e-5);
  EXPECT_NEAR(layers[1].parameter, std::sqrt(25.25), 1e-5);
  EXPECT_EQ(flow.report(),
            "layer                      parameter    gradient      update\n"
            "layers.0                       6.124       2.449       1.225\n"
            "layers.2                       5.025       8.544       4.272\n");
}

}  // namespace
}  // namespace wholestep::nn
