// Text to HTML.
#include "wholestep/train/html.h"

#include <fmt/format.h>

namespace wholestep {

std::string escape_html(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\'': escaped += "&#39;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

std::string to_html(const HtmlTable& table) {
  auto css = [&](size_t column) {
    return column < table.numeric.size() && table.numeric[column] ? " class=\"number\"" : "";
  };
  auto row = [&](const std::vector<std::string>& cells, const char* tag) {
    std::string text = "<tr>";
    for (size_t i = 0; i < cells.size(); ++i) text += fmt::format("<{0}{1}>{2}</{0}>", tag, css(i), cells[i]);
    return text + "</tr>\n";
  };
  std::string text = "<div class=\"scroll\"><table>\n";
  if (!table.header.empty()) text += "<thead>" + row(table.header, "th") + "</thead>\n";
  text += "<tbody>\n";
  for (const std::vector<std::string>& cells : table.rows) text += row(cells, "td");
  return text + "</tbody></table></div>\n";
}

std::string html_card(std::string_view heading, const std::string& body, std::string_view css_class) {
  if (body.empty()) return "";
  return fmt::format("<section class=\"card {}\">\n<h2>{}</h2>\n{}</section>\n", css_class,
                     escape_html(heading), body);
}

}  // namespace wholestep
