// A ring of preallocated slots. Batch k always goes into slot k modulo the number of slots; a worker takes
// the next number as soon as its slot is free, and the consumer takes the slots in order.
#include "wholestep/data/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "wholestep/base/error.h"
#include "wholestep/data/sampler.h"

namespace wholestep {
namespace {

void check_option(const char* name, int64_t value, int64_t min, int64_t max) {
  if (value < min || value > max)
    throw Error(ErrorCode::kBadConfig, {.what = "loader option out of range",
                                        .where = name,
                                        .got = std::to_string(value),
                                        .expected = fmt::format("{} to {}", min, max)});
}

const LoaderOptions& checked(const LoaderOptions& options) {
  check_option("batch_size", options.batch_size, 1, int64_t{1} << 32);
  check_option("num_workers", options.num_workers, 0, 256);
  check_option("prefetch", options.prefetch, 1, 1024);
  return options;
}

}  // namespace

class DataLoader::State {
 public:
  State(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options)
      : dataset_(std::move(dataset)), options_(checked(options)) {
    const int64_t size = dataset_->size(), full = size / options_.batch_size;
    batches_ = full + (!options_.drop_last && size % options_.batch_size ? 1 : 0);
    order_.resize(static_cast<size_t>(size));
    // One slot is with the consumer, the others are read ahead. An epoch may have fewer batches than that.
    slots_.resize(options_.num_workers == 0
                      ? 1
                      : std::min<size_t>(static_cast<size_t>(options_.prefetch) + 1,
                                         static_cast<size_t>(std::max<int64_t>(batches_, 1))));
    const size_t rows = static_cast<size_t>(std::min(options_.batch_size, size));
    for (Slot& slot : slots_) {
      slot.pixels.resize(rows * static_cast<size_t>(dataset_->sample_bytes()));
      slot.labels.resize(numbers() ? 0 : rows);
      slot.targets.resize(rows * numbers());
    }
    for (int i = 0; i < options_.num_workers; ++i) workers_.emplace_back([this] { work(); });
    start(0, 0);
  }

  ~State() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = cancelled_ = true;
    }
    slot_free_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  const Dataset& dataset() const { return *dataset_; }
  const LoaderOptions& options() const { return options_; }
  int64_t batches() const { return batches_; }

  void start(int64_t epoch, int64_t batch) {
    if (batch < 0 || batch > batches_)
      throw Error(ErrorCode::kUsage, {.what = "no such batch in an epoch",
                                      .got = std::to_string(batch),
                                      .expected = fmt::format("0 to {}", batches_)});
    std::unique_lock lock(mutex_);
    cancelled_ = true;
    slot_ready_.wait(lock, [&] { return reading_ == 0; });
    epoch_order(options_.seed, epoch, options_.shuffle, order_);
    epoch_ = epoch;
    taken_ = released_ = delivered_ = batch;
    for (Slot& slot : slots_) slot.holds = -1, slot.error = nullptr;
    cancelled_ = false;
    lock.unlock();
    slot_free_.notify_all();
  }

  const Batch* next() {
    if (workers_.empty()) return next_here();
    std::unique_lock lock(mutex_);
    released_ = delivered_;  // the slot given out last is free again
    slot_free_.notify_all();
    if (delivered_ == batches_) return nullptr;
    Slot& slot = slot_of(delivered_);
    slot_ready_.wait(lock, [&] { return slot.holds == delivered_; });
    return give(slot);
  }

 private:
  struct Slot {
    std::vector<uint8_t> pixels;
    std::vector<int32_t> labels;
    std::vector<float> targets;
    int64_t holds = -1;  // the batch that is ready here
    std::exception_ptr error;
    Batch batch;
  };

  size_t numbers() const { return dataset_->target_names().size(); }  // a sample's targets, 0 of classes
  Slot& slot_of(int64_t batch) { return slots_[static_cast<size_t>(batch) % slots_.size()]; }

  const Batch* next_here() {
    if (delivered_ == batches_) return nullptr;
    Slot& slot = slot_of(delivered_);
    slot.error = nullptr;
    fill(slot, delivered_);
    return give(slot);
  }

  // A batch that failed is asked for again by the next call, so that an error is never mistaken for the end.
  const Batch* give(Slot& slot) {
    if (slot.error) std::rethrow_exception(slot.error);
    ++delivered_;
    return &slot.batch;
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      slot_free_.wait(lock, [&] { return stopping_ || (!cancelled_ && may_take()); });
      if (stopping_) return;
      const int64_t batch = taken_++;
      ++reading_;
      lock.unlock();
      Slot& slot = slot_of(batch);
      const bool complete = fill(slot, batch);
      lock.lock();
      --reading_;
      if (complete) slot.holds = batch;
      slot_ready_.notify_all();
    }
  }

  bool may_take() const {
    return taken_ < batches_ && taken_ < released_ + static_cast<int64_t>(slots_.size());
  }

  // False where start() or the destructor wants the workers back.
  bool fill(Slot& slot, int64_t batch) {
    const int64_t first = batch * options_.batch_size;
    const int64_t rows = std::min(options_.batch_size, dataset_->size() - first);
    const size_t bytes = static_cast<size_t>(dataset_->sample_bytes()), count = static_cast<size_t>(rows);
    slot.batch = {.epoch = epoch_,
                  .index = batch,
                  .rows = rows,
                  .pixels = std::span(slot.pixels).first(count * bytes),
                  .labels = std::span(slot.labels).first(numbers() ? 0 : count),
                  .targets = std::span(slot.targets).first(count * numbers()),
                  .samples = std::span(order_).subspan(static_cast<size_t>(first), count)};
    for (size_t row = 0; row < count; ++row) {
      if (cancelled_) return false;
      const int64_t sample = slot.batch.samples[row];
      try {
        dataset_->read(sample, std::span(slot.pixels).subspan(row * bytes, bytes));
        if (numbers() == 0) slot.labels[row] = dataset_->label(sample);
        std::ranges::copy(dataset_->targets(sample),
                          slot.targets.begin() + static_cast<long>(row * numbers()));
      } catch (...) {
        slot.error = named_error(batch, sample);
        return true;
      }
    }
    return true;
  }

  std::exception_ptr named_error(int64_t batch, int64_t sample) const {
    const std::string place = fmt::format("epoch {}, batch {}, sample {}", epoch_, batch, sample);
    try {
      throw;
    } catch (const Error& error) {
      return std::make_exception_ptr(error.within(place));
    } catch (const std::exception& error) {
      return std::make_exception_ptr(Error(
          ErrorCode::kFailure, {.what = "reading a sample failed", .where = place, .got = error.what()}));
    } catch (...) {
      return std::make_exception_ptr(
          Error(ErrorCode::kFailure, {.what = "reading a sample failed", .where = place}));
    }
  }

  const std::shared_ptr<const Dataset> dataset_;
  const LoaderOptions options_;
  int64_t batches_ = 0;
  std::vector<int64_t> order_;  // samples of the epoch; changed only while no worker reads
  std::vector<Slot> slots_;

  std::mutex mutex_;  // guards what follows, and Slot::holds
  std::condition_variable slot_free_, slot_ready_;
  int64_t epoch_ = 0;
  int64_t taken_ = 0;      // batches below this one are read or being read
  int64_t released_ = 0;   // batches below this one are no longer in use by the consumer
  int64_t delivered_ = 0;  // the batch next() gives next
  int reading_ = 0;        // workers inside fill()
  bool stopping_ = false;
  std::atomic<bool> cancelled_ = true;  // until the first start() has put the samples in order
  std::vector<std::thread> workers_;
};

DataLoader::DataLoader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options)
    : state_(std::make_unique<State>(std::move(dataset), options)) {}
DataLoader::~DataLoader() = default;
const Dataset& DataLoader::dataset() const { return state_->dataset(); }
const LoaderOptions& DataLoader::options() const { return state_->options(); }
int64_t DataLoader::batches_per_epoch() const { return state_->batches(); }
void DataLoader::start(int64_t epoch, int64_t batch) { state_->start(epoch, batch); }
const Batch* DataLoader::next() { return state_->next(); }

}  // namespace wholestep
