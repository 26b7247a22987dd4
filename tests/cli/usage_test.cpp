// The frame of the command: help, version, and what is said about words it does not know.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/cli_command.h"
#include "support/temp_dir.h"

namespace wholestep {
namespace {

using test::CliResult;
using test::run_cli;
using testing::HasSubstr;

CliResult cli(const std::string& arguments) {
  test::TempDir dir;
  return run_cli(dir.path(), arguments);
}

void expect_refused(const std::string& arguments, int status, const std::string& message) {
  CliResult result = cli(arguments);
  EXPECT_EQ(result.status, status) << arguments;
  EXPECT_EQ(result.err, "wholestep: " + message + "\n") << arguments;
  EXPECT_EQ(result.out, "") << arguments;
}

TEST(Usage, VersionGoesToStandardOutput) {
  CliResult result = cli("--version");
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.out, testing::MatchesRegex("wholestep [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  EXPECT_EQ(result.err, "");
}

TEST(Usage, HelpNamesEveryVerbAndTheExitCodes) {
  CliResult result = cli("--help");
  EXPECT_EQ(result.status, 0);
  for (const char* verb : {"train", "eval", "predict", "summary", "inspect", "plan", "data", "bench",
                           "sanity", "list", "devices", "parity"}) {
    EXPECT_THAT(result.out, HasSubstr(std::string("\n  ") + verb));
    CliResult help = cli(std::string(verb) + " --help");
    EXPECT_EQ(help.status, 0) << verb;
    EXPECT_THAT(help.out, HasSubstr("Examples:\n  wholestep " + std::string(verb))) << verb;
  }
  for (const char* code : {"65 bad data", "66 no input", "75 checkpointed", "80 plan refused"})
    EXPECT_THAT(result.out, HasSubstr(code));
}

TEST(Usage, UnknownWordsGetTheNearestKnownOne) {
  expect_refused("trian lenet", 2, "unknown command 'trian' (wholestep). Hint: did you mean 'train'?");
  expect_refused("train lenet --epoch 3", 2,
                 "unknown option '--epoch' (wholestep train). Hint: did you mean '--epochs'?");
  expect_refused("data descrbe digits", 2,
                 "unknown command 'descrbe' (wholestep data). Hint: did you mean 'describe'?");
  expect_refused("list layres", 2, "there is no such list: got 'layres'. Hint: did you mean 'layers'?");
  expect_refused(
      "summary lenett", 78,
      "no model is called 'lenett'. Hint: did you mean 'lenet'?; or give the path of a model.json");
  expect_refused("inspect mlp --stage fues", 2,
                 "compilation has no such stage: got 'fues'. Hint: did you mean 'fuse'?");
  expect_refused("bench --work W9", 2, "no such work: got 'W9'. Hint: did you mean 'W1'?");
  expect_refused(
      "data describe digts", 78,
      "unknown data: got 'digts', expected digits, csv:FILE, idx:DIR or mnist. Hint: did you mean 'digits'?");
  expect_refused("data preview digits:train=16,test=1 --out a.png --part tset", 2,
                 "data has no such part: got 'tset'. Hint: did you mean 'test'?");
}

TEST(Usage, MissingAndSuperfluousArgumentsAreNamed) {
  expect_refused("eval", 2, "run is required (wholestep eval). Hint: see wholestep eval --help");
  expect_refused("summary mlp lenet", 2,
                 "unexpected argument 'lenet' (wholestep summary). Hint: see wholestep summary --help");
  CliResult nothing = cli("");
  EXPECT_EQ(nothing.status, 2);
  EXPECT_THAT(nothing.err, HasSubstr("wholestep --help"));
}

TEST(Usage, AllProblemsOfAConfigurationComeAtOnce) {
  expect_refused("train lenet --data digits --epochs abc --set trainer.batchsize=3 --set optimzer.lr=2", 78,
                 "3 problems: command line: trainer: 'max_epochs' got \"abc\", expected an integer; "
                 "command line: trainer: 'batchsize' is not a known key, did you mean 'batch_size'?; "
                 "command line: 'optimzer' is not a known key, did you mean 'optimizer'?");
  expect_refused("train", 78,
                 "2 problems: command line: 'model' is missing: name of a network (see `wholestep list "
                 "models`) or path of a model.json; command line: 'data' is missing: "
                 "digits[:train=N,test=N,seed=S], csv:FILE:class=COLUMN, csv:FILE:target=COLUMN, idx:DIR or "
                 "mnist");
  expect_refused(
      "train lenet --data digits --optimizer lbfgs --lr 1", 78,
      "command line: optimizer: 'type' got 'lbfgs', which takes the loss of all samples many times a "
      "step and is led by the host: use optim::LBFGS in a program");
  expect_refused("train lenet --data digits --momentum 0.9", 78,
                 "command line: optimizer: 'momentum' is not a known key, known: type, lr, betas, eps, "
                 "weight_decay, amsgrad, groups");
}

TEST(Usage, AnUnknownDeviceNamesTheDevicesThereAre) {
  for (const char* verb : {"train lenet --data digits", "plan lenet", "bench", "eval ."}) {
    expect_refused(std::string(verb) + " --device cdua", 78,
                   "there is no such device: got 'cdua', expected auto, cpu, cuda or cuda:N. Hint: did you "
                   "mean 'cuda'?");
    EXPECT_EQ(cli(std::string(verb) + " --device cuda:x").status, 78) << verb;
  }
}

TEST(Usage, NumbersOutOfRangeAreRefused) {
  expect_refused("train lenet --data digits --epochs 0", 78,
                 "command line: trainer: 'max_epochs' got 0, expected at least 1");
  expect_refused("train lenet --data digits --lr -1", 78,
                 "command line: optimizer: 'lr' got -1, expected at least 0");
  expect_refused("plan lenet --memory-budget lots", 2,
                 "cannot read the size: got 'lots', expected bytes as a number, or with KiB, MiB, GiB (KB, "
                 "MB, GB)");
}

TEST(Usage, OutputThatCannotBeWrittenIsAnError) {
  CliResult result = cli("list ops --json > /dev/full"), small = cli("list losses > /dev/full");
  for (const CliResult& r : {result, small}) {
    EXPECT_EQ(r.status, 74);
    EXPECT_EQ(r.err, "wholestep: cannot write to file: No space left on device\n");
  }
}

}  // namespace
}  // namespace wholestep
