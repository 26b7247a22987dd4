// Includes go one way: a folder may include the folders to its left in the list, and itself.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>

namespace {

namespace fs = std::filesystem;

const std::map<std::string, int> kLayer = {{"base", 0}, {"backend", 1}, {"io", 1}, {"graph", 2},
                                           {"ops", 3},  {"compile", 4}, {"nn", 5}, {"optim", 5},
                                           {"data", 6}, {"train", 7},   {"cli", 8}};

TEST(Project, IncludesGoOneWay) {
  const fs::path root = fs::path(WHOLESTEP_SOURCE_DIR) / "wholestep";
  const std::regex include("^#include \"wholestep/([a-z]+)/");
  int edges = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file()) continue;
    const fs::path relative = fs::relative(entry.path(), root);
    const std::string folder = relative.begin()->string();
    if (relative.has_parent_path() == false) continue;  // wholestep.h, which includes them all
    ASSERT_TRUE(kLayer.contains(folder)) << relative << " is in a folder the list does not know";
    std::ifstream in(entry.path());
    std::smatch match;
    for (std::string line; std::getline(in, line);) {
      if (!std::regex_search(line, match, include)) continue;
      const std::string target = match[1];
      ++edges;
      ASSERT_TRUE(kLayer.contains(target)) << relative << " includes " << line;
      const bool allowed = target == folder || kLayer.at(target) < kLayer.at(folder);
      EXPECT_TRUE(allowed) << relative << " includes " << target << "/, which is not below it";
    }
  }
  EXPECT_GT(edges, 100);
}

TEST(Project, NoFolderIsDeeperThanThree) {
  const fs::path root = fs::path(WHOLESTEP_SOURCE_DIR) / "wholestep";
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_directory()) continue;
    const fs::path relative = fs::relative(entry.path(), root);
    EXPECT_LE(std::distance(relative.begin(), relative.end()), 2)
        << relative;  // wholestep/ itself is the first
  }
}

}  // namespace
