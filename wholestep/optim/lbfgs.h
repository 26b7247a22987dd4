// L-BFGS: for small problems whose whole loss can be computed again and again. The host leads: each step asks
// for losses and gradients, eagerly or from a compiled step, as often as the line search wants them.
#pragma once
#include <deque>
#include <functional>
#include <vector>

#include "wholestep/graph/tensor.h"
#include "wholestep/io/config_fields.h"

namespace wholestep::optim {

struct LBFGSConfig {
  static constexpr const char* kDoc =
      "limited-memory BFGS (Nocedal & Wright 2006, algorithm 7.5) with a line search for the strong Wolfe "
      "conditions (algorithms 3.5 and 3.6 with cubic interpolation)";
  double lr = 1;
  int64_t max_iter = 20;
  int64_t max_eval = 0;
  double tolerance_grad = 1e-7;
  double tolerance_change = 1e-9;
  int64_t history_size = 100;
  ConfigFields fields();
};

/// A loss and its gradients, in the order of the parameters, where these stand now.
struct LossAndGrads {
  double loss = 0;
  std::vector<Tensor> grads;
};

/// PyTorch's torch.optim.LBFGS with line_search_fn="strong_wolfe", evaluation by evaluation; but max_eval
/// also ends a line search, and a loss that is not finite halves its step. Directions are kept on the host in
/// f64, history_size pairs of them.
class LBFGS {
 public:
  explicit LBFGS(LBFGSConfig config = {});

  /// Takes over these parameters and forgets what it knew of others; kUsage where there are none.
  void attach(std::vector<Tensor> parameters);
  /// Up to max_iter iterations of at most max_eval calls of `evaluate` together. Changes the parameters by
  /// assign() and returns the loss they end at, never more than where they began. kUsage where gradients do
  /// not fit.
  double step(const std::function<LossAndGrads()>& evaluate);

  int64_t iterations() const { return iterations_; }    ///< of all steps
  int64_t evaluations() const { return evaluations_; }  ///< of all steps
  /// Whether the last step ended because of a tolerance.
  bool converged() const { return converged_; }

 private:
  using Vector = std::vector<double>;
  struct Point {
    double loss = 0;
    Vector gradient;
  };
  struct Line;
  Point evaluate_at(const Vector& x, const std::function<LossAndGrads()>& evaluate);
  Vector direction(const Vector& gradient) const;
  void remember(Vector change, Vector gradient_change);

  LBFGSConfig config_;
  std::vector<Tensor> parameters_;
  struct Pair {
    Vector change, gradient_change;  ///< of the parameters in an iteration, and of the gradient
    double curvature;                ///< their product
  };
  std::deque<Pair> pairs_;
  int64_t iterations_ = 0, evaluations_ = 0;
  bool converged_ = false;
};

}  // namespace wholestep::optim
