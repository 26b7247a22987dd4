// Progress of training for people: a line redrawn at most ten times a second on a terminal, a line an epoch
// everywhere.
#pragma once
#include <chrono>

#include "wholestep/cli/terminal.h"
#include "wholestep/train/progress.h"

namespace wholestep::cli {

class TerminalProgress final : public Callback {
 public:
  explicit TerminalProgress(int64_t max_epochs) : max_epochs_(max_epochs) {}
  void on_epoch_begin(int64_t) override { meter_.start(); }
  void on_batch_end(const BatchEnd& batch, const TrainStep& step) override;
  void on_epoch_end(const EpochResult& result) override;
  void on_fit_end(const FitResult&) override { status_.clear(); }

 private:
  int64_t max_epochs_;
  ProgressMeter meter_;
  StatusLine status_;
  std::chrono::steady_clock::time_point drawn_ = {};
};

}  // namespace wholestep::cli
