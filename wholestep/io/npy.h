// NumPy's .npy files both ways: a magic, a header that is a Python dict, and the elements. Format:
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
#pragma once
#include <filesystem>
#include <string>

#include "wholestep/base/shape.h"
#include "wholestep/io/files.h"

namespace wholestep {

struct NpyArray {
  TensorType type;
  Bytes bytes;  ///< row-major, whatever the order in the file
};

/// Writes the file durably, in version 1.0, as NumPy does. kUsage for bf16, which NumPy does not have, and
/// for bytes that are not those of the type; kIo.
void write_npy(const std::filesystem::path& path, const TensorType& type, ByteSpan bytes);

/// Versions 1.0 to 3.0, little-endian, row- or column-major. kNoInput, kIo; kBadData naming the file for
/// anything that breaks the format or has a dtype without a counterpart here.
NpyArray read_npy(const std::filesystem::path& path, uint64_t limit_bytes = uint64_t{1} << 40);
/// The same for a file's bytes; `source` names them in errors.
NpyArray parse_npy(ByteSpan file, const std::string& source);

}  // namespace wholestep
