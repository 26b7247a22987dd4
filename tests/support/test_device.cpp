#include "support/test_device.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "support/cuda_device.h"
#include "support/foreign_backend.h"
#include "wholestep/io/json.h"

namespace wholestep::test {
namespace {

bool on(std::string_view device) {
  const char* name = std::getenv("WHOLESTEP_TEST_DEVICE");
  return name != nullptr && name == device;
}

struct Part {
  size_t index = 0, count = 1;
};
Part part() {
  Part part;
  if (const char* text = std::getenv("WHOLESTEP_TEST_PART"))
    if (std::sscanf(text, "%zu/%zu", &part.index, &part.count) != 2 || part.index >= part.count)
      throw Error(ErrorCode::kUsage, {.what = "WHOLESTEP_TEST_PART names no part of a list",
                                      .got = text,
                                      .expected = "a number and how many parts there are, such as 3/16"});
  return part;
}

}  // namespace

Backend& test_device() {
  if (on("foreign")) return foreign_backend();
  if (!on("cuda")) return cpu_backend();
  set_tf32_allowed(false);
  return cuda_backend();
}
std::string no_test_device() { return on("cuda") ? no_cuda_device() : ""; }

nlohmann::json read_reference(const std::string& file) {
  const char* folder = std::getenv("WHOLESTEP_REFERENCES");
  return read_json_file(std::filesystem::path(folder ? folder : WHOLESTEP_SOURCE_DIR "/tests/reference") /
                        file);
}

bool is_of_part(size_t number) {
  static const Part own = part();
  return number % own.count == own.index;
}
bool is_whole() { return part().count == 1; }

}  // namespace wholestep::test
