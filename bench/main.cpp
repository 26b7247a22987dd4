// The benchmarks' entry: ops are registered here, once the op table exists.
#include <benchmark/benchmark.h>

#include "bench_support.h"

int main(int argc, char** argv) {
  wholestep::register_op_benchmarks();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
