# Finds what a target needs: an installed package first, else its release, fetched at a pinned tag.
# FETCHCONTENT_SOURCE_DIR_<NAME> (upper case) takes a local copy instead; SMX_FETCH=OFF never fetches.
include(FetchContent)

# smx_need(NAME TARGET PACKAGE VERSION REPOSITORY TAG [INCLUDE dir | SYSTEM target...] [OPTIONAL]): afterwards
# TARGET exists; where it cannot, configuring fails, unless OPTIONAL. With INCLUDE the package is header-only: only
# its sources are used, not its CMake code, and the imported target that takes their place is a system include, so
# that its warnings do not stop our build; SYSTEM does that for the targets of a package that is built.
function(smx_need name target package version repository tag)
  cmake_parse_arguments(A "OPTIONAL" "INCLUDE" "SYSTEM" ${ARGN})
  if(TARGET ${target})
    return()
  endif()
  find_package(${package} ${version} CONFIG QUIET GLOBAL)
  if(TARGET ${target})
    return()
  endif()
  if(NOT SMX_FETCH AND A_OPTIONAL)
    return()
  elseif(NOT SMX_FETCH)
    message(FATAL_ERROR "smx: ${target} (package ${package} ${version}) was not found and SMX_FETCH is OFF")
  endif()
  message(STATUS "smx: ${package} is not installed; fetching ${repository} at ${tag}")
  if(A_INCLUDE)
    FetchContent_Declare(${name} GIT_REPOSITORY ${repository} GIT_TAG ${tag} GIT_SHALLOW ON
                         SOURCE_SUBDIR sources_only)
    FetchContent_MakeAvailable(${name})
    add_library(${target} INTERFACE IMPORTED GLOBAL)
    target_include_directories(${target} SYSTEM INTERFACE "${${name}_SOURCE_DIR}/${A_INCLUDE}")
  else()
    FetchContent_Declare(${name} GIT_REPOSITORY ${repository} GIT_TAG ${tag} GIT_SHALLOW ON)
    FetchContent_MakeAvailable(${name})
    foreach(built IN LISTS A_SYSTEM)  # their headers are system headers, as those of an installed package are
      get_target_property(folders ${built} INTERFACE_INCLUDE_DIRECTORIES)
      set_target_properties(${built} PROPERTIES INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${folders}")
    endforeach()
  endif()
endfunction()

macro(smx_need_eigen)
  smx_need(eigen Eigen3::Eigen Eigen3 3.4 https://gitlab.com/libeigen/eigen.git 3.4.0 INCLUDE . OPTIONAL)
endmacro()

# No version: 3 does not satisfy a request for 2.13. Catch2WithMain comes with 2.13.10 and later.
macro(smx_need_catch2)
  smx_need(catch2 Catch2::Catch2WithMain Catch2 "" https://github.com/catchorg/Catch2.git v3.7.1
           SYSTEM Catch2)
endmacro()

macro(smx_need_benchmark)
  set(BENCHMARK_ENABLE_TESTING OFF)
  set(BENCHMARK_ENABLE_INSTALL OFF)
  smx_need(benchmark benchmark::benchmark benchmark 1.7 https://github.com/google/benchmark.git v1.7.1
           SYSTEM benchmark)
endmacro()

macro(smx_need_json)  # [OPTIONAL]
  smx_need(json nlohmann_json::nlohmann_json nlohmann_json 3.11 https://github.com/nlohmann/json.git v3.11.2
           INCLUDE single_include ${ARGN})
endmacro()

# Debian's package has no CMake files, and what is built from the sources has no namespace.
function(smx_need_utf8proc)  # [OPTIONAL]
  find_path(SMX_UTF8PROC_INCLUDE utf8proc.h)
  find_library(SMX_UTF8PROC_LIBRARY utf8proc)
  mark_as_advanced(SMX_UTF8PROC_INCLUDE SMX_UTF8PROC_LIBRARY)
  if(NOT TARGET utf8proc::utf8proc AND SMX_UTF8PROC_INCLUDE AND SMX_UTF8PROC_LIBRARY)
    add_library(utf8proc::utf8proc UNKNOWN IMPORTED GLOBAL)
    set_target_properties(utf8proc::utf8proc PROPERTIES IMPORTED_LOCATION "${SMX_UTF8PROC_LIBRARY}"
                                                        INTERFACE_INCLUDE_DIRECTORIES "${SMX_UTF8PROC_INCLUDE}")
  endif()
  if(TARGET utf8proc::utf8proc)
    return()
  endif()
  smx_need(utf8proc utf8proc utf8proc "" https://github.com/JuliaStrings/utf8proc.git v2.10.0 ${ARGN} SYSTEM utf8proc)
  if(TARGET utf8proc AND NOT TARGET utf8proc::utf8proc)
    add_library(utf8proc::utf8proc ALIAS utf8proc)
  endif()
endfunction()

macro(smx_need_cli11)  # [OPTIONAL]
  smx_need(cli11 CLI11::CLI11 CLI11 2.1 https://github.com/CLIUtils/CLI11.git v2.1.2 INCLUDE include ${ARGN})
endmacro()
