// Comma-separated values as RFC 4180 writes them: quoted fields, doubled quotes, line breaks inside quotes.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wholestep {

/// Walks over the records of a text, which must outlive it. A mark of UTF-8 at the start and blank lines are
/// passed over; a line ends in \n or \r\n.
class CsvReader {
 public:
  /// `source` names the text in errors.
  CsvReader(std::string_view text, std::string source);

  /// Fills `fields` with the next record; false where there is none. Blanks around a field that is not quoted
  /// are dropped. kBadData naming the line for a quote that does not end, or in the middle of a field.
  bool next(std::vector<std::string>& fields);
  /// "file.csv:3": where the record that was read last begins.
  std::string where() const;

 private:
  void read_quoted(std::string& field);
  void read_plain(std::string& field);

  std::string_view text_;
  std::string source_;
  size_t at_ = 0;
  int64_t line_ = 1, record_line_ = 1;
};

/// The number a field holds, written as in C, a leading + allowed; false for anything else, also for an
/// infinity, a NaN and what f32 cannot hold.
bool parse_number(std::string_view field, float& number);

}  // namespace wholestep
