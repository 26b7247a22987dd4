// Bad input: what is wrong, where, what was there, what would do, and the documented exit code; nothing lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>

#include "support/cli_command.h"
#include "support/temp_dir.h"

namespace wholestep {
namespace {

namespace fs = std::filesystem;
using test::CliResult;
using test::read_file;
using test::run_cli;
using test::TempDir;
using test::write_file;
using testing::HasSubstr;

const std::string kTrainImages = "train-images-idx3-ubyte.gz", kTrainLabels = "train-labels-idx1-ubyte.gz";

/// A folder with 64 + 32 digits as IDX files in data/, plain so that their bytes can be damaged one by one.
class BadInput : public testing::Test {
 protected:
  BadInput() {
    CliResult r = run_cli(dir.path(), "data convert digits:train=64,test=32 data");
    EXPECT_EQ(r.status, 0) << r.err;
  }

  CliResult train(const std::string& more = "") {
    return run_cli(dir.path(), "train mlp --data idx:data --epochs 1 --out run " + more);
  }
  void expect_train_refused(int status, const std::string& message) {
    CliResult r = train();
    EXPECT_EQ(r.status, status);
    EXPECT_EQ(r.err, "wholestep: " + message + "\n");
    EXPECT_EQ(r.out, "");
  }
  void unpack(const std::string& packed) {
    ASSERT_EQ(std::system(("gzip -d '" + (dir / "data").string() + "/" + packed + "'").c_str()), 0);
  }
  fs::path file(const std::string& name) const { return dir.path() / "data" / name; }

  TempDir dir;
};

TEST_F(BadInput, AWrongMagicNamesFileAndByte) {
  unpack(kTrainImages);
  std::string bytes = read_file(file("train-images-idx3-ubyte"));
  bytes[0] = 'X';
  write_file(file("train-images-idx3-ubyte"), bytes);
  CliResult r = train();
  EXPECT_EQ(r.status, 65);
  EXPECT_THAT(r.err, testing::StartsWith("wholestep: "));
  for (const char* piece : {"data/train-images-idx3-ubyte", "magic", "expected"})
    EXPECT_THAT(r.err, HasSubstr(piece));
}

TEST_F(BadInput, ATruncatedFileIsRefused) {
  unpack(kTrainImages);
  std::string bytes = read_file(file("train-images-idx3-ubyte"));
  write_file(file("train-images-idx3-ubyte"), bytes.substr(0, bytes.size() - 1));
  CliResult r = train();
  EXPECT_EQ(r.status, 65);
  EXPECT_THAT(r.err, HasSubstr("data/train-images-idx3-ubyte"));
  EXPECT_THAT(r.err, HasSubstr("got at most 50175, expected 50176 bytes for shape [64, 28, 28]"));
}

TEST_F(BadInput, AFlippedBitInAPackedFileIsRefused) {
  std::string bytes = read_file(file(kTrainImages));
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  write_file(file(kTrainImages), bytes);
  CliResult r = train();
  EXPECT_EQ(r.status, 65);
  EXPECT_THAT(r.err, HasSubstr("data/" + kTrainImages));
}

TEST_F(BadInput, MoreLabelsThanImagesAreRefused) {
  unpack(kTrainLabels);
  std::string bytes = read_file(file("train-labels-idx1-ubyte"));
  bytes[7] = 65;
  write_file(file("train-labels-idx1-ubyte"), bytes + '\1');
  CliResult r = train();
  EXPECT_EQ(r.status, 65);
  for (const char* piece : {"64", "65", "train-labels-idx1-ubyte"}) EXPECT_THAT(r.err, HasSubstr(piece));
}

TEST_F(BadInput, T67ALabelOutOfRangeIsNamedWithItsIndex) {
  unpack(kTrainLabels);
  std::string bytes = read_file(file("train-labels-idx1-ubyte"));
  bytes[8 + 17] = 10;
  write_file(file("train-labels-idx1-ubyte"), bytes);
  CliResult r = train();
  EXPECT_EQ(r.status, 65);
  for (const char* piece : {"17", "10", "0 to 9"}) EXPECT_THAT(r.err, HasSubstr(piece));
}

TEST_F(BadInput, AMissingFileIsNoInput) {
  fs::remove(file(kTrainLabels));
  CliResult r = train();
  EXPECT_EQ(r.status, 66);
  EXPECT_THAT(r.err, HasSubstr("train-labels-idx1-ubyte"));
}

TEST_F(BadInput, T8SamplesThatDoNotFitTheModelAreRefused) {
  CliResult r = run_cli(dir.path(), "train w4s --data idx:data --out run");
  EXPECT_EQ(r.status, 78);
  EXPECT_EQ(r.err,
            "wholestep: the samples do not fit the model (idx:data into w4s): got samples [1, 28, 28], "
            "expected [3, 64, "
            "64]. Hint: choose a model with that input, or change \"input\" in its model.json\n");
}

TEST_F(BadInput, ABrokenConfigurationNamesLineAndColumn) {
  write_file(dir / "run.toml", "model = 'mlp'\ndata = 'digits'\n[trainer\nmax_epochs = 1\n");
  CliResult r = run_cli(dir.path(), "train --config run.toml");
  EXPECT_EQ(r.status, 78);
  EXPECT_THAT(r.err, HasSubstr("this is not valid TOML (run.toml:3:"));
  write_file(dir / "run.toml", "model = 'mlp'\ndata = 'digits'\n[trainer]\nmax_epoch = 1\n");
  r = run_cli(dir.path(), "train --config run.toml");
  EXPECT_EQ(r.status, 78);
  EXPECT_EQ(r.err,
            "wholestep: run.toml: trainer: 'max_epoch' is not a known key, did you mean 'max_epochs'?\n");
  r = run_cli(dir.path(), "train --config absent.toml");
  EXPECT_EQ(r.status, 66);
  EXPECT_THAT(r.err, HasSubstr("absent.toml"));
}

TEST_F(BadInput, ABrokenModelNamesLayerAndKey) {
  write_file(dir / "net.json", R"({"name": "net", "input": [1, 28, 28], "classes": 10, "layers": [
    {"type": "Flatten"}, {"type": "Linear", "in_feature": 784, "out_features": 10}]})");
  CliResult r = run_cli(dir.path(), "summary net.json");
  EXPECT_EQ(r.status, 78);
  for (const char* piece : {"net.json", "'in_feature' is not a known key, did you mean 'in_features'?"})
    EXPECT_THAT(r.err, HasSubstr(piece));
  write_file(dir / "net.json", R"({"name": "net", "input": [1, 28, 28], "classes": 10, "layers": [
    {"type": "Flatten"}, {"type": "Linear", "in_features": 700, "out_features": 10}]})");
  r = run_cli(dir.path(), "summary net.json");
  EXPECT_EQ(r.status, 78);
  for (const char* piece : {"layers.1", "784", "700"}) EXPECT_THAT(r.err, HasSubstr(piece));
  write_file(dir / "net.json", "{\"name\": \"net\",\n \"input\": [1, 28 28]}");
  r = run_cli(dir.path(), "summary net.json");
  EXPECT_EQ(r.status, 78);
  EXPECT_THAT(r.err, HasSubstr("this is not valid JSON (net.json:2:"));
}

TEST_F(BadInput, T56AModelEndingInSoftmaxUnderCrossEntropyIsRefused) {
  write_file(dir / "net.json", R"({"name": "net", "input": [1, 28, 28], "classes": 10, "layers": [
    {"type": "Flatten"}, {"type": "Linear", "in_features": 784, "out_features": 10}, {"type": "Softmax"}]})");
  CliResult r = run_cli(dir.path(), "train net.json --data idx:data --out run");
  EXPECT_EQ(r.status, 78);
  EXPECT_THAT(r.err, HasSubstr("the model ends in Softmax, and cross-entropy applies softmax itself"));
  EXPECT_EQ(run_cli(dir.path(), "train net.json --data idx:data --epochs 1 --loss mse --out run").status, 0);
}

TEST_F(BadInput, EveryFlippedBitOfACheckpointIsFound) {
  ASSERT_EQ(train().status, 0);
  fs::path last = dir.path() / "run/version_0/checkpoints/last";
  for (const char* name :
       {"model.safetensors", "optimizer.safetensors", "trainer_state.json", "config.json", "manifest.json"}) {
    std::string bytes = read_file(last / name), damaged = bytes;
    damaged[bytes.size() / 3] = static_cast<char>(damaged[bytes.size() / 3] ^ 2);
    write_file(last / name, damaged);
    CliResult r = run_cli(dir.path(), "eval run/version_0/checkpoints/last");
    EXPECT_TRUE(r.status == 65 || r.status == 66) << name << ": " << r.status << " " << r.err;
    EXPECT_THAT(r.err, HasSubstr("checkpoints/last")) << name;
    write_file(last / name, bytes.substr(0, bytes.size() / 2));
    EXPECT_NE(run_cli(dir.path(), "eval run/version_0/checkpoints/last").status, 0) << name << " cut in half";
    write_file(last / name, bytes);
  }
  EXPECT_EQ(run_cli(dir.path(), "eval run/version_0/checkpoints/last").status, 0);
}

TEST_F(BadInput, AFolderThatCannotBeWrittenIsSaidBeforeDataIsRead) {
  write_file(dir / "file", "in the way");
  CliResult r = run_cli(dir.path(), "train mlp --data idx:absent --out file/run");
  EXPECT_EQ(r.status, 74);
  EXPECT_EQ(r.err, "wholestep: cannot create the folder (file/run): got Not a directory\n");
  EXPECT_EQ(run_cli(dir.path(), "train mlp --data idx:absent --out /proc/run").status, 74);
}

TEST_F(BadInput, AFullFolderIsSaidBeforeDataIsRead) {
  fs::path small = dir / "small";
  fs::create_directory(small);
  if (::mount("tmpfs", small.c_str(), "tmpfs", 0, "size=512k") != 0)
    GTEST_SKIP() << "mounting a small file system takes root";
  CliResult r = run_cli(dir.path(), "train mlp --data idx:absent --out small/run");
  ::umount(small.c_str());
  EXPECT_EQ(r.status, 74);
  EXPECT_THAT(r.err, HasSubstr("not enough free space (small/run/version_0): got "));
  EXPECT_THAT(r.err, HasSubstr("free some space, or write to another folder"));
}

TEST_F(BadInput, AMemoryBudgetOneByteTooSmallIsRefusedBeforeDataIsRead) {
  const std::string small_evaluation = " --set trainer.eval_batch_size=8 ";
  int64_t needed = run_cli(dir.path(), "plan lenet --json" + small_evaluation).json()["run_bytes"];
  std::string run = "train lenet --data idx:absent --out run" + small_evaluation + "--memory-budget ";
  CliResult r = run_cli(dir.path(), run + std::to_string(needed - 1));
  EXPECT_EQ(r.status, 80);
  EXPECT_THAT(r.err, HasSubstr("the plan does not fit the memory budget"));
  EXPECT_THAT(r.err, HasSubstr("got " + std::to_string(needed) + " bytes, expected at most " +
                               std::to_string(needed - 1)));
  EXPECT_FALSE(fs::exists(dir / "run")) << "nothing has been written";
  EXPECT_EQ(run_cli(dir.path(), run + std::to_string(needed)).status, 66) << "now the data is looked for";

  const std::string words = "the largest batch that fits is ";
  ASSERT_THAT(r.err, HasSubstr(words));
  int64_t largest = std::stoll(r.err.substr(r.err.find(words) + words.size()));
  auto fits = [&](int64_t batch) {
    return run_cli(dir.path(), "plan lenet" + small_evaluation + "--memory-budget " +
                                   std::to_string(needed - 1) + " --batch-size " + std::to_string(batch))
               .status == 0;
  };
  EXPECT_LT(largest, 64);
  EXPECT_TRUE(fits(largest));
  EXPECT_FALSE(fits(largest + 1));
}

TEST_F(BadInput, PredictionNamesFileLineAndColumn) {
  ASSERT_EQ(train().status, 0);
  auto refused = [&](const std::string& arguments) {
    CliResult r = run_cli(dir.path(), "predict run " + arguments);
    return std::to_string(r.status) + " " + r.err;
  };
  write_file(dir / "rows.csv", "1,2,3\n");
  EXPECT_EQ(refused("rows.csv"),
            "65 wholestep: the row does not fit the model (rows.csv:1): got 3 values, expected 784\n");
  write_file(dir / "rows.csv", "\n1,256,3\n");
  EXPECT_EQ(refused("rows.csv"),
            "65 wholestep: this is no value of a sample (rows.csv:2, column 2): got '256', expected a whole "
            "number 0 to 255\n");
  EXPECT_EQ(refused("notes.txt"),
            "2 wholestep: cannot tell what kind of file this is (notes.txt): expected *.png, *.jpg, *.jpeg, "
            "*.csv or idx:FILE\n");
  write_file(dir / "broken.png", "\x89PNG\r\n\x1a\nnot really");
  EXPECT_THAT(refused("broken.png"),
              testing::StartsWith("65 wholestep: the PNG is damaged or cut off (broken.png)"));
  EXPECT_THAT(refused("absent.png"), testing::StartsWith("66 wholestep: "));
  EXPECT_EQ(refused("idx:data/" + kTrainLabels),
            "65 wholestep: the samples do not fit the model (data/" + kTrainLabels +
                "): got [64], expected [N, ...] with 784 values a sample\n");
  write_file(dir / "empty.csv", "");
  EXPECT_EQ(refused("empty.csv"), "65 wholestep: there are no samples in these files\n");
}

TEST_F(BadInput, AFolderWithoutACheckpointIsNoInput) {
  CliResult r = run_cli(dir.path(), "eval data");
  EXPECT_EQ(r.status, 66);
  EXPECT_EQ(r.err,
            "wholestep: there is no checkpoint in this folder (data). Hint: a run writes its first one at "
            "the end of the "
            "first epoch\n");
  EXPECT_EQ(run_cli(dir.path(), "eval absent").status, 66);
}

}  // namespace
}  // namespace wholestep
