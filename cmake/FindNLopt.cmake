# NLopt's C interface, as one imported target: gradflow_nlopt. Debian: libnlopt-dev.
# Not NLopt's own package: Debian has two of them, with different targets, and which is found is chance.
find_path(NLOPT_INCLUDE_DIR nlopt.h)
find_library(NLOPT_LIBRARY nlopt)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(NLopt REQUIRED_VARS NLOPT_LIBRARY NLOPT_INCLUDE_DIR)
if(NLopt_FOUND AND NOT TARGET gradflow_nlopt)
  add_library(gradflow_nlopt INTERFACE IMPORTED GLOBAL)
  target_include_directories(gradflow_nlopt SYSTEM INTERFACE ${NLOPT_INCLUDE_DIR})
  target_link_libraries(gradflow_nlopt INTERFACE ${NLOPT_LIBRARY})
endif()
