// metrics.csv: one row an epoch, on the disk when the epoch's callback returns.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "wholestep/train/trainer.h"

namespace wholestep {

/// Values that were not computed are empty. The columns between step and learning rate are loss and accuracy
/// of training and validation; where targets are numbers loss, mae, rmse and r2.
class MetricsFile final : public Callback {
 public:
  /// Starts the file anew, or goes on with the rows an earlier part of the run wrote: those of epochs that
  /// are trained again are replaced. kIo, kBadData where the file is no metrics.csv.
  MetricsFile(std::filesystem::path path, bool resume, bool regression = false);
  void on_epoch_end(const EpochResult& result) override;

 private:
  struct Row {
    int64_t epoch;
    std::string text;
  };
  void write() const;
  std::filesystem::path path_;
  bool regression_;
  std::vector<Row> rows_;
};

}  // namespace wholestep
