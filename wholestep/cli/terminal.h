// Standard error as a place for people: messages, and one line that is redrawn where it is a terminal.
#pragma once
#include <string>
#include <string_view>

namespace wholestep::cli {

void print_error(std::string_view message);  ///< "wholestep: message"
void print_note(std::string_view message);   ///< a line for people, on standard error
/// Sends the library's messages to standard error: warnings, with `verbose` all of them.
void log_to_terminal(bool verbose);

bool stderr_is_terminal();  ///< one that can redraw a line: TERM is not "dumb"
int terminal_width();       ///< columns of standard error, 80 where unknown

enum class Style { kPlain, kBold, kQuiet, kRed };
/// With escape sequences where standard error is a terminal and NO_COLOR is not set (no-color.org).
std::string styled(Style style, std::string_view text);

/// A line at the bottom of the terminal; nothing at all where standard error is no terminal. Other output of
/// this file goes above it.
class StatusLine {
 public:
  ~StatusLine() { clear(); }
  void show(std::string_view text);
  void clear();
};

}  // namespace wholestep::cli
