// Which Wholestep this is.
#pragma once
#include <string_view>

namespace wholestep {

std::string_view version();  ///< "0.1.0"

}  // namespace wholestep
