// JSON text to a value, with limits: size, depth, no duplicate keys, and errors by line and column.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "wholestep/base/error.h"

namespace wholestep {

struct JsonLimits {
  uint64_t max_bytes = uint64_t{16} << 20;
  int max_depth = 64;
  ErrorCode code =
      ErrorCode::kBadData;  ///< of an error: kBadConfig where the text is a person's configuration
};

/// `source` names the text in errors: a file, an option. Error(limits.code) as "what (source:line:column)".
nlohmann::json parse_json(std::string_view text, const std::string& source, const JsonLimits& limits = {});

/// The file's content; kNoInput where it cannot be opened.
nlohmann::json read_json_file(const std::filesystem::path& path, const JsonLimits& limits = {});

/// "line:column", both from 1, of a byte offset in `text`; columns count bytes.
std::string line_and_column(std::string_view text, size_t offset);

}  // namespace wholestep
