// Attribute lookup and printing. Doubles print with all their digits: the text is also the identity of a
// fused program.
#include "wholestep/base/attrs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "wholestep/base/error.h"

namespace wholestep {

Attrs::Attrs(std::initializer_list<Attr> attrs) {
  for (const Attr& attr : attrs) set(attr);
}

void Attrs::set(Attr attr) {
  auto at = std::ranges::lower_bound(attrs_, attr.name, {}, &Attr::name);
  if (at != attrs_.end() && at->name == attr.name) *at = std::move(attr);
  else attrs_.insert(at, std::move(attr));
}

const AttrValue* Attrs::find(std::string_view name) const {
  for (const Attr& attr : attrs_)
    if (attr.name == name) return &attr.value;
  return nullptr;
}

template <class T>
const T& Attrs::get(std::string_view name) const {
  const AttrValue* value = find(name);
  if (!value || !std::holds_alternative<T>(*value))
    throw Error(ErrorCode::kFailure,
                {.what = fmt::format("op attribute '{}' is missing or of another kind", name),
                 .got = to_string(*this)});
  return std::get<T>(*value);
}
template const bool& Attrs::get<bool>(std::string_view) const;
template const int64_t& Attrs::get<int64_t>(std::string_view) const;
template const double& Attrs::get<double>(std::string_view) const;
template const std::string& Attrs::get<std::string>(std::string_view) const;
template const std::vector<int64_t>& Attrs::get<std::vector<int64_t>>(std::string_view) const;

std::string to_string(const Attrs& attrs) {
  if (attrs.empty()) return "";
  std::vector<std::string> parts;
  for (const Attr& attr : attrs.all()) {
    struct Print {
      std::string operator()(bool v) const { return v ? "true" : "false"; }
      std::string operator()(int64_t v) const { return std::to_string(v); }
      std::string operator()(double v) const { return fmt::format("{}", v); }
      std::string operator()(const std::string& v) const { return fmt::format("\"{}\"", v); }
      std::string operator()(const std::vector<int64_t>& v) const {
        return fmt::format("[{}]", fmt::join(v, ", "));
      }
    };
    parts.push_back(attr.name + "=" + std::visit(Print{}, attr.value));
  }
  return fmt::format("{{{}}}", fmt::join(parts, ", "));
}

}  // namespace wholestep
