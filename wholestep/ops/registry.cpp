// The op table: one line per file group.
#include "wholestep/ops/registry.h"

namespace wholestep {

const std::vector<const OpDef*>& all_ops() {
  static const std::vector<const OpDef*> table = [] {
    std::vector<const OpDef*> ops;
    for (auto group :
         {elementwise_ops, reduce_ops, shape_ops, split_ops, gather_ops, sort_ops, matmul_ops,
          batch_matmul_ops, matmul_fused_ops, random_ops, softmax_ops, conv2d_ops, conv2d_sums_ops,
          conv2d_strips_ops, conv2d_gradient_strips_ops, pool2d_ops, batch_norm_ops})
      for (const OpDef* op : group()) ops.push_back(op);
    return ops;
  }();
  return table;
}

}  // namespace wholestep
