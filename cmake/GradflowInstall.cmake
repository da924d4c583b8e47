# gradflow::gradflow: every layer at once, for a project that found the package or added this source tree.
# Included without condition; what it installs, and the CMake package, depend on GRADFLOW_INSTALL.
get_property(layers GLOBAL PROPERTY GRADFLOW_LAYERS)
add_library(gradflow_all INTERFACE)
add_library(gradflow::gradflow ALIAS gradflow_all)
set_target_properties(gradflow_all PROPERTIES EXPORT_NAME gradflow)
target_link_libraries(gradflow_all INTERFACE ${layers})

if(NOT GRADFLOW_INSTALL)
  return()
endif()

include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/gradflow)

install(TARGETS ${layers} gradflow_all EXPORT gradflowTargets)
if(TARGET gradflow_program)
  install(TARGETS gradflow_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/gradflow DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/NOTICE DESTINATION ${CMAKE_INSTALL_DOCDIR})

install(EXPORT gradflowTargets NAMESPACE gradflow:: DESTINATION ${package_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/gradflowConfig.cmake.in
  ${PROJECT_BINARY_DIR}/gradflowConfig.cmake INSTALL_DESTINATION ${package_dir}
  NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/gradflowConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/gradflowConfig.cmake
  ${PROJECT_BINARY_DIR}/gradflowConfigVersion.cmake
  ${CMAKE_CURRENT_LIST_DIR}/FindOpenBLAS.cmake
  ${CMAKE_CURRENT_LIST_DIR}/FindNLopt.cmake
  DESTINATION ${package_dir})
