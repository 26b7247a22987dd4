// Metrics are read from the device only when they are about to be shown.
#include "wholestep/cli/terminal_progress.h"

namespace wholestep::cli {

void TerminalProgress::on_batch_end(const BatchEnd& batch, const TrainStep& step) {
  meter_.batch_done(batch);
  if (!stderr_is_terminal()) return;
  auto now = std::chrono::steady_clock::now();
  if (now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  status_.show(progress_line(meter_, max_epochs_, step.train_metrics(), terminal_width()));
}

void TerminalProgress::on_epoch_end(const EpochResult& result) {
  status_.clear();
  print_note(epoch_line(result, max_epochs_));
}

}  // namespace wholestep::cli
