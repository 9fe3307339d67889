# Builds and runs the consumer: cmake -D USE=... -D SMX_SOURCE=... -D BUILD=... -D COMPILER=... [-D SMX_BINARY=...]
# [-D CORE_ONLY=ON] -P run.cmake. find_package takes what `cmake --install SMX_BINARY` puts into an empty prefix.
include("${CMAKE_CURRENT_LIST_DIR}/run_function.cmake")

file(REMOVE_RECURSE "${BUILD}")
set(configure ${CMAKE_COMMAND} -S "${CMAKE_CURRENT_LIST_DIR}/consumer" -B "${BUILD}/build" -D USE=${USE}
              -D SMX_SOURCE=${SMX_SOURCE} -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_BUILD_TYPE=Debug)
if(GENERATOR)
  list(APPEND configure -G ${GENERATOR})
endif()
if(USE STREQUAL "find_package")
  run(${CMAKE_COMMAND} --install "${SMX_BINARY}" --prefix "${BUILD}/prefix")
  list(APPEND configure -D CMAKE_PREFIX_PATH=${BUILD}/prefix)
endif()
if(CORE_ONLY)
  list(APPEND configure -D CORE_ONLY=ON -D CMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON)
endif()
run(${configure})
run(${CMAKE_COMMAND} --build "${BUILD}/build")
run("${BUILD}/build/consumer")
run("${BUILD}/build/no_exceptions")
