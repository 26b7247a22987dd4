// Attributes of an op: a short sorted list of named values that prints, compares and hashes.
#pragma once
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace wholestep {

using AttrValue = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>>;

struct Attr {
  Attr(std::string attr_name, bool flag) : name(std::move(attr_name)), value(flag) {}
  Attr(std::string attr_name, std::integral auto number)
      : name(std::move(attr_name)), value(int64_t{number}) {}
  Attr(std::string attr_name, double number) : name(std::move(attr_name)), value(number) {}
  Attr(std::string attr_name, const char* text) : name(std::move(attr_name)), value(std::string(text)) {}
  Attr(std::string attr_name, std::string text) : name(std::move(attr_name)), value(std::move(text)) {}
  Attr(std::string attr_name, std::vector<int64_t> numbers)
      : name(std::move(attr_name)), value(std::move(numbers)) {}
  std::string name;
  AttrValue value;
  friend bool operator==(const Attr&, const Attr&) = default;
};

class Attrs {
 public:
  Attrs() = default;
  Attrs(std::initializer_list<Attr> attrs);

  void set(Attr attr);  ///< adds or replaces
  bool has(std::string_view name) const { return find(name) != nullptr; }

  // Reading: kFailure where the attribute is missing or of another kind, since ops set what they read.
  bool flag(std::string_view name) const { return get<bool>(name); }
  int64_t integer(std::string_view name) const { return get<int64_t>(name); }
  double number(std::string_view name) const { return get<double>(name); }
  const std::string& text(std::string_view name) const { return get<std::string>(name); }
  const std::vector<int64_t>& integers(std::string_view name) const {
    return get<std::vector<int64_t>>(name);
  }
  bool flag_or(std::string_view name, bool otherwise) const { return has(name) ? flag(name) : otherwise; }
  std::string text_or(std::string_view name, std::string otherwise) const {
    return has(name) ? text(name) : otherwise;
  }

  const std::vector<Attr>& all() const { return attrs_; }
  bool empty() const { return attrs_.empty(); }
  friend bool operator==(const Attrs&, const Attrs&) = default;

 private:
  const AttrValue* find(std::string_view name) const;
  template <class T>
  const T& get(std::string_view name) const;
  std::vector<Attr> attrs_;  // sorted by name
};

std::string to_string(const Attrs& attrs);  ///< "{padding=[2, 2], stride=[1, 1]}", "" when empty

}  // namespace wholestep
