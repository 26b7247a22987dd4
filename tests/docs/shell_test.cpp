// The documentation's shell samples run. Each page is read in a folder of its own: blocks labelled
// with a file name ("```json model.json") are written there, commands of `wholestep` are run, and a "```text"
// block after them is what they print, numbers aside.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "support/command.h"
#include "support/markdown.h"
#include "support/temp_dir.h"

namespace wholestep::test {
namespace {

namespace fs = std::filesystem;
const fs::path kSource = WHOLESTEP_SOURCE_DIR;

/// Lines without what differs between runs and machines: numbers, and the widths they give to columns.
std::vector<std::string> masked_lines(const std::string& text) {
  static const std::regex number("[0-9]+([.,][0-9]+)*(e[-+]?[0-9]+)?"), spaces(" +");
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    line = std::regex_replace(std::regex_replace(line, number, "#"), spaces, " ");
    size_t first = line.find_first_not_of(' ');
    lines.push_back(first == std::string::npos ? ""
                                               : line.substr(first, line.find_last_not_of(' ') - first + 1));
  }
  return lines;
}

/// Whether a printed line is the shown one, which may be cut off by "...".
bool is_line(const std::string& shown, const std::string& printed) {
  return shown.ends_with("...") ? printed.starts_with(shown.substr(0, shown.size() - 3)) : printed == shown;
}

/// The first line of `shown` that `printed` does not have, in order; "..." stands for lines left out.
std::string not_printed(const std::vector<std::string>& shown, const std::vector<std::string>& printed) {
  auto at = printed.begin();
  for (const std::string& line : shown) {
    if (line == "..." || line.empty()) continue;
    at = std::find_if(at, printed.end(),
                      [&](const std::string& candidate) { return is_line(line, candidate); });
    if (at == printed.end()) return line;
    ++at;
  }
  return "";
}

std::vector<std::string> commands_of(const MarkdownBlock& block) {
  std::vector<std::string> commands;
  bool goes_on = false;
  for (std::string line : block.lines) {
    if (line.empty() || line.starts_with("#")) continue;
    bool continued = line.ends_with("\\");
    if (continued) line.pop_back();
    if (goes_on) commands.back() += line;
    else commands.push_back(line);
    goes_on = continued;
  }
  return commands;
}

std::set<std::string> make_targets() {
  std::set<std::string> targets;
  std::ifstream in(kSource / "Makefile");
  std::smatch match;
  for (std::string line; std::getline(in, line);)
    if (std::regex_search(line, match, std::regex("^([a-z-]+):"))) targets.insert(match[1]);
  return targets;
}

std::set<std::string> presets() {
  std::set<std::string> names;
  std::ifstream in(kSource / "CMakePresets.json");
  for (const auto& preset : nlohmann::json::parse(in)["configurePresets"]) names.insert(preset["name"]);
  return names;
}

/// Somebody who tries what a page says: a folder with MNIST in its data folder, and the command on its path.
class Reader {
 public:
  Reader() {
    const fs::path mnist = kSource / "../shared/data/mnist";
    has_mnist_ = fs::exists(mnist);
    fs::create_directories(folder_ / "home/data/wholestep");
    if (has_mnist_) fs::create_directory_symlink(fs::canonical(mnist), folder_ / "home/data/wholestep/mnist");
  }

  bool can_run(const std::string& command) const {
    return has_mnist_ || command.find("mnist") == std::string::npos;
  }
  CommandResult run(const std::string& command) const {
    const std::string home = (folder_ / "home").string();
    return run_command("cd '" + folder_.path().string() + "' && export HOME='" + home + "' XDG_DATA_HOME='" +
                       home + "/data' NO_COLOR=1 PATH=\"" +
                       fs::path(WHOLESTEP_CLI_PATH).parent_path().string() + ":$PATH\" && { " + command +
                       "\n}");
  }
  void write(const std::string& name, const std::vector<std::string>& lines) const {
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    write_file(folder_ / name, text);
  }

 private:
  TempDir folder_;
  bool has_mnist_ = false;
};

/// True where the command was run; its output is added. Commands that build the project are looked up only.
void run_or_look_up(const Reader& reader, const std::string& command, const std::string& context,
                    std::string& output) {
  static const std::regex build("(cmake|ctest) .*", std::regex::optimize),
      other("(git clone|cd|sudo apt-get) .*");
  std::smatch match;
  if (command.starts_with("make ")) {
    EXPECT_TRUE(make_targets().contains(command.substr(5))) << context << ": " << command;
  } else if (std::regex_search(command, match, std::regex("--preset ([a-z-]+)"))) {
    EXPECT_TRUE(presets().contains(match[1])) << context << ": " << command;
  } else if (std::regex_match(command, build) || std::regex_match(command, other)) {
    return;
  } else if (!reader.can_run(command)) {
    std::printf("%s: not run, MNIST is not here: %s\n", context.c_str(), command.c_str());
    output = "";
  } else {
    CommandResult result = reader.run(command);
    EXPECT_EQ(result.status, 0) << context << ": " << command << "\n" << result.output;
    output += result.output;
  }
}

void check_page(const MarkdownPage& page) {
  Reader reader;
  std::string output;
  for (const MarkdownBlock& block : page.blocks) {
    if (block.language == "sh") {
      output.clear();
      for (const std::string& command : commands_of(block))
        run_or_look_up(reader, command, block.context, output);
    } else if (block.language == "text" && !output.empty()) {
      std::string shown;
      for (const std::string& line : block.lines) shown += line + "\n";
      EXPECT_EQ(not_printed(masked_lines(shown), masked_lines(output)), "")
          << block.context << ", where this was printed:\n"
          << output.substr(0, 4000);
    } else if (!block.label.empty()) {
      reader.write(block.label, block.lines);
    }
  }
}

class DocsPage : public testing::TestWithParam<std::string> {};

TEST_P(DocsPage, T52EveryShellSampleRunsAndPrintsWhatIsShown) {
  for (const MarkdownPage& page : documentation_pages())
    if (page.path.string() == GetParam()) check_page(page);
}

std::vector<std::string> page_names() {
  std::vector<std::string> names;
  for (const MarkdownPage& page : documentation_pages()) names.push_back(page.path.string());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Of, DocsPage, testing::ValuesIn(page_names()), [](const auto& page) {
  std::string name;
  for (char c : page.param)
    if (std::isalnum(static_cast<unsigned char>(c))) name += c;
  return name;
});

}  // namespace
}  // namespace wholestep::test
