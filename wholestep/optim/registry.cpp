// The optimizers that config files and the command line can name: one line each.
#include "wholestep/optim/adam.h"
#include "wholestep/optim/sgd.h"

namespace wholestep::optim {

const std::vector<ConfigType<Optimizer>>& optimizer_types() {
  static const std::vector<ConfigType<Optimizer>> types = {
      config_type<Optimizer, SGD>(), config_type<Optimizer, Adam>(), config_type<Optimizer, AdamW>()};
  return types;
}

std::unique_ptr<Optimizer> read_optimizer(ConfigReader& reader) {
  return read_typed(reader, optimizer_types());
}

}  // namespace wholestep::optim
