// One pass over the characters of a record.
#include "wholestep/io/csv.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "wholestep/base/error.h"

namespace wholestep {

CsvReader::CsvReader(std::string_view text, std::string source) : text_(text), source_(std::move(source)) {
  if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;
}

std::string CsvReader::where() const { return fmt::format("{}:{}", source_, record_line_); }

bool CsvReader::next(std::vector<std::string>& fields) {
  for (; at_ < text_.size() && (text_[at_] == '\n' || text_[at_] == '\r'); ++at_) line_ += text_[at_] == '\n';
  if (at_ == text_.size()) return false;
  record_line_ = line_;
  fields.clear();
  while (true) {
    std::string& field = fields.emplace_back();
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    if (at_ < text_.size() && text_[at_] == '"') read_quoted(field);
    else read_plain(field);
    if (at_ < text_.size() && text_[at_] == ',') {
      ++at_;
      continue;
    }
    return true;
  }
}

void CsvReader::read_quoted(std::string& field) {
  for (++at_; at_ < text_.size(); ++at_) {
    if (text_[at_] != '"') {
      line_ += text_[at_] == '\n';
      field += text_[at_];
    } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
      field += text_[at_++];
    } else {
      ++at_;
      while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\r')) ++at_;
      if (at_ == text_.size() || text_[at_] == ',' || text_[at_] == '\n') return;
      throw Error(ErrorCode::kBadData, {.what = "text after the quote that ends a field",
                                        .where = where(),
                                        .got = fmt::format("'{}'", text_.substr(at_, 1)),
                                        .expected = "a comma or the end of the line",
                                        .hint = "a quote inside a quoted field is written twice"});
    }
  }
  throw Error(ErrorCode::kBadData, {.what = "a quoted field does not end", .where = where()});
}

void CsvReader::read_plain(std::string& field) {
  size_t end = std::min(text_.find_first_of(",\n", at_), text_.size());
  std::string_view cell = text_.substr(at_, end - at_);
  while (cell.ends_with(' ') || cell.ends_with('\r')) cell.remove_suffix(1);
  if (cell.find('"') != cell.npos)
    throw Error(ErrorCode::kBadData, {.what = "a quote in the middle of a field",
                                      .where = where(),
                                      .got = std::string(cell.substr(0, 40)),
                                      .hint = "quote the whole field, and double the quotes inside"});
  field = cell;
  at_ = end;
}

bool parse_number(std::string_view field, float& number) {
  if (field.starts_with('+')) field.remove_prefix(1);
  auto [stop, failed] = std::from_chars(field.data(), field.data() + field.size(), number);
  return failed == std::errc() && stop == field.data() + field.size() && std::isfinite(number);
}

}  // namespace wholestep
