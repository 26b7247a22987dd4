// The two-loop recursion and the line search, in f64 on the host.
#include "wholestep/optim/lbfgs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "wholestep/ops/elementwise.h"

namespace wholestep::optim {
namespace {

// A step must bring at least this share of what the slope promises, and leave at most that share of the
// slope.
constexpr double kDecrease = 1e-4, kCurvature = 0.9;
constexpr int kLineEvaluations = 25;

using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}
double largest(const Vector& x) {
  double most = 0;
  for (double v : x) most = std::max(most, std::abs(v));
  return most;
}
void add(Vector& x, double factor, const Vector& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += factor * y[i];
}

Vector flat(const std::vector<Tensor>& tensors) {
  Vector all;
  for (const Tensor& t : tensors) {
    Tensor host = cast(t.to_host(), DType::f64);
    all.insert(all.end(), host.data<double>().begin(), host.data<double>().end());
  }
  return all;
}

void scatter(const Vector& x, const std::vector<Tensor>& parameters) {
  NoGrad no_grad;
  size_t at = 0;
  for (const Tensor& p : parameters) {
    auto count = static_cast<size_t>(p.numel());
    p.assign(cast(tensor(std::span(x).subspan(at, count), p.shape()), p.dtype()));
    at += count;
  }
}

/// A place on the line: its distance from the start, and the loss, gradient and slope there.
struct Place {
  double at = 0, loss = 0, slope = 0;
  Vector gradient = {};
};

/// The minimum of the cubic through two places with their slopes (Nocedal & Wright 2006, equation 3.59),
/// within bounds; the middle of these where the cubic has none.
double minimum(const Place& a, const Place& b, double low, double high) {
  const Place &left = a.at <= b.at ? a : b, &right = a.at <= b.at ? b : a;
  double length = right.at - left.at;
  double d1 = left.slope + right.slope - 3 * (left.loss - right.loss) / (left.at - right.at);
  double inside = d1 * d1 - left.slope * right.slope;
  if (!(inside >= 0)) return (low + high) / 2;
  double d2 = std::sqrt(inside);
  double guess = right.at - length * ((right.slope + d2 - d1) / (right.slope - left.slope + 2 * d2));
  return std::isfinite(guess) ? std::clamp(guess, low, high) : (low + high) / 2;
}

}  // namespace

ConfigFields LBFGSConfig::fields() {
  return {
      {"lr", &lr, "length of the first trial step along a direction", {.min = 0}},
      {"max_iter", &max_iter, "iterations a step", {.min = 1}},
      {"max_eval", &max_eval, "evaluations a step; 0: 5/4 max_iter", {.min = 0}},
      {"tolerance_grad", &tolerance_grad, "largest element of a gradient that ends a step", {.min = 0}},
      {"tolerance_change", &tolerance_change, "change of loss or parameters that ends a step", {.min = 0}},
      {"history_size", &history_size, "pairs of changes that are kept", {.min = 1}}};
}

LBFGS::LBFGS(LBFGSConfig config) : config_(checked_config("optimizer lbfgs", config)) {}

void LBFGS::attach(std::vector<Tensor> parameters) {
  if (parameters.empty())
    throw Error(ErrorCode::kUsage, {.what = "an optimizer needs at least one parameter", .where = "lbfgs"});
  parameters_ = std::move(parameters);
  pairs_.clear();
}

LBFGS::Point LBFGS::evaluate_at(const Vector& x, const std::function<LossAndGrads()>& evaluate) {
  scatter(x, parameters_);
  ++evaluations_;
  LossAndGrads found = evaluate();
  bool fits = found.grads.size() == parameters_.size();
  for (size_t i = 0; fits && i < parameters_.size(); ++i)
    fits = found.grads[i].defined() && found.grads[i].type() == parameters_[i].type();
  if (!fits)
    throw Error(ErrorCode::kUsage, {.what = "gradients do not fit the parameters",
                                    .where = "lbfgs",
                                    .got = fmt::format("{} gradients", found.grads.size()),
                                    .expected = fmt::format("{}, of their types", parameters_.size())});
  return {found.loss, flat(found.grads)};
}

/// -H g, H being the inverse of the curvature that the pairs have seen.
Vector LBFGS::direction(const Vector& gradient) const {
  Vector q = gradient, shares(pairs_.size());
  for (size_t i = pairs_.size(); i-- > 0;) {
    shares[i] = dot(pairs_[i].change, q) / pairs_[i].curvature;
    add(q, -shares[i], pairs_[i].gradient_change);
  }
  double scale = -1;
  if (!pairs_.empty()) {
    const Pair& last = pairs_.back();
    scale = -last.curvature / dot(last.gradient_change, last.gradient_change);
  }
  for (double& v : q) v *= scale;
  for (size_t i = 0; i < pairs_.size(); ++i)
    add(q, -shares[i] - dot(pairs_[i].gradient_change, q) / pairs_[i].curvature, pairs_[i].change);
  return q;
}

void LBFGS::remember(Vector change, Vector gradient_change) {
  double curvature = dot(change, gradient_change);
  if (curvature <= 1e-10) return;  // H must stay positive
  if (static_cast<int64_t>(pairs_.size()) == config_.history_size) pairs_.pop_front();
  pairs_.push_back({std::move(change), std::move(gradient_change), curvature});
}

/// The search along start + t direction.
struct LBFGS::Line {
  LBFGS& optimizer;
  const std::function<LossAndGrads()>& evaluate;
  const Vector &start, &direction;
  Place origin;
  int64_t budget;  ///< of evaluations

  Vector place(double t) const {
    Vector x = start;
    add(x, t, direction);
    return x;
  }
  Place look(double t) {
    --budget;
    Point point = optimizer.evaluate_at(place(t), evaluate);
    double slope = dot(point.gradient, direction);
    return {t, point.loss, slope, std::move(point.gradient)};
  }
  bool low_enough(const Place& p) const { return p.loss <= origin.loss + kDecrease * p.at * origin.slope; }
  bool flat_enough(const Place& p) const { return std::abs(p.slope) <= -kCurvature * origin.slope; }

  /// The place to go to, trying `t` first; the origin where nothing was found that brings anything.
  Place search(double t) {
    Place before = origin;
    for (int tries = 0; budget > 0; ++tries) {
      Place now = look(t);
      if (!std::isfinite(now.loss) || !std::isfinite(now.slope)) {
        t = (before.at + t) / 2;
        continue;
      }
      if (!low_enough(now) || (tries > 1 && now.loss >= before.loss)) return zoom(before, now);
      if (flat_enough(now)) return now;
      if (now.slope >= 0) return zoom(before, now);
      t = minimum(before, now, now.at + 0.01 * (now.at - before.at), 10 * now.at);
      before = std::move(now);
    }
    return before;
  }

  /// Between two places that have one to go to between them, `low` being the better.
  Place zoom(Place first, Place second) {
    bool stuck = false;  // the guess before was close to an end, too
    bool swap = second.loss < first.loss;
    Place low = swap ? std::move(second) : std::move(first),
          high = swap ? std::move(first) : std::move(second);
    while (budget > 0 &&
           std::abs(high.at - low.at) * largest(direction) >= optimizer.config_.tolerance_change) {
      double left = std::min(low.at, high.at), right = std::max(low.at, high.at),
             margin = 0.1 * (right - left);
      if (right == left) break;
      double t = minimum(low, high, left, right);
      bool close = std::min(right - t, t - left) < margin;
      if (close && (stuck || t >= right || t <= left)) {
        t = right - t < t - left ? right - margin : left + margin;
        close = false;
      }
      stuck = close;
      Place now = look(t);
      if (!low_enough(now) || !(now.loss < low.loss)) {
        high = std::move(now);
        if (high.loss < low.loss) std::swap(low, high);
        continue;
      }
      if (flat_enough(now)) return now;
      if (now.slope * (high.at - low.at) >= 0) high = std::move(low);
      low = std::move(now);
    }
    return low;
  }
};

double LBFGS::step(const std::function<LossAndGrads()>& evaluate) {
  if (parameters_.empty())
    throw Error(ErrorCode::kUsage, {.what = "an optimizer needs at least one parameter",
                                    .where = "lbfgs",
                                    .hint = "attach(model.parameters()) first"});
  Vector x = flat(parameters_);
  int64_t most = config_.max_eval > 0 ? config_.max_eval : config_.max_iter * 5 / 4, first = evaluations_;
  Point here = evaluate_at(x, evaluate);
  converged_ = largest(here.gradient) <= config_.tolerance_grad;
  for (int64_t i = 0; i < config_.max_iter && evaluations_ - first < most && !converged_; ++i) {
    Vector along = direction(here.gradient);
    double slope = dot(here.gradient, along);
    converged_ = slope > -config_.tolerance_change;
    if (converged_) break;
    // Without a history nothing is known of the scale: the first step is at most lr long.
    double sizes = 0;
    for (double g : here.gradient) sizes += std::abs(g);
    double trial = pairs_.empty() ? std::min(1.0, 1 / sizes) * config_.lr : config_.lr;
    Line line{*this,
              evaluate,
              x,
              along,
              {0, here.loss, slope, here.gradient},
              std::min<int64_t>(kLineEvaluations, most - (evaluations_ - first))};
    Place taken = line.search(trial);
    ++iterations_;
    Vector next = line.place(taken.at), change = along, gradient_change = taken.gradient;
    for (double& c : change) c *= taken.at;
    add(gradient_change, -1, here.gradient);
    double loss_change = std::abs(taken.loss - here.loss), moved = largest(change);
    remember(std::move(change), std::move(gradient_change));
    x = std::move(next);
    here = {taken.loss, std::move(taken.gradient)};
    converged_ = largest(here.gradient) <= config_.tolerance_grad || moved <= config_.tolerance_change ||
                 loss_change < config_.tolerance_change;
  }
  scatter(x, parameters_);
  return here.loss;
}

}  // namespace wholestep::optim
