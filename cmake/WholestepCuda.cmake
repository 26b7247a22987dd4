# CUDA kernels are written at run time from the *.cuh files, which are embedded in the library as text. What compiles and
# runs them is a shared library of its own, built where the CUDA toolkit is found and loaded when a GPU is asked for.
file(GLOB_RECURSE WHOLESTEP_CUDA_HEADERS CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/wholestep/*.cuh)
list(APPEND WHOLESTEP_CUDA_HEADERS ${CMAKE_CURRENT_SOURCE_DIR}/wholestep/ops/elementwise_table.inc)

function(wholestep_embed_cuda_headers target)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/cuda_headers.cpp)
  string(REPLACE ";" "," files "${WHOLESTEP_CUDA_HEADERS}")
  add_custom_command(OUTPUT ${output}
                     COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} "-DFILES=${files}" -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/EmbedCudaHeaders.cmake
                     DEPENDS ${WHOLESTEP_CUDA_HEADERS} ${CMAKE_CURRENT_SOURCE_DIR}/cmake/EmbedCudaHeaders.cmake VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()

# OFF builds no CUDA library; AUTO builds it where nvcc's toolkit is; ON demands it.
set(WHOLESTEP_CUDA AUTO CACHE STRING "Build libwholestep_cuda: AUTO, ON or OFF")
function(wholestep_add_cuda_library)
  if(WHOLESTEP_CUDA STREQUAL "OFF")
    return()
  endif()
  find_package(CUDAToolkit 13.0 QUIET)
  if(NOT CUDAToolkit_FOUND)
    if(WHOLESTEP_CUDA STREQUAL "ON")
      message(FATAL_ERROR "WHOLESTEP_CUDA is ON and no CUDA 13 toolkit was found")
    endif()
    message(STATUS "CUDA: no toolkit of version 13 found, so no libwholestep_cuda")
    return()
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/wholestep/backend/cuda_runtime/*.cpp)
  add_library(wholestep_cuda MODULE ${sources})
  target_link_libraries(wholestep_cuda PRIVATE wholestep wholestep_flags fmt::fmt CUDA::cudart_static CUDA::nvrtc)
  target_include_directories(wholestep_cuda SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  target_link_options(wholestep_cuda PRIVATE -Wl,--exclude-libs,ALL -Wl,--no-undefined)
  set_target_properties(wholestep_cuda PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
  install(TARGETS wholestep_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()
