// wholestep.h reaches every header a program may want, so that a new layer or op is there with one include.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

namespace {

namespace fs = std::filesystem;
const fs::path kSource = WHOLESTEP_SOURCE_DIR;

void reach(const std::string& header, std::set<std::string>& reached) {
  if (!reached.insert(header).second) return;
  const std::regex include("^#include \"(wholestep/[^\"]+)\"");
  std::ifstream in(kSource / header);
  std::smatch match;
  for (std::string line; std::getline(in, line);)
    if (std::regex_search(line, match, include)) reach(match[1], reached);
}

/// What a library's own files share: rows and loops behind the ops, readers, parts of the built-in data.
bool is_internal(const std::string& name) {
  static const std::set<std::string> names = {"registry.h",
                                              "bitmap_font.h",
                                              "digit_strokes.h",
                                              "idx_folder.h",
                                              "mnist.h",
                                              "elementwise_program.h",
                                              "layer_types.h",
                                              "element_access.h",
                                              "reduce_walk.h",
                                              "conv2d_strips.h",
                                              "pixel_program.h",
                                              "conv2d_sums.h",
                                              "conv2d_gradient_strips.h",
                                              "matmul_fused.h",
                                              "square_blocks.h",
                                              "pool_windows.h",
                                              "epilogue.h"};
  static const std::regex kernels(".*(_cpu|_cuda|_loops|\\.isa)\\.h");
  return names.contains(name) || std::regex_match(name, kernels);
}

TEST(UmbrellaHeader, ReachesEveryPublicHeader) {
  std::set<std::string> reached;
  reach("wholestep/wholestep.h", reached);
  for (const char* folder : {"graph", "ops", "nn", "optim", "data"})
    for (const auto& entry : fs::directory_iterator(kSource / "wholestep" / folder)) {
      const std::string name = entry.path().filename().string();
      if (!name.ends_with(".h") || is_internal(name)) continue;
      EXPECT_TRUE(reached.contains(fs::relative(entry.path(), kSource).string()))
          << folder << "/" << name << " is missing from wholestep/wholestep.h";
    }
  for (const char* header : {"compile/compile.h", "train/trainer.h"})
    EXPECT_TRUE(reached.contains(std::string("wholestep/") + header)) << header;
}

}  // namespace
