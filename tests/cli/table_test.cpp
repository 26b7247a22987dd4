// Tables through the command: train, evaluate, predict, and what does not fit together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "support/cli_command.h"
#include "support/temp_dir.h"

namespace wholestep {
namespace {

using nlohmann::json;
using test::CliResult;
using test::read_file;
using test::run_cli;
using test::TempDir;
using testing::HasSubstr;
using testing::Not;

const std::filesystem::path kIris =
    std::filesystem::path(WHOLESTEP_SOURCE_DIR) / "../shared/data/tabular/iris.csv";

constexpr const char* kLine =
    R"({"name": "line", "input": [2], "targets": 1, "layers": [{"type": "Linear", "in_features": 2, "out_features": 1}]})";
constexpr const char* kIrisModel = R"({"name": "iris", "input": [4], "classes": 3, "layers": [
  {"type": "Linear", "in_features": 4, "out_features": 16}, {"type": "ReLU"},
  {"type": "Linear", "in_features": 16, "out_features": 3}]})";

/// y = 2 a - 3 b + 1 on a grid, and the model for it.
void write_line(const TempDir& dir) {
  std::string text = "a,b,y\n";
  for (int i = 0; i < 20; ++i)
    for (int j = 0; j < 10; ++j) {
      double a = i / 10.0, b = j - 4.0;
      text += std::to_string(a) + "," + std::to_string(b) + "," + std::to_string(2 * a - 3 * b + 1) + "\n";
    }
  test::write_file(dir / "line.csv", text);
  test::write_file(dir / "line.json", kLine);
}

const std::string kTrain =
    "train line.json --data csv:line.csv:target=y --loss mse --optimizer sgd --lr 0.1 --out run ";

TEST(Table, NumbersAreTrainedEvaluatedAndPredicted) {
  TempDir dir;
  write_line(dir);
  CliResult r = run_cli(dir.path(), kTrain + "--epochs 20 --json");
  ASSERT_EQ(r.status, 0) << r.err;
  json j = r.json();
  EXPECT_TRUE(j["train_accuracy"].is_null());
  EXPECT_TRUE(j["val_accuracy"].is_null());
  EXPECT_GT(j["val_regression"]["r2"].get<double>(), 0.9999);
  EXPECT_LT(j["val_regression"]["rmse"].get<double>(), 0.05);
  EXPECT_THAT(r.err, HasSubstr("line on 160 train and 40 test rows [2] from line.csv"));
  EXPECT_THAT(r.err, HasSubstr("  val rmse "));
  EXPECT_THAT(r.err, Not(HasSubstr("accuracy")));
  std::string metrics = read_file(dir / "run/version_0/metrics.csv");
  EXPECT_THAT(metrics,
              testing::StartsWith("epoch,step,train_loss,train_mae,train_rmse,train_r2,val_loss,val_mae,"
                                  "val_rmse,val_r2,learning_rate,seconds,samples_s\n1,3,"));
  std::string report = read_file(dir / "run/version_0/report.html");
  EXPECT_THAT(report, HasSubstr("<span>R2</span>"));
  EXPECT_THAT(report, HasSubstr("RMSE"));
  EXPECT_THAT(report, HasSubstr("<h2>y: estimated and true</h2>"));
  EXPECT_THAT(report, HasSubstr("<h2>y: residuals</h2>"));
  EXPECT_THAT(report, Not(HasSubstr("ccuracy")));

  json e = run_cli(dir.path(), "eval run --json").json();
  EXPECT_EQ(e["samples"], 40);
  EXPECT_NEAR(e["r2"].get<double>(), j["val_regression"]["r2"].get<double>(), 1e-6);
  EXPECT_NEAR(e["mse"].get<double>(), std::pow(e["rmse"].get<double>(), 2), 1e-12);
  EXPECT_FALSE(e.contains("accuracy"));
  EXPECT_THAT(run_cli(dir.path(), "eval run").out,
              testing::MatchesRegex("R2 1\\.0000.*RMSE .*MAE .*40 samples.*\n"));

  // Columns by name, in any order, others left out.
  test::write_file(dir / "new.csv", "b,note,a\n2,x,1\n-1,y,0.5\n");
  CliResult p = run_cli(dir.path(), "predict run new.csv --json");
  ASSERT_EQ(p.status, 0) << p.err;
  std::string first = p.out.substr(0, p.out.find('\n')), second = p.out.substr(p.out.find('\n') + 1);
  EXPECT_EQ(json::parse(first)["sample"], "new.csv:2");
  EXPECT_NEAR(json::parse(first)["targets"]["y"].get<double>(), -3, 0.05);
  EXPECT_NEAR(json::parse(second)["targets"]["y"].get<double>(), 5, 0.05);
  EXPECT_THAT(run_cli(dir.path(), "predict run new.csv").out, HasSubstr("new.csv:2: y -"));
}

TEST(Table, AResumedRunGoesOnWithItsRows) {
  TempDir dir;
  write_line(dir);
  ASSERT_EQ(run_cli(dir.path(), kTrain + "--epochs 4").status, 0);
  ASSERT_EQ(run_cli(dir.path(),
                    "train line.json --data csv:line.csv:target=y --loss mse --optimizer sgd --lr 0.1 "
                    "--epochs 2 --out parts")
                .status,
            0);
  CliResult resumed = run_cli(dir.path(), "train --resume=parts --epochs 4 --json");
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_EQ(read_file(dir / "parts/version_0/checkpoints/last/model.safetensors"),
            read_file(dir / "run/version_0/checkpoints/last/model.safetensors"));
  EXPECT_THAT(read_file(dir / "parts/version_0/metrics.csv"), HasSubstr("\n4,12,"));
}

TEST(Table, WhatDoesNotFitTogetherIsRefused) {
  TempDir dir;
  write_line(dir);
  test::write_file(dir / "iris.json", kIrisModel);
  auto expect = [&](const std::string& arguments, int status, const std::string& text) {
    CliResult r = run_cli(dir.path(), arguments);
    EXPECT_EQ(r.status, status) << arguments;
    EXPECT_THAT(r.err, HasSubstr(text)) << arguments;
    EXPECT_FALSE(std::filesystem::exists(dir / "refused/version_0")) << arguments;
  };
  const std::string data = " --data csv:line.csv:target=y --out refused";
  expect("train line.json --loss cross-entropy" + data, 78,
         "the targets are numbers, and the loss is one of classes: got cross-entropy(), expected mse, l1, "
         "smooth-l1 "
         "or huber");
  expect("train iris.json" + data, 78,
         "the samples do not fit the model (csv:line.csv:target=y into iris): got samples [2], expected [4]. "
         "Hint: mlp is made for the columns of any table; or change \"input\" in a model.json");
  expect("train line.json --data csv:line.csv:class=y --out refused", 78,
         "one of data and model is of classes, the other of numbers (csv:line.csv:class=y into line): got 0 "
         "targets, expected 1");
  expect("train mlp --data csv:line.csv --out refused", 78,
         "a table needs one kind of column to predict (line.csv): got neither class nor target, expected "
         "class=COLUMN, or target=COLUMN for numbers (several as target=A+B)");
  expect("train mlp --loss cross-entropy" + data, 78,
         "the targets are numbers, and the loss is one of classes: got cross-entropy()");
  expect("train line.json --loss mse --data csv:line.csv:class=y --out refused", 78,
         "one of data and model is of classes, the other of numbers");
  expect("train line.json --loss mse --data csv:line.csv:target=y+a --out refused", 78,
         "the samples do not fit the model");
  expect("train line.json --loss mse --data csv:line.csv:target=z --out refused", 78,
         "the file has no such column (line.csv:1): got 'z'. Hint: did you mean");
  expect("train line.json --loss mse --data csv:no.csv:target=y --out refused", 66, "no.csv");
  test::write_file(dir / "both.json", R"({"input": [2], "targets": 1, "classes": 2, "layers": []})");
  expect("summary both.json", 78, "'classes' is not a known key");
  test::write_file(
      dir / "wide.json",
      R"({"input": [2], "targets": 2, "layers": [{"type": "Linear", "in_features": 2, "out_features": 1}]})");
  expect("summary wide.json", 78, "the model's output is not one number a target");

  ASSERT_EQ(run_cli(dir.path(), kTrain + "--epochs 1").status, 0);
  test::write_file(dir / "other.csv", "b,a,y\n1,2,3\n4,5,6\n");
  expect(
      "eval run --data csv:other.csv:target=y", 78,
      "the data has other features than the training had (csv:other.csv:target=y): got b, a, expected a, b");
  expect(
      "train line.json --loss mse --data csv:line.csv:target=y --val csv:other.csv:target=y --out refused",
      78,
      "the data has other features than the training had (csv:other.csv:target=y): got b, a, expected a, b");
  test::write_file(dir / "short.csv", "a,y\n1,2\n");
  expect("predict run short.csv", 78, "the file has no such column (short.csv:1): got 'b'");
  expect("predict run picture.png", 2,
         "the model takes rows of a table (picture.png): expected *.csv with a header");
}

TEST(Table, TheMlpIsMadeForItsColumns) {
  TempDir dir;
  write_line(dir);
  CliResult r = run_cli(dir.path(), "train mlp --data csv:line.csv:target=y+a --epochs 1 --json");
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_THAT(run_cli(dir.path(), "summary runs/mlp").out,
              testing::StartsWith("mlp  input [1, 1]  targets 2\n"));
  EXPECT_THAT(read_file(dir / "runs/mlp/version_0/config.toml"), HasSubstr("type = 'mse'"));
  test::write_file(dir / "words.csv", "x,b,what\n0,1,no\n1,1,yes\n2,4,maybe\n0,3,no\n1,2,yes\n2,1,maybe\n");
  r = run_cli(dir.path(), "train mlp --data csv:words.csv:class=what --epochs 1 --out words");
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_THAT(run_cli(dir.path(), "summary words").out,
              testing::StartsWith("mlp  input [1, 2]  classes 3\n"));
  EXPECT_THAT(read_file(dir / "words/version_0/config.toml"), HasSubstr("type = 'cross-entropy'"));
  EXPECT_EQ(run_cli(dir.path(), "train --resume=words --epochs 2").status, 0);
  EXPECT_THAT(run_cli(dir.path(), "summary mlp").out,
              testing::StartsWith("mlp  input [1, 1, 28, 28]  classes 10\n"));
}

TEST(Table, ALossThatIsNotNamedFollowsTheTargets) {
  TempDir dir;
  write_line(dir);
  auto loss_of = [&](const std::string& options) {
    std::string config = run_cli(dir.path(), "train line.json " + options + " --print-config").out;
    size_t at = config.find("type = '", config.find("[loss]")) + 8;
    return config.substr(at, config.find('\'', at) - at);
  };
  EXPECT_EQ(loss_of("--data csv:line.csv:target=y"), "mse");
  EXPECT_EQ(loss_of("--data csv:line.csv:target=y --set loss.reduction=sum"), "mse");
  EXPECT_EQ(loss_of("--data csv:line.csv:target=y --loss l1"), "l1");
  EXPECT_EQ(loss_of("--data csv:line.csv:class=y"), "cross-entropy");
  EXPECT_EQ(loss_of("--data digits"), "cross-entropy");
  EXPECT_EQ(run_cli(dir.path(), "plan line.json --batch-size 8").status, 0) << "by the model alone";
}

TEST(Table, SanityIsMeasuredByTheVarianceOfTheTargets) {
  TempDir dir;
  std::string text = "a,y\n";  // far from 0, and of a spread no absolute loss would fit
  for (int i = 0; i < 80; ++i) text += std::to_string(i) + "," + std::to_string(4e6 + 2e4 * i) + "\n";
  test::write_file(dir / "large.csv", text);
  for (const char* loss : {"mse", "l1", "huber"}) {
    CliResult r =
        run_cli(dir.path(), "sanity mlp --data csv:large.csv:target=y --json --loss " + std::string(loss));
    ASSERT_EQ(r.status, 0) << r.err;
    EXPECT_GT(r.json()["r2"].get<double>(), 0.99) << loss;
    EXPECT_LT(r.json()["loss"].get<double>(), 0.1) << loss;
    EXPECT_TRUE(r.json()["passed"].get<bool>());
  }
  CliResult stuck = run_cli(dir.path(), "sanity mlp --data csv:large.csv:target=y --lr 0 --max-steps 3");
  EXPECT_EQ(stuck.status, 1);
  EXPECT_THAT(stuck.err,
              testing::ContainsRegex("mlp cannot learn a batch of 64 by heart: got R2 -?0\\.[0-9]{4} "
                                     "after 3 steps, -?0\\.[0-9]{4} at first, expected over 0\\.99"));
}

TEST(Table, PlansSayWhatTheyRead) {
  TempDir dir;
  write_line(dir);
  std::string graph = run_cli(dir.path(), "inspect line.json --loss mse --stage trace --batch-size 8").out;
  EXPECT_THAT(graph, HasSubstr("batch \"features\" : f32[8, 2]"));
  EXPECT_THAT(graph, HasSubstr("batch \"targets\" : f32[8, 1]"));
  EXPECT_EQ(run_cli(dir.path(), "plan line.json --loss mse --batch-size 8 --profile").status, 0);
  EXPECT_THAT(run_cli(dir.path(), "summary line.json").out, HasSubstr("input [1, 2]  targets 1\n"));
  std::string spec = run_cli(dir.path(), "summary line.json --spec").out;
  EXPECT_THAT(spec, HasSubstr("\"targets\": 1,"));
  test::write_file(dir / "again.json", spec);
  EXPECT_EQ(run_cli(dir.path(), "summary again.json --spec").out, spec);
}

TEST(Table, IrisIsLearned) {
  if (!std::filesystem::exists(kIris)) GTEST_SKIP() << "no iris.csv at " << kIris;
  TempDir dir;
  test::write_file(dir / "iris.json", kIrisModel);
  double accuracy = 0;
  for (int seed : {0, 1, 2}) {
    std::string data = "csv:" + kIris.string() + ":class=species,seed=" + std::to_string(seed);
    CliResult r = run_cli(dir.path(),
                          "train iris.json --data " + data + " --epochs 40 --lr 0.02 --batch-size 16 --json");
    ASSERT_EQ(r.status, 0) << r.err;
    accuracy += r.json()["val_accuracy"].get<double>() / 3;
    EXPECT_GT(r.json()["train_accuracy"].get<double>(), 0.95);
  }
  EXPECT_GT(accuracy, 0.93);
  json e = run_cli(dir.path(), "eval runs/iris --part train --json").json();
  EXPECT_EQ(e["samples"], 120);
  EXPECT_EQ(e["confusion"].size(), 3u);
  EXPECT_THAT(run_cli(dir.path(), "predict runs/iris " + kIris.string()).out,
              HasSubstr("iris.csv:2: setosa "));
}

}  // namespace
}  // namespace wholestep
