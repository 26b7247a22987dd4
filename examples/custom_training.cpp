// An optimizer, a loss and a schedule of one's own, outside the library, in a compiled training run; then
// groups of parameters, and L-BFGS.
#include <wholestep/wholestep.h>
#include <cmath>
#include <cstdio>

namespace ws = wholestep;
using ws::Tensor;

/// Signs of gradients with a rate a parameter that grows while the sign stays: a little of Rprop (Riedmiller
/// & Braun 1993).
class SignSteps final : public ws::optim::Optimizer {
 public:
  explicit SignSteps(double lr) : Optimizer(lr) {}
  std::string_view type() const override { return "sign-steps"; }

 protected:
  std::vector<ws::optim::Slot> slots(const Tensor&) const override {
    return {{"sign"}, {.name = "factor", .initial = 1}};
  }
  std::vector<Tensor> scalars(const Tensor& rate, const Tensor&, std::span<const Tensor>) const override {
    return {rate};
  }
  std::vector<Tensor> update(const Tensor& p, const Tensor& grad, std::span<const Tensor> slots,
                             std::span<const Tensor> scalars) const override {
    Tensor now = sign(grad), same = now * slots[0];
    Tensor factor = minimum(maximum(slots[1] * where(same < 0.0, 0.5, 1.0 + 0.2 * same), 0.01), 50.0);
    return {p - scalars[0] * factor * now, now, factor};
  }
};

/// max(0, 1 - output * target)^2 with targets of 1 for the label's column and -1 for the others.
class SquaredHinge final : public ws::nn::Loss {
 public:
  std::string_view name() const override { return "squared-hinge"; }
  Tensor unreduced(const Tensor& output, const Tensor& target) const override {
    return square(relu(1.0 - output * target));
  }
  Tensor target_of(const Tensor& labels, const Tensor& output) const override {
    return ws::nn::one_hot_like(labels, output) * 2.0 - 1.0;
  }
};

const ws::DataSplits& digits() {
  static const ws::DataSplits data = ws::make_digits({.train = 1000, .test = 300});
  return data;
}

ws::nn::Sequential classifier() {
  ws::nn::Sequential model(ws::nn::Flatten(), ws::nn::Linear({.in_features = 784, .out_features = 10}));
  model.initialize(0);
  return model;
}

bool train_with_ones_own() {
  ws::nn::Sequential model = classifier();
  SignSteps optimizer(6e-4);
  optimizer.set_learning_rate(optimizer.learning_rate().item<double>() / 2);
  optimizer.set_schedule(
      std::make_shared<ws::optim::Lambda>([](const Tensor& t) { return rsqrt(1.0 + t / 50.0); }));
  ws::Trainer trainer({.max_epochs = 4, .batch_size = 100});
  ws::EpochResult last = trainer.fit(model, optimizer, SquaredHinge(), digits()).history.back();
  std::printf("own optimizer, loss and schedule: accuracy %.1f %%, rate %.2f of the first\n",
              100 * *last.val_accuracy, last.learning_rate / 3e-4);
  return *last.val_accuracy > 0.65 && std::abs(last.learning_rate / 3e-4 - 1 / std::sqrt(1.8)) < 1e-9;
}

bool train_groups() {
  ws::nn::Sequential model = classifier();
  ws::optim::AdamW grouped({.lr = 1e-3});
  grouped.add_group("*.bias", ws::optim::AdamW({.lr = 1e-3, .weight_decay = 0}));
  ws::Trainer trainer({.max_epochs = 4, .batch_size = 100});
  double accuracy =
      *trainer.fit(model, grouped, ws::nn::CrossEntropyLoss(), digits()).history.back().val_accuracy;
  std::printf("biases without decay: accuracy %.1f %%\n", 100 * accuracy);
  return accuracy > 0.7;
}

bool fit_a_line() {
  Tensor x = ws::tensor<float>({-1, 0, 1, 2}, {4, 1}), y = x * 3.0 + 0.5;
  ws::nn::Sequential line(ws::nn::Linear({.in_features = 1, .out_features = 1}));
  line.initialize(0);
  ws::optim::LBFGS lbfgs({.max_iter = 50});
  lbfgs.attach(line.parameters());
  double loss = lbfgs.step([&]() -> ws::optim::LossAndGrads {
    Tensor l = ws::nn::MSELoss()(line(x), y);
    return {l.item<double>(), ws::grad(l, line.parameters())};
  });
  std::printf("L-BFGS: loss %.1e after %lld iterations\n", loss, static_cast<long long>(lbfgs.iterations()));
  return loss < 1e-8;
}

int main() { return train_with_ones_own() && train_groups() && fit_a_line() ? 0 : 1; }
