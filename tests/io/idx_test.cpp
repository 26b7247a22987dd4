// gzip and IDX: round trips, and damage at every byte.
#include "wholestep/io/idx.h"

#include <gtest/gtest.h>

#include <numeric>

#include "support/command.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "wholestep/io/gzip.h"
#include "wholestep/io/hash.h"

namespace wholestep {
namespace {

using test::expect_error;
using test::TempDir;

constexpr uint64_t kLimit = 1 << 24;

Bytes noise(size_t size) {
  Bytes bytes;
  for (uint32_t x = 1; bytes.size() < size; x = x * 1664525 + 1013904223)
    bytes.push_back(static_cast<std::byte>(x >> 24));
  return bytes;
}

IdxArray idx_of(ByteSpan bytes) { return read_idx(*open_plain_or_gzip(bytes, "mem"), kLimit); }

TEST(Gzip, RoundTripsAndAgreesWithTheGzipProgram) {
  for (size_t size : {size_t{0}, size_t{1}, size_t{65536}, size_t{300001}})
    EXPECT_EQ(gunzip(gzip(noise(size)), kLimit, "mem"), noise(size)) << size;
  TempDir folder;
  write_file(folder / "a.gz", gzip(bytes_of("hello\n")));
  auto result = test::run_command("gzip -dc '" + (folder / "a.gz").string() + "'");
  EXPECT_EQ(result.output, "hello\n");
}

TEST(Gzip, SeveralMembersFollowEachOther) {
  Bytes packed = gzip(bytes_of("one ")), second = gzip(bytes_of("two"));
  packed.insert(packed.end(), second.begin(), second.end());
  EXPECT_EQ(text_of(gunzip(packed, kLimit, "mem")), "one two");
}

TEST(Gzip, EveryTruncationAndTrailingBytesAreErrors) {
  Bytes packed = gzip(noise(500));
  for (size_t length = 0; length < packed.size(); ++length)
    expect_error(ErrorCode::kBadData, {"mem: byte"},
                 [&] { gunzip(ByteSpan(packed).first(length), kLimit, "mem"); });
  packed.push_back(std::byte{'x'});
  expect_error(ErrorCode::kBadData, {"mem"}, [&] { gunzip(packed, kLimit, "mem"); });
}

TEST(Gzip, EveryBitFlipThatChangesTheContentIsAnError) {
  Bytes plain = noise(200), packed = gzip(plain);
  for (size_t bit = 0; bit < packed.size() * 8; ++bit) {
    Bytes damaged = packed;
    damaged[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    try {
      EXPECT_EQ(gunzip(damaged, kLimit, "mem"), plain) << bit;  // flips in the name, time and system fields
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadData);
    }
  }
}

TEST(Gzip, ABombStopsAtTheLimit) {
  Bytes packed = gzip(Bytes(size_t{1} << 24));
  EXPECT_LT(packed.size(), 20000u);
  expect_error(ErrorCode::kBadData, {"too large once unpacked", "100000"},
               [&] { gunzip(packed, 100000, "mem"); });
  EXPECT_EQ(gunzip(packed, size_t{1} << 24, "mem").size(), size_t{1} << 24);
}

TEST(Idx, RoundTripsPlainAndPacked) {
  TempDir folder;
  std::vector<uint8_t> values(2 * 3 * 4);
  std::iota(values.begin(), values.end(), uint8_t{240});
  for (const char* name : {"a", "a.gz"}) {
    write_idx(folder / name, {2, 3, 4}, values);
    IdxArray array = read_idx(folder / name);
    EXPECT_EQ(array.shape, (Shape{2, 3, 4}));
    EXPECT_EQ(array.values, values);
  }
  std::string expected("\0\0\x08\x03\0\0\0\x02\0\0\0\x03\0\0\0\x04", 16);
  EXPECT_EQ(test::read_file(folder / "a").substr(0, 16), expected);
  EXPECT_TRUE(is_gzip(bytes_of(test::read_file(folder / "a.gz"))));
  write_idx(folder / "empty", {0, 28, 28}, {});
  EXPECT_EQ(read_idx(folder / "empty").shape, (Shape{0, 28, 28}));
  EXPECT_THROW(write_idx(folder / "b", {2, 3}, values), Error);
}

TEST(Idx, EveryTruncationAndExcessIsAnErrorPlainAndPacked) {
  TempDir folder;
  std::vector<uint8_t> values = {1, 2, 3, 4, 5, 6};
  write_idx(folder / "a", {2, 3}, values);
  std::string plain = test::read_file(folder / "a");
  for (size_t length = 0; length < plain.size(); ++length) {
    std::string cut = plain.substr(0, length);
    expect_error(ErrorCode::kBadData, {"mem"}, [&] { idx_of(bytes_of(cut)); });
    expect_error(ErrorCode::kBadData, {"mem"}, [&] { idx_of(gzip(bytes_of(cut))); });
  }
  expect_error(ErrorCode::kBadData, {"got more", "6 bytes for shape [2, 3]"},
               [&] { idx_of(bytes_of(plain + "x")); });
  expect_error(ErrorCode::kBadData, {"got more"}, [&] { idx_of(gzip(bytes_of(plain + "x"))); });
}

TEST(Idx, WrongMagicTypeRankAndSizeAreNamed) {
  auto header = [](std::initializer_list<int> bytes) {
    std::string text;
    for (int byte : bytes) text += static_cast<char>(byte);
    return text;
  };
  expect_error(ErrorCode::kBadData, {"not an IDX file", "magic 0x50357631", "mem: byte 0"},
               [] { idx_of(bytes_of("P5v1")); });
  expect_error(ErrorCode::kBadData, {"got f32", "u8"}, [&] {
    idx_of(bytes_of(header({0, 0, 0x0d, 1, 0, 0, 0, 0})));
  });
  expect_error(ErrorCode::kBadData, {"unknown type 0x07"}, [&] { idx_of(bytes_of(header({0, 0, 7, 1}))); });
  expect_error(ErrorCode::kBadData, {"rank", "got 0"}, [&] { idx_of(bytes_of(header({0, 0, 8, 0}))); });
  expect_error(ErrorCode::kBadData, {"rank", "got 9"}, [&] { idx_of(bytes_of(header({0, 0, 8, 9}))); });
  // 2^96 elements: the product overflows and must not be believed to be small.
  std::string huge = header({0, 0, 8, 3}) + std::string(12, '\xff');
  expect_error(ErrorCode::kBadData, {"asks for too much"}, [&] { idx_of(bytes_of(huge)); });
  std::string two64 = header({0, 0, 8, 4}) + header({0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0});
  expect_error(ErrorCode::kBadData, {"asks for too much"}, [&] { idx_of(bytes_of(two64)); });
  // Within the limit, but more than the bytes at hand can hold: refused before it is allocated.
  std::string claim = header({0, 0, 8, 1, 0, 0xff, 0, 0});
  expect_error(ErrorCode::kBadData, {"length", "at most 0"}, [&] { idx_of(bytes_of(claim)); });
}

TEST(Idx, ReadsMnistToTheRecordedHashes) {
  std::filesystem::path mnist = std::filesystem::path(WHOLESTEP_SOURCE_DIR) / "../shared/data/mnist";
  if (!std::filesystem::exists(mnist)) GTEST_SKIP() << "no ../shared/data/mnist beside the sources";
  IdxArray images = read_idx(mnist / "t10k-images-idx3-ubyte.gz");
  EXPECT_EQ(images.shape, (Shape{10000, 28, 28}));
  TempDir folder;
  write_idx(folder / "again", images.shape, images.values);
  EXPECT_EQ(sha256_hex_of_file(folder / "again"),
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7");
}

}  // namespace
}  // namespace wholestep
