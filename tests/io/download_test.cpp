// Downloads from a loopback server: complete, resumed, cut off, wrong, too large.
#include "wholestep/io/download.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "support/expect_error.h"
#include "support/http_server.h"
#include "support/temp_dir.h"
#include "wholestep/io/hash.h"

namespace wholestep {
namespace {

using test::expect_error;
using test::HttpServer;
using test::TempDir;

class Download : public testing::Test {
 protected:
  Download() : content_(200000, 'x'), server_((content_[150000] = 'y', content_)) {
    ::setenv("no_proxy", "127.0.0.1", 1);
    request_.url = server_.url();
    request_.path = folder_ / "file";
    request_.sha256 = sha256_hex(bytes_of(content_));
  }
  bool part_exists() const { return std::filesystem::exists(folder_ / "file.part"); }
  std::string file() const { return test::read_file(request_.path); }

  TempDir folder_;
  std::string content_;
  HttpServer server_;
  DownloadRequest request_;
};

TEST_F(Download, PutsTheCheckedFileInPlaceAndReportsProgress) {
  uint64_t last = 0, total = 0;
  request_.progress = [&](uint64_t done, uint64_t all) {
    EXPECT_GE(done, last);
    last = done, total = all;
    return true;
  };
  download(request_);
  EXPECT_EQ(file(), content_);
  EXPECT_FALSE(part_exists());
  EXPECT_EQ(last, 200000u);
  EXPECT_EQ(total, 200000u);
}

TEST_F(Download, GoesOnWhereACutOffAttemptStopped) {
  server_.cut_after = 120000;
  expect_error(ErrorCode::kNoInput, {"download failed", request_.url, "what has arrived is kept"},
               [&] { download(request_); });
  EXPECT_EQ(std::filesystem::file_size(folder_ / "file.part"), 120000u);
  EXPECT_FALSE(std::filesystem::exists(request_.path));
  server_.cut_after = SIZE_MAX;
  download(request_);
  EXPECT_EQ(file(), content_);
  EXPECT_EQ(server_.sent_bytes, 200000u);
}

TEST_F(Download, StartsAgainWhereThePartCannotBeContinued) {
  test::write_file(folder_ / "file.part", std::string(1000, 'x'));
  server_.ranges = false;
  download(request_);
  EXPECT_EQ(file(), content_);
  test::write_file(folder_ / "file.part", "something else");
  server_.ranges = true;
  download(request_);
  EXPECT_EQ(file(), content_);
}

TEST_F(Download, ACompletePartIsOnlyChecked) {
  test::write_file(folder_ / "file.part", content_);
  download(request_);
  EXPECT_EQ(file(), content_);
  EXPECT_EQ(server_.sent_bytes, 0u);
}

TEST_F(Download, AnotherFileIsRefusedAndRemoved) {
  request_.sha256[0] = request_.sha256[0] == '0' ? '1' : '0';
  expect_error(ErrorCode::kBadData, {"not the expected one", request_.sha256}, [&] { download(request_); });
  EXPECT_FALSE(part_exists());
  EXPECT_FALSE(std::filesystem::exists(request_.path));
}

TEST_F(Download, TooLargeMissingStoppedAndUnreachableAreSaid) {
  request_.max_bytes = 199999;
  expect_error(ErrorCode::kBadData, {"too large", "199999"}, [&] { download(request_); });
  EXPECT_FALSE(part_exists());
  request_.max_bytes = 200000;
  request_.progress = [](uint64_t, uint64_t) { return false; };
  expect_error(ErrorCode::kInterrupted, {"stopped"}, [&] { download(request_); });
  request_.progress = nullptr;
  server_.status = 404;
  expect_error(ErrorCode::kNoInput, {"404", "another source"}, [&] { download(request_); });
  request_.url = "http://127.0.0.1:1/file";
  expect_error(ErrorCode::kNoInput, {"127.0.0.1:1", "network"}, [&] { download(request_); });
  request_.url = "file:///etc/hostname";
  expect_error(ErrorCode::kNoInput, {"file:///etc/hostname"}, [&] { download(request_); });
}

}  // namespace
}  // namespace wholestep
