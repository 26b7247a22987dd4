// Markdown as the documentation tests need it: the fenced blocks and links of a page.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace wholestep::test {

/// ```language label
struct MarkdownBlock {
  std::string language, label;
  std::vector<std::string> lines;
  int line = 0;         ///< of the page, where the block opens
  std::string context;  ///< "README.md:12"
};

struct MarkdownPage {
  std::filesystem::path path;  ///< within the repository
  std::vector<MarkdownBlock> blocks;
  std::vector<std::string> prose;  ///< lines outside of blocks
};

/// README.md, ARCHITECTURE.md, CONTRIBUTING.md and docs/*.md.
std::vector<MarkdownPage> documentation_pages();

}  // namespace wholestep::test
