// Products of four warps together, in TF32 with f32 sums, whose operands lie in shared memory: wgmma, which sm_90a has.
#pragma once
#include "tensor_core.cuh"

/// Rows of K words, 8, 16 or 32, one after another at a multiple of 1024 bytes. Their pieces of 16 bytes change places
/// within 128 bytes as the tensor cores' swizzling has it, so that 8 rows' pieces of one number lie in different banks.
template <int K>
struct SwizzledRows {
  static_assert(K == 8 || K == 16 || K == 32);
  static constexpr int bytes = K * 4, pieces = K / 4;
  /// Where a piece lies, in bytes from the first row.
  __device__ static constexpr int piece(int row, int number) {
    const int at = row * bytes + number * 16;
    return at ^ (at >> 7 & (pieces - 1)) << 4;
  }
  /// The operand of wgmma that begins at this address in shared memory: a row, and within it a multiple of 8 words.
  __device__ static uint64_t operand(uint32_t address) {
    constexpr uint64_t swizzle = K == 32 ? 1 : K == 16 ? 2 : 3;
    return uint64_t(address >> 4) | uint64_t(1) << 16 | uint64_t(8 * bytes >> 4) << 32 | swizzle << 62;
  }
};

__device__ inline void begin_warpgroup_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void end_warpgroup_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Of all groups of products but the last LATER.
template <int LATER = 0>
__device__ void wait_for_warpgroup_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LATER) : "memory");
}

/// Sums are where they will be added to: nothing moves them while products are under way.
template <int N>
__device__ void keep_in_registers(float (&sum)[N][4]) {
#pragma unroll
  for (int e = 0; e < N * 4; ++e) asm volatile("" : "+f"(sum[e / 4][e % 4])::"memory");
}

#define WHOLESTEP_SUMS_4(i) "+f"(sum[i][0]), "+f"(sum[i][1]), "+f"(sum[i][2]), "+f"(sum[i][3])
#define WHOLESTEP_SUMS_8(i) WHOLESTEP_SUMS_4(i), WHOLESTEP_SUMS_4(i + 1)
#define WHOLESTEP_SUMS_16(i) WHOLESTEP_SUMS_8(i), WHOLESTEP_SUMS_8(i + 2)
/// sum [64, N] += a [64, 8] b [8, N], over the warpgroup as wgmma lays it out: a warp has 16 rows, as of mma.m16n8.
template <int N>
__device__ void multiply_warpgroup(float (&sum)[N / 8][4], uint64_t a, uint64_t b) {
  static_assert(N == 16 || N == 24 || N == 32 || N == 48 || N == 64 || N == 96);
  if constexpr (N == 16)
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n16k8.f32.tf32.tf32 "
        "{%0, %1, %2, %3, %4, %5, %6, %7}, %8, %9, 1, 1, 1;"
        : WHOLESTEP_SUMS_8(0)
        : "l"(a), "l"(b));
  else if constexpr (N == 24)
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n24k8.f32.tf32.tf32 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11}, %12, %13, 1, 1, 1;"
        : WHOLESTEP_SUMS_8(0), WHOLESTEP_SUMS_4(2)
        : "l"(a), "l"(b));
  else if constexpr (N == 32)
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n32k8.f32.tf32.tf32 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, %16, %17, 1, 1, 1;"
        : WHOLESTEP_SUMS_16(0)
        : "l"(a), "l"(b));
  else if constexpr (N == 48)
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n48k8.f32.tf32.tf32 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, "
        "%21, %22, %23}, %24, %25, 1, 1, 1;"
        : WHOLESTEP_SUMS_16(0), WHOLESTEP_SUMS_8(4)
        : "l"(a), "l"(b));
  else if constexpr (N == 64)
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n64k8.f32.tf32.tf32 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, "
        "%21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, %32, %33, 1, 1, 1;"
        : WHOLESTEP_SUMS_16(0), WHOLESTEP_SUMS_16(4)
        : "l"(a), "l"(b));
  else if constexpr (N == 96)
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n96k8.f32.tf32.tf32 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, "
        "%21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, "
        "%41, %42, %43, %44, %45, %46, %47}, %48, %49, 1, 1, 1;"
        : WHOLESTEP_SUMS_16(0), WHOLESTEP_SUMS_16(4), WHOLESTEP_SUMS_16(8)
        : "l"(a), "l"(b));
}
/// The same with a in registers, rounded, a warp's 16 rows as mma.m16n8k8 has them.
template <int N>
__device__ void multiply_warpgroup(float (&sum)[N / 8][4], const uint32_t (&a)[4], uint64_t b) {
  static_assert(N == 16 || N == 32 || N == 64);
  if constexpr (N == 16)
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n16k8.f32.tf32.tf32 "
        "{%0, %1, %2, %3, %4, %5, %6, %7}, {%8, %9, %10, %11}, %12, 1, 1, 1;"
        : WHOLESTEP_SUMS_8(0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
  else if constexpr (N == 32)
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n32k8.f32.tf32.tf32 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, {%16, %17, %18, %19}, %20, 1, 1, 1;"
        : WHOLESTEP_SUMS_16(0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
  else
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n64k8.f32.tf32.tf32 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, "
        "%21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, {%32, %33, %34, %35}, %36, 1, 1, 1;"
        : WHOLESTEP_SUMS_16(0), WHOLESTEP_SUMS_16(4)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
#undef WHOLESTEP_SUMS_4
#undef WHOLESTEP_SUMS_16
#undef WHOLESTEP_SUMS_8

/// What this thread has written to shared memory is there for the tensor cores of its warpgroup, once a barrier is passed.
__device__ inline void show_to_tensor_cores() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
