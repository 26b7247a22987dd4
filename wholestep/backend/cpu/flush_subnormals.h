// How the CPU backend treats results below the smallest normal number: they become zero.
#pragma once
#if WHOLESTEP_X86
#include <xmmintrin.h>
#endif

namespace wholestep {

/// While it lives, this thread's f32 and f64 results that would be subnormal (below 1.2e-38 and 2.2e-308) are
/// zero. An operation that makes or takes one takes a hundred times as long, and the moments of weights whose
/// gradients have vanished decay through them for thousands of steps. As in TensorFlow and XLA.
class FlushSubnormals {
 public:
#if WHOLESTEP_X86
  FlushSubnormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | _MM_FLUSH_ZERO_ON); }
  ~FlushSubnormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#else
  FlushSubnormals() {}
  ~FlushSubnormals() {}
#endif

 public:
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;
};

}  // namespace wholestep
