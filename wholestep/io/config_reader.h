// Reads a JSON object into a config struct and reports everything that is wrong with it at once: wrong types,
// values out of range, missing and unknown keys.
//
//   ConfigReader reader(object, "run.toml: optimizer");
//   config.lr = reader.get("lr", config.lr, {.min = 0});
//   reader.finish();
#pragma once
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "wholestep/base/error.h"

namespace wholestep {

/// Inclusive bounds of a number, of each element of an array of numbers.
struct ConfigRange {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool contains(double number) const { return number >= min && number <= max; }
};
std::string to_string(ConfigRange range);  ///< "at least 1", "0 to 1"; "" where there are no bounds

class ConfigReader {
 public:
  /// `object` must outlive the reader. `where` names it in messages; a value that is no object is a problem.
  ConfigReader(const nlohmann::json& object, std::string where);

  /// The key's value, or `fallback` where the key is absent or its value is a problem. T: bool, int, int64_t,
  /// uint64_t, float, double, std::string, std::vector<int64_t>, std::vector<double>,
  /// std::vector<std::string>. Integers are accepted for real numbers, not the other way round; NaN and
  /// infinity never are.
  template <class T>
  T get(const std::string& key, T fallback, ConfigRange range = {});
  std::string get(const std::string& key, const char* fallback) { return get(key, std::string(fallback)); }

  /// As get(), and an absent key is a problem.
  template <class T>
  T require(const std::string& key, ConfigRange range = {});

  /// A string that must be one of `choices`; the message suggests the nearest.
  std::string get_choice(const std::string& key, const std::string& fallback,
                         std::span<const std::string> choices);

  bool has(const std::string& key) const;
  /// The value behind a key, marked as used, or nullptr where absent: for nested objects and arrays.
  const nlohmann::json* child(const std::string& key);
  const std::string& where() const { return where_; }
  const nlohmann::json& object() const { return object_; }

  void add_problem(const std::string& key, const std::string& problem);
  void add_problem(const std::string& problem);  ///< one that is not of a single key
  /// Unknown keys are no problem: where the kind of object is wrong, its keys cannot be judged.
  void accept_any_key();
  /// Takes over the problems of a nested object's reader, unknown keys included.
  void absorb(ConfigReader& nested);
  /// Throws one kBadConfig that lists all problems, unknown keys with the nearest known name.
  void finish();

 private:
  void add_unknown_keys();

  const nlohmann::json& object_;
  std::string where_;
  std::vector<std::string> known_, problems_;
};

}  // namespace wholestep
