// SHA-256 by OpenSSL, which uses the CPU's instructions for it.
#include "wholestep/io/hash.h"

#include <openssl/evp.h>

#include <array>

#include "wholestep/base/error.h"
#include "wholestep/io/descriptor.h"

namespace wholestep {

struct Sha256::Context {
  EVP_MD_CTX* md = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(md); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  WHOLESTEP_CHECK(context_->md && EVP_DigestInit_ex(context_->md, EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() = default;

void Sha256::update(ByteSpan bytes) {
  WHOLESTEP_CHECK(EVP_DigestUpdate(context_->md, bytes.data(), bytes.size()) == 1);
}

std::string Sha256::hex() {
  std::array<unsigned char, 32> digest{};
  WHOLESTEP_CHECK(EVP_DigestFinal_ex(context_->md, digest.data(), nullptr) == 1);
  std::string text;
  for (unsigned char byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

std::string sha256_hex(ByteSpan bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

std::string sha256_hex_of_file(const std::filesystem::path& path) {
  Descriptor file = open_regular_file(path);
  Sha256 hash;
  Bytes piece(size_t{1} << 18);
  while (size_t got = read_some(file, piece, path)) hash.update(std::span(piece).first(got));
  return hash.hex();
}

}  // namespace wholestep
