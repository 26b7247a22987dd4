// The cap on the instruction set is obeyed, one that the CPU lacks is refused, and wide code stays in its own
// files.
#include "wholestep/backend/cpu/isa.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <regex>

#include "wholestep/base/error.h"

namespace wholestep {
namespace {

TEST(Isa, CapIsObeyedAndWhatTheCpuLacksIsRefused) {
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx_bf16}) {
    if (isa <= detected_isa()) {
      set_isa_cap(isa);
      EXPECT_EQ(active_isa(), isa);
    } else {
      try {
        set_isa_cap(isa);
        ADD_FAILURE() << "accepted " << name(isa);
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kBadConfig);
        EXPECT_EQ(error.parts().got, name(isa));
      }
    }
  }
  set_isa_cap(detected_isa());
  EXPECT_EQ(available_isas().front(), Isa::portable);
  EXPECT_EQ(available_isas().back(), detected_isa());
}

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return text;
  char buffer[4096];
  while (size_t n = fread(buffer, 1, sizeof buffer, pipe)) text.append(buffer, n);
  pclose(pipe);
  return text;
}

// An inline function of a shared header that is also compiled into an AVX-512 file becomes one weak symbol
// for the whole program, and the linker may keep the copy that only some CPUs can run.
TEST(Isa, FilesOfAnInstructionSetShareNoWeakSymbolWithOthers) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers add weak symbols of their own";
#endif
  const std::filesystem::path build = std::filesystem::path(WHOLESTEP_CLI_PATH).parent_path();
  for (const char* isa : {"portable", "avx2", "avx512", "avx512_bf16", "amx_bf16"}) {
    const std::filesystem::path objects = build / "CMakeFiles" / (std::string("wholestep_") + isa + ".dir");
    if (!std::filesystem::exists(objects)) continue;
    const std::string symbols =
        output_of("find '" + objects.string() + "' -name '*.o' -exec nm -C {} + 2>/dev/null");
    if (symbols.empty()) GTEST_SKIP() << "nm is not installed";
    EXPECT_NE(symbols.find(std::string("wholestep::") + isa + "::kKernels"), std::string::npos);
    const std::regex weak("[0-9a-f]+ [VWuvw] (.*)");
    for (std::sregex_iterator it(symbols.begin(), symbols.end(), weak), end; it != end; ++it)
      EXPECT_NE((*it)[1].str().find(std::string("wholestep::") + isa + "::"), std::string::npos)
          << (*it)[1].str();
  }
}

}  // namespace
}  // namespace wholestep
