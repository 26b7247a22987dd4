// Muon: momentum whose singular values are all made about 1.
#pragma once
#include <array>

#include "wholestep/optim/adam.h"

namespace wholestep::optim {

struct MuonConfig {
  static constexpr const char
      *kType = "muon",
      *kDoc =
          "for matrices, and kernels as matrices of one row a channel: b = momentum b + (1 - momentum) g; "
          "u = momentum b + (1 - momentum) g with nesterov, else b; p -= lr weight_decay p + lr s o, o being "
          "u "
          "with its singular values near 1; for other parameters adamw";
  double lr = 1e-3;
  double weight_decay = 0.1;
  double momentum = 0.95;
  bool nesterov = true;
  std::array<double, 3> ns_coefficients = {3.4445, -4.775, 2.0315};
  double eps = 1e-7;
  int64_t ns_steps = 5;
  std::string adjust_lr_fn = "original";
  std::array<double, 2> adamw_betas = {0.9, 0.999};
  double adamw_eps = 1e-8;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// Jordan et al. 2024 (kellerjordan.github.io/posts/muon); slot "momentum_buffer" b. For matrices PyTorch's
/// torch.optim.Muon, but in the parameters' precision where that rounds to bf16. It refuses what is no
/// matrix: here parameters of one axis are AdamW's, with the same lr and weight_decay, and a kernel [Co, Ci,
/// Kh, Kw] is taken as [Co, Ci Kh Kw].
class Muon final : public ConfiguredOptimizer<MuonConfig> {
 public:
  explicit Muon(MuonConfig config = {});

 protected:
  std::vector<Slot> slots(const Tensor& parameter) const override;
  std::vector<Tensor> scalars(const Tensor& rate, const Tensor& t,
                              std::span<const Tensor> kept) const override;
  std::vector<Tensor> update(const Tensor& parameter, const Tensor& grad, std::span<const Tensor> slots,
                             std::span<const Tensor> scalars) const override;

 private:
  AdamW adamw_;
};

/// x [M, N] = U S V^T with singular values near 1: after division by its norm, `steps` times
/// x = a x + (b x x^T + c (x x^T)^2) x, a Newton-Schulz iteration with coefficients (a, b, c).
Tensor orthogonalized(const Tensor& x, const std::array<double, 3>& coefficients, int64_t steps, double eps);

}  // namespace wholestep::optim
