// The few words of HTML that a report is written in.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wholestep {

std::string escape_html(std::string_view text);  ///< & < > " ' as entities

/// A table whose first column is text and whose other columns are figures, aligned right where `numeric` says
/// so. Cells are HTML already.
struct HtmlTable {
  std::vector<std::string> header;
  std::vector<bool> numeric;  ///< per column; missing ones are text
  std::vector<std::vector<std::string>> rows;
};
std::string to_html(const HtmlTable& table);

/// A section of a page: a card with a heading. "" where the body is empty.
std::string html_card(std::string_view heading, const std::string& body, std::string_view css_class = "");

}  // namespace wholestep
