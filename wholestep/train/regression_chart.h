// What estimates of one number look like: each against its true value, and how their errors are spread.
#pragma once
#include <span>
#include <string>

#include "wholestep/train/line_chart.h"

namespace wholestep {

/// Estimates over true values, with the line of those without error; of many samples an even thousand.
LineChart estimates_chart(const std::string& target, std::span<const float> numbers,
                          std::span<const float> targets);
/// How often each residual, true value - estimate, occurs: a histogram over round bins.
LineChart residuals_chart(const std::string& target, std::span<const float> numbers,
                          std::span<const float> targets);

}  // namespace wholestep
