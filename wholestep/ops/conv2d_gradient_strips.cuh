// Gradients of convolutions in strips of rows, a strip a block: between the two of them, each block keeps its own.
#pragma once
#include "conv2d_strips.cuh"

/// The rows of x [CI, H, W] that a strip reads, from its own first output row on, to xs.
template <class G, int STRIPS, class Tile, int ROW, int PLANE>
__device__ void load_strip_of(const float* x, int64_t number, uint32_t* xs) {
  load_padded_rows<G, Tile, ROW, PLANE>(x + number / STRIPS * (G::CI * G::H * G::W),
                                        int(number % STRIPS) * (G::OH * G::SH) - G::PH, xs, [](float value) { return value; });
}

/// Of F's input, of which a strip has F::H rows; G is conv2d_input_gradient() of it, over all rows of g. `third` as masked()
/// has it, of whole samples.
template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, class F, int THIRD, int STRIPS>
__device__ void conv2d_dx_strips_tensor(Lane lane, const float* g, const float* weight, const float* third, float* dx, char*) {
  using Taps = Turned<G, F>;
  conv2d_tensor_sample<G, RUN, ROW, PLANE, NB, SPLIT, Taps, false>(
      lane.shared, weight, nullptr,
      [&](uint32_t* xs) { load_strip_of<G, STRIPS, SampleTile<G, RUN, ROW, PLANE>, ROW, PLANE>(g, lane.chunk, xs); },
      [&](int channel, int h, int w, float value) {
        const int64_t sample = lane.chunk / STRIPS, strip = lane.chunk % STRIPS;
        const int64_t in_sample = ((sample * F::CI + channel) * STRIPS + strip) * (F::H * F::W) + h * F::W + w;
        dx[lane.chunk * Taps::outputs + (channel * F::H + h) * F::W + w] = masked<THIRD>(value, third, in_sample);
      });
}
template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, class F, int THIRD, int STRIPS>
__device__ void conv2d_dx_strips_tensor(Lane lane, const float* g, const float* weight, float* dx, char* workspace) {
  conv2d_dx_strips_tensor<G, RUN, ROW, PLANE, NB, SPLIT, F, THIRD, STRIPS>(lane, g, weight, nullptr, dx, workspace);
}

/// As conv2d_dw_tensor_samples(): G has a strip's rows of g, all those of x.
template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, int RB, int STRIPS, bool BIAS>
__device__ void conv2d_dw_strips_parts(Lane lane, const float* x, const float* g, char* workspace) {
  conv2d_dw_tensor_parts<G, RUN, ROW, PLANE, NB, SPLIT, RB, BIAS>(lane, g, workspace, [&](int64_t n, uint32_t* xs) {
    load_strip_of<G, STRIPS, SampleTile<G, RUN, ROW, PLANE>, ROW, PLANE>(x, n, xs);
  });
}
template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, int RB, int STRIPS>
__device__ void conv2d_dw_strips_tensor(Lane lane, const float* x, const float* g, float*, char* workspace) {
  conv2d_dw_strips_parts<G, RUN, ROW, PLANE, NB, SPLIT, RB, STRIPS, false>(lane, x, g, workspace);
}
template <class G, int RUN, int ROW, int PLANE, int NB, int SPLIT, int RB, int STRIPS>
__device__ void conv2d_dw_strips_tensor(Lane lane, const float* x, const float* g, float*, float*, char* workspace) {
  conv2d_dw_strips_parts<G, RUN, ROW, PLANE, NB, SPLIT, RB, STRIPS, true>(lane, x, g, workspace);
}
