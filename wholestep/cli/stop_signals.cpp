// A handler may only set flags, write and _exit.
#include "wholestep/cli/stop_signals.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string_view>

#include "wholestep/train/trainer.h"

namespace wholestep::cli {
namespace {

std::atomic<int> signals_seen{0};

extern "C" void on_stop_signal(int signal) {
  if (signals_seen.fetch_add(1) > 0) ::_exit(128 + signal);
  Trainer::request_stop();
  static constexpr std::string_view kMessage =
      "\nwholestep: stopping after this step and a checkpoint; once more stops at once\n";
  int before = errno;
  [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, kMessage.data(), kMessage.size());
  errno = before;
}

}  // namespace

StopSignals::StopSignals() {
  Trainer::clear_stop_request();
  signals_seen = 0;
  struct sigaction action {};
  action.sa_handler = on_stop_signal;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, &before_int_);
  ::sigaction(SIGTERM, &action, &before_term_);
}

StopSignals::~StopSignals() {
  ::sigaction(SIGINT, &before_int_, nullptr);
  ::sigaction(SIGTERM, &before_term_, nullptr);
}

}  // namespace wholestep::cli
