// The usual forms of a call.
#include "wholestep/backend/cpu/call.h"

namespace wholestep {

std::unique_ptr<CpuCall> serial_call(std::function<void(const CpuArgs&)> run) {
  auto call = std::make_unique<CpuCall>();
  call->phases.push_back(
      {.chunks = 1, .run = [run = std::move(run)](const CpuArgs& args, int64_t) { run(args); }});
  return call;
}

std::unique_ptr<CpuCall> row_call(int64_t rows, uint64_t row_inputs, uint64_t row_outputs,
                                  std::function<void(const CpuArgs&, Range)> run) {
  auto call = std::make_unique<CpuCall>();
  Split split(rows);
  call->phases.push_back({.chunks = split.chunks(),
                          .rows = rows,
                          .row_inputs = row_inputs,
                          .row_outputs = row_outputs,
                          .run = [run = std::move(run), split](const CpuArgs& args, int64_t chunk) {
                            run(args, split[chunk]);
                          }});
  return call;
}

std::unique_ptr<CpuCall> split_call(int64_t total, std::function<void(const CpuArgs&, Range)> run) {
  auto call = row_call(total, 0, 0, std::move(run));
  call->phases[0].rows = 0;
  return call;
}

}  // namespace wholestep
