// How device functions divide and address elements: the block's range of a flat result, strided offsets with
// constant extents, and the threads of a block as groups that fold values in a fixed order.
#pragma once

template <bool LARGE>
struct IndexType {
  using Type = unsigned;
};
template <>
struct IndexType<true> {
  using Type = int64_t;
};
/// Counts up to ELEMENTS, in 32 bits where they suffice.
template <int64_t ELEMENTS>
using IndexFor = typename IndexType<(ELEMENTS >= int64_t(1) << 31)>::Type;

/// The block's elements: those of its rows where ROWS > 0, else a run of PER_CHUNK.
template <int64_t ROWS, int64_t ELEMENTS, int64_t PER_CHUNK>
struct Elements {
  using Index = IndexFor<ELEMENTS>;
  struct Run {
    Index begin, end;
  };
  static Run of(Lane lane) {
    if constexpr (ROWS > 0) {
      Range rows = rows_of<ROWS>(lane);
      return {Index(rows.begin * (ELEMENTS / ROWS)), Index(rows.end * (ELEMENTS / ROWS))};
    } else {
      int64_t begin = lane.chunk * PER_CHUNK, end = begin + PER_CHUNK;
      return {Index(begin), Index(end < ELEMENTS ? end : ELEMENTS)};
    }
  }
};

/// Extent and stride of every axis in turn, outermost first: where the element of a flat index lies.
template <int64_t...>
struct Axes {
  static constexpr int64_t kExtent = 1, kInnerStride = 0;
  template <class I>
  static I offset(I) {
    return 0;
  }
};
template <int64_t EXTENT, int64_t STRIDE, int64_t... INNER>
struct Axes<EXTENT, STRIDE, INNER...> {
  static constexpr int64_t kInner = Axes<INNER...>::kExtent, kExtent = EXTENT * kInner;
  static constexpr int64_t kInnerStride = sizeof...(INNER) == 0 ? STRIDE : Axes<INNER...>::kInnerStride;
  template <class I>
  static I offset(I i) {
    if constexpr (sizeof...(INNER) == 0) return i * I(STRIDE);
    else return i / I(kInner) * I(STRIDE) + Axes<INNER...>::offset(I(i % I(kInner)));
  }
};

template <class T>
__device__ T shuffle_xor(T value, int step) {
  return __shfl_xor_sync(0xffffffffu, value, step);
}

/// A block as groups of G threads, a power of two: neighbours, or as many apart as there are groups.
template <int G, bool APART = false>
struct Groups {
  static constexpr int kCount = kThreads / G;
  static int group() { return APART ? threadIdx.x % kCount : threadIdx.x / G; }
  static int member() { return APART ? threadIdx.x / kCount : threadIdx.x % G; }
  /// What fold() needs of shared memory.
  template <class T>
  static constexpr int kSharedBytes = sizeof(T) * (APART ? kThreads : kWarps);

  /// The values of a group joined by `join`, which commutes, for all of its members. All threads of the block
  /// call this.
  template <class T, class Join>
  static T fold(T value, Join join, char* shared) {
    T* all = reinterpret_cast<T*>(shared);
    if constexpr (APART) {
      if constexpr (G > 1) {
        all[threadIdx.x] = value;
        for (int step = G / 2; step > 0; step /= 2) {
          __syncthreads();
          if (member() < step) all[threadIdx.x] = value = join(value, all[threadIdx.x + step * kCount]);
        }
        __syncthreads();
        value = all[group()];
        __syncthreads();
      }
    } else {
      for (int step = (G < 32 ? G : 32) / 2; step > 0; step /= 2)
        value = join(value, shuffle_xor(value, step));
      if constexpr (G > 32) {
        if (threadIdx.x % 32 == 0) all[threadIdx.x / 32] = value;
        __syncthreads();
        const T* warps = all + group() * (G / 32);
        value = warps[0];
        for (int warp = 1; warp < G / 32; ++warp) value = join(value, warps[warp]);
        __syncthreads();
      }
    }
    return value;
  }
  template <class T>
  static T sum(T value, char* shared) {
    return fold(
        value, [](T a, T b) { return a + b; }, shared);
  }
};
