# Installs, then builds and runs cuda_consumer against what was installed: cmake -D SMX_BINARY=... -D BUILD=...
# -D COMPILER=... -D CUDA_COMPILER=... -D CUDA_FLAGS=... -D GENERATOR=... -P run_cuda.cmake. One architecture: it is not what is tested.
include("${CMAKE_CURRENT_LIST_DIR}/run_function.cmake")

file(REMOVE_RECURSE "${BUILD}")
run(${CMAKE_COMMAND} --install "${SMX_BINARY}" --prefix "${BUILD}/prefix")
run(${CMAKE_COMMAND} -S "${CMAKE_CURRENT_LIST_DIR}/cuda_consumer" -B "${BUILD}/build" -G ${GENERATOR}
    -D CMAKE_PREFIX_PATH=${BUILD}/prefix -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_CUDA_COMPILER=${CUDA_COMPILER}
    -D CMAKE_CUDA_ARCHITECTURES=80 "-D CMAKE_CUDA_FLAGS=${CUDA_FLAGS}")
run(${CMAKE_COMMAND} --build "${BUILD}/build")
run("${BUILD}/build/consumer")
