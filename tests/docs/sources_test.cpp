// What the documentation quotes and points at exists. A C++ sample opens with the file it comes from, which
// is built and run by the tests; its lines stand there as they are quoted, "// ..." for lines left out.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <regex>
#include <set>

#include "support/command.h"
#include "support/markdown.h"

namespace wholestep::test {
namespace {

namespace fs = std::filesystem;
const fs::path kSource = WHOLESTEP_SOURCE_DIR;

std::string trimmed(const std::string& line) {
  size_t first = line.find_first_not_of(' ');
  return first == std::string::npos ? "" : line.substr(first, line.find_last_not_of(' ') - first + 1);
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::vector<std::string> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) lines.push_back(trimmed(line));
  return lines;
}

/// The first quoted line that does not stand in the file where it should; "" where all do.
std::string missing_line(const std::vector<std::string>& quoted, const std::vector<std::string>& file) {
  size_t at = 0;
  bool anywhere = true;  // at the start, and after "// ..."
  for (const std::string& raw : quoted) {
    std::string line = trimmed(raw);
    if (line == "// ...") {
      anywhere = true;
      continue;
    }
    if (line.empty() && anywhere) continue;
    while (anywhere && at < file.size() && file[at] != line) ++at;
    if (at >= file.size() || file[at] != line) return raw;
    ++at;
    anywhere = false;
  }
  return "";
}

TEST(Docs, T52EveryCppSampleStandsInAFileThatIsBuilt) {
  int samples = 0;
  for (const MarkdownPage& page : documentation_pages())
    for (const MarkdownBlock& block : page.blocks) {
      if (block.language != "cpp") continue;
      ++samples;
      ASSERT_FALSE(block.lines.empty()) << block.context;
      std::smatch match;
      ASSERT_TRUE(std::regex_match(block.lines[0], match, std::regex("// ([a-z_0-9/.]+)")))
          << block.context << ": the first line names the file the sample comes from";
      const fs::path file = kSource / match[1].str();
      ASSERT_TRUE(fs::exists(file)) << block.context << ": " << match[1];
      EXPECT_EQ(missing_line({block.lines.begin() + 1, block.lines.end()}, lines_of(file)), "")
          << block.context << " does not quote " << match[1];
    }
  EXPECT_GE(samples, 5);
}

TEST(Docs, NamesOnlyFilesThatExist) {
  std::set<std::string> basenames;
  for (const char* folder : {"wholestep", "tests", "examples", "cmake", "tools", "bench", "docs"})
    for (const auto& entry : fs::recursive_directory_iterator(kSource / folder))
      basenames.insert(entry.path().filename().string());
  const std::regex link("\\]\\(([^)#]+)(#[^)]*)?\\)"), name("`([A-Za-z_0-9./-]+\\.(h|cpp|inc|md|cmake|py))`"),
      folder_name("`((wholestep|tests|examples|cmake|tools|bench|docs)/[A-Za-z_0-9./-]*)`");
  auto each = [](const std::string& line, const std::regex& pattern, auto&& call) {
    for (std::sregex_iterator it(line.begin(), line.end(), pattern), end; it != end; ++it)
      call((*it)[1].str());
  };
  int names = 0;
  for (const MarkdownPage& page : documentation_pages())
    for (const std::string& line : page.prose) {
      each(line, link, [&](const std::string& target) {
        if (target.find("://") != std::string::npos) return;
        ++names;
        EXPECT_TRUE(fs::exists(kSource / page.path.parent_path() / target)) << page.path << ": " << target;
      });
      each(line, name, [&](const std::string& file) {
        ++names;
        bool exists = file.find('/') == std::string::npos
                          ? basenames.contains(file) || fs::exists(kSource / file)
                          : fs::exists(kSource / file) || fs::exists(kSource / "wholestep" / file);
        EXPECT_TRUE(exists) << page.path << ": " << file;
      });
      each(line, folder_name, [&](const std::string& path) {
        EXPECT_TRUE(fs::exists(kSource / path)) << page.path << ": " << path;
      });
    }
  EXPECT_GE(names, 20);
}

TEST(Docs, ArchitectureHasASentenceForEveryFolder) {
  std::string text;
  for (const MarkdownPage& page : documentation_pages())
    if (page.path == "ARCHITECTURE.md")
      for (const std::string& line : page.prose) text += line + "\n";
  for (const auto& entry : fs::directory_iterator(kSource / "wholestep"))
    if (entry.is_directory()) {
      const std::string row = "| `wholestep/" + entry.path().filename().string() + "/` |";
      EXPECT_NE(text.find(row), std::string::npos) << row;
    }
}

/// "Suite.Name" of every test in the tree.
std::vector<std::string> test_names() {
  const std::regex macro("^TEST(_F|_P)?\\(([A-Za-z0-9_]+), ([A-Za-z0-9_]+)\\)");
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(kSource / "tests")) {
    if (entry.path().extension() != ".cpp") continue;
    std::smatch match;
    for (const std::string& line : lines_of(entry.path()))
      if (std::regex_search(line, match, macro)) names.push_back(match[2].str() + "." + match[3].str());
  }
  return names;
}

TEST(Docs, EveryPromiseNamesTestsThatExist) {
  const std::regex row("^\\| .* \\| `(.+)` \\|$");
  const std::vector<std::string> names = test_names();
  const MarkdownPage readme = documentation_pages().at(0);
  int promises = 0;
  for (const std::string& line : readme.prose) {
    std::smatch match;
    if (!std::regex_match(line, match, row)) continue;
    ++promises;
    const std::regex pattern(std::regex_replace(match[1].str(), std::regex("\\\\\\|"), "|"));
    EXPECT_TRUE(
        std::ranges::any_of(names, [&](const auto& name) { return std::regex_search(name, pattern); }))
        << "no test answers to " << match[1];
  }
  EXPECT_GE(promises, 8);
}

TEST(Docs, ReferenceIsWhatTheTablesSay) {
  CommandResult result = run_command("python3 '" + (kSource / "tools/update-reference").string() +
                                     "' --check '" WHOLESTEP_CLI_PATH "'");
  EXPECT_EQ(result.status, 0) << result.output;
}

}  // namespace
}  // namespace wholestep::test
