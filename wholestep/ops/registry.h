// Each op file group offers its rows here; registry.cpp lists them.
#pragma once
#include <vector>

#include "wholestep/graph/op.h"

namespace wholestep {

std::vector<const OpDef*> elementwise_ops();
std::vector<const OpDef*> reduce_ops();
std::vector<const OpDef*> shape_ops();
std::vector<const OpDef*> split_ops();
std::vector<const OpDef*> gather_ops();
std::vector<const OpDef*> matmul_ops();
std::vector<const OpDef*> batch_matmul_ops();
std::vector<const OpDef*> matmul_fused_ops();
std::vector<const OpDef*> random_ops();
std::vector<const OpDef*> softmax_ops();
std::vector<const OpDef*> conv2d_ops();
std::vector<const OpDef*> conv2d_sums_ops();
std::vector<const OpDef*> conv2d_strips_ops();
std::vector<const OpDef*> conv2d_gradient_strips_ops();
std::vector<const OpDef*> pool2d_ops();
std::vector<const OpDef*> batch_norm_ops();
std::vector<const OpDef*> sort_ops();

}  // namespace wholestep
