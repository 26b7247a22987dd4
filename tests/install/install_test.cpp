// Installs the build into a folder of its own, moves that folder, and builds programs outside the tree
// against it.
#include <gtest/gtest.h>

#include <cstdio>

#include "support/command.h"
#include "support/temp_dir.h"

namespace wholestep {
namespace {

namespace fs = std::filesystem;
using test::CommandResult;
using test::run_command;
using test::TempDir;

class Install : public testing::Test {
 protected:
  /// Runs a command and stops the test with its output where it fails.
  std::string run(const std::string& command) {
    CommandResult result = run_command(command);
    EXPECT_EQ(result.status, 0) << command << "\n" << result.output;
    return result.output;
  }

  void expect_recipe_resumes(const fs::path& program);

  TempDir folder_;
};

// An op, layer, loss and optimizer of the program's own: stopped in its second epoch and gone on with by a
// new process, training ends with the bits of one process, weights and momenta. Python computes the same
// scores from the exported weights.
void Install::expect_recipe_resumes(const fs::path& program) {
  auto recipe = [&](const std::string& run_folder, int stop_after) {
    return run("'" + program.string() + "' '" + (folder_ / run_folder).string() + "' " +
               std::to_string(stop_after));
  };
  const std::string whole = recipe("whole", 0);
  EXPECT_EQ(recipe("parts", 13), "stopped after 13 steps\n");
  EXPECT_FALSE(fs::exists(folder_ / "parts/weights.safetensors"));
  EXPECT_EQ(recipe("parts", 0), whole);
  int accuracy = 0;
  EXPECT_EQ(std::sscanf(whole.c_str(), "steps 200, accuracy %d", &accuracy), 1) << whole;
  EXPECT_GT(accuracy, 65);
  for (const char* file : {"weights.safetensors", "checkpoints/last/optimizer.safetensors"})
    EXPECT_EQ(test::read_file(folder_ / "parts" / file), test::read_file(folder_ / "whole" / file)) << file;

  test::write_file(folder_ / "check.py", R"(
import json, math, struct, sys
data = open(sys.argv[1] + "/weights.safetensors", "rb").read()
length, = struct.unpack("<Q", data[:8])
header = json.loads(data[8:8 + length])
header.pop("__metadata__", None)
assert {name: info["shape"] for name, info in header.items()} == {
    "layers.1.weight": [16, 784], "layers.1.bias": [16], "layers.3.weight": [10, 16], "layers.3.bias": [10]}, header
def rows(name, columns):
    begin, end = header[name]["data_offsets"]
    values = struct.unpack("<%df" % ((end - begin) // 4), data[8 + length + begin:8 + length + end])
    return [values[i:i + columns] for i in range(0, len(values), columns)]
h = [math.tanh(0.25 * sum(w) + b) for w, (b,) in zip(rows("layers.1.weight", 784), rows("layers.1.bias", 1))]
scores = [b - sum(abs(x - c) for x, c in zip(h, w)) for w, (b,) in zip(rows("layers.3.weight", 16), rows("layers.3.bias", 1))]
ours = struct.unpack("<10f", open(sys.argv[1] + "/scores.npy", "rb").read()[-40:])
assert max(abs(x - y) for x, y in zip(ours, scores)) < 1e-4, (ours, scores)
)");
  run("python3 '" + (folder_ / "check.py").string() + "' '" + (folder_ / "parts").string() + "'");
}

TEST_F(Install, ProgramsOutsideTheTreeAreBuiltAndRunAgainstIt) {
  const fs::path source = WHOLESTEP_SOURCE_DIR, outside = folder_ / "outside", prefix = folder_ / "moved";
  run("cmake --install '" WHOLESTEP_BINARY_DIR "' --prefix '" + (folder_ / "installed").string() + "'");
  fs::rename(folder_ / "installed", prefix);  // nothing may remember where it was installed
  fs::copy(source / "tests/install/outside", outside);
  fs::copy(source / "examples/quickstart.cpp", outside / "quickstart.cpp");
  ASSERT_FALSE(HasFailure());

  run("cmake -S '" + outside.string() + "' -B '" + (outside / "build").string() +
      "' -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_COMPILER='" WHOLESTEP_CXX_COMPILER
      "' -DCMAKE_CXX_FLAGS='-Wall -Wextra -Werror " WHOLESTEP_SANITIZE_FLAGS "' -DCMAKE_PREFIX_PATH='" +
      prefix.string() + "'");
  ASSERT_FALSE(HasFailure());
  run("cmake --build '" + (outside / "build").string() + "'");
  ASSERT_FALSE(HasFailure());

  const std::string output =
      run("'" + (outside / "build/outside").string() + "' '" + (folder_ / "run").string() + "'");
  EXPECT_NE(output.find("version " WHOLESTEP_VERSION "\n"), std::string::npos) << output;
  EXPECT_NE(output.find("steps 10\n"), std::string::npos) << output;
  EXPECT_NE(output.find("loss fell: yes\n"), std::string::npos) << output;
  EXPECT_NE(output.find("error 2: the input does not fit a Linear layer (main.cpp:9: layers.1: Linear("),
            std::string::npos)
      << output;
  expect_recipe_resumes(outside / "build/recipe");
}

TEST_F(Install, HoldsWhatAProgramNeedsAndNothingOfThisTree) {
  run("cmake --install '" WHOLESTEP_BINARY_DIR "' --prefix '" + folder_.path().string() + "'");
  std::vector<std::string> strangers;
  for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
    if (!entry.is_regular_file()) continue;
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".isa.h") || name.ends_with(".bf16.h") || name.ends_with(".cpp"))
      strangers.push_back(name);
    if (!name.ends_with(".cmake")) continue;
    EXPECT_EQ(test::read_file(entry.path()).find(WHOLESTEP_SOURCE_DIR), std::string::npos) << name;
  }
  EXPECT_TRUE(strangers.empty()) << testing::PrintToString(strangers);
  EXPECT_TRUE(fs::exists(folder_ / "include/wholestep/wholestep.h"));
  EXPECT_TRUE(fs::exists(folder_ / "include/wholestep/ops/elementwise_table.inc"));
  EXPECT_FALSE(fs::exists(folder_ / "include/wholestep/cli"));
}

}  // namespace
}  // namespace wholestep
