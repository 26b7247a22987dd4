// An optimizer, a loss and a schedule of one's own, outside the library, in a compiled training run.
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

int main() {
  ws::nn::Sequential model(ws::nn::Flatten(), ws::nn::Linear({.in_features = 784, .out_features = 10}));
  model.initialize(0);
  SignSteps optimizer(3e-4);
  optimizer.set_schedule(
      std::make_shared<ws::optim::Lambda>([](const Tensor& t) { return rsqrt(1.0 + t / 50.0); }));
  ws::Trainer trainer({.max_epochs = 4, .batch_size = 100});
  ws::FitResult result = trainer.fit(model, optimizer, ws::nn::CrossEntropyLoss(),
                                     ws::make_digits({.train = 1000, .test = 300}));
  const ws::EpochResult& last = result.history.back();
  std::printf("accuracy on new digits: %.1f %%, rate %.2g of the first\n", 100 * *last.val_accuracy,
              last.learning_rate / 3e-4);
  return *last.val_accuracy > 0.7 && std::abs(last.learning_rate / 3e-4 - 1 / std::sqrt(1.8)) < 1e-9 ? 0 : 1;
}
