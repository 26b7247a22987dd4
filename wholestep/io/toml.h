// TOML configuration files as JSON values, and back; "a.b=c" overrides of the command line.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace wholestep {

/// The text as a JSON object. kBadConfig as "what (source:line:column)" for a syntax error, a date or time
/// (configurations have none), or nesting over 64 levels.
nlohmann::json parse_toml(std::string_view text, const std::string& source);

/// kNoInput where the file cannot be opened; at most 1 MiB.
nlohmann::json read_toml_file(const std::filesystem::path& path);

/// The object as TOML text that parse_toml reads back to an equal value; keys sorted, nulls left out
/// (TOML has none). kUsage where `object` is no object.
std::string to_toml(const nlohmann::json& object);

/// Sets config["a"]["b"] for "a.b=c", making the objects in between. The value is read as TOML (number, true,
/// [list], "string"), and as a plain string where it is none of these. kUsage for a text without '=' or with
/// an empty key; kBadConfig where a key on the way is no object.
void apply_override(nlohmann::json& config, std::string_view assignment);

}  // namespace wholestep
