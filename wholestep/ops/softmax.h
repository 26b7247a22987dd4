// Softmax over the last axis, and cross-entropy with its gradient in one pass.
#pragma once
#include "wholestep/graph/op.h"

namespace wholestep {

Tensor softmax(const Tensor& x, int64_t axis = -1);
Tensor log_softmax(const Tensor& x, int64_t axis = -1);
/// Per-sample losses [N] = -log softmax(logits)[n, labels[n]]; logits [N, C] floating, labels u8, i32 or i64
/// [N]. kUsage naming the sample where a label is outside [0, C) (eagerly; in a compiled step such a sample's
/// loss is NaN).
Tensor cross_entropy_losses(const Tensor& logits, const Tensor& labels);
/// kUsage naming the first of `labels` outside [0, classes); nothing for a symbolic one.
void check_class_labels(const Tensor& labels, int64_t classes);
/// Mean over the batch of the above.
Tensor cross_entropy(const Tensor& logits, const Tensor& labels);

}  // namespace wholestep
