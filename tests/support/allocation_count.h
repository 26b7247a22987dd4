// Counts heap allocations of the test program, for proofs that a steady state makes none.
#pragma once
#include <cstdint>

namespace wholestep::test {

/// Calls of operator new so far, in all threads. A program that calls this has every operator new counted.
uint64_t allocation_count();

}  // namespace wholestep::test
