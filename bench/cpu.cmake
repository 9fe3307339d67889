# Google Benchmark programs of the CPU backend.
smx_need_benchmark()

set(SMX_BENCH_FLAGS "" CACHE STRING "Compiler flags of the benchmarks, after those of the build type")
separate_arguments(smx_bench_own_flags UNIX_COMMAND "${SMX_BENCH_FLAGS}")
string(TOUPPER "${CMAKE_BUILD_TYPE}" smx_bench_type)
add_library(bench_rows STATIC rows.cpp)
target_link_libraries(bench_rows PUBLIC smx::cpu benchmark::benchmark)
target_include_directories(bench_rows PUBLIC "${PROJECT_SOURCE_DIR}")
# g++ 12 takes the undefined operand of its own AVX-512 intrinsics, as Eigen uses them, for an uninitialised variable.
target_compile_options(bench_rows PUBLIC $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized> ${smx_bench_own_flags})
# What the binaries say about themselves in their JSON.
string(STRIP "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${smx_bench_type}} ${SMX_BENCH_FLAGS}" smx_bench_flags)
target_compile_definitions(bench_rows PRIVATE
  BENCH_COMPILER="${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}"
  BENCH_FLAGS="-std=c++20 ${smx_bench_flags}"
  BENCH_BLAS="$<$<BOOL:${SMX_WITH_BLAS}>:${BLAS_LIBRARIES}>")

add_executable(bench_primitives bench_primitives.cpp)
target_link_libraries(bench_primitives PRIVATE bench_rows)

add_executable(bench_mixers bench_mixers.cpp mixers/attention.cpp mixers/causal_monarch.cpp mixers/dense.cpp
               mixers/long_convolution.cpp mixers/monarch.cpp mixers/ssd.cpp)
target_link_libraries(bench_mixers PRIVATE bench_rows)

add_executable(bench_models bench_models.cpp)
target_link_libraries(bench_models PRIVATE bench_rows)

# The peer that needs no Python: built where FFTW is installed.
find_library(SMX_FFTW3F fftw3f)
find_path(SMX_FFTW3_INCLUDE fftw3.h)
if(SMX_FFTW3F AND SMX_FFTW3_INCLUDE)
  add_executable(fftw_convolution peers/fftw_convolution.cpp)
  target_include_directories(fftw_convolution SYSTEM PRIVATE "${SMX_FFTW3_INCLUDE}")
  target_link_libraries(fftw_convolution PRIVATE "${SMX_FFTW3F}")
  target_compile_features(fftw_convolution PRIVATE cxx_std_20)
endif()
