// MNIST in the user's data folder.
#pragma once
#include "wholestep/data/specs.h"

namespace wholestep {

/// The folder with the four files of MNIST, fetching what is missing. kNoInput saying which files to put
/// where when that does not work.
std::filesystem::path mnist_folder(const MnistSource& source);

}  // namespace wholestep
