// How fast this machine is at the two things that bound a step, measured, so that times can be held against
// them.
#pragma once

namespace wholestep {

/// Of all threads of the default pool together, a second.
struct CpuPeaks {
  double flops = 0;  ///< f32 multiply-adds, two operations each, of the active instruction set, in registers
  double bytes = 0;  ///< read and written by a copy of memory much larger than the caches
};

/// Takes about half a second, and 256 MiB while it lasts.
CpuPeaks measure_cpu_peaks();

}  // namespace wholestep
