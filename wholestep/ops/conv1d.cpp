// Sequences as pictures of one row.
#include "wholestep/ops/conv1d.h"

#include "wholestep/ops/arrange.h"
#include "wholestep/ops/conv2d.h"

namespace wholestep {

Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv1dOptions& o) {
  if (x.rank() != 3 || weight.rank() != 3)
    throw Error(ErrorCode::kUsage, {.what = "conv1d is of sequences",
                                    .where = Scope::source(),
                                    .got = to_string(x.type()) + " and " + to_string(weight.type()),
                                    .expected = "x [N, Ci, L], weight [Co, Ci / groups, K]"});
  return squeeze(conv2d(unsqueeze(x, 2), unsqueeze(weight, 2), bias,
                        {.stride = {1, o.stride},
                         .padding = {0, o.padding},
                         .dilation = {1, o.dilation},
                         .groups = o.groups}),
                 2);
}

}  // namespace wholestep
