// The whole file is replaced every time: it is short, and so it is never half written.
#include "wholestep/train/metrics_file.h"

#include <fmt/format.h>

#include <charconv>

#include "wholestep/io/files.h"

namespace wholestep {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{64} << 20;

std::string value(const std::optional<double>& number) { return number ? fmt::format("{}", *number) : ""; }

std::string header(bool regression) {
  return fmt::format("epoch,step,{},learning_rate,seconds,samples_s",
                     regression ? "train_loss,train_mae,train_rmse,train_r2,val_loss,val_mae,val_rmse,val_r2"
                                : "train_loss,train_accuracy,val_loss,val_accuracy");
}

/// What says how good a part was, beside its loss.
std::string score(const std::optional<double>& accuracy, const std::optional<Regression>& numbers,
                  bool regression) {
  if (!regression) return value(accuracy);
  return numbers ? fmt::format("{},{},{}", numbers->mae, numbers->rmse(), value(numbers->r2)) : ",,";
}

}  // namespace

MetricsFile::MetricsFile(std::filesystem::path path, bool resume, bool regression)
    : path_(std::move(path)), regression_(regression) {
  if (resume && std::filesystem::exists(path_)) {
    std::string text = read_text_file(path_, kMaxBytes);
    size_t line = 0;
    for (size_t at = 0; at < text.size(); ++line) {
      size_t end = std::min(text.find('\n', at), text.size());
      std::string row = text.substr(at, end - at);
      at = end + 1;
      if (line == 0 && row == header(regression_)) continue;
      int64_t epoch = 0;
      if (line == 0 || std::from_chars(row.data(), row.data() + row.size(), epoch).ec != std::errc())
        throw Error(ErrorCode::kBadData, {.what = "this is no metrics.csv of a run",
                                          .where = fmt::format("{}:{}", path_.string(), line + 1),
                                          .got = fmt::format("'{}'", row.substr(0, 40)),
                                          .expected = line == 0 ? header(regression_) : "a row of numbers"});
      rows_.push_back({epoch, std::move(row)});
    }
  }
  write();
}

void MetricsFile::on_epoch_end(const EpochResult& r) {
  std::erase_if(rows_, [&](const Row& row) { return row.epoch >= r.epoch; });
  rows_.push_back(
      {r.epoch, fmt::format("{},{},{},{},{},{},{},{:.6g},{:.6g}", r.epoch, r.step, r.train_loss,
                            score(r.train_accuracy, r.train_regression, regression_), value(r.val_loss),
                            score(r.val_accuracy, r.val_regression, regression_), r.learning_rate, r.seconds,
                            r.samples_s)});
  write();
}

void MetricsFile::write() const {
  std::string text = header(regression_) + "\n";
  for (const Row& row : rows_) text += row.text + "\n";
  write_file(path_, std::string_view(text));
}

}  // namespace wholestep
