// f32 vectors of the instruction set a file is compiled for: 16, 8 or 4 lanes behind one set of names.
// Everything is in that set's own namespace, so no copy of a function can stand in for another set's.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>
#if WHOLESTEP_ISA_avx2 || WHOLESTEP_ISA_avx512
#include <immintrin.h>
#endif

#define WHOLESTEP_INLINE [[gnu::always_inline]] inline

namespace wholestep::WHOLESTEP_ISA {

#if WHOLESTEP_ISA_avx512
constexpr int kWidth = 16;
#elif WHOLESTEP_ISA_avx2
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif
typedef float Vec __attribute__((vector_size(kWidth * 4)));  // + - * / and comparisons work lane by lane

WHOLESTEP_INLINE Vec zero() { return Vec{}; }
WHOLESTEP_INLINE Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
WHOLESTEP_INLINE void store(float* p, Vec v) { __builtin_memcpy(p, &v, sizeof v); }

#if WHOLESTEP_ISA_avx512

WHOLESTEP_INLINE Vec broadcast(float x) { return _mm512_set1_ps(x); }
WHOLESTEP_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
WHOLESTEP_INLINE Vec max(Vec a, Vec b) {
  return _mm512_maskz_max_ps(0xffff, a, b);
}  // plain max: false warning
WHOLESTEP_INLINE __mmask16 first_lanes(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
WHOLESTEP_INLINE Vec load_first(const float* p, int64_t n) {
  return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
WHOLESTEP_INLINE Vec load_lanes(const float* p, uint32_t lanes) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>(lanes), p);
}
WHOLESTEP_INLINE Vec load_bytes(const uint8_t* p) {
  return _mm512_maskz_cvtepi32_ps(
      0xffff, _mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
WHOLESTEP_INLINE Vec load_bytes(const uint8_t* p, uint32_t lanes) {
  return _mm512_maskz_cvtepi32_ps(
      0xffff, _mm512_maskz_cvtepu8_epi32(0xffff, _mm_maskz_loadu_epi8(static_cast<__mmask16>(lanes), p)));
}
WHOLESTEP_INLINE void store_first(float* p, Vec v, int64_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }
WHOLESTEP_INLINE void store_lanes(float* p, Vec v, uint32_t lanes) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>(lanes), v);
}

#elif WHOLESTEP_ISA_avx2

WHOLESTEP_INLINE Vec broadcast(float x) { return _mm256_set1_ps(x); }
WHOLESTEP_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
WHOLESTEP_INLINE Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
WHOLESTEP_INLINE __m256i first_lanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
WHOLESTEP_INLINE Vec load_first(const float* p, int64_t n) { return _mm256_maskload_ps(p, first_lanes(n)); }
WHOLESTEP_INLINE void store_first(float* p, Vec v, int64_t n) { _mm256_maskstore_ps(p, first_lanes(n), v); }
WHOLESTEP_INLINE __m256i lane_mask(uint32_t lanes) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(lanes)), bit), bit);
}
WHOLESTEP_INLINE Vec load_lanes(const float* p, uint32_t lanes) {
  return _mm256_maskload_ps(p, lane_mask(lanes));
}
WHOLESTEP_INLINE Vec load_bytes(const uint8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
WHOLESTEP_INLINE void store_lanes(float* p, Vec v, uint32_t lanes) {
  _mm256_maskstore_ps(p, lane_mask(lanes), v);
}

#else

WHOLESTEP_INLINE Vec broadcast(float x) { return Vec{x, x, x, x}; }
WHOLESTEP_INLINE Vec fma(Vec a, Vec b, Vec c) {
#ifdef __FP_FAST_FMAF
  for (int i = 0; i < kWidth; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return c;
#else
  return a * b + c;  // two roundings: a fused one without hardware for it would cost a library call a lane
#endif
}
WHOLESTEP_INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }
WHOLESTEP_INLINE Vec load_bytes(const uint8_t* p) {
  Vec v = zero();
  for (int i = 0; i < kWidth; ++i) v[i] = static_cast<float>(p[i]);
  return v;
}
WHOLESTEP_INLINE Vec load_first(const float* p, int64_t n) {
  Vec v = zero();
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
WHOLESTEP_INLINE void store_first(float* p, Vec v, int64_t n) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}
WHOLESTEP_INLINE Vec load_lanes(const float* p, uint32_t lanes) {
  Vec v = zero();
  for (int i = 0; i < kWidth; ++i)
    if (lanes >> i & 1) v[i] = p[i];
  return v;
}
WHOLESTEP_INLINE void store_lanes(float* p, Vec v, uint32_t lanes) {
  for (int i = 0; i < kWidth; ++i)
    if (lanes >> i & 1) p[i] = v[i];
}

#endif

#if !WHOLESTEP_ISA_avx512
WHOLESTEP_INLINE Vec load_bytes(const uint8_t* p, uint32_t lanes) {
  uint8_t bytes[kWidth] = {};
  for (int i = 0; i < kWidth; ++i)
    if (lanes >> i & 1) bytes[i] = p[i];
  return load_bytes(bytes);
}
#endif

// load_bytes makes numbers of bytes. load_first and store_first touch the first n lanes, load_lanes and
// store_lanes those whose bit is set in `lanes`; other lanes are zero, or not written. max(a, b) is a > b ? a
// : b, so that max(zero(), x) keeps NaN and -0: the library's ReLU.

/// x where m is above 0, else 0.
WHOLESTEP_INLINE Vec masked(Vec x, Vec m) { return m > zero() ? x : zero(); }

/// Keeps a value that is used several times in a register: compilers like to read it from memory again and
/// again.
WHOLESTEP_INLINE void in_register(Vec& v) {
#if WHOLESTEP_ISA_avx512
  asm("" : "+v"(v));
#elif WHOLESTEP_ISA_avx2
  asm("" : "+x"(v));
#else
  (void)v;
#endif
}

/// What was read before is read again.
WHOLESTEP_INLINE void from_memory_again() { asm volatile("" ::: "memory"); }

/// One lane's fused multiply-add, rounded as fma() rounds.
WHOLESTEP_INLINE float fma_one(float a, float b, float c) {
#if WHOLESTEP_ISA_avx2 || WHOLESTEP_ISA_avx512 || defined(__FP_FAST_FMAF)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

/// Lane i is lane From(i) of the 2 * kWidth lanes of a and b.
template <auto From, std::size_t... I>
WHOLESTEP_INLINE Vec shuffle(Vec a, Vec b, std::index_sequence<I...>) {
  return __builtin_shufflevector(a, b, From(static_cast<int>(I))...);
}
template <auto From>
WHOLESTEP_INLINE Vec shuffle(Vec a, Vec b) {
  return shuffle<From>(a, b, std::make_index_sequence<kWidth>{});
}

/// For shuffle(): the even or odd ones of 2 * kWidth lanes; the first or second half of pairs, one of each
/// operand.
constexpr auto kEvenLanes = [](int lane) { return 2 * lane; };
constexpr auto kOddLanes = [](int lane) { return 2 * lane + 1; };
constexpr auto kFirstPairs = [](int lane) { return lane / 2 + lane % 2 * kWidth; };
constexpr auto kLastPairs = [](int lane) { return lane / 2 + lane % 2 * kWidth + kWidth / 2; };

/// The bits of the first n lanes, for load_lanes() and store_lanes(); n may be negative, or more than there
/// are.
WHOLESTEP_INLINE uint32_t lanes_below(int64_t n) { return n <= 0 ? 0 : n >= kWidth ? ~0u : (1u << n) - 1; }

/// Exchanges the off-diagonal blocks of Step lanes; for Step = 1, 2, 4, ... this transposes a square.
template <int Step>
WHOLESTEP_INLINE void transpose_step(Vec (&rows)[kWidth]) {
  constexpr auto low = [](int i) { return i & Step ? kWidth + i - Step : i; };
  constexpr auto high = [](int i) { return i & Step ? kWidth + i : i + Step; };
#pragma GCC unroll 16
  for (int i = 0; i < kWidth; ++i) {
    if (i & Step) continue;
    Vec a = rows[i], b = rows[i + Step];
    rows[i] = shuffle<low>(a, b);
    rows[i + Step] = shuffle<high>(a, b);
  }
}
WHOLESTEP_INLINE void transpose(Vec (&rows)[kWidth]) {
  transpose_step<1>(rows);
  transpose_step<2>(rows);
  if constexpr (kWidth >= 8) transpose_step<4>(rows);
  if constexpr (kWidth >= 16) transpose_step<8>(rows);
}

/// The sum of all lanes, by halves: always in the same order.
template <int Step = kWidth / 2>
WHOLESTEP_INLINE float sum(Vec v) {
  constexpr auto other = [](int i) { return i ^ Step; };
  v = v + shuffle<other>(v, v);
  if constexpr (Step > 1) return sum<Step / 2>(v);
  return v[0];
}

}  // namespace wholestep::WHOLESTEP_ISA
