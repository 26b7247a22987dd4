// Instructions that C++ has no words for. The tests run kernels without a GPU, with a file of this name that says the same in C++.
#pragma once

/// Rounded to the nearest, and widened.
__device__ inline unsigned short f16_bits(float x) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}
__device__ inline float f16_value(unsigned short bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
}
__device__ inline unsigned short bf16_bits(float x) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}

/// value, or 0 where it is below; NaNs stay.
__device__ inline float max_zero(float value) {
  float result;
  asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(result) : "f"(value));
  return result;
}

/// Addresses within a memory.
typedef uint32_t SharedAddress;
typedef uint64_t GlobalAddress;
__device__ inline SharedAddress shared_address(const void* at) { return SharedAddress(__cvta_generic_to_shared(at)); }
__device__ inline GlobalAddress global_address(const void* at) { return __cvta_generic_to_global(at); }

/// BYTES, 4 or 8 through the L1 cache or 16 past it, from global to shared memory while the thread goes on.
template <int BYTES>
__device__ void copy_unit(SharedAddress to, GlobalAddress from) {
  if constexpr (BYTES == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
  else asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(from), "n"(BYTES) : "memory");
}
/// The first `valid` of them, and zeros.
template <int BYTES>
__device__ void copy_unit(SharedAddress to, GlobalAddress from, int valid) {
  if constexpr (BYTES == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid) : "memory");
  else asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(BYTES), "r"(valid) : "memory");
}
/// What a thread copies up to here makes one group.
__device__ inline void end_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Until all of this thread's groups but the last LATER have arrived.
template <int LATER>
__device__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(LATER) : "memory");
}

/// Until all of its copies have, those of no group, too.
__device__ inline void wait_for_all_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

/// Asks for the 128 bytes around it, for the second-level cache.
__device__ inline void bring_to_cache(const void* at) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(global_address(at)));
}

/// N neighbours in global memory; nothing changes where they are not valid. A predicate, not a branch: the loads of a loop go
/// out together.
template <int N>
__device__ void load_valid(bool valid, const float* from, float (&to)[N]) {
  if constexpr (N == 4)
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %5, 0; @p ld.global.v4.f32 {%0, %1, %2, %3}, [%4]; }"
                 : "+f"(to[0]), "+f"(to[1]), "+f"(to[2]), "+f"(to[3])
                 : "l"(from), "r"(int(valid)));
  else if constexpr (N == 2)
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %3, 0; @p ld.global.v2.f32 {%0, %1}, [%2]; }"
                 : "+f"(to[0]), "+f"(to[1])
                 : "l"(from), "r"(int(valid)));
  else
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %2, 0; @p ld.global.f32 %0, [%1]; }"
                 : "+f"(to[0])
                 : "l"(from), "r"(int(valid)));
}

/// sum [16, 8] += a [16, 8] b [8, 8], spread over a warp as PTX's mma.m16n8k8 lays it out.
__device__ inline void multiply_tf32(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// sum [8, 8] += a [8, 4] b [4, 8], as PTX's mma.m8n8k4 lays it out.
__device__ inline void multiply_f64(double (&sum)[2], double a, double b) {
  asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
      : "+d"(sum[0]), "+d"(sum[1])
      : "d"(a), "d"(b));
}

/// What this thread sees of other blocks' memory is seen by whoever acquires what it releases.
__device__ inline void store_release(unsigned* to, unsigned value) {
  asm volatile("fence.acq_rel.gpu; st.release.gpu.global.u32 [%0], %1;" ::"l"(global_address(to)), "r"(value) : "memory");
}
__device__ inline unsigned load_acquire(const unsigned* from) {
  unsigned value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(global_address(from)) : "memory");
  return value;
}

/// From sm_90 on a multiprocessor has an engine that copies between its memory and that of the GPU: what all threads have
/// written and then called ready_to_store() for, one thread has stored, and waits until it has been read, or written.
#if __CUDA_ARCH__ >= 900
constexpr bool kCopyEngine = true;
__device__ inline void ready_to_store() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
/// By the first thread of a warp. Its number, 0, keeps the address out of uniform registers, in which ptxas 13.0 may lose the
/// upper half of a sum.
__device__ inline void engine_store(GlobalAddress to, SharedAddress from, int bytes) {
  asm volatile(
      "{\n\t.reg .b32 thread;\n\t.reg .b64 at;\n\tmov.u32 thread, %%laneid;\n\tcvt.u64.u32 at, thread;\n\tadd.s64 at, at, %0;\n\t"
      "cp.async.bulk.global.shared::cta.bulk_group [at], [%1], %2;\n\tcp.async.bulk.commit_group;\n\t}" ::"l"(to),
      "r"(from), "r"(bytes)
      : "memory");
}
__device__ inline void wait_for_engine_reads() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }
__device__ inline void wait_for_engine_writes() {
  asm volatile("cp.async.bulk.wait_group 0;\n\tfence.proxy.async;" ::: "memory");
}
#else
constexpr bool kCopyEngine = false;
__device__ inline void ready_to_store() {}
__device__ inline void engine_store(GlobalAddress, SharedAddress, int) {}
__device__ inline void wait_for_engine_reads() {}
__device__ inline void wait_for_engine_writes() {}
#endif
