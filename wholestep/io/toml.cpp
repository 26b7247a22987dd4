// toml++ values to JSON values.
#include "wholestep/io/toml.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <nlohmann/json.hpp>

#include "wholestep/base/error.h"
#include "wholestep/io/files.h"

namespace wholestep {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxBytes = 1 << 20;
constexpr int kMaxDepth = 64;

std::string place(const std::string& source, const toml::source_position& at) {
  return fmt::format("{}:{}:{}", source, at.line, at.column);
}

[[noreturn]] void fail_depth(const std::string& where) {
  throw Error(
      ErrorCode::kBadConfig,
      {.what = "nested too deeply", .where = where, .got = fmt::format("more than {} levels", kMaxDepth)});
}

// toml++ frees tables recursively, so a key of very many dots would overflow the stack afterwards: such a key
// is refused before parsing. Counts the dots of each key path outside quotes and comments.
void refuse_endless_keys(std::string_view text, const std::string& source) {
  int dots = 0, line = 1;
  char quote = 0;
  bool comment = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '\n') {
      dots = 0, quote = 0, comment = false, ++line;
    } else if (comment) {
      continue;
    } else if (quote) {
      if (c == '\\' && quote == '"') ++i;
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '#') {
      comment = true;
    } else if (std::string_view("=,[]{}").find(c) != std::string_view::npos) {
      dots = 0;
    } else if (c == '.' && ++dots > kMaxDepth) {
      fail_depth(fmt::format("{}:{}", source, line));
    }
  }
}

json to_json(const toml::node& node, const std::string& source, int depth) {
  if (depth > kMaxDepth) fail_depth(place(source, node.source().begin));
  if (const toml::table* table = node.as_table()) {
    json object = json::object();
    for (const auto& [key, value] : *table)
      object[std::string(key.str())] = to_json(value, source, depth + 1);
    return object;
  }
  if (const toml::array* array = node.as_array()) {
    json list = json::array();
    for (const toml::node& value : *array) list.push_back(to_json(value, source, depth + 1));
    return list;
  }
  if (auto value = node.as_string()) return value->get();
  if (auto value = node.as_integer()) return value->get();
  if (auto value = node.as_floating_point()) return value->get();
  if (auto value = node.as_boolean()) return value->get();
  throw Error(ErrorCode::kBadConfig, {.what = "dates and times have no meaning here",
                                      .where = place(source, node.source().begin),
                                      .expected = "a string, number, true, false, array or table",
                                      .hint = "put it in quotes to make it a string"});
}

json value_of(const std::string& text) {
  try {
    json parsed = parse_toml("value = " + text, "value");
    if (parsed.size() == 1 && !text.empty()) return parsed["value"];
  } catch (const Error&) {
  }
  return text;
}

}  // namespace

json parse_toml(std::string_view text, const std::string& source) {
  if (text.size() > kMaxBytes)
    throw Error(ErrorCode::kBadConfig, {.what = "the TOML text is too large",
                                        .where = source,
                                        .got = fmt::format("{} bytes", text.size()),
                                        .expected = fmt::format("at most {} bytes", kMaxBytes)});
  refuse_endless_keys(text, source);
  try {
    return to_json(toml::parse(text), source, 0);
  } catch (const toml::parse_error& error) {
    throw Error(ErrorCode::kBadConfig, {.what = "this is not valid TOML",
                                        .where = place(source, error.source().begin),
                                        .hint = std::string(error.description())});
  }
}

json read_toml_file(const std::filesystem::path& path) {
  return parse_toml(read_text_file(path, kMaxBytes), path.string());
}

void apply_override(json& config, std::string_view assignment) {
  size_t equals = assignment.find('=');
  std::string_view path = assignment.substr(0, equals);
  auto malformed = [&] {
    return Error(ErrorCode::kUsage, {.what = "cannot read the override",
                                     .got = fmt::format("'{}'", assignment),
                                     .expected = "key=value, with dots in the key for nested keys"});
  };
  if (equals == std::string_view::npos) throw malformed();
  json* at = &config;
  while (true) {
    size_t dot = path.find('.');
    std::string key(path.substr(0, dot));
    if (key.empty()) throw malformed();
    if (at->is_null()) *at = json::object();
    if (!at->is_object())
      throw Error(ErrorCode::kBadConfig, {.what = "cannot set a key inside a value that is no table",
                                          .where = std::string(assignment),
                                          .got = fmt::format("{} before '.{}'", at->type_name(), key)});
    at = &(*at)[key];
    if (dot == std::string_view::npos) break;
    path.remove_prefix(dot + 1);
  }
  *at = value_of(std::string(assignment.substr(equals + 1)));
}

}  // namespace wholestep
