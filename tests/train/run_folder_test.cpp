// Run folders: versions, the lock, and which checkpoint a run goes on from.
#include "wholestep/train/run_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "wholestep/train/checkpoint.h"

namespace wholestep {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::TempDir;

void save(const fs::path& folder, float value) {
  Tensor weight = tensor<float>({value, 2, 3}, {3});
  weight.set_role(TensorRole::kParameter, "weight");
  save_checkpoint(
      folder, {.model_tensors = {weight}, .state_tensors = {}, .trainer_state = {{"step", 1}}, .config = {}});
}

void flip_a_bit(const fs::path& file) {
  std::string bytes = test::read_file(file);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  test::write_file(file, bytes);
}

TEST(RunFolder, VersionsCountUpFromTheHighest) {
  TempDir dir;
  fs::path base = dir / "runs" / "lenet";
  EXPECT_EQ(newest_version(base), std::nullopt);
  EXPECT_EQ(RunFolder::create(base).path(), base / "version_0");
  EXPECT_EQ(RunFolder::create(base).path(), base / "version_1");
  fs::create_directory(base / "version_9");
  fs::create_directory(base / "version_x");
  fs::create_directory(base / "version_12b");
  test::write_file(base / "version_30", "a file");
  EXPECT_EQ(RunFolder::create(base).path(), base / "version_10") << "numbers are compared, not text";
  EXPECT_EQ(newest_version(base), base / "version_10");
}

TEST(RunFolder, AFileWithTheNextNameIsPassedOver) {
  TempDir dir;
  test::write_file(dir / "version_0", "a file");
  EXPECT_EQ(RunFolder::create(dir.path()).path(), dir / "version_1");
}

TEST(RunFolder, TwoRunsCannotUseOneVersion) {
  TempDir dir;
  RunFolder first = RunFolder::create(dir.path());
  expect_error(ErrorCode::kIo,
               {"in use by another process", "version_0", "process " + std::to_string(::getpid())},
               [&] { RunFolder::open(first.path()); });
}

TEST(RunFolder, AVersionIsFreeAgainAfterItsRun) {
  TempDir dir;
  fs::path version = RunFolder::create(dir.path()).path();
  EXPECT_EQ(RunFolder::open(version).path(), version);
}

TEST(RunFolder, ARunThatCouldNotBeginLeavesNothingBehind) {
  TempDir dir;
  RunFolder run = RunFolder::create(dir.path());
  test::write_file(run.config(), "x = 1\n");
  run.discard();
  EXPECT_FALSE(fs::exists(run.path()));
  RunFolder trained = RunFolder::create(dir.path());
  save(trained.path() / "checkpoints" / "last", 1);
  trained.discard();
  EXPECT_TRUE(fs::exists(trained.path() / "checkpoints" / "last"));
}

TEST(RunFolder, AFileInTheWayIsNamed) {
  TempDir dir;
  test::write_file(dir / "runs", "a file");
  expect_error(ErrorCode::kIo, {"cannot create the folder", "runs"},
               [&] { RunFolder::create(dir / "runs" / "lenet"); });
}

TEST(FindCheckpoint, TakesTheNewestVersionsLastOrBest) {
  TempDir dir;
  save(dir / "version_0" / "checkpoints" / "last", 1);
  save(dir / "version_2" / "checkpoints" / "last", 2);
  save(dir / "version_2" / "checkpoints" / "best", 3);
  EXPECT_EQ(find_checkpoint(dir.path(), Prefer::kLast)->path, dir / "version_2" / "checkpoints" / "last");
  EXPECT_EQ(find_checkpoint(dir.path(), Prefer::kBest)->path, dir / "version_2" / "checkpoints" / "best");
  EXPECT_EQ(find_checkpoint(dir / "version_0", Prefer::kBest)->path,
            dir / "version_0" / "checkpoints" / "last");
  fs::path itself = dir / "version_0" / "checkpoints" / "last";
  EXPECT_EQ(find_checkpoint(itself, Prefer::kBest)->path, itself);
}

TEST(FindCheckpoint, PassesOverADamagedOneAndSaysSo) {
  TempDir dir;
  save(dir / "version_0" / "checkpoints" / "last", 1);
  save(dir / "version_0" / "checkpoints" / "best", 2);
  flip_a_bit(dir / "version_0" / "checkpoints" / "last" / "model.safetensors");
  FoundCheckpoint found = *find_checkpoint(dir.path(), Prefer::kLast);
  EXPECT_EQ(found.path, dir / "version_0" / "checkpoints" / "best");
  EXPECT_THAT(found.damage, testing::HasSubstr("model.safetensors"));
  EXPECT_EQ(find_checkpoint(dir.path(), Prefer::kBest)->damage, "");
}

TEST(FindCheckpoint, AllDamagedIsAnErrorThatNamesTheFile) {
  TempDir dir;
  save(dir / "version_0" / "checkpoints" / "last", 1);
  flip_a_bit(dir / "version_0" / "checkpoints" / "last" / "trainer_state.json");
  expect_error(ErrorCode::kBadData, {"trainer_state.json"},
               [&] { find_checkpoint(dir.path(), Prefer::kLast); });
}

TEST(FindCheckpoint, NothingThereIsSaid) {
  TempDir dir;
  EXPECT_EQ(find_checkpoint(dir.path(), Prefer::kLast), std::nullopt);
  expect_error(ErrorCode::kNoInput, {"no checkpoint in this folder"},
               [&] { require_checkpoint(dir.path(), Prefer::kLast); });
  expect_error(ErrorCode::kNoInput, {"no such checkpoint or run folder", "absent"},
               [&] { find_checkpoint(dir / "absent", Prefer::kLast); });
}

}  // namespace
}  // namespace wholestep
