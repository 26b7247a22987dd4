# find_package(wholestep) for programs outside this tree; tests/install builds one.
include(CMakePackageConfigHelpers)
install(TARGETS wholestep EXPORT wholestepTargets)
if(TARGET wholestep_cli)
  install(TARGETS wholestep_cli)
endif()
install(DIRECTORY wholestep DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" PATTERN "*.inc" PATTERN "*.isa.h" EXCLUDE PATTERN "*.bf16.h" EXCLUDE PATTERN "cli" EXCLUDE)
install(EXPORT wholestepTargets NAMESPACE wholestep:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/wholestep)
configure_package_config_file(cmake/wholestepConfig.cmake.in wholestepConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/wholestep)
write_basic_package_version_file(wholestepConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/wholestepConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/wholestepConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/wholestep)
