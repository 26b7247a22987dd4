// --device and `wholestep devices`, where no GPU is seen.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(Devices, SaysWhatTheCpuIsAndWhyThereIsNoGpu) {
  TempDir dir;
  json j = run_cli(dir.path(), "devices --json").json();
  EXPECT_GE(j["cpu"]["threads"].get<int>(), 1);
  EXPECT_EQ(j["cpu"]["instruction_set"], name(active_isa()));
  EXPECT_GT(j["cpu"]["memory_bytes"].get<int64_t>(), int64_t{1} << 28);
  EXPECT_EQ(j["cuda"]["devices"], json::array());
  std::string why = j["cuda"]["refusal"];
  EXPECT_THAT(why, testing::AnyOf(HasSubstr("libwholestep_cuda.so was not built"), HasSubstr("driver"),
                                  HasSubstr("cannot open shared object file")));
  CliResult text = run_cli(dir.path(), "devices");
  EXPECT_EQ(text.status, 0);
  EXPECT_THAT(text.out, testing::StartsWith("cpu     "));
  EXPECT_THAT(text.out, HasSubstr("\ncuda    none: " + why + "\n"));
}

TEST(Devices, AGpuThatCannotBeUsedIsABadConfigurationWithTheReasonAndAHint) {
  TempDir dir;
  std::string why = run_cli(dir.path(), "devices --json").json()["cuda"]["refusal"];
  for (const char* verb : {"train lenet --data digits", "bench --work W1", "eval run", "predict run a.png",
                           "parity", "sanity lenet --data digits"})
    for (const char* device : {"cuda", "cuda:3"}) {
      CliResult r = run_cli(dir.path(), std::string(verb) + " --device " + device);
      EXPECT_EQ(r.status, 78) << verb;
      EXPECT_THAT(r.err, HasSubstr("got " + why)) << verb;
      EXPECT_THAT(r.err, HasSubstr("Hint: --device cpu, or see `wholestep devices`")) << verb;
      EXPECT_EQ(r.out, "");
    }
  EXPECT_FALSE(std::filesystem::exists(dir.path() / "runs"));
}

TEST(Devices, AutoTakesTheCpuAndSaysWhyOnlyWhenAskedToSayMore) {
  TempDir dir;
  std::string why = run_cli(dir.path(), "devices --json").json()["cuda"]["refusal"];
  std::string train = "train mlp --data digits:train=64,test=8 --epochs 1";
  CliResult quiet = run_cli(dir.path(), train), verbose = run_cli(dir.path(), train + " --verbose");
  EXPECT_THAT(quiet.err, HasSubstr(", device cpu, run folder "));
  EXPECT_THAT(quiet.err, testing::Not(HasSubstr(why)));
  EXPECT_THAT(verbose.err, HasSubstr("device cpu; no GPU: " + why + "\n"));
  EXPECT_THAT(run_cli(dir.path(), train + " --device cpu --verbose").err, testing::Not(HasSubstr(why)));
}

TEST(Devices, PlansAndInspectsForAGpuThatIsNotThere) {
  TempDir dir;
  CliResult plan = run_cli(dir.path(), "plan w3 --device cuda --json");
  EXPECT_EQ(plan.status, 0) << plan.err;
  json gpu = plan.json(), cpu = run_cli(dir.path(), "plan w3 --json").json();
  EXPECT_EQ(gpu["mode"], "training");
  EXPECT_GT(gpu["memory"]["parameters_bytes"].get<int64_t>(), 0);
  EXPECT_EQ(gpu["memory"]["parameters_bytes"], cpu["memory"]["parameters_bytes"]);
  EXPECT_NE(gpu["kernels"], cpu["kernels"]);
  json exact = run_cli(dir.path(), "plan w3 --device cuda --no-tf32 --json").json();
  EXPECT_THAT(gpu["kernels"].dump(), HasSubstr("\"tensor\""));
  EXPECT_THAT(exact["kernels"].dump(), testing::Not(HasSubstr("\"kernel\":\"tensor\"")));
  EXPECT_THAT(run_cli(dir.path(), "plan w3 --device cuda").out,
              testing::AllOf(HasSubstr(" regions, each one kernel of so many blocks\n    0 "),
                             HasSubstr("layers.0 matmul")));
  EXPECT_THAT(run_cli(dir.path(), "inspect w3 --device cuda:1 --stage fuse").out, HasSubstr("== fuse: "));
}

}  // namespace
}  // namespace wholestep
