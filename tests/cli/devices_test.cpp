// --device and `wholestep devices`, where no GPU is seen.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "support/cli_command.h"
#include "support/temp_dir.h"
#include "wholestep/backend/cpu/isa.h"
#include "wholestep/backend/cuda/library.h"

namespace wholestep {
namespace {

using nlohmann::json;
using test::CliProcess;
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

TEST(Devices, ADriverThatCannotBeUsedIsNamedForWhatIsWrongWithIt) {
  std::string why;
  if (!cuda_library(&why)) GTEST_SKIP() << "no CUDA library: " << why;
  struct Case {
    const char* driver;
    std::string words, versions;
  };
  for (const Case& c : {
           Case{"FAKE_CUDA_VERSION=12040 FAKE_CUDA_INIT=0",
                "the NVIDIA driver is for CUDA 12.4, older than the 13.0 of the libraries", "driver 12.4, "},
           Case{"FAKE_CUDA_VERSION=13000 FAKE_CUDA_INIT=100", "the NVIDIA driver found no GPU",
                "driver 13.0, "},
           Case{"FAKE_CUDA_VERSION=13000 FAKE_CUDA_INIT=34", "cudaErrorStubLibrary: ", "driver 13.0, "},
           Case{"FAKE_CUDA_VERSION=13000 FAKE_CUDA_INIT=999", "cudaErrorUnknown: ", "driver 13.0, "},
       }) {
    TempDir dir;
    auto run = [&](const std::string& arguments) {
      return CliProcess(dir.path(), arguments,
                        c.driver + std::string(" LD_LIBRARY_PATH=" WHOLESTEP_FAKE_DRIVER ":$LD_LIBRARY_PATH"))
          .wait();
    };
    CliResult devices = run("devices");
    EXPECT_EQ(devices.status, 0);
    EXPECT_THAT(devices.out, HasSubstr("\ncuda    none: " + c.words));
    EXPECT_THAT(devices.out, HasSubstr("\n        " + c.versions));
    CliResult train = run("train mlp --data digits:train=64,test=8 --epochs 1 --device cuda");
    EXPECT_EQ(train.status, 78);
    EXPECT_THAT(train.err, HasSubstr("CUDA device 0 cannot be used: got " + c.words));
    EXPECT_THAT(train.err, HasSubstr("Hint: --device cpu, or see `wholestep devices`"));
    CliResult any = run("train mlp --data digits:train=64,test=8 --epochs 1 --verbose");
    EXPECT_EQ(any.status, 0) << any.err;
    EXPECT_THAT(any.err, HasSubstr("device cpu; no GPU: " + c.words));
  }
}

TEST(Devices, SaysWhichCudnnThereIsOrWhyThereIsNone) {
  std::string why;
  if (!cuda_library(&why)) GTEST_SKIP() << "no CUDA library: " << why;
  TempDir dir;
  const std::string versions = run_cli(dir.path(), "devices --json").json()["cuda"]["versions"];
  if (versions.ends_with("no cuDNN: built without cuDNN")) GTEST_SKIP() << versions;
  EXPECT_THAT(versions, testing::ContainsRegex(", (cuDNN 9\\.|no cuDNN: libcudnn)"));
  std::ofstream(dir.path() / "libcudnn.so.9") << "no library";
  const CliResult broken = CliProcess(dir.path(), "devices", "LD_LIBRARY_PATH=.:$LD_LIBRARY_PATH").wait();
  EXPECT_EQ(broken.status, 0);
  EXPECT_THAT(broken.out, HasSubstr(", no cuDNN: ./libcudnn.so.9: file too short\n"));
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
  EXPECT_EQ(gpu["memory"]["feed_bytes"], 2 * gpu["memory"]["batch_bytes"].get<int64_t>());
  EXPECT_FALSE(cpu["memory"].contains("feed_bytes"));
  int64_t sum = 0;
  for (const auto& [kind, bytes] : gpu["memory"].items())
    if (std::set<std::string>{"parameters_bytes", "state_bytes", "constants_bytes", "batch_bytes",
                              "activations_bytes", "feed_bytes"}
            .contains(kind))
      sum += bytes.get<int64_t>();
  EXPECT_EQ(gpu["memory"]["total_bytes"], sum);
  json exact = run_cli(dir.path(), "plan w3 --device cuda --no-tf32 --json").json();
  EXPECT_THAT(gpu["kernels"].dump(), HasSubstr("\"kernel\":\"tensor"));
  EXPECT_THAT(exact["kernels"].dump(), testing::Not(HasSubstr("\"kernel\":\"tensor")));
  EXPECT_THAT(
      run_cli(dir.path(), "plan w3 --device cuda").out,
      testing::AllOf(
          HasSubstr(" regions, each one kernel of so many blocks, calls of libraries beside it\n    0 "),
          HasSubstr("layers.0 matmul")));
  EXPECT_THAT(run_cli(dir.path(), "inspect w3 --device cuda:1 --stage fuse").out, HasSubstr("== fuse: "));
}

}  // namespace
}  // namespace wholestep
