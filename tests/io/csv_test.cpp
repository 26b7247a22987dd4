// Records of CSV texts, and what is refused.
#include "wholestep/io/csv.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace wholestep {
namespace {

using test::expect_error;
using Records = std::vector<std::vector<std::string>>;

Records records(std::string_view text) {
  CsvReader reader(text, "t.csv");
  Records all;
  for (std::vector<std::string> fields; reader.next(fields);) all.push_back(fields);
  return all;
}

TEST(CsvReader, ReadsPlainAndQuotedFields) {
  EXPECT_EQ(records("a,b\n1,2\n"), (Records{{"a", "b"}, {"1", "2"}}));
  EXPECT_EQ(records("a , b\r\n\r\n 1,2"), (Records{{"a", "b"}, {"1", "2"}}));
  EXPECT_EQ(records("\xEF\xBB\xBF\"a\",\"b, \"\"c\"\"\"\n\"two\nlines\" ,\"\"\n"),
            (Records{{"a", "b, \"c\""}, {"two\nlines", ""}}));
  EXPECT_EQ(records(",\n"), (Records{{"", ""}}));
  EXPECT_EQ(records("a,"), (Records{{"a", ""}}));
  EXPECT_EQ(records(""), Records());
  EXPECT_EQ(records("\n\n"), Records());
}

TEST(CsvReader, CountsLinesInsideQuotesToo) {
  CsvReader reader("a\n\"x\ny\"\n\nz\n", "t.csv");
  std::vector<std::string> fields, places;
  while (reader.next(fields)) places.push_back(reader.where());
  EXPECT_EQ(places, (std::vector<std::string>{"t.csv:1", "t.csv:2", "t.csv:5"}));
}

TEST(CsvReader, RefusesQuotesThatDoNotFit) {
  expect_error(ErrorCode::kBadData, {"a quoted field does not end (t.csv:2)"},
               [] { records("a\n\"b\nc,d\n"); });
  expect_error(ErrorCode::kBadData, {"text after the quote that ends a field (t.csv:1): got 'x'"},
               [] { records("\"a\"x,b\n"); });
  expect_error(ErrorCode::kBadData, {"a quote in the middle of a field (t.csv:1): got a\"b"},
               [] { records("a\"b,c\n"); });
}

TEST(CsvReader, EndsForAnyTextOfItsSpecialCharacters) {
  const std::string alphabet = "a,\"\n\r ";
  for (int code = 0; code < 6 * 6 * 6 * 6 * 6; ++code) {
    std::string text;
    for (int rest = code, i = 0; i < 5; ++i, rest /= 6) text += alphabet[static_cast<size_t>(rest % 6)];
    try {
      for (const auto& fields : records(text)) EXPECT_FALSE(fields.empty());
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadData);
    }
  }
}

TEST(ParseNumber, TakesFiniteNumbersAndNothingElse) {
  auto number = [](std::string_view text) {
    float value = 0;
    return parse_number(text, value) ? std::optional(value) : std::nullopt;
  };
  EXPECT_EQ(number("1.5"), 1.5f);
  EXPECT_EQ(number("-2e3"), -2000.0f);
  EXPECT_EQ(number("+7"), 7.0f);
  for (const char* text : {"", "NA", "nan", "inf", "-inf", "1e39", "1,5", "1 ", "0x10", "one", "+", "--1"})
    EXPECT_EQ(number(text), std::nullopt) << text;
}

}  // namespace
}  // namespace wholestep
