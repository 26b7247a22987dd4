// Whole files, free space, folder locks and hashes.
#include "wholestep/io/files.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "wholestep/io/checked_size.h"
#include "wholestep/io/folder_lock.h"
#include "wholestep/io/hash.h"

namespace wholestep {
namespace {

using test::expect_error;
using test::TempDir;

size_t entries_in(const std::filesystem::path& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

TEST(CheckedSize, RemembersAnOverflowThroughLaterOperations) {
  EXPECT_TRUE((CheckedSize(3) * 4 + 5).equals(17));
  CheckedSize wrapped = CheckedSize(uint64_t{1} << 63) * 2;
  EXPECT_FALSE(wrapped.ok());
  EXPECT_FALSE((wrapped * 0).fits(100));
  EXPECT_FALSE((wrapped * 0).equals(0));
  EXPECT_FALSE((CheckedSize(UINT64_MAX) + 1).ok());
}

TEST(Files, WhatIsWrittenIsReadBackAndNothingElseIsLeft) {
  TempDir folder;
  std::string text("a\0b\n", 4);
  write_file(folder / "x", text);
  EXPECT_EQ(read_text_file(folder / "x", 4), text);
  write_file(folder / "x", "second");
  EXPECT_EQ(text_of(read_file(folder / "x", 100)), "second");
  const ByteSpan pieces[] = {bytes_of("one "), bytes_of(""), bytes_of("two")};
  write_file(folder / "x", pieces);
  EXPECT_EQ(read_text_file(folder / "x", 100), "one two");
  EXPECT_EQ(entries_in(folder.path()), 1u);
}

TEST(Files, ATemporaryFileOfAKilledWriterIsUsedUp) {
  TempDir folder;
  test::write_file(folder / ".x.tmp", "half of something much longer");
  write_file(folder / "x", "new");
  EXPECT_EQ(read_text_file(folder / "x", 100), "new");
  EXPECT_EQ(entries_in(folder.path()), 1u);
}

TEST(Files, TooLargeMissingAndIrregularFilesAreRefused) {
  TempDir folder;
  write_file(folder / "x", "12345");
  expect_error(ErrorCode::kBadData, {"5 bytes", "at most 4 bytes", "/x"},
               [&] { read_file(folder / "x", 4); });
  expect_error(ErrorCode::kNoInput, {"/none", "No such file"}, [&] { read_file(folder / "none", 4); });
  expect_error(ErrorCode::kNoInput, {"a folder"}, [&] { read_file(folder.path(), 4); });
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  expect_error(ErrorCode::kNoInput, {"a device, pipe or socket"}, [&] { read_file(folder / "fifo", 4); });
  expect_error(ErrorCode::kNoInput, {"a device"}, [&] { read_file("/dev/zero", 4); });
}

TEST(Files, AWriteThatFailsKeepsTheOldFile) {
  TempDir folder;
  expect_error(ErrorCode::kIo, {"cannot create the file", "No such file"},
               [&] { write_file(folder / "none/x", "1"); });
  std::filesystem::create_directory(folder / "taken");
  expect_error(ErrorCode::kIo, {"cannot put the written file in place"},
               [&] { write_file(folder / "taken", "1"); });
  EXPECT_EQ(entries_in(folder.path()), 1u);
  if (::access("/dev/full", W_OK) == 0) {
    std::filesystem::create_symlink("/dev/full", folder / "taken/.x.tmp");
    expect_error(ErrorCode::kIo, {}, [&] { write_file(folder / "taken/x", "1"); });  // no link is followed
  }
}

TEST(Files, MissingSpaceIsSaidInBytesBeforeWriting) {
  TempDir folder;
  uint64_t free = free_space_bytes(folder / "not/yet/there");
  EXPECT_GT(free, 0u);
  require_free_space(folder.path(), 1);
  expect_error(ErrorCode::kIo, {"bytes free", "expected 18446744073709551615 bytes"},
               [&] { require_free_space(folder.path(), UINT64_MAX); });
}

TEST(FolderLock, ASecondHolderIsRefusedByNameAndTheLockEndsWithItsHolder) {
  TempDir folder;
  {
    FolderLock lock(folder.path());
    expect_error(ErrorCode::kIo, {"in use", "process " + std::to_string(::getpid())},
                 [&] { FolderLock second(folder.path()); });
  }
  EXPECT_EQ(entries_in(folder.path()), 0u);
  FolderLock again(folder.path());
}

TEST(FolderLock, TheLockOfAKilledProcessIsTakenOver) {
  TempDir folder;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  pid_t child = ::fork();
  if (child == 0) {
    FolderLock lock(folder.path());
    [[maybe_unused]] ssize_t sent = ::write(ready[1], "x", 1);
    while (true) ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  expect_error(ErrorCode::kIo, {"process " + std::to_string(child)},
               [&] { FolderLock refused(folder.path()); });
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(std::filesystem::exists(folder / ".lock"));
  FolderLock taken(folder.path());
  EXPECT_EQ(test::read_file(folder / ".lock"), std::to_string(::getpid()) + "\n");
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(Hash, GivesTheKnownAnswersOfFips180) {
  EXPECT_EQ(sha256_hex({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex(bytes_of("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  TempDir folder;
  test::write_file(folder / "a", std::string(1000000, 'a'));
  EXPECT_EQ(sha256_hex_of_file(folder / "a"),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
}  // namespace wholestep
