// SHA-256 of bytes and files, as 64 lower-case hexadecimal digits.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "wholestep/io/files.h"

namespace wholestep {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(ByteSpan bytes);
  std::string hex();  ///< ends the computation

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string sha256_hex(ByteSpan bytes);
std::string sha256_hex_of_file(const std::filesystem::path& path);  ///< in pieces; kNoInput, kIo

}  // namespace wholestep
