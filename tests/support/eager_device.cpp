// The same calls on the host and on the device.
#include "support/eager_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/formula.h"
#include "support/gradient_check.h"
#include "support/op_case.h"
#include "wholestep/graph/grad.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/batch_norm.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/conv2d.h"
#include "wholestep/nn/dropout.h"
#include "wholestep/nn/flatten.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/pool2d.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/optim/adam.h"

namespace wholestep::test {
namespace {

/// Results of an op, and behind them the gradients of its floating-point operands.
std::vector<Tensor> apply_with_gradients(const OpDef& op, std::vector<Tensor> operands, const Attrs& attrs) {
  if (!op.vjp) return apply(op, operands, attrs);
  for (Tensor& t : operands)
    if (is_floating(t.dtype())) t.set_requires_grad();
  return with_gradients([&](const std::vector<Tensor>& x) { return apply(op, x, attrs); }, operands);
}

}  // namespace

void expect_eager_agrees(const OpDef& op, Backend& device, double relative, size_t most) {
  std::vector<OpCase> cases = op.cases();
  const size_t step = std::max<size_t>(1, (cases.size() + most - 1) / most);
  for (size_t c = 0; c < cases.size(); c += step) {
    std::vector<Tensor> host = make_operands(cases[c]), there;
    if (host.empty()) continue;  // it runs where nothing lies yet: on the host
    for (const Tensor& t : host) there.push_back(t.to(device));
    std::vector<Tensor> wanted = apply_with_gradients(op, host, cases[c].attrs),
                        got = apply_with_gradients(op, there, cases[c].attrs);
    const std::string text = describe(op, cases[c]);
    ASSERT_EQ(got.size(), wanted.size()) << text;
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(&device_of(got[i]), &device) << text << ", result " << i;
      ASSERT_EQ(got[i].type(), wanted[i].type()) << text;
      std::vector<double> is = as_doubles(got[i].to_host()), should = as_doubles(wanted[i]);
      double largest = 0;
      for (double v : should) largest = std::max(largest, std::isfinite(v) ? std::abs(v) : 0);
      for (size_t k = 0; k < is.size(); ++k)
        ASSERT_TRUE(is[k] == should[k] || std::abs(is[k] - should[k]) <= relative * largest ||
                    (std::isnan(is[k]) && std::isnan(should[k])))
            << text << ", result " << i << ", element " << k << ": " << is[k] << ", not " << should[k];
    }
  }
}

std::vector<double> train_eagerly_on(Backend& device, int steps) {
  nn::Sequential model(
      nn::Conv2d({.in_channels = 1, .out_channels = 4, .kernel_size = 3, .padding = 1, .bias = false}),
      nn::BatchNorm2d({.num_features = 4}), nn::ReLU(), nn::MaxPool2d({.kernel_size = 2}), nn::Flatten(),
      nn::Dropout({.p = 0.2}), nn::Linear({.in_features = 64, .out_features = 5}));
  model.initialize(3);
  model.to(device);
  optim::Adam adam({.lr = 1e-2});
  adam.attach(model.parameters());
  nn::CrossEntropyLoss loss;
  RandomState random(11);
  UseRandom use(random);
  std::vector<double> losses;
  for (int i = 0; i < steps; ++i) {
    const uint32_t stream = static_cast<uint32_t>(i) + 1;
    Tensor x = tensor(formula_values(stream, 6 * 64), {6, 1, 8, 8}).to(device),
           labels = tensor(formula_labels(stream, 6, 5), {6}).to(device);
    Tensor value = mean(loss.per_sample(model(x), labels));
    adam.step(grad(value, model.parameters()));
    random.advance();
    losses.push_back(value.item<double>());
  }
  double squares = 0;
  for (const Tensor& p : model.parameters()) {
    EXPECT_EQ(&device_of(p), &device);
    squares += sum(p * p).item<double>();
  }
  for (const Tensor& t : adam.state()) EXPECT_TRUE(t.rank() == 0 || &device_of(t) == &device) << t.name();
  losses.push_back(squares);
  return losses;
}

}  // namespace wholestep::test
