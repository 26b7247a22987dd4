// The file names of a data set kept as IDX, shared by what reads and what writes one.
#pragma once
#include <array>
#include <filesystem>
#include <string_view>

namespace wholestep {

constexpr std::array<std::string_view, 2> kIdxParts = {"train", "t10k"};  // training and test samples
constexpr std::string_view kIdxImages = "-images-idx3-ubyte";
constexpr std::string_view kIdxLabels = "-labels-idx1-ubyte";
constexpr std::string_view kIdxClasses = "classes.txt";  // one name a line, ours

}  // namespace wholestep
