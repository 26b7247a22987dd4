// A config struct names its fields once - member, meaning, range - and its checks, JSON form, printed form
// and documentation table are readings of that list.
//
//   struct LinearConfig {
//     int64_t in_features = 0;
//     bool bias = true;
//     ConfigFields fields() {
//       return {{"in_features", &in_features, "extent of the last axis of x", {.min = 1}},
//               {"bias", &bias, "add a learned vector"}};
//     }
//     static constexpr const char *kType = "Linear", *kDoc = "y = x W^T + b";  // where files name it
//     std::vector<std::string> problems() const;  // optional: what several fields together get wrong
//   };
#pragma once
#include <array>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "wholestep/base/size2d.h"
#include "wholestep/io/config_reader.h"

namespace wholestep {

struct ConfigField {
  using Value =
      std::variant<bool*, int64_t*, double*, std::string*, std::array<double, 2>*, std::array<double, 3>*,
                   Size2d*, Padding*, std::vector<int64_t>*, std::vector<double>*, std::optional<int64_t>*>;
  std::string name;
  Value value;
  std::string doc;
  ConfigRange range = {};                 ///< of each number; a default outside it makes the field required
  std::vector<std::string> choices = {};  ///< of a string; empty: any
};
using ConfigFields = std::vector<ConfigField>;

/// A line of a documentation table; `fallback` is "required" where there is no default.
struct ConfigFieldRow {
  std::string name, type, fallback, doc;
};

// The readings. `defaults` are the fields of a default-constructed struct.
void read_fields(ConfigReader& reader, const ConfigFields& fields);
std::vector<std::string> field_problems(const ConfigFields& fields);
void write_type(nlohmann::json& object, const char* type);  ///< object["type"] = type
/// Adds the fields that differ from their defaults to an object.
void write_fields(nlohmann::json& object, const ConfigFields& fields, const ConfigFields& defaults);
/// "in_features=400, out_features=120": the fields that differ from their defaults.
std::string print_fields(const ConfigFields& fields, const ConfigFields& defaults);
std::vector<ConfigFieldRow> document_fields(const ConfigFields& defaults);
/// Throws one kBadConfig that lists all problems; nothing where there are none.
void throw_problems(const std::string& where, const std::vector<std::string>& problems);

template <class Config>
std::vector<std::string> config_problems(Config config) {
  std::vector<std::string> problems = field_problems(config.fields());
  if constexpr (requires { config.problems(); })
    if (problems.empty()) problems = config.problems();
  return problems;
}

/// The config itself, for initialiser lists; kBadConfig naming `where` and every problem.
template <class Config>
Config checked_config(const std::string& where, Config config) {
  throw_problems(where, config_problems(config));
  return config;
}

/// What is wrong is left in the reader, for its finish() to throw.
template <class Config>
Config read_config(ConfigReader& reader) {
  Config config;
  read_fields(reader, config.fields());
  if constexpr (requires { config.problems(); })
    if (field_problems(config.fields()).empty())
      for (const std::string& problem : config.problems()) reader.add_problem(problem);
  return config;
}

/// object["type"] = Config::kType, and the fields that differ from their defaults.
template <class Config>
void write_config(nlohmann::json& object, Config config) {
  write_type(object, Config::kType);
  write_fields(object, config.fields(), Config().fields());
}

template <class Config>
std::string print_config(Config config) {
  return print_fields(config.fields(), Config().fields());
}

/// A kind of Base that config files name: {"type": "cosine", "eta_min": 0.001}.
template <class Base>
struct ConfigType {
  std::string name, doc;
  std::vector<ConfigFieldRow> fields;
  /// Null where problems are left in the reader.
  std::unique_ptr<Base> (*read)(ConfigReader& reader);
};

/// The row of Kind, made from its Config: kType, kDoc, fields().
template <class Base, class Kind>
ConfigType<Base> config_type() {
  using Config = typename Kind::Config;
  return {Config::kType, Config::kDoc, document_fields(Config().fields()),
          [](ConfigReader& reader) -> std::unique_ptr<Base> {
            Config config = read_config<Config>(reader);
            if (!config_problems(config).empty()) return nullptr;
            return std::make_unique<Kind>(std::move(config));
          }};
}

/// The one of `names` that the key "type" names, or -1 with the problem left in the reader.
int read_type(ConfigReader& reader, const std::vector<std::string>& names);

/// What the object's "type" says; null where problems are left in the reader.
template <class Base>
std::unique_ptr<Base> read_typed(ConfigReader& reader, const std::vector<ConfigType<Base>>& types) {
  std::vector<std::string> names;
  for (const ConfigType<Base>& type : types) names.push_back(type.name);
  int found = read_type(reader, names);
  return found < 0 ? nullptr : types[static_cast<size_t>(found)].read(reader);
}

}  // namespace wholestep
