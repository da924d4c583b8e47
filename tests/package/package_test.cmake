# Run by ctest, see CMakeLists.txt beside this file. Fails with the output of the step that failed.
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    string(REPLACE ";" " " command "${ARGN}")
    message(FATAL_ERROR "${command}\n${output}\nexit status ${status}")
  endif()
endfunction()

if(MODE STREQUAL "package_consumer")
  run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
  # Moved, so that a path of the build or of the first prefix left in the package would show.
  file(RENAME ${WORK}/prefix ${WORK}/moved)
  set(how -D CMAKE_PREFIX_PATH=${WORK}/moved)
else()
  set(how -D GRADFLOW_SUBPROJECT=${SOURCE} -D GRADFLOW_WARNINGS_AS_ERRORS=ON -D GRADFLOW_UNITY=${UNITY})
endif()

run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/consumer -B ${WORK}/build -G ${GENERATOR}
    -D CMAKE_BUILD_TYPE=${BUILD_TYPE} -D CMAKE_C_COMPILER=${C_COMPILER} -D CMAKE_CXX_COMPILER=${CXX_COMPILER}
    -D CMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER} ${how})
run(${CMAKE_COMMAND} --build ${WORK}/build --parallel 2 --target consumer)
run(${WORK}/build/consumer ${SOURCE})

if(MODE STREQUAL "package_consumer" AND EXISTS ${WORK}/moved/bin/gradflow)
  run(${WORK}/moved/bin/gradflow --version)
endif()
