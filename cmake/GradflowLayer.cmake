# gradflow_layer(NAME [DEPENDS layer...] [USES target...])
#
# One static library gradflow_NAME (alias gradflow::NAME) from src/NAME/*.cpp, and one test program
# gradflow_NAME_test from src/NAME/*_test.cpp. A layer without sources yet is an interface library.
function(gradflow_compile_options target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow
    -Wnon-virtual-dtor -Woverloaded-virtual
    $<$<BOOL:${GRADFLOW_WARNINGS_AS_ERRORS}>:-Werror>)
  # Associativity is never given away: only the flags that leave every rounded result as written.
  target_compile_options(${target} PRIVATE -fno-math-errno -fno-trapping-math)
  if(GRADFLOW_SANITIZE)
    # The address sanitizer sees what null and object-size see, and Eigen asserts its own alignment; the three
    # are over a quarter of the compile time.
    target_compile_options(${target} PRIVATE -fsanitize=${GRADFLOW_SANITIZE}
      -fno-sanitize=null,object-size,alignment -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=${GRADFLOW_SANITIZE})
  endif()
endfunction()

function(gradflow_test target)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;LABELS;COMMAND_ARGS" ${ARGN})
  add_executable(${target} ${ARG_SOURCES})
  gradflow_compile_options(${target})
  target_link_libraries(${target} PRIVATE ${ARG_LINK} gradflow_test_support GTest::gmock GTest::gtest_main)
  target_precompile_headers(${target} PRIVATE <gtest/gtest.h> <Eigen/Dense>)
  target_compile_definitions(${target} PRIVATE
    GRADFLOW_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
    GRADFLOW_SHARED_DIR="${GRADFLOW_SHARED_DIR}")
  add_test(NAME ${target} COMMAND ${target} ${ARG_COMMAND_ARGS}
           WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  set_tests_properties(${target} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 1500)
endfunction()

function(gradflow_layer name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;USES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cpp)
  file(GLOB tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*_test.cpp)
  if(tests)
    list(REMOVE_ITEM sources ${tests})
  endif()
  set(target gradflow_${name})
  list(TRANSFORM ARG_DEPENDS PREPEND gradflow_)
  if(sources)
    add_library(${target} STATIC ${sources})
    gradflow_compile_options(${target})
    set(scope PUBLIC)
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/src)
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    # A tenth of the sanitizers' compile time. Elsewhere every source includes what it uses by itself, which the
    # release build checks, and its objects are the Python package's too (ccache).
    if(GRADFLOW_SANITIZE)
      target_precompile_headers(${target} PRIVATE <Eigen/Dense> <fmt/format.h> <functional> <map> <memory> <string> <vector>)
    endif()
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  add_library(gradflow::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(${target} ${scope}
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${target} ${scope} ${ARG_DEPENDS} ${ARG_USES})
  set_property(GLOBAL APPEND PROPERTY GRADFLOW_LAYERS ${target})
  if(GRADFLOW_BUILD_TESTS AND tests)
    gradflow_test(${target}_test SOURCES ${tests} LINK ${target} LABELS unit)
    target_include_directories(${target}_test PRIVATE ${PROJECT_SOURCE_DIR}/src)
  endif()
endfunction()
