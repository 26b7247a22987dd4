// Lines of progress.
#include "wholestep/train/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "wholestep/base/human.h"

namespace wholestep {
namespace {

constexpr int kShortestBar = 10, kLongestBar = 40;

std::string loss_text(std::optional<double> loss) { return loss ? fmt::format("{:.4f}", *loss) : "n/a"; }
std::string accuracy_text(std::optional<double> accuracy) {
  return accuracy ? human_percent(*accuracy) : "n/a";
}

/// "accuracy 98.41 %", or of numbers "rmse 0.1204  r2 0.9871", `part` in front of each name.
std::string score_text(const std::string& part, const std::optional<double>& accuracy,
                       const std::optional<Regression>& numbers) {
  if (numbers)
    return fmt::format("{0}rmse {1:.4g}  {0}r2 {2}", part, numbers->rmse(), loss_text(numbers->r2));
  return fmt::format("{}accuracy {}", part, accuracy_text(accuracy));
}

std::string bar(double fraction, int length) {
  int done = static_cast<int>(std::floor(fraction * length));
  std::string text(static_cast<size_t>(length), ' ');
  std::fill_n(text.begin(), done, '=');
  if (done < length) text[static_cast<size_t>(done)] = '>';
  return "[" + text + "]";
}

}  // namespace

void ProgressMeter::batch_done(const BatchEnd& batch) {
  if (!first_) first_ = batch;
  last_ = batch;
}

std::optional<double> ProgressMeter::samples_s() const {
  if (!last_ || last_->seconds <= first_->seconds) return std::nullopt;
  return static_cast<double>(last_->samples - first_->samples) / (last_->seconds - first_->seconds);
}

std::optional<double> ProgressMeter::batches_s() const {
  if (!last_ || last_->seconds <= first_->seconds) return std::nullopt;
  return static_cast<double>(last_->batch - first_->batch) / (last_->seconds - first_->seconds);
}

std::optional<double> ProgressMeter::seconds_left() const {
  std::optional<double> rate = batches_s();
  if (!rate || *rate <= 0) return std::nullopt;
  return static_cast<double>(last_->batches - last_->batch - 1) / *rate;
}

double ProgressMeter::fraction() const {
  if (!last_ || last_->batches == 0) return 0;
  return static_cast<double>(last_->batch + 1) / static_cast<double>(last_->batches);
}

std::string progress_line(const ProgressMeter& meter, int64_t max_epochs, const Metrics& metrics, int width) {
  std::optional<double> loss;
  if (metrics.seen > 0) loss = metrics.loss();
  std::string accuracy = metrics.correct ? "  accuracy " + accuracy_text(metrics.accuracy()) : "";
  std::optional<double> rate = meter.samples_s(), left = meter.seconds_left();
  std::string before = fmt::format("epoch {}/{} ", meter.last() ? meter.last()->epoch : 0, max_epochs);
  std::string after =
      fmt::format(" {:3.0f} %  loss {}{}  {} samples/s  {} left", 100 * meter.fraction(), loss_text(loss),
                  accuracy, rate ? human_rate(*rate) : "n/a", left ? human_seconds(*left) : "n/a");
  int room = width - static_cast<int>(before.size() + after.size()) - 3;
  std::string line =
      before + (room < kShortestBar ? "" : bar(meter.fraction(), std::min(room, kLongestBar))) + after;
  return line.substr(0, static_cast<size_t>(std::max(width - 1, 0)));
}

std::string epoch_line(const EpochResult& result, int64_t max_epochs) {
  std::string line =
      fmt::format("epoch {}/{}  loss {}  {}", result.epoch, max_epochs, loss_text(result.train_loss),
                  score_text("", result.train_accuracy, result.train_regression));
  if (result.val_loss || result.val_accuracy)
    line += fmt::format("  val loss {}  {}", loss_text(result.val_loss),
                        score_text("val ", result.val_accuracy, result.val_regression));
  return line + fmt::format("  lr {:.4g}  {}  {} samples/s", result.learning_rate,
                            human_seconds(result.seconds),
                            result.samples_s > 0 ? human_rate(result.samples_s) : "n/a");
}

}  // namespace wholestep
