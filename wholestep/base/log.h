// The library never prints: what it has to say beyond a return value goes to one callback.
#pragma once
#include <functional>
#include <string_view>

namespace wholestep {

enum class LogLevel { kDebug, kInfo, kWarning };
using LogCallback = std::function<void(LogLevel, std::string_view message)>;

void set_log_callback(LogCallback callback);  ///< empty by default: messages are dropped. Thread safe.
void log(LogLevel level, std::string_view message);

}  // namespace wholestep
