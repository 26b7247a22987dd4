// The forward recursion of Graves et al. 2006, section 4.1, in logarithms; the gradient follows from its ops.
#include "wholestep/nn/ctc_loss.h"

#include <fmt/format.h>

#include <limits>

#include "wholestep/ops/arrange.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/indexing.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/reductions.h"

namespace wholestep::nn {
namespace {

// The logarithm of no probability. Finite, so that differences of two of them are 0 and not NaN.
constexpr double kNever = -1e30;

void check_lengths(const char* name, const Tensor& lengths, int64_t samples, int64_t least, int64_t most) {
  bool integers = lengths.dtype() == DType::i32 || lengths.dtype() == DType::i64;
  if (!integers || lengths.shape() != Shape{samples})
    throw Error(ErrorCode::kUsage, {.what = fmt::format("the loss ctc needs one of {} a sample", name),
                                    .got = to_string(lengths.type()),
                                    .expected = fmt::format("i32 or i64 [{}]", samples)});
  if (lengths.symbolic()) return;
  Tensor host = cast(lengths.to_host(), DType::i64);
  for (int64_t n = 0; n < samples; ++n)
    if (int64_t length = host.at<int64_t>({n}); length < least || length > most)
      throw Error(ErrorCode::kUsage, {.what = "a length of the loss ctc is out of range",
                                      .where = fmt::format("{}[{}]", name, n),
                                      .got = std::to_string(length),
                                      .expected = fmt::format("{} to {}", least, most)});
}

void check_operands(const Tensor& log_probs, const Tensor& targets, int64_t blank) {
  bool integers = targets.dtype() == DType::i32 || targets.dtype() == DType::i64;
  bool fit = log_probs.rank() == 3 && is_floating(log_probs.dtype()) && targets.rank() == 2 && integers &&
             log_probs.dim(1) == targets.dim(0) && log_probs.dim(0) > 0 && targets.dim(1) > 0;
  if (!fit)
    throw Error(ErrorCode::kUsage, {.what = "the operands do not fit the loss ctc",
                                    .where = Scope::source(),
                                    .got = to_string(log_probs.type()) + " and " + to_string(targets.type()),
                                    .expected = "log_probs [T, N, C] and targets [N, S], i32 or i64"});
  if (blank >= log_probs.dim(2))
    throw Error(ErrorCode::kUsage, {.what = "the blank of the loss ctc is no class",
                                    .got = std::to_string(blank),
                                    .expected = fmt::format("0 to {}", log_probs.dim(2) - 1)});
}

/// x [N, L] moved to the right by `count`, what comes in being kNever.
Tensor moved(const Tensor& x, int64_t count) {
  return pad(slice(x, 1, 0, x.dim(1) - count), {count, 0}, kNever);
}

}  // namespace

ConfigFields CTCConfig::fields() {
  return {{"blank", &blank, "the class that stands for no label", {.min = 0}},
          reduction_field(reduction),
          {"zero_infinity", &zero_infinity, "targets too long for their inputs cost nothing"}};
}

CTCLoss::CTCLoss(CTCConfig config) : config_(checked_config("loss ctc", std::move(config))) {}

Tensor CTCLoss::operator()(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths,
                           const Tensor& target_lengths) const {
  check_operands(log_probs, targets, config_.blank);
  const int64_t steps = log_probs.dim(0), n = log_probs.dim(1), s = targets.dim(1), places = 2 * s + 1;
  check_lengths("input_lengths", input_lengths, n, 1, steps);
  check_lengths("target_lengths", target_lengths, n, 0, s);
  const DType dtype = log_probs.dtype();

  // Blanks before, between and behind the labels: [N, 2 S + 1].
  Tensor labels = cast(targets, DType::i64),
         blanks = full({n, s}, static_cast<double>(config_.blank), DType::i64);
  Tensor spelled = concat({reshape(stack({blanks, labels}, 2), {n, 2 * s}), slice(blanks, 1, 0, 1)}, 1);
  // A blank may be left out between two labels that differ.
  Tensor two_before = pad(slice(spelled, 1, 0, places - 2), {2, 0}, static_cast<double>(config_.blank));
  Tensor may_skip =
      logical_and(not_equal(spelled, static_cast<double>(config_.blank)), not_equal(spelled, two_before));
  Tensor seen = maximum(gather(log_probs, 2, expand(unsqueeze(spelled, 0), {steps, n, places})), kNever);

  // alpha[place]: of all ways through the first inputs that end there.
  Tensor alpha = pad(slice(select(seen, 0, 0), 1, 0, 2), {0, places - 2}, kNever);
  Tensor inputs = reshape(cast(input_lengths, DType::i64), {n, 1});
  for (int64_t t = 1; t < steps; ++t) {
    Tensor ways = stack({alpha, moved(alpha, 1), where(may_skip, moved(alpha, 2), kNever)});
    alpha = where(inputs > static_cast<double>(t), logsumexp(ways, {0}) + select(seen, 0, t), alpha);
  }
  // The last label or the blank behind it; of no labels the blank alone.
  Tensor length = reshape(cast(target_lengths, DType::i64), {n, 1}), last = length * 2.0;
  Tensor on_label = where(length > 0.0, gather(alpha, 1, maximum(last - 1.0, 0.0)), kNever);
  Tensor losses = -reshape(logsumexp(concat({gather(alpha, 1, last), on_label}, 1), {1}), {n});
  losses = where(losses > -0.1 * kNever,
                 config_.zero_infinity ? 0.0 : std::numeric_limits<double>::infinity(), losses);
  if (config_.reduction == "none") return losses;
  if (config_.reduction == "sum") return sum(losses);
  return mean(losses / cast(reshape(maximum(length, 1.0), {n}), dtype));
}

}  // namespace wholestep::nn
