# Installs programs, libraries, headers, tune packs, a CMake package (find_package(cdunet): cdunet::cdunet static, cdunet::shared) and a
# pkg-config file.
include(CMakePackageConfigHelpers)
set_target_properties(cdunet PROPERTIES EXPORT_NAME cdunet)
set(libraries cdunet)
if(CDUNET_SHARED)
  set_target_properties(cdunet_shared PROPERTIES EXPORT_NAME shared)
  list(APPEND libraries cdunet_shared)
endif()
set(PACKAGE_FOLDER ${CMAKE_INSTALL_LIBDIR}/cmake/cdunet)
install(TARGETS ${libraries} EXPORT cdunet-targets)
install(TARGETS cdunet-program cdunet-bench)
install(TARGETS cdunet-compile DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/cdunet)
install(DIRECTORY tune DESTINATION ${CMAKE_INSTALL_DATADIR}/cdunet FILES_MATCHING PATTERN "*.json")
install(DIRECTORY include/cdunet DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT cdunet-targets NAMESPACE cdunet:: DESTINATION ${PACKAGE_FOLDER})
set(PKG_MODULES "openslide glib-2.0 libtiff-4 libpng libjpeg cairo jansson expat libcyaml yaml-0.1 libxxhash zlib")
configure_package_config_file(cmake/cdunet-config.cmake.in ${CMAKE_BINARY_DIR}/generated/cdunet-config.cmake
  INSTALL_DESTINATION ${PACKAGE_FOLDER})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/generated/cdunet-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/generated/cdunet-config.cmake ${CMAKE_BINARY_DIR}/generated/cdunet-config-version.cmake
  DESTINATION ${PACKAGE_FOLDER})
configure_file(cmake/cdunet.pc.in ${CMAKE_BINARY_DIR}/generated/cdunet.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/generated/cdunet.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
