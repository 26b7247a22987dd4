#include "support/markdown.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>

namespace wholestep::test {
namespace {

namespace fs = std::filesystem;

MarkdownPage read_page(const fs::path& path) {
  MarkdownPage page{.path = path, .blocks = {}, .prose = {}};
  std::ifstream in(fs::path(WHOLESTEP_SOURCE_DIR) / path);
  if (!in) throw std::runtime_error(path.string() + " cannot be read");
  bool inside = false;
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.starts_with("```")) {
      inside = !inside;
      if (!inside) continue;
      size_t space = std::min(line.find(' '), line.size());
      page.blocks.push_back({.language = line.substr(3, space - 3),
                             .label = line.substr(std::min(space + 1, line.size())),
                             .lines = {},
                             .line = number,
                             .context = path.string() + ":" + std::to_string(number)});
    } else if (inside) {
      page.blocks.back().lines.push_back(line);
    } else {
      page.prose.push_back(line);
    }
  }
  if (inside) throw std::runtime_error(page.blocks.back().context + ": the block is never closed");
  return page;
}

}  // namespace

std::vector<MarkdownPage> documentation_pages() {
  std::vector<fs::path> paths = {"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"};
  for (const auto& entry : fs::directory_iterator(fs::path(WHOLESTEP_SOURCE_DIR) / "docs"))
    if (entry.path().extension() == ".md") paths.push_back(fs::path("docs") / entry.path().filename());
  std::sort(paths.begin() + 3, paths.end());
  std::vector<MarkdownPage> pages;
  for (const fs::path& path : paths) pages.push_back(read_page(path));
  return pages;
}

}  // namespace wholestep::test
