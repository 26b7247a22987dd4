// A libcuda.so.1 that says whatever a test wants of a driver that cannot be used: its version, and what
// cuInit() returns. It is enough for CUDA's runtime to ask, and not for more.
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace {

int number(const char* name) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : 0;
}
int init(unsigned) { return number("FAKE_CUDA_INIT"); }
int version(int* result) { return *result = number("FAKE_CUDA_VERSION"), 0; }
int not_supported() { return 801; }

}  // namespace

extern "C" {
int cuGetExportTable(const void** table, const void*) { return *table = nullptr, not_supported(); }
int cuGetProcAddress_v2(const char* name, void** function, int, uint64_t, int* status) {
  std::string_view wanted = name;
  *function = wanted == "cuInit"                       ? reinterpret_cast<void*>(&init)
              : wanted == "cuDriverGetVersion"         ? reinterpret_cast<void*>(&version)
              : wanted.starts_with("cuGetProcAddress") ? reinterpret_cast<void*>(&cuGetProcAddress_v2)
                                                       : reinterpret_cast<void*>(&not_supported);
  if (status) *status = 0;
  return 0;
}
}
