// Data for a command: with progress of downloads on the terminal.
#pragma once
#include <string>

#include "wholestep/data/specs.h"

namespace wholestep::cli {

/// open_data(), which may download.
DataSplits open_data_with_progress(const std::string& spec);

/// "train" or "test"; kUsage for any other word.
const Dataset& part_of(const DataSplits& data, const std::string& part);

}  // namespace wholestep::cli
