// What every generated kernel starts with: types, the lane a device function runs for, and sums over a block
// in an order that depends on nothing but the number of threads.
typedef int int32_t;
typedef long long int64_t;
typedef unsigned char uint8_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
namespace std {
using ::cos, ::erf, ::exp, ::expm1, ::floor, ::fmod, ::log, ::log1p, ::pow, ::sin, ::sqrt, ::tanh;
}

#include "ptx.cuh"

/// 16-bit floating-point numbers as storage: rounded to and widened from float.
struct f16 {
  unsigned short bits;
  f16() = default;
  __device__ explicit f16(float x) : bits(f16_bits(x)) {}
  __device__ operator float() const { return f16_value(bits); }
};
struct bf16 {
  unsigned short bits;
  bf16() = default;
  __device__ explicit bf16(float x) : bits(bf16_bits(x)) {}
  __device__ operator float() const { return __uint_as_float(uint32_t(bits) << 16); }
};

constexpr int kThreads = WHOLESTEP_CUDA_THREADS;
constexpr int kWarps = kThreads / 32;
constexpr int64_t kRowChunks = WHOLESTEP_CUDA_ROW_CHUNKS;

/// One block's share of a phase. All its threads call the phase's function; what they wrote before is visible
/// to all of them.
struct Lane {
  int64_t chunk;
  char* shared;
};

struct Range {
  int64_t begin, end;
};
template <int64_t ROWS>
__device__ Range rows_of(Lane lane) {
  constexpr int64_t per_chunk = (ROWS + kRowChunks - 1) / kRowChunks;
  int64_t begin = lane.chunk * per_chunk, end = begin + per_chunk;
  return {begin, ROWS % per_chunk == 0 || end < ROWS ? end : ROWS};  // mostly a count the compiler knows
}

/// The sum of `value` over the threads of a block, given to all of them. Uses kWarps elements of shared
/// memory, which nobody may be reading any more.
template <class T>
__device__ T block_sum(T value, char* shared) {
  T* partial = reinterpret_cast<T*>(shared);
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  T total = partial[0];
  for (int warp = 1; warp < kWarps; ++warp) total += partial[warp];
  __syncthreads();
  return total;
}

/// The same sum, to memory.
__device__ inline void store_sum(Lane lane, double value, double* out) {
  value = block_sum(value, lane.shared);
  if (threadIdx.x == 0) *out = value;
}

template <class T>
__device__ T warp_sum(T value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

constexpr int power_above(int n) { return n > 1 ? 2 * power_above((n + 1) / 2) : 1; }
/// As many sums of a warp, each with the bits of warp_sum(): lane l is given that of values[l / (32 / power_above(U))]. Lanes
/// that will not have a sum hand their part of it over.
template <class T, int U>
__device__ T warp_sums(const T (&values)[U], int lane) {
  constexpr int P = power_above(U);
  T sums[P];
#pragma unroll
  for (int u = 0; u < P; ++u) sums[u] = u < U ? values[u] : T(0);
#pragma unroll
  for (int step = 16, width = P; step > 0; step /= 2, width = width > 1 ? width / 2 : 1) {
    const bool upper = lane & step;
#pragma unroll
    for (int u = 0; u < (width + 1) / 2; ++u) {
      const T mine = width > 1 && upper ? sums[u + width / 2] : sums[u];
      const T given = width > 1 && !upper ? sums[u + width / 2] : sums[u];
      sums[u] = mine + __shfl_xor_sync(0xffffffffu, given, step);
    }
  }
  return sums[0];
}

/// Calls store(e, load(e)) for every e < N, threads along e, with U loads of each thread in flight.
template <int N, int U = 8, class Load, class Store>
__device__ void staged(Load load, Store store) {
  constexpr int rounds = (N + kThreads - 1) / kThreads, width = rounds < U ? rounds : U;
#pragma unroll 1
  for (int round = 0; round < rounds; round += width) {  // a count the compiler knows
    const int first = round * kThreads + threadIdx.x;
    decltype(load(0)) values[width];
#pragma unroll
    for (int u = 0; u < width; ++u)
      if (first + u * kThreads < N) values[u] = load(first + u * kThreads);
#pragma unroll
    for (int u = 0; u < width; ++u)
      if (first + u * kThreads < N) store(first + u * kThreads, values[u]);
  }
}

__device__ inline float fused_multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ inline double fused_multiply_add(double a, double b, double c) { return __fma_rn(a, b, c); }

/// The same number, of which the compiler does not know how it was made. It then leaves constants added to it to the
/// instructions that read from there, instead of looking for sums that several of them share.
__device__ inline int opaque(int value) {
  asm("" : "+r"(value));
  return value;
}

/// Shares out tasks among the warps: all lanes of one call run(task, lane). Nothing that a task needs is made ready for several of
/// them ahead of the loop: where each warp has one, that took longer than the task.
template <int TASKS, class Run>
__device__ void each_task(Run run) {
  constexpr int rounds = (TASKS + kWarps - 1) / kWarps;
#pragma unroll 1
  for (int round = 0; round < rounds; ++round) {
    unsigned thread = threadIdx.x;
    asm volatile("" : "+r"(thread));  // stays in the loop, and with it what is made of it
    const unsigned task = round * kWarps + thread / 32;
    if (task < TASKS) run(task, thread % 32);
  }
}

/// The elements, at most four, that one instruction moves of rows of n.
constexpr int largest_power(int64_t n) { return n % 4 == 0 ? 4 : n % 2 == 0 ? 2 : 1; }

/// N elements moved by one instruction.
template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
  T at[N];
};

/// Calls move(i) for the bytes from i on that one instruction moves, of BYTES in all, the places a constant apart.
template <int64_t BYTES, int UNIT, class Move>
__device__ void each_unit(Move move) {
  constexpr int at_once = kThreads * UNIT, rounds = int((BYTES + at_once - 1) / at_once);
  const int first = threadIdx.x * UNIT;
#pragma unroll
  for (int round = 0; round < rounds; ++round)
    if ((round + 1) * at_once <= BYTES || first < BYTES - round * at_once) move(first + round * at_once);
}

/// BYTES, a multiple of 4, from memory to shared memory while the block goes on. Multiples of 16 go past the L1 cache, which
/// may hold what was there before an earlier kernel; others wait for those first.
template <int64_t BYTES>
__device__ void fetch(char* shared, const char* from) {
  constexpr int unit = BYTES % 16 == 0 ? 16 : 4;
  const SharedAddress to = shared_address(shared);
  const GlobalAddress source = global_address(from);
  each_unit<BYTES, unit>([&](int at) { copy_unit<unit>(to + at, source + at); });
  end_copies();
}
/// All fetches but the last LATER ones of this thread are done.
template <int LATER>
__device__ void arrived() {
  wait_for_copies<LATER>();
}
constexpr int unit_of(int64_t bytes) { return bytes % 16 == 0 ? 16 : bytes % 8 == 0 ? 8 : bytes % 4 == 0 ? 4 : 1; }
template <int64_t BYTES>
__device__ void store(char* to, const char* shared) {
  using Unit = Vector<char, unit_of(BYTES)>;
  each_unit<BYTES, sizeof(Unit)>(
      [&](int at) { *reinterpret_cast<Unit*>(to + at) = *reinterpret_cast<const Unit*>(shared + at); });
}
/// The same, BYTES a multiple of 16, by the copy engine, which one thread asks. ready_to_store() is called by all threads
/// before the barrier behind which it is asked, stores_read() before the one behind which the bytes may be overwritten,
/// stores_done() before the one behind which others may be told.
template <int64_t BYTES>
__device__ void store_at_once(char* to, const char* shared) {
  if (!kCopyEngine) store<BYTES>(to, shared);
  else if (threadIdx.x == kThreads - 32) engine_store(global_address(to), shared_address(shared), int(BYTES));
}
__device__ inline void stores_read() {
  if (threadIdx.x == kThreads - 32) wait_for_engine_reads();
}
__device__ inline void stores_done() {
  if (threadIdx.x == kThreads - 32) wait_for_engine_writes();
}

/// Before the first read of what the kernel before wrote.
__device__ inline void wait_for_earlier_kernels() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
/// The next kernel's blocks come in once all of this one's have passed here. Behind the wait, they find what was written
/// before this kernel; in front of it, what was written before the one before.
__device__ inline void let_next_kernel_in() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

/// Tells a block that waits how far this one has come. What its threads wrote before the last barrier is in memory then.
__device__ inline void tell(unsigned* progress, unsigned steps) {
  if (threadIdx.x == 0) store_release(progress, steps);
}
/// The block that tells has a lower number, so that it is never the one that finds no room.
__device__ inline void wait_for(unsigned* progress, unsigned steps) {
  if (threadIdx.x == 0)
    while (load_acquire(progress) < steps) {
    }
  __syncthreads();
}

template <bool CONDITION, class A, class B>
struct TypeIf {
  using type = A;
};
template <class A, class B>
struct TypeIf<false, A, B> {
  using type = B;
};
template <bool CONDITION, class A, class B>
using type_if = typename TypeIf<CONDITION, A, B>::type;
