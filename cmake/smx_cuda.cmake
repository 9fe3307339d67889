# CUDA: the toolkit that smx::cuda links, and the language for our own programs.
include(CheckLanguage)

set(SMX_WITH_CUDA AUTO CACHE STRING "smx::cuda: AUTO where a CUDA toolkit is found, ON to require one, OFF")
set_property(CACHE SMX_WITH_CUDA PROPERTY STRINGS AUTO ON OFF)
# A100; H100 and H200, with the instructions that only they have; PTX for what comes after them.
set(smx_cuda_architectures 80-real 90a-real 90-virtual)

# Sets SMX_HAS_CUDA_TOOLKIT: whether CUDA::cudart and CUDA::cublas exist. C++20 needs CUDA 12.
macro(smx_find_cuda_toolkit)
  set(SMX_HAS_CUDA_TOOLKIT OFF)
  if(SMX_WITH_CUDA)  # AUTO too
    find_package(CUDAToolkit 12.0 QUIET GLOBAL)
    if(TARGET CUDA::cudart AND TARGET CUDA::cublas)
      set(SMX_HAS_CUDA_TOOLKIT ON)
    elseif(NOT SMX_WITH_CUDA STREQUAL "AUTO")
      message(FATAL_ERROR "smx: SMX_WITH_CUDA is ${SMX_WITH_CUDA}, and no CUDA toolkit 12 or later with cuBLAS was found")
    endif()
  endif()
endmacro()

# Sets SMX_HAS_CUDA: whether CUDA programs can be compiled here. Only programs of our own need the language; smx::cuda is
# headers.
macro(smx_enable_cuda_language)
  set(SMX_HAS_CUDA OFF)
  if(SMX_HAS_CUDA_TOOLKIT)
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
      set(CMAKE_CUDA_ARCHITECTURES ${smx_cuda_architectures} CACHE STRING "GPUs that CUDA programs are compiled for")
    endif()
    if(NOT DEFINED CMAKE_CUDA_HOST_COMPILER AND NOT DEFINED ENV{CUDAHOSTCXX} AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      set(CMAKE_CUDA_HOST_COMPILER "${CMAKE_CXX_COMPILER}" CACHE FILEPATH "Compiler that nvcc calls for host code")
    endif()
    if(NOT DEFINED ENV{CUDACXX} AND CUDAToolkit_NVCC_EXECUTABLE)
      set(ENV{CUDACXX} "${CUDAToolkit_NVCC_EXECUTABLE}")  # nvcc need not be on the PATH
    endif()
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
      enable_language(CUDA)
      set(SMX_HAS_CUDA ON)
      set(CMAKE_CUDA_EXTENSIONS OFF)
      set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # the one that smx::cuda links: not two in a program
      if("cuda_std_20" IN_LIST CMAKE_CUDA_COMPILE_FEATURES)
        set(CMAKE_CUDA_STANDARD 20)
        set(CMAKE_CUDA_STANDARD_REQUIRED ON)
      else()  # CMake 3.25 does not know that nvcc has it
        string(APPEND CMAKE_CUDA_FLAGS " -std=c++20")
      endif()
    elseif(NOT SMX_WITH_CUDA STREQUAL "AUTO")
      message(FATAL_ERROR "smx: SMX_WITH_CUDA is ${SMX_WITH_CUDA}, and nvcc compiles nothing here")
    endif()
  endif()
  if(NOT SMX_HAS_CUDA)
    message(STATUS "smx: no CUDA compiler, so no CUDA programs are built")
  endif()
endmacro()

option(SMX_CUDA_OPTIMIZE "Optimise CUDA programs; OFF where they are only compiled and linked, in a quarter of the time" ON)
set(smx_cuda_unoptimized -Xcicc=-O0 -Xptxas=-O0)
# smx_cuda_host_optimization(-O1): how the host code of this folder's CUDA programs is optimised. nvcc puts its own -O behind
# every -Xcompiler=-O, so that one has to change.
macro(smx_cuda_host_optimization level)
  string(REGEX REPLACE "-O[0-3]" "${level}" CMAKE_CUDA_FLAGS_RELEASE "${CMAKE_CUDA_FLAGS_RELEASE}")
endmacro()
# What nvcc's own front end warns about, and what the host compiler does; -Wpedantic would find nvcc's generated code.
set(smx_cuda_warnings -Werror=all-warnings -Xcompiler=-Wall,-Wextra,-Wconversion,-Wshadow,-Werror)
