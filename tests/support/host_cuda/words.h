// The words of CUDA C++ that kernels use, in C++, in front of their text when they run on the host.
#define __device__
#define __global__
#define __shared__
#define __noinline__ __attribute__((noinline))
#define __align__(n)
#define __launch_bounds__(...)

extern "C" {
struct Index {
  unsigned x;
};
Index threadIdx, blockIdx;
/// Until every thread of the block, or of the warp, that has not ended is there.
void (*wait_for_block)();
void (*wait_for_warp)();
alignas(1024) char shared[WHOLESTEP_CUDA_SHARED];
double cos(double), erf(double), exp(double), expm1(double), floor(double), fmod(double, double), log(double),
    log1p(double), pow(double, double), sin(double), sqrt(double), tanh(double), fabs(double);
float cosf(float), erff(float), expf(float), expm1f(float), floorf(float), fmodf(float, float), logf(float),
    log1pf(float), powf(float, float), sinf(float), sqrtf(float), tanhf(float), fabsf(float);
}
inline float cos(float x) { return cosf(x); }
inline float erf(float x) { return erff(x); }
inline float exp(float x) { return expf(x); }
inline float expm1(float x) { return expm1f(x); }
inline float floor(float x) { return floorf(x); }
inline float fmod(float x, float y) { return fmodf(x, y); }
inline float log(float x) { return logf(x); }
inline float log1p(float x) { return log1pf(x); }
inline float pow(float x, float y) { return powf(x, y); }
inline float sin(float x) { return sinf(x); }
inline float sqrt(float x) { return sqrtf(x); }
inline float tanh(float x) { return tanhf(x); }

template <class To, class From>
To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}
inline unsigned __float_as_uint(float x) { return same_bits<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return same_bits<float>(x); }
inline float __int_as_float(int x) { return same_bits<float>(x); }
inline double __longlong_as_double(long long x) { return same_bits<double>(x); }
inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline bool __isShared(const void* at) { return at >= shared && at < shared + sizeof shared; }

inline void __syncthreads() { wait_for_block(); }
inline void __syncwarp() { wait_for_warp(); }
/// The value of the thread `lane` of the same warp.
template <class T>
T value_of_lane(T value, unsigned lane) {
  static T values[WHOLESTEP_CUDA_THREADS];
  values[threadIdx.x] = value;
  wait_for_warp();
  const T other = values[threadIdx.x / 32 * 32 + lane];
  wait_for_warp();
  return other;
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int step) {
  return value_of_lane(value, threadIdx.x % 32 ^ unsigned(step));
}
template <class T>
T __shfl_sync(unsigned, T value, int lane) {
  return value_of_lane(value, unsigned(lane) % 32);
}
template <class T>
T __shfl_down_sync(unsigned, T value, unsigned step) {
  const unsigned lane = threadIdx.x % 32 + step;
  return value_of_lane(value, lane < 32 ? lane : threadIdx.x % 32);
}
inline unsigned __ballot_sync(unsigned, bool mine) {
  static bool votes[WHOLESTEP_CUDA_THREADS];
  votes[threadIdx.x] = mine;
  wait_for_warp();
  unsigned all = 0;
  for (unsigned lane = 0; lane < 32; ++lane) all |= unsigned(votes[threadIdx.x / 32 * 32 + lane]) << lane;
  wait_for_warp();
  return all;
}
