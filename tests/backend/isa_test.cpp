// The cap on the instruction set is obeyed, and one that the CPU lacks is refused.
#include "wholestep/backend/cpu/isa.h"

#include <gtest/gtest.h>

#include "wholestep/base/error.h"

namespace wholestep {
namespace {

TEST(Isa, CapIsObeyedAndWhatTheCpuLacksIsRefused) {
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
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

}  // namespace
}  // namespace wholestep
