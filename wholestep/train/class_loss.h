// Losses as a function of class labels.
#pragma once
#include <memory>
#include <string>

#include "wholestep/nn/loss.h"

namespace wholestep {

/// The named loss over logits [N, C] and labels [N]: cross-entropy as it is, losses that compare with a
/// target of the output's shape (mse) against one-hot vectors of the labels. kBadConfig for an unknown name.
std::unique_ptr<nn::Loss> make_class_loss(const std::string& name);

}  // namespace wholestep
