# Every library the project uses, by CMake name; the Makefile installs them from Debian's packages.
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(CLI11 REQUIRED)
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_package(ZLIB REQUIRED)
find_package(CURL REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(dnnl REQUIRED)

# Public headers include nlohmann/json.hpp; the others stay behind the library, CLI11 behind the command.
set(WHOLESTEP_PUBLIC_LIBRARIES Threads::Threads nlohmann_json::nlohmann_json)
set(WHOLESTEP_PRIVATE_LIBRARIES fmt::fmt tomlplusplus::tomlplusplus JPEG::JPEG PNG::PNG ZLIB::ZLIB CURL::libcurl OpenSSL::Crypto
                                DNNL::dnnl gomp)
