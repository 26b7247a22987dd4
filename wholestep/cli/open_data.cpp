// Downloads are said once in a log and shown as they go on a terminal.
#include "wholestep/cli/open_data.h"

#include <fmt/format.h>

#include "wholestep/base/error.h"
#include "wholestep/base/human.h"
#include "wholestep/base/suggest.h"
#include "wholestep/cli/terminal.h"

namespace wholestep::cli {

DataSplits open_data_with_progress(const std::string& spec) {
  StatusLine status;
  std::string current;
  MnistSource source;
  source.progress = [&](const std::string& file, uint64_t done, uint64_t total) {
    if (file != current && !stderr_is_terminal()) print_note(fmt::format("downloading {}", file));
    current = file;
    status.show(fmt::format("downloading {}  {} of {}", file, human_bytes(static_cast<int64_t>(done)),
                            human_bytes(static_cast<int64_t>(total))));
    return true;
  };
  return open_data(spec, source);
}

const Dataset& part_of(const DataSplits& data, const std::string& part) {
  static const std::vector<std::string> kParts = {"train", "test"};
  if (part == kParts[0]) return *data.train;
  if (part == kParts[1]) return *data.test;
  throw Error(
      ErrorCode::kUsage,
      {.what = "data has no such part", .got = fmt::format("'{}'", part), .hint = suggest(part, kParts)});
}

}  // namespace wholestep::cli
