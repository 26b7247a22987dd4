// Conversions of JSON values to the types config structs are made of.
#include "wholestep/io/config_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>

#include "wholestep/base/suggest.h"

namespace wholestep {
namespace {

using nlohmann::json;

std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

// What a value lacks to be a T within range, or "" where it is one.
template <class T>
std::string convert(const json& value, ConfigRange range, T& out) {
  if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean()) return "expected true or false";
    out = value.get<bool>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!value.is_string()) return "expected a string";
    out = value.get<std::string>();
  } else if constexpr (std::is_integral_v<T>) {
    if (!value.is_number_integer()) return "expected an integer";
    bool fits = value.is_number_unsigned() ? std::in_range<T>(value.get<uint64_t>())
                                           : std::in_range<T>(value.get<int64_t>());
    double number = value.get<double>();
    if (!range.contains(number)) return "expected " + to_string(range);
    if (!fits)
      return fmt::format("expected {} to {}", std::numeric_limits<T>::min(), std::numeric_limits<T>::max());
    out = value.get<T>();
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!value.is_number() || !std::isfinite(value.get<double>())) return "expected a finite number";
    double number = value.get<double>();
    if (!range.contains(number)) return "expected " + to_string(range);
    if (std::abs(number) > static_cast<double>(std::numeric_limits<T>::max()))
      return "expected a smaller number";
    out = static_cast<T>(number);
  } else {  // a vector
    if (!value.is_array()) return "expected an array";
    T elements;
    for (const json& element : value) {
      typename T::value_type converted{};
      if (std::string problem = convert(element, range, converted); !problem.empty())
        return problem + fmt::format(" at index {}", elements.size());
      elements.push_back(std::move(converted));
    }
    out = std::move(elements);
  }
  return "";
}

}  // namespace

std::string to_string(ConfigRange range) {
  if (std::isinf(range.max)) return std::isinf(range.min) ? "" : fmt::format("at least {:g}", range.min);
  if (std::isinf(range.min)) return fmt::format("at most {:g}", range.max);
  return fmt::format("{:g} to {:g}", range.min, range.max);
}

ConfigReader::ConfigReader(const json& object, std::string where)
    : object_(object), where_(std::move(where)) {
  if (!object.is_object())
    problems_.push_back(
        fmt::format("{}: got {}, expected an object of keys and values", where_, shown(object)));
}

bool ConfigReader::has(const std::string& key) const { return object_.is_object() && object_.contains(key); }

const json* ConfigReader::child(const std::string& key) {
  if (std::ranges::find(known_, key) == known_.end()) known_.push_back(key);
  return has(key) ? &object_[key] : nullptr;
}

template <class T>
T ConfigReader::get(const std::string& key, T fallback, ConfigRange range) {
  const json* value = child(key);
  if (!value) return fallback;
  T out{};
  std::string problem = convert(*value, range, out);
  if (problem.empty()) return out;
  add_problem(key, fmt::format("got {}, {}", shown(*value), problem));
  return fallback;
}

template <class T>
T ConfigReader::require(const std::string& key, ConfigRange range) {
  if (!child(key)) add_problem(key, "is missing");
  return get<T>(key, T{}, range);
}

std::string ConfigReader::get_choice(const std::string& key, const std::string& fallback,
                                     std::span<const std::string> choices) {
  std::string value = get(key, fallback);
  if (std::ranges::find(choices, value) != choices.end()) return value;
  add_problem(key, fmt::format("got '{}', {}", value, suggest(value, choices)));
  return fallback;
}

void ConfigReader::add_problem(const std::string& key, const std::string& problem) {
  problems_.push_back(fmt::format("{}: '{}' {}", where_, key, problem));
}

void ConfigReader::add_problem(const std::string& problem) {
  problems_.push_back(fmt::format("{}: {}", where_, problem));
}

void ConfigReader::add_unknown_keys() {
  if (!object_.is_object()) return;
  for (const auto& item : object_.items())
    if (std::ranges::find(known_, item.key()) == known_.end())
      add_problem(item.key(), fmt::format("is not a known key, {}", suggest(item.key(), known_)));
}

void ConfigReader::accept_any_key() {
  if (!object_.is_object()) return;
  for (const auto& item : object_.items()) child(item.key());
}

void ConfigReader::absorb(ConfigReader& nested) {
  nested.add_unknown_keys();
  problems_.insert(problems_.end(), nested.problems_.begin(), nested.problems_.end());
  nested.problems_.clear();
}

void ConfigReader::finish() {
  add_unknown_keys();
  if (problems_.empty()) return;
  if (problems_.size() == 1) throw Error(ErrorCode::kBadConfig, {.what = problems_.front()});
  throw Error(ErrorCode::kBadConfig,
              {.what = fmt::format("{} problems:\n  {}", problems_.size(), fmt::join(problems_, "\n  "))});
}

#define WHOLESTEP_CONFIG_TYPE(T)                                       \
  template T ConfigReader::get<T>(const std::string&, T, ConfigRange); \
  template T ConfigReader::require<T>(const std::string&, ConfigRange);
WHOLESTEP_CONFIG_TYPE(bool)
WHOLESTEP_CONFIG_TYPE(int)
WHOLESTEP_CONFIG_TYPE(int64_t)
WHOLESTEP_CONFIG_TYPE(uint64_t)
WHOLESTEP_CONFIG_TYPE(float)
WHOLESTEP_CONFIG_TYPE(double)
WHOLESTEP_CONFIG_TYPE(std::string)
WHOLESTEP_CONFIG_TYPE(std::vector<int64_t>)
WHOLESTEP_CONFIG_TYPE(std::vector<double>)
WHOLESTEP_CONFIG_TYPE(std::vector<std::string>)
#undef WHOLESTEP_CONFIG_TYPE

}  // namespace wholestep
