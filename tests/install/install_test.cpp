// Installs the build into a folder of its own, moves that folder, and builds a program outside the tree
// against it.
#include <gtest/gtest.h>

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

  TempDir folder_;
};

TEST_F(Install, AProgramOutsideTheTreeFindsBuildsAndRunsAgainstIt) {
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
