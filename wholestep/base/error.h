// The one exception of the library: a code that is also the command's exit status, and a message that says
// what happened, where, what was there, what was expected, and what to do about it.
#pragma once
#include <exception>
#include <string>

namespace wholestep {

/// Why something failed. The numbers are the exit codes of the `wholestep` command (sysexits where one fits).
enum class ErrorCode {
  kFailure = 1,       ///< anything without a code of its own, and broken invariants of the library
  kUsage = 2,         ///< the caller's arguments: shapes, dtypes, axes, command-line words
  kBadData = 65,      ///< a file or sample whose content is wrong
  kNoInput = 66,      ///< a file or folder that is not there or cannot be read
  kIo = 74,           ///< reading or writing failed: full disk, permissions, device errors
  kInterrupted = 75,  ///< stopped by a signal after a checkpoint: run again to go on
  kBadConfig = 78,    ///< a configuration, model description or option value that cannot be used
  kPlanRefused = 80,  ///< the memory plan does not fit the budget
  kNonFinite = 81,    ///< training stopped at a NaN or infinity
};

/// The parts of a message; empty parts are left out.
struct ErrorParts {
  std::string what = {};      ///< one clause: what is wrong
  std::string where = {};     ///< file:line, file:offset, layer or operand
  std::string got = {};       ///< the value found
  std::string expected = {};  ///< the value or range that would do
  std::string hint = {};      ///< what to do next
};

/// Formatted as "what (where): got X, expected Y. Hint: Z".
class Error : public std::exception {
 public:
  Error(ErrorCode code, ErrorParts parts);
  const char* what() const noexcept override { return message_.c_str(); }
  ErrorCode code() const noexcept { return code_; }
  const ErrorParts& parts() const noexcept { return parts_; }
  /// The same error with a place put in front of where it already points, "layers.3: linear weight".
  Error within(const std::string& place) const;

 private:
  ErrorCode code_;
  ErrorParts parts_;
  std::string message_;
};

/// Throws a kFailure naming the condition: for invariants that only a defect in this library can break.
#define WHOLESTEP_CHECK(condition)                                                         \
  do {                                                                                     \
    if (!(condition)) ::wholestep::throw_broken_invariant(#condition, __FILE__, __LINE__); \
  } while (false)
[[noreturn]] void throw_broken_invariant(const char* condition, const char* file, int line);

}  // namespace wholestep
