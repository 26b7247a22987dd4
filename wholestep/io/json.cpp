// A SAX handler that builds the value and refuses what the limits forbid while the text is being read.
#include "wholestep/io/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

#include "wholestep/io/files.h"

namespace wholestep {
namespace {

using nlohmann::json;

// An input iterator that tells the handler how far the parser has read.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, size_t* read) : at_(at), read_(read) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    ++*read_;
    return *this;
  }
  friend bool operator==(const CountingIterator& a, const CountingIterator& b) { return a.at_ == b.at_; }
  friend bool operator!=(const CountingIterator& a, const CountingIterator& b) { return a.at_ != b.at_; }

 private:
  const char* at_;
  size_t* read_;
};

class Builder : public nlohmann::json_sax<json> {
 public:
  Builder(std::string_view text, const std::string& source, const JsonLimits& limits)
      : text_(text), source_(source), limits_(limits) {}

  json take() { return std::move(root_); }
  size_t* read() { return &read_; }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(int64_t value) override { return add(value); }
  bool number_unsigned(uint64_t value) override { return add(value); }
  bool number_float(double value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(json::binary_t&) override { return false; }
  bool start_object(size_t) override { return open(json::object()); }
  bool start_array(size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string& name) override {
    if (open_.back()->contains(name)) fail(read_, "duplicate key", fmt::format("'{}' twice", name), "");
    key_ = std::move(name);
    return true;
  }
  bool parse_error(size_t position, const std::string& token, const json::exception& error) override {
    std::string why = error.what();
    if (size_t colon = why.rfind("; "); colon != std::string::npos) why = why.substr(colon + 2);
    if (why.starts_with("[json.exception")) why = why.substr(std::min(why.size(), why.find("] ") + 2));
    fail(position, "this is not valid JSON",
         token.empty() ? "the end of the text" : fmt::format("'{}'", token.substr(0, 40)), why);
    return false;
  }

 private:
  [[noreturn]] void fail(size_t position, const char* what, const std::string& got, const std::string& hint) {
    throw Error(limits_.code, {.what = what,
                               .where = fmt::format("{}:{}", source_,
                                                    line_and_column(text_, position == 0 ? 0 : position - 1)),
                               .got = got,
                               .hint = hint});
  }
  json* place(json&& value) {
    if (open_.empty()) return &(root_ = std::move(value));
    json& parent = *open_.back();
    if (parent.is_object()) return &(parent[key_] = std::move(value));
    parent.push_back(std::move(value));
    return &parent.back();
  }
  bool add(json&& value) {
    place(std::move(value));
    return true;
  }
  bool open(json&& container) {
    if (open_.size() == static_cast<size_t>(limits_.max_depth))
      fail(read_, "nested too deeply", fmt::format("more than {} levels", limits_.max_depth), "");
    open_.push_back(place(std::move(container)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  const std::string& source_;
  const JsonLimits& limits_;
  size_t read_ = 0;
  json root_;
  std::vector<json*> open_;  // the containers being filled; a parent does not grow while its child is open
  std::string key_;
};

}  // namespace

json parse_json(std::string_view text, const std::string& source, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes)
    throw Error(limits.code, {.what = "the JSON text is too large",
                              .where = source,
                              .got = fmt::format("{} bytes", text.size()),
                              .expected = fmt::format("at most {} bytes", limits.max_bytes)});
  Builder builder(text, source, limits);
  CountingIterator begin(text.data(), builder.read()), end(text.data() + text.size(), builder.read());
  json::sax_parse(begin, end, &builder);  // every failure throws out of the handler
  return builder.take();
}

json read_json_file(const std::filesystem::path& path, const JsonLimits& limits) {
  return parse_json(read_text_file(path, limits.max_bytes), path.string(), limits);
}

std::string line_and_column(std::string_view text, size_t offset) {
  std::string_view before = text.substr(0, std::min(offset, text.size()));
  size_t line = 1 + static_cast<size_t>(std::count(before.begin(), before.end(), '\n'));
  size_t start = before.rfind('\n');
  return fmt::format("{}:{}", line, before.size() - (start == std::string_view::npos ? 0 : start + 1) + 1);
}

}  // namespace wholestep
