// Rows by index: the lookup of embeddings and of training samples that live on the device.
#pragma once
#include "wholestep/graph/op.h"

namespace wholestep {

/// table [N, ...], index i32 or i64 [B] -> [B, ...]. kUsage naming the index where one is outside [0, N)
/// (eagerly; inside a compiled step such a row reads as NaN, or as 255 in integer tables, and nothing outside
/// the table is touched).
Tensor gather_rows(const Tensor& table, const Tensor& index);
/// The adjoint: zeros [rows, ...] plus values[b] at row index[b], added in the order of b.
Tensor scatter_add_rows(const Tensor& values, const Tensor& index, int64_t rows);
/// Elements [position, position + count) of x [N], where position is an i64 scalar that may live in state;
/// wraps at N.
Tensor take(const Tensor& x, const Tensor& position, int64_t count);

}  // namespace wholestep
