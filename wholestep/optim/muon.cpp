// Muon's update.
#include "wholestep/optim/muon.h"

#include <cmath>

#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"

namespace wholestep::optim {

ConfigFields MuonConfig::fields() {
  return {{"lr", &lr, "learning rate", {.min = 0}},
          {"weight_decay", &weight_decay, kDecayBeside, {.min = 0}},
          {"momentum", &momentum, "share of the running direction that is kept", {.min = 0, .max = 1}},
          {"nesterov", &nesterov, "step along the direction after the next one"},
          {"ns_coefficients", &ns_coefficients, "a, b and c of a Newton-Schulz step"},
          {"eps", &eps, "least norm to divide by", {.min = 0}},
          {"ns_steps", &ns_steps, "Newton-Schulz steps", {.min = 1, .max = 99}},
          {"adjust_lr_fn",
           &adjust_lr_fn,
           "s for a matrix [M, N]: sqrt(max(1, M / N)), or 0.2 sqrt(max(M, N)), which lets rates of adamw be "
           "used",
           {},
           {"original", "match_rms_adamw"}},
          {"adamw_betas", &adamw_betas, "betas where adamw is used", {.min = 0, .max = 1}},
          {"adamw_eps", &adamw_eps, "eps where adamw is used", {.min = 0}}};
}
std::vector<std::string> MuonConfig::problems() const { return problems_of_betas(adamw_betas); }

Muon::Muon(MuonConfig c)
    : ConfiguredOptimizer(c),
      adamw_({.lr = c.lr, .betas = c.adamw_betas, .eps = c.adamw_eps, .weight_decay = c.weight_decay}) {}

std::vector<Slot> Muon::slots(const Tensor& parameter) const {
  return parameter.rank() < 2 ? adamw_.slots(parameter) : std::vector<Slot>{{"momentum_buffer"}};
}

std::vector<Tensor> Muon::scalars(const Tensor& rate, const Tensor& t, std::span<const Tensor> kept) const {
  std::vector<Tensor> scalars = adamw_.scalars(rate, t, kept);
  scalars.push_back(rate * config().weight_decay);
  scalars.push_back(rate);
  return scalars;
}

std::vector<Tensor> Muon::update(const Tensor& p, const Tensor& g, std::span<const Tensor> slots,
                                 std::span<const Tensor> scalars) const {
  if (p.rank() < 2) return adamw_.update(p, g, slots, scalars);
  const MuonConfig& c = config();
  const Tensor &rate = scalars.back(), &decay = scalars[scalars.size() - 2];
  Tensor b = moving_average(slots[0], g, c.momentum);
  Tensor direction = flatten(c.nesterov ? moving_average(b, g, c.momentum) : b, 1);
  double rows = static_cast<double>(direction.dim(0)), columns = static_cast<double>(direction.dim(1));
  double factor = c.adjust_lr_fn == "original" ? std::sqrt(std::max(1.0, rows / columns))
                                               : 0.2 * std::sqrt(std::max(rows, columns));
  Tensor o = reshape(orthogonalized(direction, c.ns_coefficients, c.ns_steps, c.eps), p.shape());
  return {p - p * decay - rate * factor * o, b};
}

Tensor orthogonalized(const Tensor& x, const std::array<double, 3>& coefficients, int64_t steps, double eps) {
  auto [a, b, c] = coefficients;
  bool wide = x.dim(0) <= x.dim(1);  // the product with itself that is smaller
  Tensor y = x / cast(maximum(sqrt(sum_squares({x})), eps), x.dtype());
  for (int64_t i = 0; i < steps; ++i) {
    Tensor gram = matmul(y, y, !wide, wide);
    Tensor factor = gram * b + matmul(gram, gram) * c;
    y = y * a + (wide ? matmul(factor, y) : matmul(y, factor));
  }
  return y;
}

}  // namespace wholestep::optim
