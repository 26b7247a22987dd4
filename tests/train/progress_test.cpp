// Progress: rates from time that passed, "n/a" for what is not known.
#include "wholestep/train/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace wholestep {
namespace {

using testing::HasSubstr;
using testing::Not;

BatchEnd batch_end(int64_t batch, int64_t batches, int64_t batch_size, double seconds) {
  return {.epoch = 2,
          .batch = batch,
          .batches = batches,
          .step = batch + 1,
          .samples = (batch + 1) * batch_size,
          .seconds = seconds};
}

TEST(Progress, T42RateTimesTimeIsTheNumberOfBatches) {
  ProgressMeter meter;
  meter.start();
  for (int i = 0; i < 50; ++i) meter.batch_done(batch_end(i, 100, 64, 1.0 + 0.02 * i));
  double passed = 0.02 * 49;
  EXPECT_NEAR(*meter.batches_s() * passed, 49, 0.49);
  EXPECT_NEAR(*meter.samples_s() * passed, 49 * 64, 0.01 * 49 * 64);
  EXPECT_NEAR(*meter.seconds_left(), 50 * 0.02, 1e-9);
}

TEST(Progress, T42TheFirstBatchHasNoRateInsteadOfAnInfiniteOne) {
  ProgressMeter meter;
  meter.start();
  EXPECT_EQ(meter.samples_s(), std::nullopt);
  meter.batch_done(batch_end(0, 100, 64, 0.0));
  EXPECT_EQ(meter.samples_s(), std::nullopt);
  EXPECT_EQ(meter.seconds_left(), std::nullopt);
  std::string line = progress_line(meter, 5, {.loss_sum = 64, .correct = 32, .seen = 64}, 120);
  EXPECT_THAT(line, HasSubstr("n/a samples/s  n/a left"));
}

TEST(Progress, AnEpochResumedInItsMiddleIsMeasuredFromThere) {
  ProgressMeter meter;
  meter.start();
  meter.batch_done(batch_end(70, 100, 64, 0.5));
  meter.batch_done(batch_end(80, 100, 64, 1.5));
  EXPECT_DOUBLE_EQ(*meter.batches_s(), 10);
  EXPECT_DOUBLE_EQ(meter.fraction(), 0.81);
}

TEST(Progress, T10MetricsNotComputedAreNotShownAsZero) {
  ProgressMeter meter;
  meter.start();
  meter.batch_done(batch_end(0, 100, 64, 0.1));
  std::string line = progress_line(meter, 5, {}, 120);
  EXPECT_THAT(line, HasSubstr("loss n/a  accuracy n/a"));
  EXPECT_THAT(line, Not(HasSubstr("0.00 %")));
}

TEST(Progress, T12AccuracyIsThatOfTheSamplesSeen) {
  ProgressMeter meter;
  meter.start();
  meter.batch_done(batch_end(0, 100, 64, 0.1));
  meter.batch_done(batch_end(24, 100, 64, 0.35));
  std::string line = progress_line(meter, 5, {.loss_sum = 32, .correct = 48, .seen = 64}, 120);
  EXPECT_EQ(line,
            "epoch 2/5 [=========>                             ]  25 %  loss 0.5000  accuracy 75.00 %  "
            "6,144 samples/s  0.781 s left");
}

TEST(Progress, ALineNeverReachesTheTerminalsEdge) {
  ProgressMeter meter;
  meter.start();
  meter.batch_done(batch_end(99, 100, 64, 0.1));
  for (int width : {0, 1, 20, 79, 80, 120, 400})
    EXPECT_LE(static_cast<int>(progress_line(meter, 5, {}, width).size()), std::max(width - 1, 0)) << width;
  EXPECT_THAT(progress_line(meter, 5, {}, 60), Not(HasSubstr("[")));
  EXPECT_THAT(progress_line(meter, 5, {}, 200),
              HasSubstr("[========================================] 100 %"));
}

TEST(Progress, AnEpochsLineLeavesOutWhatWasNotValidated) {
  EpochResult result;
  result.epoch = 3;
  result.train_loss = 0.0512;
  result.train_accuracy = 0.9841;
  result.learning_rate = 0.001;
  result.seconds = 3.21;
  result.samples_s = 21034.4;
  EXPECT_EQ(epoch_line(result, 5),
            "epoch 3/5  loss 0.0512  accuracy 98.41 %  lr 0.001  3.2 s  21,034 samples/s");
  result.val_loss = 0.045;
  result.val_accuracy = 0.986;
  EXPECT_THAT(epoch_line(result, 5), HasSubstr("  val loss 0.0450  val accuracy 98.60 %  lr"));
}

}  // namespace
}  // namespace wholestep
