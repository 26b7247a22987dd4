// The version is CMake's.
#include "wholestep/base/version.h"

namespace wholestep {

std::string_view version() { return WHOLESTEP_VERSION; }

}  // namespace wholestep
