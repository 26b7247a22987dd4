// The losses that config files and the command line can name: one line each.
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/element_losses.h"

namespace wholestep::nn {

const std::vector<ConfigType<Loss>>& loss_types() {
  static const std::vector<ConfigType<Loss>> types = {config_type<Loss, CrossEntropyLoss>(),
                                                      config_type<Loss, NLLLoss>(),
                                                      config_type<Loss, MultiMarginLoss>(),
                                                      config_type<Loss, MSELoss>(),
                                                      config_type<Loss, L1Loss>(),
                                                      config_type<Loss, SmoothL1Loss>(),
                                                      config_type<Loss, HuberLoss>(),
                                                      config_type<Loss, BCELoss>(),
                                                      config_type<Loss, BCEWithLogitsLoss>(),
                                                      config_type<Loss, FocalLoss>(),
                                                      config_type<Loss, KLDivLoss>(),
                                                      config_type<Loss, HingeEmbeddingLoss>()};
  return types;
}

}  // namespace wholestep::nn
