// Letters are bound to extents by the operands, in order, and looked up by the results.
#include "support/shape_rule.h"

#include <fmt/format.h>

#include <map>

namespace wholestep::test {
namespace {

std::string trimmed(std::string_view text) {
  size_t first = text.find_first_not_of(' '), last = text.find_last_not_of(' ');
  return first == std::string_view::npos ? "" : std::string(text.substr(first, last - first + 1));
}

/// Parts between commas outside of brackets.
std::vector<std::string> parts_of(std::string_view text) {
  std::vector<std::string> parts;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] == '[') ++depth;
    else if (i < text.size() && text[i] == ']') --depth;
    else if (i == text.size() || (text[i] == ',' && depth == 0)) {
      parts.push_back(trimmed(text.substr(begin, i - begin)));
      begin = i + 1;
    }
  }
  return parts.size() == 1 && parts[0].empty() ? std::vector<std::string>() : parts;
}

/// "op(a) [M, K] words" or "..." for more of the one before.
struct Item {
  std::string name, words;
  std::vector<std::string> extents;
  explicit Item(const std::string& text) {
    size_t open = text.find('['), close = text.find(']');
    name = trimmed(text.substr(0, open));
    if (open == std::string::npos) return;
    extents = parts_of(std::string_view(text).substr(open + 1, close - open - 1));
    words = trimmed(text.substr(close + 1));
  }
};

class Rule {
 public:
  explicit Rule(const OpCase& request) : attrs_(request.attrs) {}

  /// What is wrong with these shapes, "" for nothing.
  std::string match(const std::string& side, const Types& types, bool results) {
    std::vector<Item> items;
    for (const std::string& part : parts_of(side)) items.emplace_back(part);
    bool more = !items.empty() && items.back().name == "...";
    if (more) items.pop_back();
    if (types.size() > items.size() && !more) return fmt::format("{} has too few items", side);
    for (size_t i = 0; i < types.size(); ++i) {
      const Item& item = items[std::min(i, items.size() - 1)];
      const bool repeated = more && i + 1 >= items.size();
      if (!item.words.empty()) continue;
      Shape shape = types[i].shape;
      if (item.name.starts_with("op(") &&
          attrs_.flag("transpose_" + item.name.substr(3, item.name.size() - 4))) {
        int64_t last = shape[shape.rank() - 1];
        shape.set(shape.rank() - 1, shape[shape.rank() - 2]);
        shape.set(shape.rank() - 2, last);
      }
      if (!fits(item, shape, results, repeated))
        return fmt::format("{} of {} is {}", i, side, to_string(types[i]));
    }
    return "";
  }

 private:
  bool fits(const Item& item, const Shape& shape, bool result, bool repeated) {
    int any = -1, named = static_cast<int>(item.extents.size());
    for (int i = 0; i < named; ++i)
      if (item.extents[static_cast<size_t>(i)].ends_with("...")) any = i;
    int open = any < 0 ? 0 : shape.rank() - (named - 1);  // axes that "..." stands for
    if (open < 0 || (any < 0 && shape.rank() != named)) return false;
    for (int axis = 0; axis < shape.rank(); ++axis) {
      if (any >= 0 && axis >= any && axis < any + open) continue;
      int i = any >= 0 && axis >= any + open ? axis - open + 1 : axis;
      if (!is_extent(item.extents[static_cast<size_t>(i)], shape[axis])) return false;
    }
    if (any < 0) return true;
    Shape stands_for;
    for (int axis = any; axis < any + open; ++axis) stands_for.push_back(shape[axis]);
    std::string attribute = item.extents[static_cast<size_t>(any)];
    attribute.resize(attribute.size() - 3);
    if (!attribute.empty()) return stands_for == Shape(attrs_.integers(attribute));
    if (repeated) return true;
    if (result) return stands_for == any_;
    any_ = broadcast_shapes(any_, stands_for);
    return true;
  }

  /// A letter, a letter over an attribute, or an attribute.
  bool is_extent(const std::string& text, int64_t extent) {
    if (attrs_.has(text)) return attrs_.integer(text) == extent;
    size_t over = text.find(" / ");
    if (over != std::string::npos) extent *= attrs_.integer(text.substr(over + 3));
    return letters_.emplace(text.substr(0, over), extent).first->second == extent;
  }

  const Attrs& attrs_;
  std::map<std::string, int64_t> letters_;
  Shape any_;
};

}  // namespace

std::string shape_rule_error(const OpDef& op, const OpCase& request) {
  size_t arrow = op.shapes.find("->");
  if (arrow == std::string::npos) return "no \"->\" between operands and results";
  std::string operands = op.shapes.substr(0, arrow);
  std::vector<std::string> parts = parts_of(operands);
  for (size_t i = 0; i < op.operands.size(); ++i) {
    std::string name = i < parts.size() ? Item(parts[i]).name : "";
    if (name != op.operands[i] && name != "op(" + op.operands[i] + ")")
      return fmt::format("operand {} is {}, not {}", i, op.operands[i], name);
  }
  Rule rule(request);
  std::string error = rule.match(operands, request.inputs, false);
  if (!error.empty()) return error;
  return rule.match(op.shapes.substr(arrow + 2), infer_types(op, request.inputs, request.attrs), true);
}

}  // namespace wholestep::test
