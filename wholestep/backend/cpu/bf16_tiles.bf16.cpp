// The inner loop of bf16 products: AMX tiles, or dot products of pairs in vectors.
#include "wholestep/backend/cpu/bf16_tiles.bf16.h"

namespace wholestep::WHOLESTEP_ISA {
namespace {

#if WHOLESTEP_ISA_amx_bf16

/// What `ldtilecfg` reads: all eight tiles have 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

/// Tiles 0 to 3 are sums, 4 and 5 of A, 6 and 7 of B.
template <int Rows, int Columns>
void multiply_tiles(const TileProduct& p) {
  constexpr bool kTall = Rows == 2, kWide = Columns == 2;
  const int64_t stride = p.ldc * static_cast<int64_t>(sizeof(float));
  float* low = p.c + kTile * p.ldc;
  if (p.resume) {
    _tile_loadd(0, p.c, stride);
    if constexpr (kWide) _tile_loadd(1, p.c + kTile, stride);
    if constexpr (kTall) _tile_loadd(2, low, stride);
    if constexpr (kTall && kWide) _tile_loadd(3, low + kTile, stride);
  } else {
    _tile_zero(0);
    if constexpr (kWide) _tile_zero(1);
    if constexpr (kTall) _tile_zero(2);
    if constexpr (kTall && kWide) _tile_zero(3);
  }
  for (int64_t at = 0; at < p.steps * kTileBytes; at += kTileBytes) {
    _tile_loadd(4, p.a + at, 64);
    _tile_loadd(6, p.b + at, 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kWide) {
      _tile_loadd(7, p.b + p.b_bytes + at, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (kTall) {
      _tile_loadd(5, p.a + p.a_bytes + at, 64);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (kTall && kWide) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, p.c, stride);
  if constexpr (kWide) _tile_stored(1, p.c + kTile, stride);
  if constexpr (kTall) _tile_stored(2, low, stride);
  if constexpr (kTall && kWide) _tile_stored(3, low + kTile, stride);
}

#else

constexpr int kRows = 8;  // of sums in registers

/// Rows [row, row + kRows) of a row of tiles.
template <int Columns>
void multiply_rows(const TileProduct& p, const char* a, int64_t row) {
  Vec sums[kRows][Columns];
  float* c = p.c + row * p.ldc;
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < Columns; ++v) sums[r][v] = p.resume ? load(c + r * p.ldc + v * kTile) : zero();
  a += row % kTile * 64;
  for (int64_t pair = 0; pair < p.steps * kTile; ++pair) {
    Bits b[Columns];
#pragma GCC unroll 2
    for (int v = 0; v < Columns; ++v) b[v] = load_bits(p.b + v * p.b_bytes + pair * 64);
    const char* pairs = a + pair / kTile * kTileBytes + pair % kTile * 4;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      int32_t one;
      __builtin_memcpy(&one, pairs + r * 64, sizeof one);
#pragma GCC unroll 2
      for (int v = 0; v < Columns; ++v)
        sums[r][v] = _mm512_dpbf16_ps(sums[r][v], reinterpret_cast<__m512bh>(_mm512_set1_epi32(one)),
                                      reinterpret_cast<__m512bh>(b[v]));
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < Columns; ++v) store(c + r * p.ldc + v * kTile, sums[r][v]);
}

template <int Rows, int Columns>
void multiply_tiles(const TileProduct& p) {
  for (int64_t row = 0; row < Rows * kTile; row += kRows)
    multiply_rows<Columns>(p, p.a + row / kTile * p.a_bytes, row);
}

#endif

}  // namespace

#if WHOLESTEP_ISA_amx_bf16
TileRegisters::TileRegisters() {
  static constexpr TileConfig kConfig;
  _tile_loadconfig(&kConfig);
}
TileRegisters::~TileRegisters() { _tile_release(); }
#else
TileRegisters::TileRegisters() {}
TileRegisters::~TileRegisters() {}
#endif

void multiply(const TileProduct& p) {
  if (p.row_tiles == 2) p.column_tiles == 2 ? multiply_tiles<2, 2>(p) : multiply_tiles<2, 1>(p);
  else p.column_tiles == 2 ? multiply_tiles<1, 2>(p) : multiply_tiles<1, 1>(p);
}

}  // namespace wholestep::WHOLESTEP_ISA
