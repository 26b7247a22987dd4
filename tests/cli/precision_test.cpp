// --precision as a person meets it: what plans, trains and measures in bf16, and who refuses it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "support/cli_command.h"
#include "support/temp_dir.h"
#include "wholestep/backend/cpu/isa.h"

namespace wholestep {
namespace {

using nlohmann::json;
using test::CliResult;
using test::run_cli;
using test::TempDir;
using testing::HasSubstr;

class PrecisionOption : public testing::Test {
 protected:
  void SetUp() override {
    if (detected_isa() < Isa::avx512_bf16) GTEST_SKIP() << "this CPU does not multiply bf16";
  }
  TempDir dir_;
};

TEST_F(PrecisionOption, OfAPlanShowsInTheNamesOfItsKernels) {
  json bf16 = run_cli(dir_.path(), "plan lenet --precision bf16 --json").json();
  json f32 = run_cli(dir_.path(), "plan lenet --json").json();
  EXPECT_THAT(bf16["kernels"].dump(), HasSubstr("\"kernel\":\"bf16\""));
  EXPECT_THAT(f32["kernels"].dump(), testing::Not(HasSubstr("\"kernel\":\"bf16\"")));
  EXPECT_THAT(run_cli(dir_.path(), "plan lenet").out, HasSubstr("bf16: the precision of products is f32"));
}

TEST_F(PrecisionOption, OfARunIsKeptAndMayNotChangeWhenItGoesOn) {
  const std::string run = "train mlp --data digits:train=256,test=128 --out run --precision ";
  CliResult trained = run_cli(dir_.path(), run + "bf16 --epochs 1");
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_THAT(test::read_file(dir_.path() / "run/version_0/config.toml"), HasSubstr("precision = 'bf16'"));
  for (const char* precision : {"f32", "bf16"}) {
    CliResult r = run_cli(dir_.path(), std::string("eval run --json --precision ") + precision);
    EXPECT_EQ(r.status, 0) << r.err;
    EXPECT_EQ(r.json()["samples"], 128);
  }
  CliResult other = run_cli(dir_.path(), run + "f32 --epochs 2 --resume");
  EXPECT_EQ(other.status, 78);
  EXPECT_THAT(other.err, HasSubstr("precision was \"bf16\", now \"f32\""));
  EXPECT_EQ(run_cli(dir_.path(), run + "bf16 --epochs 2 --resume").status, 0);
}

TEST_F(PrecisionOption, OfABenchmarkIsAFieldOfItsRow) {
  json row = run_cli(dir_.path(), "bench --work W1 --seconds 0.1 --precision bf16 --json").json();
  EXPECT_EQ(row["precision"], "bf16");
  EXPECT_GT(row["steps_s"].get<double>(), 0);
}

// T53: rounded operands cannot agree with f64 as well as those of f32.
TEST_F(PrecisionOption, OfParityComparesRoundedProductsWithExactOnes) {
  CliResult r = run_cli(dir_.path(), "parity --device cpu --precision bf16 --json");
  EXPECT_EQ(r.status, 0) << r.err;
  std::istringstream lines(r.out);
  int rounded = 0;
  for (std::string line; std::getline(lines, line);) {
    json row = json::parse(line);
    EXPECT_EQ(row["ok"], true) << line;
    rounded += row["worst_relative_error"].get<double>() > 5e-4;
  }
  EXPECT_GE(rounded, 6);  // the products, and networks of them
}

TEST(Precision, OfAGpuIsTf32AndOtherNamesAreRefusedWithTheRightOnes) {
  TempDir dir;
  CliResult gpu = run_cli(dir.path(), "plan lenet --device cuda --precision bf16");
  EXPECT_EQ(gpu.status, 78);
  EXPECT_THAT(gpu.err,
              testing::AllOf(HasSubstr("products in bf16 are for the CPU"), HasSubstr("--device cpu")));
  CliResult f16 = run_cli(dir.path(), "plan lenet --precision f16");
  EXPECT_EQ(f16.status, 78);
  EXPECT_THAT(f16.err, HasSubstr("'precision' got 'f16', did you mean 'bf16'?"));
}

}  // namespace
}  // namespace wholestep
