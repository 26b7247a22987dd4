// Numbers for people.
#include "wholestep/base/human.h"

#include <gtest/gtest.h>

#include <limits>

#include "support/expect_error.h"

namespace wholestep {
namespace {

TEST(Human, BytesHaveBinaryUnits) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_bytes(45'193'626), "43.1 MiB");
  EXPECT_EQ(human_bytes(int64_t{3} << 40), "3.0 TiB");
}

TEST(Human, CountsAreGroupedByThousands) {
  EXPECT_EQ(human_count(0), "0");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(61706), "61,706");
  EXPECT_EQ(human_count(1234567), "1,234,567");
  EXPECT_EQ(human_count(-1000), "-1,000");
  EXPECT_EQ(human_count(-100), "-100");
}

TEST(Human, TimesChangeTheirUnits) {
  EXPECT_EQ(human_seconds(0.0421), "0.042 s");
  EXPECT_EQ(human_seconds(8.34), "8.3 s");
  EXPECT_EQ(human_seconds(59.96), "1 min 00 s");
  EXPECT_EQ(human_seconds(125), "2 min 05 s");
  EXPECT_EQ(human_seconds(3725), "1 h 02 min");
}

TEST(Human, T42ARateThatIsNotKnownYetIsNotInfinite) {
  EXPECT_EQ(human_rate(std::numeric_limits<double>::infinity()), "n/a");
  EXPECT_EQ(human_rate(0.5), "0.50");
  EXPECT_EQ(human_rate(97.26), "97.3");
  EXPECT_EQ(human_rate(12344.6), "12,345");
}

TEST(Human, SizesAreReadWithTheirUnits) {
  EXPECT_EQ(parse_bytes("1048576"), 1048576);
  EXPECT_EQ(parse_bytes("1.5KiB"), 1536);
  EXPECT_EQ(parse_bytes("64 MB"), 64'000'000);
  EXPECT_EQ(parse_bytes("2GiB"), int64_t{2} << 30);
  for (const char* text : {"", "MiB", "-1", "12 parsecs", "1e30", "nan"})
    test::expect_error(ErrorCode::kUsage, {"cannot read the size", text}, [&] { parse_bytes(text); });
}

}  // namespace
}  // namespace wholestep
