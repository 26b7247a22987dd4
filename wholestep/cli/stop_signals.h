// SIGINT and SIGTERM while training: the first asks for a checkpoint and an end, the second ends at once.
#pragma once
#include <csignal>

namespace wholestep::cli {

class StopSignals {
 public:
  StopSignals();   ///< from now on signals ask the trainer to stop
  ~StopSignals();  ///< back to what they did before
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

 private:
  struct sigaction before_int_, before_term_;
};

}  // namespace wholestep::cli
