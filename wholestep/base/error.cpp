// Message assembly for Error.
#include "wholestep/base/error.h"

#include <fmt/format.h>

namespace wholestep {
namespace {

std::string format_message(const ErrorParts& p) {
  std::string text = p.what;
  if (!p.where.empty()) text += fmt::format(" ({})", p.where);
  if (!p.got.empty()) text += fmt::format(": got {}", p.got);
  if (!p.expected.empty()) text += fmt::format("{} expected {}", p.got.empty() ? ":" : ",", p.expected);
  if (!p.hint.empty()) text += fmt::format(". Hint: {}", p.hint);
  return text;
}

}  // namespace

Error::Error(ErrorCode code, ErrorParts parts)
    : code_(code), parts_(std::move(parts)), message_(format_message(parts_)) {}

Error Error::within(const std::string& place) const {
  ErrorParts parts = parts_;
  parts.where = parts.where.empty() ? place : place + ": " + parts.where;
  return Error(code_, std::move(parts));
}

void throw_broken_invariant(const char* condition, const char* file, int line) {
  throw Error(ErrorCode::kFailure,
              {.what = fmt::format("broken invariant: {}", condition),
               .where = fmt::format("{}:{}", file, line),
               .hint = "this is a defect in Wholestep; please report it with the command that led here"});
}

}  // namespace wholestep
