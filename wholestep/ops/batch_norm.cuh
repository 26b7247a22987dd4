// Batch normalisation as the CPU does it: sums of every part of the samples and channel, [parts, C] pairs of
// f64 in the workspace, then every block joins the parts of its channels in order and transforms its samples.
// Where the parts are many, a phase between joins them once.
#pragma once
#include "elements.cuh"

/// x [N, C, RUN], of which a part has PER samples.
template <int64_t SAMPLES, int64_t CHANNELS, int64_t LENGTH, int64_t PER, uint64_t EPS_BITS>
struct BatchNormOf {
  using Index = IndexFor<SAMPLES * CHANNELS * LENGTH>;
  static constexpr int64_t N = SAMPLES, C = CHANNELS, RUN = LENGTH, kParts = (N + PER - 1) / PER;
  static constexpr double kElements = double(N * RUN);
  static double inverse_deviation(double var) { return 1 / sqrt(var + __longlong_as_double(EPS_BITS)); }
  static double count(int64_t part) { return double(((part + 1) * PER < N ? PER : N - part * PER) * RUN); }
};

struct Pair {
  double first, second;
};
template <class P>
__device__ Pair* joined_sums(char* workspace) {
  return reinterpret_cast<Pair*>(workspace) + P::kParts * P::C;
}

/// What a block works on: PER samples times TILE channels.
struct Share {
  int64_t part;
  Range samples, channels;
};
template <class P, int64_t PER, int64_t TILE>
__device__ Share share_of(Lane lane) {
  constexpr int64_t kTiles = (P::C + TILE - 1) / TILE;
  const int64_t part = lane.chunk / kTiles, sample = part * PER, channel = lane.chunk % kTiles * TILE;
  return {part,
          {sample, sample + PER < P::N ? sample + PER : P::N},
          {channel, channel + TILE < P::C ? channel + TILE : P::C}};
}

/// For every channel of the share: add(place in x, centre(c), sums) over its elements, then store(c, centre,
/// sums).
template <class P, int G, bool APART, int V, class Centre, class Add, class Store>
__device__ void sum_channels(const Share& share, char* shared, Centre centre, Add add, Store store) {
  using Block = Groups<G, APART>;
  using I = typename P::Index;
  const I count = I(share.samples.end - share.samples.begin) * I(P::RUN);
  for (int64_t tile = share.channels.begin; tile < share.channels.end; tile += Block::kCount) {
    const int64_t c = tile + Block::group();
    const bool inside = c < share.channels.end;
    const double middle = inside ? centre(c) : 0;
    Pair sums = {0, 0};
    if (inside)
#pragma unroll 4
      for (I e = Block::member() * V; e < count; e += G * V)
        add(I((I(share.samples.begin) + e / I(P::RUN)) * I(P::C) + I(c)) * I(P::RUN) + e % I(P::RUN), middle, sums);
    sums.first = Block::sum(sums.first, shared);
    sums.second = Block::sum(sums.second, shared);
    if (Block::member() == 0 && inside) store(c, middle, sums);
  }
}

/// Mean and sum of squared deviations of a part, from sums shifted by its first element, which keeps them
/// exact where the mean is much larger than the deviation.
template <class P, int64_t PER, int64_t TILE, int G, bool APART, int V, class T>
__device__ void batch_norm_collect(Lane lane, const T* x, const T*, const T*, T*, T*, T*, char* workspace) {
  const Share share = share_of<P, PER, TILE>(lane);
  Pair* out = reinterpret_cast<Pair*>(workspace) + share.part * P::C;
  sum_channels<P, G, APART, V>(
      share, lane.shared, [&](int64_t c) { return double(x[(share.samples.begin * P::C + c) * P::RUN]); },
      [&](int64_t at, double shift, Pair& sums) {
        const auto values = *reinterpret_cast<const Vector<T, V>*>(x + at);
        for (T element : values.at) {
          const double value = double(element) - shift;
          sums.first += value;
          sums.second = fused_multiply_add(value, value, sums.second);
        }
      },
      [&](int64_t c, double shift, Pair sums) {
        const double mean = sums.first / P::count(share.part);
        out[c] = {shift + mean, sums.second - sums.first * mean};
      });
}

/// Sums of g and of g (x - mean).
template <class P, int64_t PER, int64_t TILE, int G, bool APART, int V, class T>
__device__ void batch_norm_dx_collect(Lane lane, const T* x, const T*, const T* mean, const T*, const T* g, T*, T*,
                                      T*, char* workspace) {
  const Share share = share_of<P, PER, TILE>(lane);
  Pair* out = reinterpret_cast<Pair*>(workspace) + share.part * P::C;
  sum_channels<P, G, APART, V>(
      share, lane.shared, [&](int64_t c) { return double(mean[c]); },
      [&](int64_t at, double middle, Pair& sums) {
        const auto values = *reinterpret_cast<const Vector<T, V>*>(x + at),
                   gradients = *reinterpret_cast<const Vector<T, V>*>(g + at);
#pragma unroll
        for (int e = 0; e < V; ++e) {
          sums.first += double(gradients.at[e]);
          sums.second =
              fused_multiply_add(double(gradients.at[e]), double(values.at[e]) - middle, sums.second);
        }
      },
      [&](int64_t c, double, Pair sums) { out[c] = sums; });
}

/// Of all parts: mean and variance.
template <class P>
struct Moments {
  template <int G>
  static Pair join(const Pair* parts, int64_t c, bool inside, char* shared) {
    using Block = Groups<G, true>;
    double total = 0, squares = 0;
    if (inside)
      for (int64_t part = Block::member(); part < P::kParts; part += G)
        total += P::count(part) * parts[part * P::C + c].first;
    const double mean = Block::sum(total, shared) / P::kElements;
    if (inside)
      for (int64_t part = Block::member(); part < P::kParts; part += G) {
        const Pair moments = parts[part * P::C + c];
        const double distance = moments.first - mean;
        squares += moments.second + P::count(part) * (distance * distance);
      }
    return {mean, Block::sum(squares, shared) / P::kElements};
  }
};
template <class P>
struct Products {
  template <int G>
  static Pair join(const Pair* parts, int64_t c, bool inside, char* shared) {
    using Block = Groups<G, true>;
    Pair total = {0, 0};
    if (inside)
      for (int64_t part = Block::member(); part < P::kParts; part += G) {
        total.first += parts[part * P::C + c].first;
        total.second += parts[part * P::C + c].second;
      }
    return {Block::sum(total.first, shared), Block::sum(total.second, shared)};
  }
};

template <class P, class Sums, int G>
__device__ void join_channels(Lane lane, char* workspace) {
  const int64_t c = lane.chunk * Groups<G, true>::kCount + Groups<G, true>::group();
  const bool inside = c < P::C;
  const Pair sums = Sums::template join<G>(reinterpret_cast<const Pair*>(workspace), c, inside, lane.shared);
  if (inside && Groups<G, true>::member() == 0) joined_sums<P>(workspace)[c] = sums;
}
template <class P, int G, class T>
__device__ void batch_norm_join(Lane lane, const T*, const T*, const T*, T*, T*, T*, char* workspace) {
  join_channels<P, Moments<P>, G>(lane, workspace);
}
template <class P, int G, class T>
__device__ void batch_norm_dx_join(Lane lane, const T*, const T*, const T*, const T*, const T*, T*, T*, T*,
                                   char* workspace) {
  join_channels<P, Products<P>, G>(lane, workspace);
}

/// Four constants of each channel of a tile from its sums, constants(c, sums), then apply(place, those of its
/// channel) for every V elements of the share.
template <class P, class Sums, int64_t PER, int64_t TILE, int G, bool JOINED, int V, class T, class Constants,
          class Apply>
__device__ void transform_channels(const Share& share, char* workspace, char* shared, Constants constants,
                                   Apply apply) {
  using Block = Groups<G, true>;
  using I = typename P::Index;
  constexpr int64_t kTile = TILE < Block::kCount ? TILE : Block::kCount, kWidth = kTile * P::RUN;
  auto* of_channel = reinterpret_cast<Vector<T, 4>*>(shared + Block::template kSharedBytes<double>);
  for (int64_t tile = share.channels.begin; tile < share.channels.end; tile += kTile) {
    const int64_t c = tile + Block::group();
    const bool inside = Block::group() < kTile && c < share.channels.end;
    Pair sums = {0, 0};
    if constexpr (!JOINED)
      sums = Sums::template join<G>(reinterpret_cast<const Pair*>(workspace), c, inside, shared);
    else if (inside) sums = joined_sums<P>(workspace)[c];
    if (inside && Block::member() == 0) of_channel[Block::group()] = constants(c, sums);
    __syncthreads();
    const I count = I(share.samples.end - share.samples.begin) * I(kWidth);
#pragma unroll 2
    for (I e = threadIdx.x * V; e < count; e += kThreads * V) {
      const I rest = e % I(kWidth), channel = rest / I(P::RUN);
      if (tile + channel < share.channels.end)
        apply((I(share.samples.begin + e / I(kWidth)) * I(P::C) + I(tile)) * I(P::RUN) + rest, of_channel[channel]);
    }
    __syncthreads();
  }
}

template <class P, int64_t PER, int64_t TILE, int G, bool JOINED, int V, class T>
__device__ void batch_norm_apply(Lane lane, const T* x, const T* gamma, const T* beta, T* y, T* mean, T* var,
                                 char* workspace) {
  const Share share = share_of<P, PER, TILE>(lane);
  transform_channels<P, Moments<P>, PER, TILE, G, JOINED, V, T>(
      share, workspace, lane.shared,
      [&](int64_t c, Pair moments) -> Vector<T, 4> {
        const T m = T(moments.first), v = T(moments.second);
        if (share.part == 0) mean[c] = m, var[c] = v;
        return {m, T(double(gamma[c]) * P::inverse_deviation(double(v))), beta[c], T(0)};
      },
      [&](int64_t at, const Vector<T, 4>& of) {
        auto values = *reinterpret_cast<const Vector<T, V>*>(x + at);
        for (T& value : values.at) value = (value - of.at[0]) * of.at[1] + of.at[2];
        *reinterpret_cast<Vector<T, V>*>(y + at) = values;
      });
}

/// dx = gamma s (g - B / m - n G / m) with n = (x - mean) s, B = sum g, G = sum g n.
template <class P, int64_t PER, int64_t TILE, int G, bool JOINED, int V, class T>
__device__ void batch_norm_dx_apply(Lane lane, const T* x, const T* gamma, const T* mean, const T* var, const T* g,
                                    T* dx, T* dgamma, T* dbeta, char* workspace) {
  const Share share = share_of<P, PER, TILE>(lane);
  transform_channels<P, Products<P>, PER, TILE, G, JOINED, V, T>(
      share, workspace, lane.shared,
      [&](int64_t c, Pair sums) -> Vector<T, 4> {
        const double s = P::inverse_deviation(double(var[c]));
        if (share.part == 0) dgamma[c] = T(sums.second * s), dbeta[c] = T(sums.first);
        return {mean[c], T(sums.first / P::kElements), T(sums.second * s * s / P::kElements),
                T(double(gamma[c]) * s)};
      },
      [&](int64_t at, const Vector<T, 4>& of) {
        const auto values = *reinterpret_cast<const Vector<T, V>*>(x + at);
        auto gradients = *reinterpret_cast<const Vector<T, V>*>(g + at);
#pragma unroll
        for (int e = 0; e < V; ++e)
          gradients.at[e] = (gradients.at[e] - of.at[1] - (values.at[e] - of.at[0]) * of.at[2]) * of.at[3];
        *reinterpret_cast<Vector<T, V>*>(dx + at) = gradients;
      });
}
