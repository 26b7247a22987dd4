// LAMB's update.
#include "wholestep/optim/lamb.h"

#include "wholestep/ops/reduce.h"

namespace wholestep::optim {

ConfigFields LAMBConfig::fields() { return adam_fields(*this, "pull towards 0, added to the direction"); }
std::vector<std::string> LAMBConfig::problems() const { return problems_of_betas(betas); }

std::vector<Slot> LAMB::slots(const Tensor&) const { return {{"exp_avg"}, {"exp_avg_sq"}}; }

std::vector<Tensor> LAMB::scalars(const Tensor& rate, const Tensor& t, std::span<const Tensor>) const {
  return {rate, 1.0 / (1.0 - pow(config().betas[0], t)), rsqrt(1.0 - pow(config().betas[1], t))};
}

std::vector<Tensor> LAMB::update(const Tensor& p, const Tensor& g, std::span<const Tensor> slots,
                                 std::span<const Tensor> scalars) const {
  const LAMBConfig& c = config();
  Tensor m = moving_average(slots[0], g, c.betas[0]), v = moving_average(slots[1], square(g), c.betas[1]);
  Tensor r = m * scalars[1] / (sqrt(v) * scalars[2] + c.eps);
  if (c.weight_decay != 0) r = r + p * c.weight_decay;
  Tensor p_squares = sum_squares({p}), r_squares = sum_squares({r});
  Tensor usable = logical_and(p_squares > 0.0, r_squares > 0.0);
  Tensor ratio = where(usable, sqrt(p_squares / where(usable, r_squares, 1.0)), 1.0);
  return {p - scalars[0] * cast(ratio, p.dtype()) * r, m, v};
}

}  // namespace wholestep::optim
