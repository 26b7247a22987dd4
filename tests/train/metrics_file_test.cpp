// metrics.csv after every epoch, and across a resume.
#include "wholestep/train/metrics_file.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/temp_dir.h"

namespace wholestep {
namespace {

const std::string kHeader =
    "epoch,step,train_loss,train_accuracy,val_loss,val_accuracy,learning_rate,seconds,samples_s\n";

EpochResult result(int64_t epoch, double loss) {
  EpochResult r;
  r.epoch = epoch;
  r.step = epoch * 10;
  r.train_loss = loss;
  r.train_accuracy = 0.5;
  r.learning_rate = 0.001;
  r.seconds = 2;
  r.samples_s = 320;
  return r;
}

TEST(MetricsFile, HoldsARowAnEpochAsSoonAsItIsOver) {
  test::TempDir dir;
  MetricsFile file(dir / "metrics.csv", false);
  EXPECT_EQ(test::read_file(dir / "metrics.csv"), kHeader);
  EpochResult first = result(1, 0.25);
  first.val_loss = 0.125;
  first.val_accuracy = 0.75;
  file.on_epoch_end(first);
  EXPECT_EQ(test::read_file(dir / "metrics.csv"), kHeader + "1,10,0.25,0.5,0.125,0.75,0.001,2,320\n");
}

TEST(MetricsFile, T10WhatWasNotComputedIsEmpty) {
  test::TempDir dir;
  MetricsFile file(dir / "metrics.csv", false);
  file.on_epoch_end(result(1, 0.25));
  EXPECT_EQ(test::read_file(dir / "metrics.csv"), kHeader + "1,10,0.25,0.5,,,0.001,2,320\n");
}

TEST(MetricsFile, AResumedRunReplacesTheEpochsItTrainsAgain) {
  test::TempDir dir;
  {
    MetricsFile file(dir / "metrics.csv", false);
    for (int epoch : {1, 2, 3}) file.on_epoch_end(result(epoch, 0.5));
  }
  MetricsFile file(dir / "metrics.csv", true);
  file.on_epoch_end(result(2, 0.75));
  EXPECT_EQ(test::read_file(dir / "metrics.csv"),
            kHeader + "1,10,0.5,0.5,,,0.001,2,320\n2,20,0.75,0.5,,,0.001,2,320\n");
}

TEST(MetricsFile, AFileThatIsSomethingElseIsNotOverwritten) {
  test::TempDir dir;
  test::write_file(dir / "metrics.csv", "name,price\napple,3\n");
  test::expect_error(ErrorCode::kBadData, {"no metrics.csv", "metrics.csv:1", "name,price"},
                     [&] { MetricsFile(dir / "metrics.csv", true); });
  EXPECT_EQ(test::read_file(dir / "metrics.csv"), "name,price\napple,3\n");
}

}  // namespace
}  // namespace wholestep
