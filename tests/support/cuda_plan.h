// Training steps of the zoo as they would run on a GPU, planned without one.
#pragma once
#include <string>

#include "wholestep/compile/compile.h"

namespace wholestep::test {

/// With parameters of `dtype`, Adam and cross-entropy; pixels are taken as they are.
Plan cuda_train_plan(const std::string& network, int64_t batch, DType dtype = DType::f32);
/// Two layers of an LSTM over sequences of 16 tokens of 65, with dropout and SGD.
Plan cuda_recurrent_plan(int64_t batch);

}  // namespace wholestep::test
