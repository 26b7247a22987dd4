// wholestep train: what it prints, writes and promises on small data.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "support/cli_command.h"
#include "support/temp_dir.h"

namespace wholestep {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::CliResult;
using test::read_file;
using test::run_cli;
using test::TempDir;
using testing::HasSubstr;
using testing::Not;

const std::string kSmall = " --data digits:train=512,test=128 ";

int count(const std::string& text, const std::string& piece) {
  int found = 0;
  for (size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) ++found;
  return found;
}

TEST(Train, EndsWithOneJsonObjectOnStandardOutput) {
  TempDir dir;
  CliResult r = run_cli(dir.path(), "train mlp" + kSmall + "--epochs 2 --out run --json");
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(count(r.out, "\n"), 1);
  json j = r.json();
  EXPECT_EQ(j["epochs"], 2);
  EXPECT_EQ(j["steps"], 16);
  EXPECT_EQ(j["stop_reason"], "finished");
  EXPECT_EQ(j["run_folder"], "run/version_0");
  EXPECT_EQ(j["checkpoint"], "run/version_0/checkpoints/last");
  EXPECT_EQ(j["report"], "run/version_0/report.html");
  EXPECT_LT(j["train_loss"].get<double>(), 2.0);
  EXPECT_GT(j["train_accuracy"].get<double>(), 0.5);
  EXPECT_GT(j["val_accuracy"].get<double>(), 0.5);
  EXPECT_GT(j["val_loss"].get<double>(), 0.0);
  EXPECT_GT(j["seconds"].get<double>(), 0.0);
  EXPECT_GT(j["samples_s"].get<double>(), 0.0);
  EXPECT_GT(j["peak_rss_bytes"].get<int64_t>(), 1 << 20);
  EXPECT_GT(j["arena_bytes"].get<int64_t>(), 0);
  EXPECT_EQ(j["predicted_bytes"], j["used_bytes"]);
}

TEST(Train, TracesItsBatchesAndStepsInOrder) {
  TempDir dir;
  CliResult r =
      run_cli(dir.path(), "train mlp" + kSmall + "--epochs 1 --set trainer.resident=false --trace t.json");
  ASSERT_EQ(r.status, 0) << r.err;
  json trace = json::parse(read_file(dir.path() / "t.json"));
  std::map<int64_t, std::map<std::string, json>> submissions;
  for (const json& event : trace["traceEvents"])
    if (event["ph"] == "X") submissions[event["args"]["submission"]][event["name"]] = event;
  double end = 0;
  int steps = 0;
  for (auto& [number, spans] : submissions) {
    if (!spans.contains("step")) continue;  // the loader's end of an epoch
    ++steps;
    for (const char* name : {"batch", "step"}) {
      ASSERT_TRUE(spans.contains(name)) << name << " " << number;
      EXPECT_GE(spans[name]["ts"].get<double>(), end) << name << " " << number;
      end = spans[name]["ts"].get<double>() + spans[name]["dur"].get<double>() - 0.002;  // of three digits
    }
  }
  EXPECT_EQ(steps, 8 + 1);  // and one of validation
}

TEST(Train, WritesARunFolder) {
  TempDir dir;
  CliResult r = run_cli(dir.path(), "train mlp" + kSmall + "--epochs 2 --lr 0.002");
  ASSERT_EQ(r.status, 0) << r.err;
  fs::path version = dir.path() / "runs" / "mlp" / "version_0";
  EXPECT_THAT(read_file(version / "config.toml"), HasSubstr("lr = 0.002"));
  std::string metrics = read_file(version / "metrics.csv");
  EXPECT_EQ(count(metrics, "\n"), 3);
  EXPECT_THAT(metrics, HasSubstr("epoch,step,train_loss,train_accuracy,val_loss,val_accuracy"));
  EXPECT_THAT(metrics, HasSubstr("\n1,8,"));
  EXPECT_THAT(metrics, HasSubstr("\n2,16,"));
  for (const char* name : {"last", "best"})
    for (const char* file :
         {"manifest.json", "config.json", "model.safetensors", "optimizer.safetensors", "trainer_state.json"})
      EXPECT_TRUE(fs::exists(version / "checkpoints" / name / file)) << name << "/" << file;
  std::string report = read_file(version / "report.html");
  EXPECT_THAT(report, HasSubstr("<h1>mlp</h1>"));
  EXPECT_THAT(report, HasSubstr("finished after 2 epochs"));
  EXPECT_THAT(report, HasSubstr("128 validation samples"));
  EXPECT_THAT(report, HasSubstr("data:image/png;base64,"));
  EXPECT_THAT(r.out, HasSubstr("finished after 2 epochs"));
  EXPECT_FALSE(fs::exists(version / ".lock")) << "the lock goes with its run";
}

TEST(Train, EveryRunGetsAVersionOfItsOwn) {
  TempDir dir;
  for (int version = 0; version < 2; ++version) {
    CliResult r = run_cli(dir.path(), "train mlp" + kSmall + "--epochs 1 --json");
    EXPECT_EQ(r.json()["run_folder"], "runs/mlp/version_" + std::to_string(version));
  }
}

TEST(Train, PrintsALineAnEpochWhereStandardErrorIsNoTerminal) {
  TempDir dir;
  CliResult r = run_cli(dir.path(), "train mlp" + kSmall + "--epochs 3");
  for (const char* epoch : {"epoch 1/3  loss ", "epoch 2/3  loss ", "epoch 3/3  loss "})
    EXPECT_EQ(count(r.err, epoch), 1);
  EXPECT_THAT(r.err, HasSubstr("  val accuracy "));
  EXPECT_THAT(r.err, Not(HasSubstr("\r")));
  EXPECT_THAT(r.err, Not(HasSubstr("\x1b")));
}

TEST(Train, DrawsABarOnATerminalThatNeverReachesItsEdge) {
  TempDir dir;
  CliResult r = test::run_cli_on_terminal(
      dir.path(), "train mlp --data digits:train=4000,test=64 --batch-size 4 --epochs 1", 100);
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("epoch 1/1 ["));
  EXPECT_THAT(r.err, HasSubstr("samples/s"));
  EXPECT_THAT(r.err, HasSubstr("\x1b[K"));
  for (size_t at = 0; at < r.err.size();) {
    size_t end = std::min(r.err.find_first_of("\r\n\x1b", at), r.err.size());
    bool bar = r.err.substr(at, 7) == "epoch 1" && r.err.substr(at, end - at).find('[') != std::string::npos;
    EXPECT_LT(bar ? end - at : 0, 100u);
    at = end + 1;
  }
}

TEST(Train, NoColorIsRespected) {
  TempDir dir;
  CliResult plain = test::run_cli_on_terminal(dir.path(), "train nothing", 80, "NO_COLOR=1");
  CliResult coloured = test::run_cli_on_terminal(dir.path(), "train nothing", 80);
  EXPECT_THAT(plain.err, Not(HasSubstr("\x1b[31m")));
  EXPECT_THAT(coloured.err, HasSubstr("\x1b[31m"));
}

TEST(Train, LaterSourcesOfAValueGoOverEarlierOnes) {
  TempDir dir;
  test::write_file(dir / "run.toml",
                   "model = 'mlp'\ndata = 'digits'\n[optimizer]\ntype = 'sgd'\nlr = 0.1\nmomentum = 0.5\n");
  CliResult r = run_cli(dir.path(),
                        "train --config run.toml --set optimizer.lr=0.2 --set optimizer.momentum=0.7 "
                        "--lr 0.3 --print-config");
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("lr = 0.3"));
  EXPECT_THAT(r.out, HasSubstr("momentum = 0.7"));
  EXPECT_THAT(r.out, HasSubstr("nesterov = false")) << "defaults are spelled out";
  EXPECT_FALSE(fs::exists(dir / "runs")) << "printing the configuration trains nothing";
}

TEST(Train, AResolvedConfigurationReadsBackToItself) {
  TempDir dir;
  std::string options =
      "train lenet --data digits --optimizer sgd --nesterov --momentum 0.9 --schedule cosine --clip 1.5 "
      "--workers 2 --stream --patience 3 --checkpoint-every 10 --memory-budget 64MiB ";
  CliResult first = run_cli(dir.path(), options + "--print-config");
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(first.out, HasSubstr("memory_budget_bytes = 67108864"));
  EXPECT_THAT(first.out, HasSubstr("resident = false"));
  test::write_file(dir / "run.toml", first.out);
  EXPECT_EQ(run_cli(dir.path(), "train --config run.toml --print-config").out, first.out);
}

TEST(Train, ModelsComeFromFilesToo) {
  TempDir dir;
  CliResult spec = run_cli(dir.path(), "summary mlp --spec");
  test::write_file(dir / "my-net.json", spec.out);
  CliResult r = run_cli(dir.path(), "train my-net.json" + kSmall + "--epochs 1 --json");
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(r.json()["run_folder"], "runs/my-net/version_0");
}

TEST(Train, T64T65EveryLossAndOptimizerAndScheduleThatIsListedTrains) {
  TempDir dir;
  auto names = [&](const std::string& kind) {
    std::vector<std::string> list;
    for (const json& entry : run_cli(dir.path(), "list " + kind + " --json").json())
      list.push_back(entry["name"]);
    EXPECT_FALSE(list.empty());
    return list;
  };
  for (const char* last : {"Sigmoid", "LogSoftmax"})
    test::write_file(dir / (std::string(last) + ".json"),
                     R"({"name": "net", "input": [1, 28, 28], "classes": 10, "layers": [
    {"type": "Flatten"}, {"type": "Linear", "in_features": 784, "out_features": 10}, {"type": ")" +
                         std::string(last) + "\"}]}");
  auto losses_of = [&](const std::string& options) {
    bool logs = options.ends_with(" nll") || options.ends_with(" kl-div");
    std::string model = options.ends_with(" bce") ? "Sigmoid.json" : logs ? "LogSoftmax.json" : "mlp";
    CliResult r = run_cli(dir.path(), "train " + model + kSmall + "--epochs 3 --lr 0.01 --json " + options);
    EXPECT_EQ(r.status, 0) << options << ": " << r.err;
    std::string metrics = read_file(dir.path() / r.json()["run_folder"].get<std::string>() / "metrics.csv");
    double first = std::stod(metrics.substr(metrics.find("\n1,8,") + 5)), last = r.json()["train_loss"];
    EXPECT_LT(last, first) << options;
    return last;
  };
  std::vector<std::string> choices;
  for (const std::string& optimizer : names("optimizers")) choices.push_back("--optimizer " + optimizer);
  std::map<std::string, std::string> settings = {
      // what a choice needs to be told, or to differ by
      {"huber", "loss.delta=0.3"},
      {"step", "schedule.step_size=4"},
      {"multi-step", "schedule.milestones=[3,7]"},
      {"exponential", "schedule.gamma=0.97"},
      {"cosine-restarts", "schedule.T_0=5"},
      {"reduce-on-plateau", "schedule.threshold=0.9 --set schedule.patience=0"},
      {"sequence",
       "schedule.milestones=[4] --set "
       "'schedule.schedules=[{type=\"linear\"},{type=\"constant\",factor=0.5,total_iters=5}]'"}};
  auto with_settings = [&](const std::string& options, const std::string& name) {
    std::string settled = settings.contains(name) ? " --set " + settings[name] : "";
    choices.push_back(settled.empty() ? options + name : settled + " " + options + name);
  };
  for (const std::string& loss : names("losses")) with_settings("--clip 1 --loss ", loss);
  for (const std::string& schedule : names("schedules"))
    with_settings("--weight-decay 0.1 --schedule ", schedule);
  std::set<double> seen;  // each choice has an effect of its own
  for (const std::string& choice : choices) EXPECT_TRUE(seen.insert(losses_of(choice)).second) << choice;
}

TEST(Train, T54T65EveryTrainingOptionChangesWhatIsComputed) {
  TempDir dir;
  auto sha = [&](const std::string& options) {
    CliResult r = run_cli(dir.path(), "train mlp" + kSmall + "--epochs 1 --json " + options);
    EXPECT_EQ(r.status, 0) << r.err;
    return read_file(dir.path() / r.json()["checkpoint"].get<std::string>() / "model.safetensors");
  };
  std::set<std::string> seen;
  for (const char* options :
       {"--optimizer sgd --lr 0.1", "--optimizer sgd --lr 0.05", "--optimizer sgd --lr 0.1 --momentum 0.9",
        "--optimizer sgd --lr 0.1 --momentum 0.9 --nesterov", "--optimizer sgd --lr 0.1 --weight-decay 0.01",
        "--optimizer sgd --lr 0.1 --clip 0.5", "--optimizer sgd --lr 0.1 --clip-value 0.001",
        "--optimizer sgd --lr 0.1 --ema 0.5", "--optimizer sgd --lr 0.1 --accumulate 2",
        "--optimizer sgd --lr 0.1 --set loss.label_smoothing=0.1",
        "--optimizer sgd --lr 0.1 --set 'optimizer.groups=[{parameters=\"*.bias\",lr=0.2}]'",
        "--optimizer sgd --lr 0.1 --seed 7", "--optimizer sgd --lr 0.1 --batch-size 32",
        "--optimizer sgd --lr 0.1 --schedule cosine", "--optimizer sgd --lr 0.1 --warmup-steps 5",
        "--optimizer sgd --lr 0.1 --set trainer.shuffle=false"})
    EXPECT_TRUE(seen.insert(sha(options)).second) << options;
}

TEST(Train, ARunThatCannotBeginLeavesNoFolderBehind) {
  TempDir dir;
  EXPECT_EQ(run_cli(dir.path(), "train mlp --data idx:absent --out run").status, 66);
  EXPECT_EQ(run_cli(dir.path(), "train w3" + kSmall + "--out run").status, 78);
  EXPECT_TRUE(fs::is_empty(dir / "run"));
}

TEST(Train, VerboseSaysMore) {
  TempDir dir;
  std::string run = "train mlp" + kSmall + "--epochs 1 --out run ";
  auto with_a_dead_runs_lock = [&](const std::string& options) {
    CliResult first = run_cli(dir.path(), run + "--json");
    test::write_file(dir.path() / first.json()["run_folder"].get<std::string>() / ".lock", "12345\n");
    return run_cli(dir.path(), run + "--resume " + options).err;
  };
  EXPECT_THAT(with_a_dead_runs_lock("--verbose"), HasSubstr("taking over from process 12345, which died"));
  EXPECT_THAT(with_a_dead_runs_lock(""), Not(HasSubstr("taking over")));
}

TEST(Train, EarlyStoppingEndsTheRun) {
  TempDir dir;
  CliResult r =
      run_cli(dir.path(), "train mlp" + kSmall + "--epochs 50 --optimizer sgd --lr 0 --patience 2 --json");
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(r.json()["stop_reason"], "early_stopping");
  EXPECT_EQ(r.json()["epochs"], 3);
}

TEST(Train, ValidationDataCanBeAnotherSet) {
  TempDir dir;
  CliResult r = run_cli(dir.path(), "train mlp" + kSmall + "--val digits:train=1,test=77,seed=5 --epochs 1");
  ASSERT_EQ(r.status, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("77 validation samples"));
}

TEST(Train, ANonFiniteStepStopsTheRunAndNamesTheOp) {
  TempDir dir;
  CliResult r = run_cli(dir.path(), "train mlp" + kSmall + "--optimizer sgd --lr 1e30 --epochs 2 --json");
  EXPECT_EQ(r.status, 81) << r.err;
  EXPECT_EQ(r.json()["stop_reason"], "non_finite");
  EXPECT_THAT(r.err, HasSubstr("was not finite"));
  EXPECT_THAT(r.err, HasSubstr("layers."));
  EXPECT_THAT(r.err, HasSubstr("lower --lr"));
}

}  // namespace
}  // namespace wholestep
