// A folder written as a unit: replaced at once, never half there, litter of dead writers removed.
#include "wholestep/io/directory_commit.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>

#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "wholestep/io/files.h"

namespace wholestep {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::TempDir;

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

void commit_text(const fs::path& target, const std::string& text) {
  DirectoryCommit commit(target);
  test::write_file(commit.path() / "a", text);
  fs::create_directory(commit.path() / "deep");
  test::write_file(commit.path() / "deep/b", text);
  commit.commit();
}

TEST(DirectoryCommit, PutsTheFolderInPlaceAndReplacesAnOlderOne) {
  TempDir folder;
  commit_text(folder / "last", "one");
  EXPECT_EQ(test::read_file(folder / "last/deep/b"), "one");
  {
    DirectoryCommit commit(folder / "last");
    test::write_file(commit.path() / "c", "two");
    EXPECT_EQ(test::read_file(folder / "last/a"), "one");  // the old one stays until the commit
    commit.commit();
  }
  EXPECT_EQ(names_in(folder / "last"), (std::set<std::string>{"c"}));
  EXPECT_EQ(names_in(folder.path()), (std::set<std::string>{"last"}));
}

TEST(DirectoryCommit, WithoutCommitNothingHappened) {
  TempDir folder;
  commit_text(folder / "last", "one");
  { DirectoryCommit commit(folder / "last"); }
  EXPECT_EQ(test::read_file(folder / "last/a"), "one");
  EXPECT_EQ(names_in(folder.path()), (std::set<std::string>{"last"}));
}

TEST(DirectoryCommit, LitterOfDeadWritersGoesAndThatOfLivingOnesStays) {
  TempDir folder;
  fs::create_directory(folder / ".last.tmp-1-0");  // process 1 lives, but does not hold this
  test::write_file(folder / ".last.tmp-1-0/a", "x");
  DirectoryCommit living(folder / "last");
  test::write_file(living.path() / "a", "living");
  commit_text(folder / "last", "other");
  EXPECT_TRUE(fs::exists(living.path()));
  EXPECT_FALSE(fs::exists(folder / ".last.tmp-1-0"));
  living.commit();
  EXPECT_EQ(test::read_file(folder / "last/a"), "living");
  EXPECT_EQ(names_in(folder.path()), (std::set<std::string>{"last"}));
}

TEST(DirectoryCommit, AWriterKilledAtAnyMomentLeavesACompleteFolder) {
  TempDir folder;
  commit_text(folder / "last", "0");
  for (int round = 0; round < 20; ++round) {
    pid_t child = ::fork();
    if (child == 0)
      for (int i = 0;; ++i) commit_text(folder / "last", std::to_string(i));
    ::usleep(static_cast<useconds_t>(1000 + 700 * round));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    recover_directory(folder / "last");
    EXPECT_EQ(names_in(folder.path()), (std::set<std::string>{"last"}));
    EXPECT_EQ(names_in(folder / "last"), (std::set<std::string>{"a", "deep"}));
    EXPECT_EQ(test::read_file(folder / "last/a"), test::read_file(folder / "last/deep/b"));
    EXPECT_NE(test::read_file(folder / "last/a"), "");
  }
}

TEST(DirectoryCommit, AnInterruptedFallbackIsCompletedOrUndone) {
  TempDir folder;
  commit_text(folder / ".last.old-7", "old");
  recover_directory(folder / "last");
  EXPECT_EQ(test::read_file(folder / "last/a"), "old");
  commit_text(folder / ".last.old-7", "older");
  recover_directory(folder / "last");
  EXPECT_EQ(test::read_file(folder / "last/a"), "old");
  EXPECT_EQ(names_in(folder.path()), (std::set<std::string>{"last"}));
}

TEST(DirectoryCommit, AFileInTheWayIsNotRemoved) {
  TempDir folder;
  test::write_file(folder / "last", "precious");
  expect_error(ErrorCode::kIo, {"in the way"}, [&] { DirectoryCommit commit(folder / "last"); });
  EXPECT_EQ(test::read_file(folder / "last"), "precious");
  expect_error(ErrorCode::kIo, {"cannot create the folder"},
               [&] { DirectoryCommit commit(folder / "no/last"); });
}

}  // namespace
}  // namespace wholestep
