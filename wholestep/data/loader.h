// Batches read ahead by threads. What is delivered depends on the options and the position only: the same
// batches, in the same order, bit for bit, for any number of workers.
//
//   DataLoader loader(dataset, {.batch_size = 64, .shuffle = true, .num_workers = 2});
//   loader.start(epoch);
//   while (const Batch* batch = loader.next()) step(*batch);
#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "wholestep/data/dataset.h"

namespace wholestep {

struct LoaderOptions {
  int64_t batch_size = 1;
  bool shuffle = false;    ///< another order every epoch, by `seed`
  bool drop_last = false;  ///< leave out a last batch that is not full
  int num_workers = 0;     ///< threads that read ahead; 0: next() reads in the caller's thread
  int prefetch = 4;        ///< batches read ahead of the one in use, by all workers together; at least 1
  uint64_t seed = 0;
};

/// Valid until the next call of next() or start(). Spans cover `rows` samples, no more.
struct Batch {
  int64_t epoch = 0, index = 0;      ///< the index-th batch of the epoch
  int64_t rows = 0;                  ///< batch_size, or fewer in the last one
  std::span<const uint8_t> pixels;   ///< bytes of the values [rows, sample_shape...]
  std::span<const int32_t> labels;   ///< [rows]; empty where targets are numbers
  std::span<const float> targets;    ///< [rows, num_targets]; empty where targets are classes
  std::span<const int64_t> samples;  ///< [rows], which samples of the dataset these are
};

/// A batch that is given rather than read: bytes of the samples, and a label each.
inline Batch labelled(std::span<const uint8_t> pixels, std::span<const int32_t> labels) {
  return {.rows = static_cast<int64_t>(labels.size()),
          .pixels = pixels,
          .labels = labels,
          .targets = {},
          .samples = {}};
}

/// Used by one thread. Allocates when made; next() and start() do not, unless a sample cannot be read.
class DataLoader {
 public:
  /// kBadConfig for options out of range.
  DataLoader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options);
  ~DataLoader();  ///< stops the workers, each after the sample it is reading
  DataLoader(const DataLoader&) = delete;
  DataLoader& operator=(const DataLoader&) = delete;

  const Dataset& dataset() const;
  const LoaderOptions& options() const;
  int64_t batches_per_epoch() const;

  /// Goes to the start of an epoch, or into the middle of it to resume; what was read ahead is dropped.
  /// kUsage where `batch` is not within 0 to batches_per_epoch().
  void start(int64_t epoch, int64_t batch = 0);

  /// The next batch, or nullptr at the end of the epoch. Throws what the dataset threw, naming epoch, batch
  /// and sample, in place of the batch that holds the sample; start() goes on from there.
  const Batch* next();

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace wholestep
