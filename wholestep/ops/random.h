// Randomness as a pure function of (seed, step, node, element): nothing to store but two counters.
#pragma once
#include "wholestep/graph/op.h"

namespace wholestep {

/// The counters random ops read. They live in state, so a compiled step draws anew each time it runs.
struct RandomState {
  explicit RandomState(uint64_t seed = 0);
  Tensor seed, step;      ///< i64 scalars with the role of state
  int64_t next_node = 0;  ///< numbers the draws within one step; reset when a step begins
  /// Begins the next step of an eager loop. (A compiled step adds 1 to `step` itself.)
  void advance();
  static RandomState& current();  ///< of this thread: the innermost UseRandom, else a default seeded with 0
};

/// While alive, random ops of this thread draw from `state`.
class UseRandom {
 public:
  explicit UseRandom(RandomState& state);
  ~UseRandom();
  UseRandom(const UseRandom&) = delete;
  UseRandom& operator=(const UseRandom&) = delete;

 private:
  RandomState* before_;
};

/// f32 uniform in [0, 1) on a grid of 2^-24, from the current RandomState.
Tensor random_uniform(const Shape& shape);
/// x / (1 - p) where kept, else 0; each element is dropped with probability p in [0, 1] (Srivastava et al.
/// 2014).
Tensor dropout(const Tensor& x, double p);

}  // namespace wholestep
