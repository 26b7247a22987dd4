// The four files of MNIST, their hashes, and where to get them.
#include "wholestep/data/mnist.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>

#include "wholestep/base/error.h"
#include "wholestep/base/log.h"
#include "wholestep/io/download.h"
#include "wholestep/io/files.h"

namespace wholestep {
namespace fs = std::filesystem;
namespace {

struct MnistFile {
  const char* name;  // without .gz
  uint64_t bytes;    // packed
  const char* sha256;
};
constexpr std::array<MnistFile, 4> kFiles = {
    {{"train-images-idx3-ubyte", 9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"},
     {"train-labels-idx1-ubyte", 28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"},
     {"t10k-images-idx3-ubyte", 1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"},
     {"t10k-labels-idx1-ubyte", 4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"}}};

const std::vector<std::string> kMirrors = {"https://ossci-datasets.s3.amazonaws.com/mnist/",
                                           "https://storage.googleapis.com/cvdf-datasets/mnist/"};

fs::path data_home() {
  // The base-directory specification: a relative value is to be ignored.
  if (const char* home = std::getenv("XDG_DATA_HOME"); home && fs::path(home).is_absolute()) return home;
  const char* home = std::getenv("HOME");
  return fs::path(home ? home : ".") / ".local/share";
}

// Fetches from the first mirror that has the right file; the last one's error says what went wrong.
void fetch(const MnistFile& file, const fs::path& folder, const MnistSource& source) {
  const std::vector<std::string>& mirrors = source.mirrors.empty() ? kMirrors : source.mirrors;
  std::string name = std::string(file.name) + ".gz";
  for (size_t i = 0; i < mirrors.size(); ++i) {
    DownloadRequest request{.url = mirrors[i] + name,
                            .path = folder / name,
                            .sha256 = file.sha256,
                            .max_bytes = file.bytes,
                            .progress = {}};
    if (source.progress)
      request.progress = [&](uint64_t done, uint64_t total) { return source.progress(name, done, total); };
    try {
      return download(request);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kInterrupted || error.code() == ErrorCode::kIo ||
          i + 1 == mirrors.size())
        throw;
      log(LogLevel::kWarning, error.what());
    }
  }
}

}  // namespace

fs::path mnist_folder(const MnistSource& source) {
  fs::path folder = source.folder.empty() ? data_home() / "wholestep/mnist" : source.folder;
  std::error_code ignored;
  std::string missing;
  std::vector<const MnistFile*> wanted;
  for (const MnistFile& file : kFiles) {
    if (fs::exists(folder / file.name, ignored) ||
        fs::exists(folder / fmt::format("{}.gz", file.name), ignored))
      continue;
    wanted.push_back(&file);
    missing += fmt::format("{}{}.gz", missing.empty() ? "" : ", ", file.name);
  }
  if (wanted.empty()) return folder;
  std::string hint =
      fmt::format("put {} into {}, or use the built-in data: --data digits", missing, folder.string());
  if (!source.may_download)
    throw Error(ErrorCode::kNoInput,
                {.what = "MNIST is not on this machine", .where = folder.string(), .hint = hint});
  make_directories(folder);
  try {
    for (const MnistFile* file : wanted) fetch(*file, folder, source);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNoInput && error.code() != ErrorCode::kBadData) throw;
    throw Error(ErrorCode::kNoInput, {.what = "MNIST is not on this machine and could not be fetched",
                                      .where = folder.string(),
                                      .got = error.what(),
                                      .hint = hint});
  }
  return folder;
}

}  // namespace wholestep
