// What a person is told while training runs, as text. Rates and times come from time that really passed; what
// is not known yet is "n/a".
#pragma once
#include <optional>
#include <string>

#include "wholestep/train/trainer.h"

namespace wholestep {

/// Measures from the first batch seen after start(), so that a slow start and an epoch resumed in its middle
/// do not falsify the rate.
class ProgressMeter {
 public:
  void start() { first_.reset(), last_.reset(); }  ///< of an epoch
  void batch_done(const BatchEnd& batch);

  std::optional<double> samples_s() const;     ///< null before the second batch
  std::optional<double> batches_s() const;     ///< null before the second batch
  std::optional<double> seconds_left() const;  ///< of the epoch
  double fraction() const;                     ///< of the epoch that is done, 0 to 1
  const std::optional<BatchEnd>& last() const { return last_; }

 private:
  std::optional<BatchEnd> first_, last_;
};

/// "epoch 2/5  45 %  loss 0.0512  accuracy 98.41 %  21,034 samples/s  12.3 s left", with a bar of what is
/// done where `width` columns leave room for one; without accuracy where targets are numbers.
std::string progress_line(const ProgressMeter& meter, int64_t max_epochs, const Metrics& metrics, int width);

/// "epoch 2/5  loss 0.0512  accuracy 98.41 %  val loss 0.0450  val accuracy 98.60 %  lr 0.001  3.2 s  21,034
/// samples/s", or of numbers "rmse 0.1204  r2 0.9871" in place of accuracy
std::string epoch_line(const EpochResult& result, int64_t max_epochs);

}  // namespace wholestep
