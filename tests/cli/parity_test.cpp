// `wholestep parity`: whether a device computes what the CPU does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "support/cli_command.h"
#include "support/temp_dir.h"
#include "wholestep/graph/op.h"

namespace wholestep {
namespace {

using nlohmann::json;
using test::CliResult;
using test::run_cli;
using test::TempDir;
using testing::HasSubstr;

TEST(Parity, ComparesEveryOpOnAllItsCasesAndSixNetworks) {
  TempDir dir;
  CliResult r = run_cli(dir.path(), "parity --device cpu --json");
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(r.err, "cpu against the CPU\n");
  std::istringstream lines(r.out);
  std::string line;
  for (const OpDef* op : all_ops()) {
    ASSERT_TRUE(std::getline(lines, line)) << op->name;
    json j = json::parse(line);
    EXPECT_EQ(j["name"], op->name);
    EXPECT_EQ(j["device"], "cpu");
    EXPECT_EQ(j["cases"], op->cases().size());
    EXPECT_LT(j["worst_relative_error"].get<double>(), 1e-4) << op->name;
    EXPECT_EQ(j["ok"], true);
    // f32 is compared with f64, so that products cannot agree in every bit.
    if (op->name == "matmul") {
      EXPECT_GT(j["worst_relative_error"].get<double>(), 0);
    }
  }
  for (const char* network : {"mlp", "lenet", "simple-cnn", "w1", "w3", "w4s"}) {
    ASSERT_TRUE(std::getline(lines, line)) << network;
    json j = json::parse(line);
    EXPECT_EQ(j["name"], std::string("steps of ") + network);
    EXPECT_EQ(j["cases"], 5);
    EXPECT_EQ(j["worst_relative_error"], 0.0);  // the CPU against itself
  }
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(Parity, PrintsATable) {
  TempDir dir;
  CliResult r = run_cli(dir.path(), "parity --device cpu");
  EXPECT_EQ(r.status, 0);
  EXPECT_THAT(r.out, testing::ContainsRegex("^ +cases +worst relative error\nneg +12 +0  ok\n"));
  EXPECT_THAT(r.out, testing::ContainsRegex("\nsteps of w4s +5 +0  ok\n"));
}

TEST(Parity, NeedsTheDeviceItIsAskedAbout) {
  TempDir dir;
  CliResult r = run_cli(dir.path(), "parity --device cuda");
  EXPECT_EQ(r.status, 78);
  EXPECT_EQ(r.out, "");
  EXPECT_THAT(r.err, HasSubstr("Hint: --device cpu, or see `wholestep devices`"));
}

}  // namespace
}  // namespace wholestep
