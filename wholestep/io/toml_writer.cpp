// JSON values as TOML text, numbers in the fewest digits that read back equal.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "wholestep/base/error.h"
#include "wholestep/io/toml.h"

namespace wholestep {
namespace {

using nlohmann::json;

// In single quotes where nothing has to be escaped. JSON's escapes are TOML's too; DEL is the one character
// that only TOML escapes.
std::string quoted(const std::string& text) {
  bool plain = std::ranges::none_of(text, [](unsigned char c) { return c < 32 || c > 126 || c == '\''; });
  if (plain) return "'" + text + "'";
  std::string json_text = json(text).dump(-1, ' ', false, json::error_handler_t::replace), out;
  for (char c : json_text) out += c == '\x7f' ? std::string("\\u007F") : std::string(1, c);
  return out;
}

std::string key_text(const std::string& key) {
  bool bare = !key.empty() && std::ranges::all_of(key, [](unsigned char c) {
    return c < 128 && (std::isalnum(c) || c == '_' || c == '-');
  });
  return bare ? key : quoted(key);
}

std::string float_text(double number) {
  std::string text = fmt::format("{}", number);
  bool whole = text.find_first_not_of("+-0123456789") == std::string::npos;
  return whole ? text + ".0" : text;
}

std::string value_text(const json& value) {
  switch (value.type()) {
    case json::value_t::object: {
      std::string text;
      for (const auto& [key, item] : value.items())
        if (!item.is_null())
          text += fmt::format("{}{} = {}", text.empty() ? "" : ", ", key_text(key), value_text(item));
      return text.empty() ? "{}" : "{ " + text + " }";
    }
    case json::value_t::array: {
      std::string text;
      for (const json& item : value)
        if (!item.is_null()) text += (text.empty() ? "" : ", ") + value_text(item);
      return "[" + text + "]";
    }
    case json::value_t::string: return quoted(value.get<std::string>());
    case json::value_t::number_float: return float_text(value.get<double>());
    case json::value_t::number_unsigned:
      if (value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        throw Error(ErrorCode::kBadConfig, {.what = "the number is too large for TOML", .got = value.dump()});
      return value.dump();
    default: return value.dump();
  }
}

// Values first, then a section for each table inside.
void write_table(const json& table, const std::string& path, std::string& text) {
  if (!path.empty()) text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", path);
  for (const auto& [key, value] : table.items())
    if (!value.is_object() && !value.is_null())
      text += fmt::format("{} = {}\n", key_text(key), value_text(value));
  for (const auto& [key, value] : table.items())
    if (value.is_object())
      write_table(value, path.empty() ? key_text(key) : path + "." + key_text(key), text);
}

}  // namespace

std::string to_toml(const json& object) {
  if (!object.is_object())
    throw Error(ErrorCode::kUsage, {.what = "TOML text is made from an object", .got = object.type_name()});
  std::string text;
  write_table(object, "", text);
  return text;
}

}  // namespace wholestep
