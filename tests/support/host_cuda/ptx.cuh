// What wholestep/backend/cuda/ptx.cuh says, in C++, for kernels that run on the host: cuda_on_host.cpp puts this in its place.
#pragma once

__device__ inline unsigned short f16_bits(float x) {
  const _Float16 half = static_cast<_Float16>(x);
  unsigned short bits;
  __builtin_memcpy(&bits, &half, sizeof bits);
  return bits;
}
__device__ inline float f16_value(unsigned short bits) {
  _Float16 half;
  __builtin_memcpy(&half, &bits, sizeof bits);
  return static_cast<float>(half);
}
__device__ inline unsigned short bf16_bits(float x) {
  const uint32_t bits = __float_as_uint(x);
  return x != x ? 0x7fff : static_cast<unsigned short>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

__device__ inline float max_zero(float value) { return value < 0 ? 0 : value; }

typedef unsigned long long SharedAddress;
typedef unsigned long long GlobalAddress;
__device__ inline SharedAddress shared_address(const void* at) { return reinterpret_cast<SharedAddress>(at); }
__device__ inline GlobalAddress global_address(const void* at) { return reinterpret_cast<GlobalAddress>(at); }

template <int BYTES>
__device__ void copy_unit(SharedAddress to, GlobalAddress from, int valid = BYTES) {
  __builtin_memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), valid);
  __builtin_memset(reinterpret_cast<char*>(to) + valid, 0, BYTES - valid);
}
__device__ inline void end_copies() {}
template <int LATER>
__device__ void wait_for_copies() {}
__device__ inline void wait_for_all_copies() {}

template <int N>
__device__ void load_valid(bool valid, const float* from, float (&to)[N]) {
  if (valid) __builtin_memcpy(to, from, sizeof to);
}

/// The operands' 13 low bits are cut off, as tensor cores do.
__device__ inline void multiply_tf32(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  static uint32_t of_a[WHOLESTEP_CUDA_THREADS][4], of_b[WHOLESTEP_CUDA_THREADS][2];
  __builtin_memcpy(of_a[threadIdx.x], a, sizeof a);
  __builtin_memcpy(of_b[threadIdx.x], b, sizeof b);
  __syncwarp();
  const int first = threadIdx.x / 32 * 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  for (int r = 0; r < 4; ++r) {
    double total = sum[r];
    for (int k = 0; k < 8; ++k) {
      const uint32_t left = of_a[first + g * 4 + k % 4][k / 4 * 2 + r / 2];
      const uint32_t right = of_b[first + (t * 2 + r % 2) * 4 + k % 4][k / 4];
      total += double(__uint_as_float(left & 0xffffe000u)) * double(__uint_as_float(right & 0xffffe000u));
    }
    sum[r] = float(total);
  }
  __syncwarp();
}

__device__ inline void multiply_f64(double (&sum)[2], double a, double b) {
  static double of_a[WHOLESTEP_CUDA_THREADS], of_b[WHOLESTEP_CUDA_THREADS];
  of_a[threadIdx.x] = a;
  of_b[threadIdx.x] = b;
  __syncwarp();
  const int first = threadIdx.x / 32 * 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  for (int r = 0; r < 2; ++r)
    for (int k = 0; k < 4; ++k) sum[r] += of_a[first + g * 4 + k] * of_b[first + (t * 2 + r) * 4 + k];
  __syncwarp();
}

__device__ inline void store_release(unsigned* to, unsigned value) { *to = value; }
__device__ inline unsigned load_acquire(const unsigned* from) { return *from; }

/// Copies as late as it may.
constexpr bool kCopyEngine = true;
struct EngineStore {
  GlobalAddress to;
  SharedAddress from;
  int bytes;
};
inline EngineStore engine_stores[16];
inline int engine_count = 0;
__device__ inline void ready_to_store() {}
__device__ inline void engine_store(GlobalAddress to, SharedAddress from, int bytes) {
  engine_stores[engine_count++] = {to, from, bytes};
}
__device__ inline void wait_for_engine_reads() {
  while (engine_count > 0) {
    const EngineStore& store = engine_stores[--engine_count];
    __builtin_memcpy(reinterpret_cast<void*>(store.to), reinterpret_cast<const void*>(store.from), store.bytes);
  }
}
__device__ inline void wait_for_engine_writes() { wait_for_engine_reads(); }
