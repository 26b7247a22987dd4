// metrics.csv: one row an epoch, on the disk when the epoch's callback returns.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "wholestep/train/trainer.h"

namespace wholestep {

/// Values that were not computed are empty.
class MetricsFile final : public Callback {
 public:
  /// Starts the file anew, or goes on with the rows an earlier part of the run wrote: those of epochs that
  /// are trained again are replaced. kIo, kBadData where the file is no metrics.csv.
  MetricsFile(std::filesystem::path path, bool resume);
  void on_epoch_end(const EpochResult& result) override;

 private:
  struct Row {
    int64_t epoch;
    std::string text;
  };
  void write() const;
  std::filesystem::path path_;
  std::vector<Row> rows_;
};

}  // namespace wholestep
