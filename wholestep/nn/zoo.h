// Networks known by name, kept as model descriptions.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "wholestep/nn/model_spec.h"

namespace wholestep::nn {

/// What the rows of a table have: so many features, and so many classes or else targets.
struct TableSizes {
  int64_t features = 0, classes = 0, targets = 0;
};

struct ZooEntry {
  std::string name, doc;
  nlohmann::json (*spec)();                                  ///< the JSON form
  nlohmann::json (*for_table)(const TableSizes&) = nullptr;  ///< the same for rows; null: of one size alone
};
const std::vector<ZooEntry>& zoo();  ///< every network that is known by name

/// The named network of the zoo, for a table where it has such a form and one is given, else the model in
/// the file of that name. kBadConfig with the nearest name where it is neither.
Model find_model(const std::string& name_or_path, const TableSizes* table = nullptr);
/// Whether find_model() makes use of a table's sizes.
bool fits_tables(const std::string& name);

}  // namespace wholestep::nn
