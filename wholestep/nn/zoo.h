// Networks known by name, kept as model descriptions.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "wholestep/nn/model_spec.h"

namespace wholestep::nn {

struct ZooEntry {
  std::string name, doc;
  nlohmann::json (*spec)();  ///< the JSON form
};
const std::vector<ZooEntry>& zoo();

/// The named network of the zoo, else the model in the file of that name. kBadConfig with the nearest name
/// where it is neither.
Model find_model(const std::string& name_or_path);

}  // namespace wholestep::nn
