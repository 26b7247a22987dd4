# Compiler flags of every target: warnings are errors, and floating-point arithmetic means what the source says.
# -ffp-contract=off keeps a*b+c from becoming one fused operation where a fused and an unfused plan must agree bit for bit;
# kernels that want fused multiply-add ask for it by name.
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
find_package(Threads REQUIRED)

add_library(wholestep_flags INTERFACE)
target_compile_options(wholestep_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Werror -ffp-contract=off -fno-math-errno
                                                 -fno-trapping-math)
# GCC 12 reports overlaps inside std::string that are not there (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(wholestep_flags INTERFACE -Wno-restrict)
endif()
set(WHOLESTEP_SANITIZE "" CACHE STRING "Sanitizers for every target, for example address,undefined or thread")
if(WHOLESTEP_SANITIZE)
  add_compile_options(-fsanitize=${WHOLESTEP_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${WHOLESTEP_SANITIZE})
endif()
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # Paths relative to the source, so that checkouts in different folders share the cache.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE_PROGRAM})
endif()
