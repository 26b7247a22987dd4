// Inner loops of reductions, per instruction set. All accumulate in f64, in an order fixed by n.
#pragma once
#include <cstdint>

namespace wholestep {

double sum_run(const float* x, int64_t n);
double sum_run(const double* x, int64_t n);
double sum_squares_run(const float* x, int64_t n);
double sum_squares_run(const double* x, int64_t n);
void add_row(double* totals, const float* row, int64_t n);  ///< totals[i] += row[i]
void add_row(double* totals, const double* row, int64_t n);

}  // namespace wholestep
