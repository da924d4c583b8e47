# gradflow_layer(NAME [DEPENDS layer...] [USES target...])
#
# One static library gradflow_NAME (alias gradflow::NAME) from src/NAME/*.cpp, and one test program
# gradflow_NAME_test from src/NAME/*_test.cpp. A layer without sources yet is an interface library.
function(gradflow_compile_options target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow
    -Wnon-virtual-dtor -Woverloaded-virtual
    $<$<BOOL:${GRADFLOW_WARNINGS_AS_ERRORS}>:-Werror>)
  if(GRADFLOW_UNITY AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ takes a unit's sources for headers, in which a type with members of file-local types would be a mistake.
    target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
  endif()
  if(GRADFLOW_UNITY AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    # clang++ takes a local named like a file-local constant of another source of the unit for a shadow; g++,
    # which compiles the same units with -Wshadow, does not.
    target_compile_options(${target} PRIVATE -Wno-shadow)
  endif()
  # Associativity is never given away: only the flags that leave every rounded result as written.
  target_compile_options(${target} PRIVATE -fno-math-errno -fno-trapping-math)
  if(GRADFLOW_SANITIZE)
    # The address sanitizer sees what null and object-size see, and the access behind a pointer that wrapped;
    # Eigen asserts its own alignment. Without the last a unit of operators takes a fifth less to compile.
    target_compile_options(${target} PRIVATE -fsanitize=${GRADFLOW_SANITIZE}
      -fno-sanitize=null,object-size,alignment,pointer-overflow -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=${GRADFLOW_SANITIZE})
  endif()
endfunction()

# gradflow_unity(RESULT NAME SOURCE...)
#
# With GRADFLOW_UNITY the sources in few units, each of which includes up to ten of them in alphabetical order:
# headers and the templates of Eigen and the like are then parsed and instantiated once for ten. Names of file-local things must differ within a layer. Not CMake's UNITY_BUILD, whose units lie in
# the build folder: ccache tells sources of different paths apart, and the release build, the package tests and the
# Python package share their objects.
function(gradflow_unity result name)
  if(NOT GRADFLOW_UNITY)
    set(${result} ${ARGN} PARENT_SCOPE)
    return()
  endif()
  set(folder ${PROJECT_SOURCE_DIR}/build/unity)
  list(LENGTH ARGN count)
  math(EXPR units "(${count} + 9) / 10")
  set(written)
  foreach(unit RANGE 1 ${units})
    math(EXPR begin "${count} * (${unit} - 1) / ${units}")
    math(EXPR length "${count} * ${unit} / ${units} - ${begin}")
    list(SUBLIST ARGN ${begin} ${length} sources)
    list(TRANSFORM sources REPLACE "^${PROJECT_SOURCE_DIR}/(.*)$" "#include \"../../\\1\"")
    list(JOIN sources "\n" content)
    file(CONFIGURE OUTPUT ${folder}/${name}_${unit}.cpp CONTENT "${content}\n" @ONLY)
    list(APPEND written ${folder}/${name}_${unit}.cpp)
  endforeach()
  set(${result} ${written} PARENT_SCOPE)
endfunction()

function(gradflow_test target)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;LABELS;COMMAND_ARGS" ${ARGN})
  gradflow_unity(sources ${target} ${ARG_SOURCES})
  add_executable(${target} ${sources})
  gradflow_compile_options(${target})
  # The library is what is optimised: the tests' own code takes a quarter less to compile, and as long to run.
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  target_link_libraries(${target} PRIVATE ${ARG_LINK} gradflow_test_support GTest::gmock GTest::gtest_main)
  if(NOT GRADFLOW_UNITY)
    target_precompile_headers(${target} PRIVATE <gtest/gtest.h> <Eigen/Dense>)
  endif()
  target_compile_definitions(${target} PRIVATE
    GRADFLOW_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
    GRADFLOW_SHARED_DIR="${GRADFLOW_SHARED_DIR}")
  add_test(NAME ${target} COMMAND ${target} ${ARG_COMMAND_ARGS}
           WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  # As many programs run at once as there are cores, each on one thread; tests of more threads ask for them.
  set_tests_properties(${target} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 900 ENVIRONMENT OMP_NUM_THREADS=1)
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
    gradflow_unity(sources ${target} ${sources})
    add_library(${target} STATIC ${sources})
    gradflow_compile_options(${target})
    set(scope PUBLIC)
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/src)
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
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
