// One function per reading of a field list, each a visit over the types a field may have.
#include "wholestep/io/config_fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "wholestep/base/suggest.h"

namespace wholestep {
namespace {

using nlohmann::json;

template <class... Visitors>
struct Overload : Visitors... {
  using Visitors::operator()...;
};
template <class... Visitors>
Overload(Visitors...) -> Overload<Visitors...>;

json as_json(bool value) { return value; }
json as_json(int64_t value) { return value; }
json as_json(double value) { return value; }
json as_json(const std::string& value) { return value; }
template <size_t N>
json as_json(const std::array<double, N>& value) {
  return value;
}
template <class T>
json as_json(const std::vector<T>& value) {
  return value;
}
json as_json(const std::optional<int64_t>& value) { return value ? json(*value) : json(); }
json as_json(const Size2d& value) {
  return value.height == value.width ? json(value.height) : json{value.height, value.width};
}
json as_json(const Padding& value) {
  return value.same ? json("same") : as_json(static_cast<const Size2d&>(value));
}

json value_of(const ConfigField& field) {
  return std::visit([](auto* value) { return as_json(*value); }, field.value);
}

/// The numbers in a field's JSON form.
std::vector<double> numbers_of(const ConfigField& field) {
  json value = value_of(field);
  if (value.is_number()) return {value.get<double>()};
  if (value.is_array()) return value.get<std::vector<double>>();
  return {};
}

bool in_range(const ConfigField& field) {
  return std::ranges::all_of(numbers_of(field),
                             [&](double n) { return std::isfinite(n) && field.range.contains(n); });
}

std::string type_name(const ConfigField& field) {
  return std::visit(Overload{[](bool*) { return "bool"; }, [](int64_t*) { return "integer"; },
                             [](double*) { return "number"; }, [](std::string*) { return "text"; },
                             [](std::array<double, 2>*) { return "two numbers"; },
                             [](std::array<double, 3>*) { return "three numbers"; },
                             [](Size2d*) { return "integer or [height, width]"; },
                             [](Padding*) { return "integer, [height, width] or \"same\""; },
                             [](std::vector<int64_t>*) { return "list of integers"; },
                             [](std::vector<double>*) { return "list of numbers"; },
                             [](std::optional<int64_t>*) { return "integer or nothing"; }},
                    field.value);
}

void read_pair(ConfigReader& reader, const ConfigField& field, const json& value, Size2d& out) {
  auto is_extent = [](const json& v) { return v.is_number_integer(); };
  if (is_extent(value)) out = Size2d(value.get<int64_t>());
  else if (value.is_array() && value.size() == 2 && is_extent(value[0]) && is_extent(value[1]))
    out = Size2d(value[0].get<int64_t>(), value[1].get<int64_t>());
  else return reader.add_problem(field.name, "expected an integer or [height, width]");
  if (!in_range(field))
    reader.add_problem(field.name, fmt::format("got {}, expected {}", value.dump(), to_string(field.range)));
}

void read_field(ConfigReader& reader, const ConfigField& field) {
  const json* found = reader.child(field.name);
  if (!found) {
    if (!in_range(field)) reader.add_problem(field.name, "is missing");
    return;
  }
  std::visit(Overload{[&](std::string* v) {
                        *v = field.choices.empty() ? reader.get(field.name, *v)
                                                   : reader.get_choice(field.name, *v, field.choices);
                      },
                      [&]<size_t N>(std::array<double, N>* v) {
                        auto numbers =
                            reader.get(field.name, std::vector<double>(v->begin(), v->end()), field.range);
                        if (numbers.size() == N) std::ranges::copy(numbers, v->begin());
                        else reader.add_problem(field.name, fmt::format("expected {}", type_name(field)));
                      },
                      [&](Size2d* v) { read_pair(reader, field, *found, *v); },
                      [&](Padding* v) {
                        *v = {};
                        v->same = *found == "same";
                        if (v->same || *found == "valid") return;
                        Size2d size;
                        read_pair(reader, field, *found, size);
                        *v = size;
                      },
                      [&](std::optional<int64_t>* v) { *v = reader.get(field.name, int64_t{}, field.range); },
                      [&](auto* v) { *v = reader.get(field.name, *v, field.range); }},
             field.value);
}

std::string expectation(const ConfigField& field) {
  std::string range = to_string(field.range);
  return range.empty() ? "a finite number" : range;
}

std::string fallback_text(const ConfigField& field) {
  json value = value_of(field);
  if (value.is_null()) return "";
  return in_range(field) ? value.dump() : "required";
}

}  // namespace

void read_fields(ConfigReader& reader, const ConfigFields& fields) {
  for (const ConfigField& field : fields) read_field(reader, field);
}

std::vector<std::string> field_problems(const ConfigFields& fields) {
  std::vector<std::string> problems;
  for (const ConfigField& field : fields) {
    json value = value_of(field);
    if (!in_range(field))
      problems.push_back(fmt::format("'{}' got {}, expected {}", field.name,
                                     value.dump() == "null" ? "a value that is no number" : value.dump(),
                                     expectation(field)));
    if (field.choices.empty()) continue;
    std::string word = value.get<std::string>();
    if (std::ranges::find(field.choices, word) == field.choices.end())
      problems.push_back(fmt::format("'{}' got '{}', {}", field.name, word, suggest(word, field.choices)));
  }
  return problems;
}

void write_type(json& object, const char* type) { object["type"] = type; }

int read_type(ConfigReader& reader, const std::vector<std::string>& names) {
  std::string type = reader.require<std::string>("type");
  auto found = std::ranges::find(names, type);
  if (found != names.end()) return static_cast<int>(found - names.begin());
  if (!type.empty()) reader.add_problem("type", fmt::format("got '{}', {}", type, suggest(type, names)));
  reader.accept_any_key();
  return -1;
}

void write_fields(json& object, const ConfigFields& fields, const ConfigFields& defaults) {
  for (size_t i = 0; i < fields.size(); ++i)
    if (json value = value_of(fields[i]); value != value_of(defaults[i])) object[fields[i].name] = value;
}

std::string print_fields(const ConfigFields& fields, const ConfigFields& defaults) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < fields.size(); ++i)
    if (json value = value_of(fields[i]); value != value_of(defaults[i]))
      parts.push_back(fmt::format("{}={}", fields[i].name, value.dump()));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::vector<ConfigFieldRow> document_fields(const ConfigFields& defaults) {
  std::vector<ConfigFieldRow> rows;
  for (const ConfigField& field : defaults) {
    std::string range = to_string(field.range), choices = fmt::format("{}", fmt::join(field.choices, " | "));
    rows.push_back({.name = field.name,
                    .type = type_name(field) + (range.empty() ? "" : ", " + range) +
                            (choices.empty() ? "" : ", " + choices),
                    .fallback = fallback_text(field),
                    .doc = field.doc});
  }
  return rows;
}

void throw_problems(const std::string& where, const std::vector<std::string>& problems) {
  if (problems.empty()) return;
  if (problems.size() == 1) throw Error(ErrorCode::kBadConfig, {.what = where + ": " + problems.front()});
  throw Error(ErrorCode::kBadConfig, {.what = fmt::format("{}: {} problems:\n  {}", where, problems.size(),
                                                          fmt::join(problems, "\n  "))});
}

}  // namespace wholestep
