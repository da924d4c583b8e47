# OpenBLAS with CBLAS and LAPACKE, as one imported target: gradflow_blas.
# Debian: libopenblas-pthread-dev, liblapacke-dev.
find_path(OPENBLAS_INCLUDE_DIR cblas.h
  PATH_SUFFIXES openblas-pthread openblas-openmp openblas x86_64-linux-gnu/openblas-pthread
                aarch64-linux-gnu/openblas-pthread)
find_path(LAPACKE_INCLUDE_DIR lapacke.h)
find_library(OPENBLAS_LIBRARY openblas PATH_SUFFIXES openblas-pthread openblas-openmp)
find_library(LAPACKE_LIBRARY lapacke)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OpenBLAS REQUIRED_VARS
  OPENBLAS_LIBRARY OPENBLAS_INCLUDE_DIR LAPACKE_LIBRARY LAPACKE_INCLUDE_DIR)
if(OpenBLAS_FOUND AND NOT TARGET gradflow_blas)
  add_library(gradflow_blas INTERFACE IMPORTED GLOBAL)
  target_include_directories(gradflow_blas SYSTEM INTERFACE
    ${OPENBLAS_INCLUDE_DIR} ${LAPACKE_INCLUDE_DIR})
  target_link_libraries(gradflow_blas INTERFACE ${LAPACKE_LIBRARY} ${OPENBLAS_LIBRARY})
endif()
