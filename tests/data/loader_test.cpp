// The asynchronous loader: the same batches for any number of workers, every sample once, resume, errors,
// shutdown.
#include "wholestep/data/loader.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <thread>

#include "support/allocation_count.h"
#include "support/expect_error.h"
#include "wholestep/data/digits.h"

namespace wholestep {
namespace {

using test::expect_error;

// Sample i holds i in two bytes; reading may be slow in an uneven way, and some samples cannot be read.
class Probe final : public Dataset {
 public:
  explicit Probe(int64_t size) : size_(size) {}
  int64_t size() const override { return size_; }
  const Shape& sample_shape() const override { return shape_; }
  const std::vector<std::string>& class_names() const override { return names_; }
  int32_t label(int64_t index) const override { return static_cast<int32_t>(index % 10); }
  void read(int64_t index, std::span<uint8_t> out) const override {
    ++reads;
    if (index == broken)
      throw Error(ErrorCode::kBadData, {.what = "the JPEG is damaged", .where = "cat/7.jpg"});
    if (index == strange) throw std::runtime_error("strange");
    if (slow) std::this_thread::sleep_for(std::chrono::microseconds(index * 7919 % 300));
    out[0] = static_cast<uint8_t>(index);
    out[1] = static_cast<uint8_t>(index >> 8);
  }
  mutable std::atomic<int64_t> reads = 0;
  std::atomic<int64_t> broken = -1, strange = -1;  // set while workers read
  bool slow = false;

 private:
  int64_t size_;
  Shape shape_{2};
  std::vector<std::string> names_ = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
};

struct Taken {
  int64_t epoch, index, rows;
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  std::vector<int64_t> samples;
  friend bool operator==(const Taken&, const Taken&) = default;
};

Taken copy(const Batch& b) {
  return {b.epoch,
          b.index,
          b.rows,
          {b.pixels.begin(), b.pixels.end()},
          {b.labels.begin(), b.labels.end()},
          {b.samples.begin(), b.samples.end()}};
}

std::vector<Taken> rest_of_epoch(DataLoader& loader) {
  std::vector<Taken> batches;
  while (const Batch* batch = loader.next()) batches.push_back(copy(*batch));
  return batches;
}

std::shared_ptr<Probe> probe(int64_t size, bool slow = false) {
  auto dataset = std::make_shared<Probe>(size);
  dataset->slow = slow;
  return dataset;
}

TEST(DataLoader, DeliversTheSameBatchesForAnyNumberOfWorkers) {
  DataLoader reference(probe(1003), {.batch_size = 16, .shuffle = true, .seed = 4});
  std::vector<std::vector<Taken>> expected;
  for (int64_t epoch : {0, 1, 2}) {
    reference.start(epoch);
    expected.push_back(rest_of_epoch(reference));
  }
  EXPECT_EQ(expected[0].size(), 63u);
  EXPECT_NE(expected[0][0].samples, expected[1][0].samples);
  for (int workers : {1, 2, 4, 7})
    for (int prefetch : {1, 5}) {
      DataLoader loader(
          probe(1003, true),
          {.batch_size = 16, .shuffle = true, .num_workers = workers, .prefetch = prefetch, .seed = 4});
      for (int64_t epoch : {0, 1, 2}) {
        loader.start(epoch);
        EXPECT_EQ(rest_of_epoch(loader), expected[static_cast<size_t>(epoch)]) << workers << " " << prefetch;
      }
    }
}

TEST(DataLoader, T60ASlowConsumerSeesEverySampleOnceWithItsContents) {
  auto dataset = probe(300);
  DataLoader loader(dataset, {.batch_size = 7, .shuffle = true, .num_workers = 4, .prefetch = 3});
  std::multiset<int64_t> seen;
  while (const Batch* batch = loader.next()) {
    // Long enough for every free slot to be filled, and for a slot recycled too early to be overwritten.
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ASSERT_EQ(batch->pixels.size(), static_cast<size_t>(batch->rows) * 2);
    for (size_t row = 0; row < static_cast<size_t>(batch->rows); ++row) {
      int64_t sample = batch->samples[row];
      EXPECT_EQ(batch->pixels[2 * row] + 256 * batch->pixels[2 * row + 1], sample);
      EXPECT_EQ(batch->labels[row], sample % 10);
      seen.insert(sample);
    }
  }
  EXPECT_EQ(seen.size(), 300u);
  EXPECT_EQ(std::set<int64_t>(seen.begin(), seen.end()).size(), 300u);
  EXPECT_EQ(dataset->reads, 300);
}

TEST(DataLoader, T77AnEpochHoldsEverySampleAndTheWholeTestSet) {
  DataSplits digits = make_digits({.train = 1, .test = 1000});
  DataLoader loader(digits.test, {.batch_size = 64, .num_workers = 2});
  int64_t rows = 0, next = 0;
  while (const Batch* batch = loader.next()) {
    rows += batch->rows;
    for (int64_t sample : batch->samples) EXPECT_EQ(sample, next++);
  }
  EXPECT_EQ(rows, 1000);
  EXPECT_EQ(loader.next(), nullptr);
}

TEST(DataLoader, T58TheLastPartialBatchHoldsItsRowsOnlyOrIsLeftOut) {
  DataLoader keep(probe(10), {.batch_size = 4, .num_workers = 1});
  EXPECT_EQ(keep.batches_per_epoch(), 3);
  std::vector<Taken> batches = rest_of_epoch(keep);
  EXPECT_EQ(batches[2].rows, 2);
  EXPECT_EQ(batches[2].samples, (std::vector<int64_t>{8, 9}));
  EXPECT_EQ(batches[2].pixels, (std::vector<uint8_t>{8, 0, 9, 0}));
  DataLoader drop(probe(10), {.batch_size = 4, .drop_last = true, .num_workers = 1});
  EXPECT_EQ(rest_of_epoch(drop).size(), 2u);
  DataLoader wide(probe(3), {.batch_size = 100, .num_workers = 2});
  EXPECT_EQ(rest_of_epoch(wide)[0].rows, 3);
  DataLoader none(probe(0), {.batch_size = 4, .num_workers = 2});
  EXPECT_EQ(none.next(), nullptr);
}

TEST(DataLoader, StartsAtAnyPositionToResume) {
  for (int workers : {0, 3}) {
    LoaderOptions options{.batch_size = 8, .shuffle = true, .num_workers = workers, .seed = 1};
    DataLoader whole(probe(200), options), resumed(probe(200), options);
    whole.start(5);
    std::vector<Taken> all = rest_of_epoch(whole);
    resumed.next();  // something else first
    resumed.next();
    resumed.start(5, 10);
    EXPECT_EQ(rest_of_epoch(resumed), (std::vector<Taken>(all.begin() + 10, all.end())));
    resumed.start(5, 25);
    EXPECT_EQ(resumed.next(), nullptr);
    expect_error(ErrorCode::kUsage, {"got 26", "0 to 25"}, [&] { resumed.start(5, 26); });
  }
}

TEST(DataLoader, RestartingInTheMiddleOfReadingLosesAndRepeatsNothing) {
  auto dataset = probe(500, true);
  DataLoader loader(dataset, {.batch_size = 5, .shuffle = true, .num_workers = 4, .prefetch = 8, .seed = 2});
  DataLoader reference(probe(500), {.batch_size = 5, .shuffle = true, .seed = 2});
  for (int64_t round = 0; round < 40; ++round) {
    loader.start(round, round % 7);
    reference.start(round, round % 7);
    for (int64_t i = 0; i <= round % 5; ++i) EXPECT_EQ(copy(*loader.next()), copy(*reference.next()));
  }
}

TEST(DataLoader, T68AWorkersErrorReachesTheConsumerInPlaceOfItsBatch) {
  for (int workers : {0, 1, 4}) {
    auto dataset = probe(100);
    dataset->broken = 42;
    DataLoader loader(dataset, {.batch_size = 10, .num_workers = workers});
    for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(loader.next()->index, i);
    for (int again = 0; again < 2; ++again)
      expect_error(ErrorCode::kBadData, {"the JPEG is damaged", "epoch 0, batch 4, sample 42: cat/7.jpg"},
                   [&] { loader.next(); });
    loader.start(0, 5);  // past it
    EXPECT_EQ(loader.next()->index, 5);
    dataset->strange = 77;
    loader.start(1, 7);
    expect_error(ErrorCode::kFailure, {"epoch 1, batch 7, sample 77", "strange"}, [&] { loader.next(); });
  }
}

TEST(DataLoader, ReadsAheadNoFurtherThanAsked) {
  auto dataset = probe(1000);
  {
    DataLoader loader(dataset, {.batch_size = 10, .num_workers = 2, .prefetch = 3});
    loader.next();
    // One batch in use and three ahead; nothing else may be read however long the consumer takes.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_LE(dataset->reads, 40);
  }
  EXPECT_LE(dataset->reads, 40);  // and closing it drops the rest
}

TEST(DataLoader, ClosesWithWorkersBusyWaitingOrNeverUsed) {
  for (int round = 0; round < 50; ++round) {
    DataLoader loader(probe(2000, true), {.batch_size = 100, .num_workers = 4});
    for (int i = 0; i < round % 3; ++i) loader.next();
  }
}

TEST(DataLoader, ASteadyStateMakesNoHeapAllocation) {
  for (int workers : {0, 3}) {
    DataLoader loader(probe(1000), {.batch_size = 10, .shuffle = true, .num_workers = workers});
    while (loader.next()) {
    }
    uint64_t before = test::allocation_count();
    for (int64_t epoch : {1, 2, 3}) {
      loader.start(epoch);
      while (loader.next()) {
      }
    }
    EXPECT_EQ(test::allocation_count(), before) << workers;
  }
  EXPECT_GT(test::allocation_count(), 0u);
}

TEST(DataLoader, OptionsOutOfRangeAreRefused) {
  expect_error(ErrorCode::kBadConfig, {"batch_size", "got 0"},
               [] { DataLoader(probe(1), {.batch_size = 0}); });
  expect_error(ErrorCode::kBadConfig, {"num_workers", "got -1"},
               [] { DataLoader(probe(1), {.num_workers = -1}); });
  expect_error(ErrorCode::kBadConfig, {"prefetch", "got 0"}, [] { DataLoader(probe(1), {.prefetch = 0}); });
}

}  // namespace
}  // namespace wholestep
