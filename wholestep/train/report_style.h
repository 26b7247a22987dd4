// The style sheet of report.html.
#pragma once
#include <string_view>

namespace wholestep {

std::string_view report_style();  ///< CSS, light and dark by the reader's preference

}  // namespace wholestep
