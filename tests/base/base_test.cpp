// The words every folder uses: messages, shapes, names, and the known answers of Philox.
#include <gtest/gtest.h>

#include "wholestep/base/error.h"
#include "wholestep/base/philox.h"
#include "wholestep/base/shape.h"
#include "wholestep/base/suggest.h"

namespace wholestep {
namespace {

TEST(Error, MessageNamesWhatWhereGotExpectedAndHint) {
  Error error(ErrorCode::kBadData,
              {.what = "wrong magic", .where = "a.idx:0", .got = "1", .expected = "2", .hint = "unzip it"});
  EXPECT_STREQ(error.what(), "wrong magic (a.idx:0): got 1, expected 2. Hint: unzip it");
  EXPECT_EQ(static_cast<int>(error.code()), 65);
  EXPECT_STREQ(error.within("train").what(),
               "wrong magic (train: a.idx:0): got 1, expected 2. Hint: unzip it");
}

TEST(Shape, CountsBroadcastsAndChecks) {
  EXPECT_EQ((Shape{2, 0, 5}).numel(), 0);
  EXPECT_EQ(Shape{}.numel(), 1);
  EXPECT_EQ(broadcast_shapes({4, 1, 3}, {5, 1}), (Shape{4, 5, 3}));
  EXPECT_EQ(broadcast_shapes({1}, {0}), (Shape{0}));
  EXPECT_THROW(broadcast_shapes({4, 3}, {4}), Error);
  EXPECT_THROW((Shape{int64_t{1} << 40, int64_t{1} << 40}).numel(), Error);
  EXPECT_THROW((Shape{-1}), Error);
  EXPECT_EQ(normalize_axis(-1, 3), 2);
  EXPECT_THROW(normalize_axis(3, 3), Error);
}

TEST(Philox, GivesTheKnownAnswersOfRandom123) {
  EXPECT_EQ(philox(0, {0, 0, 0, 0}), (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~0ull, {~0u, ~0u, ~0u, ~0u}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Philox, NormalHasUnitVarianceAndBelowStaysBelow) {
  PhiloxStream stream(7, 1);
  double sum = 0, squares = 0;
  for (int i = 0; i < 100000; ++i) {
    double x = stream.normal();
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / 1e5, 0, 0.015);
  EXPECT_NEAR(squares / 1e5, 1, 0.02);
  std::array<int, 3> counts{};
  for (int i = 0; i < 30000; ++i) ++counts[stream.below(3)];
  for (int count : counts) EXPECT_NEAR(count, 10000, 350);
}

TEST(Suggest, FindsTheNearestNameOrListsAll) {
  std::vector<std::string> names = {"in_channels", "kernel_size", "padding"};
  EXPECT_EQ(suggest("kernal_size", names), "did you mean 'kernel_size'?");
  EXPECT_EQ(suggest("zzz", names), "known: in_channels, kernel_size, padding");
  EXPECT_EQ(suggest("PADDING", names), "did you mean 'padding'?");
}

}  // namespace
}  // namespace wholestep
