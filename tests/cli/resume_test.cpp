// Stopping and going on: the bits of a run do not depend on what interrupted it, on threads, or on workers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "support/cli_command.h"
#include "support/temp_dir.h"
#include "wholestep/io/hash.h"

namespace wholestep {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::CliProcess;
using test::CliResult;
using test::read_file;
using test::run_cli;
using test::TempDir;
using testing::HasSubstr;

// Batches of one make an epoch long enough to be hit in its middle.
const std::string kRun =
    "train mlp --data digits:train=300,test=64 --batch-size 1 --optimizer sgd --lr 0.01 --momentum 0.9 ";

std::string tensors_sha(const fs::path& run) {
  fs::path last = run / "version_0" / "checkpoints" / "last";
  return sha256_hex_of_file(last / "model.safetensors") + " " +
         sha256_hex_of_file(last / "optimizer.safetensors");
}

std::string metrics_without_times(const fs::path& run) {
  std::string text;
  std::istringstream lines(read_file(run / "version_0" / "metrics.csv"));
  for (std::string line; std::getline(lines, line);)
    text += line.substr(0, line.rfind(',', line.rfind(',') - 1)) + "\n";
  return text;
}

TEST(Resume, SigtermCheckpointsAndTheResumedRunHasTheBitsOfAnUninterruptedOne) {
  TempDir dir;
  ASSERT_EQ(run_cli(dir.path(), kRun + "--epochs 5 --out whole").status, 0);
  int interruptions = 0;
  {
    CliProcess first(dir.path(), kRun + "--epochs 5 --out parts --json");
    ASSERT_TRUE(first.wait_for("epoch 2/5"));
    first.signal(SIGTERM);
    CliResult r = first.wait();
    ASSERT_EQ(r.status, 75) << r.err;
    EXPECT_EQ(r.json()["stop_reason"], "interrupted");
    EXPECT_THAT(r.err, HasSubstr("stopped by a signal at step "));
    EXPECT_THAT(r.err, HasSubstr("run the same command with --resume to go on"));
    json state = json::parse(read_file(dir.path() / "parts/version_0/checkpoints/last/trainer_state.json"));
    EXPECT_EQ(state["epoch"], 2);
    interruptions += state["batch"] > 0;
  }
  {
    CliProcess second(dir.path(), kRun + "--epochs 5 --out parts --resume");
    ASSERT_TRUE(second.wait_for("epoch 4/5"));
    second.signal(SIGINT);
    ASSERT_EQ(second.wait().status, 75);
  }
  CliResult last = run_cli(dir.path(), kRun + "--epochs 5 --out parts --resume --json");
  ASSERT_EQ(last.status, 0) << last.err;
  EXPECT_EQ(last.json()["epochs"], 5);
  EXPECT_EQ(last.json()["run_folder"], "parts/version_0") << "no new version";
  EXPECT_EQ(interruptions, 1) << "the signal came in the middle of an epoch";
  EXPECT_EQ(tensors_sha(dir / "parts"), tensors_sha(dir / "whole"));
  EXPECT_EQ(metrics_without_times(dir / "parts"), metrics_without_times(dir / "whole"));
}

TEST(Resume, TenEpochsAreFourAndSixMore) {
  TempDir dir;
  std::string run = "train lenet --data digits:train=256,test=64 ";
  ASSERT_EQ(run_cli(dir.path(), run + "--epochs 10 --out whole").status, 0);
  ASSERT_EQ(run_cli(dir.path(), run + "--epochs 4 --out parts").status, 0);
  CliResult r = run_cli(dir.path(), run + "--epochs 10 --out parts --resume");
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(tensors_sha(dir / "parts"), tensors_sha(dir / "whole"));
  EXPECT_EQ(metrics_without_times(dir / "parts"), metrics_without_times(dir / "whole"));
}

TEST(Resume, AfterAKillItGoesOnFromTheLastCheckpointBetweenEpochs) {
  TempDir dir;
  ASSERT_EQ(run_cli(dir.path(), kRun + "--epochs 4 --out whole").status, 0);
  {
    CliProcess first(dir.path(), kRun + "--epochs 4 --out parts --checkpoint-every 50");
    ASSERT_TRUE(first.wait_for("epoch 2/4"));
    first.signal(SIGKILL);
    EXPECT_EQ(first.wait().status, 128 + SIGKILL);
  }
  CliResult r = run_cli(dir.path(), kRun + "--epochs 4 --out parts --resume");
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(tensors_sha(dir / "parts"), tensors_sha(dir / "whole"));
}

TEST(Resume, ThreadsAndWorkersAndRepetitionDoNotChangeABit) {
  TempDir dir;
  std::string run = "train simple-cnn --data digits:train=300,test=64 --epochs 2 --json ";
  std::string expected, expected_loss;
  for (const char* options : {"--threads 1", "--threads 2", "--threads 3", "--threads 1 --stream",
                              "--threads 2 --stream --workers 1", "--threads 3 --stream --workers 4",
                              "--threads 2", "--threads 2", "--threads 2", "--threads 2", "--threads 2"}) {
    fs::remove_all(dir / "run");
    CliResult r = run_cli(dir.path(), run + "--out run " + options);
    ASSERT_EQ(r.status, 0) << r.err;
    std::string sha = tensors_sha(dir / "run"), loss = r.json()["val_loss"].dump();
    if (expected.empty()) expected = sha, expected_loss = loss;
    EXPECT_EQ(sha, expected) << options;
    EXPECT_EQ(loss, expected_loss) << options;
  }
}

TEST(Resume, ASecondSigintStopsAtOnce) {
  TempDir dir;
  // One step an epoch, slow enough for the second signal to come before it ends.
  CliProcess run(dir.path(),
                 "train lenet --data digits:train=8000,test=1 --batch-size 8000 --epochs 100 --threads 1");
  ASSERT_TRUE(run.wait_for("epoch 1/100"));
  run.signal(SIGINT);
  ASSERT_TRUE(run.wait_for("once more stops at once"));
  run.signal(SIGINT);
  EXPECT_EQ(run.wait().status, 130);
}

TEST(Resume, AutoStartsANewRunWhereThereIsNone) {
  TempDir dir;
  std::string run = "train mlp --data digits:train=64,test=16 --epochs 1 --out run ";
  CliResult refused = run_cli(dir.path(), run + "--resume");
  EXPECT_EQ(refused.status, 66);
  EXPECT_EQ(refused.err,
            "wholestep: there is no run to resume (run). Hint: --resume=auto starts a new one where there is "
            "none\n");
  EXPECT_FALSE(fs::exists(dir / "run"));
  EXPECT_EQ(run_cli(dir.path(), run + "--resume=auto").status, 0);
  CliResult again = run_cli(dir.path(), run + "--resume=auto --json");
  EXPECT_EQ(again.json()["run_folder"], "run/version_0");
  EXPECT_THAT(again.err, HasSubstr("going on from run/version_0/checkpoints/last"));
}

TEST(Resume, ARunFolderIsEnoughToGoOn) {
  TempDir dir;
  ASSERT_EQ(
      run_cli(dir.path(), "train mlp --data digits:train=64,test=16 --epochs 1 --lr 0.02 --out run").status,
      0);
  for (const char* place : {"run", "run/version_0", "run/version_0/checkpoints/best"}) {
    CliResult r = run_cli(dir.path(), std::string("train --resume=") + place + " --epochs 2 --json");
    ASSERT_EQ(r.status, 0) << place << ": " << r.err;
    EXPECT_EQ(r.json()["epochs"], 2);
    EXPECT_EQ(r.json()["run_folder"], "run/version_0");
  }
}

TEST(Resume, WhatWouldChangeTheRunIsRefused) {
  TempDir dir;
  std::string run = "train mlp --data digits:train=64,test=16 --out run ";
  ASSERT_EQ(run_cli(dir.path(), run + "--epochs 1").status, 0);
  CliResult r = run_cli(dir.path(), run + "--epochs 2 --lr 0.5 --batch-size 32 --threads 1 --resume");
  EXPECT_EQ(r.status, 78);
  EXPECT_EQ(r.err,
            "wholestep: a resumed run keeps its configuration (run/version_0): got optimizer.lr was 0.001, "
            "now 0.5, "
            "trainer.batch_size was 64, now 32. Hint: leave these options out, or start a new run without "
            "--resume\n");
}

TEST(Resume, ADamagedLastCheckpointFallsBackToTheBest) {
  TempDir dir;
  std::string run = "train mlp --data digits:train=64,test=16 --out run ";
  ASSERT_EQ(run_cli(dir.path(), run + "--epochs 2").status, 0);
  fs::path weights = dir.path() / "run/version_0/checkpoints/last/model.safetensors";
  std::string bytes = read_file(weights);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 16);
  test::write_file(weights, bytes);
  CliResult r = run_cli(dir.path(), run + "--epochs 3 --resume");
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("warning: a file of the checkpoint is damaged"));
  EXPECT_THAT(r.err, HasSubstr("going on from run/version_0/checkpoints/best"));
  fs::path best = dir.path() / "run/version_0/checkpoints/best/trainer_state.json";
  test::write_file(best, read_file(best) + " ");
  test::write_file(weights, bytes);
  CliResult lost = run_cli(dir.path(), run + "--epochs 4 --resume");
  EXPECT_EQ(lost.status, 65);
  EXPECT_THAT(lost.err, HasSubstr("checkpoints/last/model.safetensors"));
}

TEST(Resume, TwoRunsCannotUseOneFolder) {
  TempDir dir;
  CliProcess first(dir.path(), kRun + "--epochs 1000 --out run");
  ASSERT_TRUE(first.wait_for("epoch 1/1000"));
  CliResult second = run_cli(dir.path(), kRun + "--epochs 1000 --out run --resume");
  EXPECT_EQ(second.status, 74);
  EXPECT_THAT(second.err, HasSubstr("the folder is in use by another process (run/version_0): got process "));
  EXPECT_THAT(second.err, HasSubstr("wait for it or stop it, or write to another folder"));
  CliResult third =
      run_cli(dir.path(), "train mlp --data digits:train=64,test=16 --epochs 1 --out run --json");
  EXPECT_EQ(third.json()["run_folder"], "run/version_1") << "a new run takes the next version";
  first.signal(SIGTERM);
  EXPECT_EQ(first.wait().status, 75);
}

}  // namespace
}  // namespace wholestep
