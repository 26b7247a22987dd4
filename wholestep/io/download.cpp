// libcurl's easy interface, writing to PATH.part.
#include "wholestep/io/download.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <memory>
#include <optional>

#include "wholestep/base/error.h"
#include "wholestep/io/descriptor.h"
#include "wholestep/io/hash.h"

namespace wholestep {
namespace fs = std::filesystem;
namespace {

struct Transfer {
  const DownloadRequest& request;
  const fs::path& part;
  Descriptor file;
  uint64_t have_bytes = 0;          // in the part
  uint64_t start_bytes = 0;         // of them, there before this attempt
  std::optional<Error> error = {};  // what a callback found wrong; exceptions must not cross libcurl
  bool stopped = false;
};

Error too_large(const DownloadRequest& request) {
  return Error(ErrorCode::kBadData, {.what = "the download is too large",
                                     .where = request.url,
                                     .expected = fmt::format("at most {} bytes", request.max_bytes)});
}

size_t on_data(char* data, size_t one, size_t count, void* user) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  try {
    if (transfer.have_bytes + count > transfer.request.max_bytes) throw too_large(transfer.request);
    write_all(transfer.file, std::as_bytes(std::span(data, one * count)), transfer.part);
    transfer.have_bytes += count;
    return count;
  } catch (const Error& error) {
    transfer.error = error;
    return 0;
  }
}

int on_progress(void* user, curl_off_t total, curl_off_t, curl_off_t, curl_off_t) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  const auto& progress = transfer.request.progress;
  uint64_t whole = total > 0 ? static_cast<uint64_t>(total) + transfer.start_bytes : 0;
  transfer.stopped = progress && !progress(transfer.have_bytes, whole);
  return transfer.stopped ? 1 : 0;
}

void initialise_curl() {
  static const CURLcode status = curl_global_init(CURL_GLOBAL_DEFAULT);
  WHOLESTEP_CHECK(status == CURLE_OK);
}

std::string hint_for(CURLcode code, long status) {
  if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT)
    return "check the network connection and the proxy settings";
  if (status == 404 || status == 403) return "the file is not at this address any more: try another source";
  return "try again: what has arrived is kept";
}

enum class Outcome { kDone, kCannotResume };

// One attempt, going on from what the part holds.
Outcome attempt(const DownloadRequest& request, const fs::path& part) {
  std::error_code ignored;
  Transfer transfer{
      .request = request,
      .part = part,
      .file = Descriptor(::open(part.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666))};
  if (!transfer.file) throw system_error(ErrorCode::kIo, "cannot create the file", part, errno);
  transfer.start_bytes = transfer.have_bytes = fs::file_size(part);

  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
  WHOLESTEP_CHECK(curl != nullptr);
  char message[CURL_ERROR_SIZE] = "";
  auto set = [&](CURLoption option, auto value) {
    WHOLESTEP_CHECK(curl_easy_setopt(curl.get(), option, value) == CURLE_OK);
  };
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_ERRORBUFFER, message);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 1L);
  set(CURLOPT_MAXREDIRS, 5L);
  set(CURLOPT_FAILONERROR, 1L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_CONNECTTIMEOUT, long{request.connect_timeout_s});
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, long{request.stall_timeout_s});
  set(CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(transfer.start_bytes));
  set(CURLOPT_WRITEFUNCTION, on_data);
  set(CURLOPT_WRITEDATA, &transfer);
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, on_progress);
  set(CURLOPT_XFERINFODATA, &transfer);

  CURLcode code = curl_easy_perform(curl.get());
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (transfer.error) {
    if (transfer.error->code() == ErrorCode::kBadData) fs::remove(part, ignored);
    throw *transfer.error;
  }
  if (transfer.stopped)
    throw Error(ErrorCode::kInterrupted, {.what = "the download was stopped", .where = request.url});
  bool range_refused = code == CURLE_RANGE_ERROR || status == 416;
  if (transfer.start_bytes > 0 && range_refused) return Outcome::kCannotResume;
  if (code != CURLE_OK)
    throw Error(ErrorCode::kNoInput, {.what = "the download failed",
                                      .where = request.url,
                                      .got = *message ? message : curl_easy_strerror(code),
                                      .hint = hint_for(code, status)});
  sync(transfer.file, part);
  return Outcome::kDone;
}

}  // namespace

void download(const DownloadRequest& request) {
  initialise_curl();
  std::error_code ignored;
  const fs::path part = request.path.string() + ".part";
  const bool resumed = fs::exists(part, ignored);
  Outcome outcome = attempt(request, part);
  std::string found = request.sha256.empty() ? "" : sha256_hex_of_file(part);
  // A part that cannot be continued, or was the start of something else, is worth one try from the beginning.
  // A complete part is refused a range as well, and then its hash is right.
  if (resumed && (found != request.sha256 || (outcome == Outcome::kCannotResume && request.sha256.empty()))) {
    fs::remove(part, ignored);
    attempt(request, part);
    found = request.sha256.empty() ? "" : sha256_hex_of_file(part);
  }
  if (found != request.sha256) {
    fs::remove(part, ignored);
    throw Error(ErrorCode::kBadData, {.what = "the downloaded file is not the expected one",
                                      .where = request.url,
                                      .got = "SHA-256 " + found,
                                      .expected = request.sha256,
                                      .hint = "try another source"});
  }
  fs::rename(part, request.path, ignored);
  if (ignored)
    throw system_error(ErrorCode::kIo, "cannot put the file in place", request.path, ignored.value());
  sync_directory(request.path.parent_path());
}

}  // namespace wholestep
