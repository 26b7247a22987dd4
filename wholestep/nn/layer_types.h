// Lists of layers inside JSON objects: what containers are read from.
#pragma once
#include "wholestep/io/config_fields.h"
#include "wholestep/nn/sequential.h"

namespace wholestep::nn {

/// The array behind `key`, one layer an object. Problems are left in the reader; the result is of use only
/// where there are none.
LayerList read_layers(ConfigReader& reader, const std::string& key);

}  // namespace wholestep::nn
