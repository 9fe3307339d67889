# The library's targets, their installation, and the warnings that our own programs are compiled with.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(smx_warnings -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  list(APPEND smx_warnings -Wno-restrict)  # GCC bug 105329: false alarms in std::string's operator+
endif()

# smx_library(NAME COMPONENT component HEADERS ... [LINK ...]): the interface target smx::NAME of these headers.
# Every header compiles alone: target all_verify_interface_header_sets.
function(smx_library name)
  cmake_parse_arguments(A "" "COMPONENT" "HEADERS;LINK" ${ARGN})
  if(name STREQUAL "smx")
    set(target smx)
  else()
    set(target smx_${name})
  endif()
  add_library(${target} INTERFACE)
  add_library(smx::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name} VERIFY_INTERFACE_HEADER_SETS ON)
  target_compile_features(${target} INTERFACE cxx_std_20)
  target_link_libraries(${target} INTERFACE ${A_LINK})
  target_sources(${target} INTERFACE FILE_SET HEADERS BASE_DIRS "${PROJECT_SOURCE_DIR}/include"
                                     FILES ${A_HEADERS})
  if(SMX_INSTALL)
    install(TARGETS ${target} EXPORT smx-${A_COMPONENT}-targets FILE_SET HEADERS)
    install(EXPORT smx-${A_COMPONENT}-targets NAMESPACE smx:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/smx)
    if(NOT name STREQUAL "testing")  # it links Catch2 in the build tree, which has no export set when fetched
      export(EXPORT smx-${A_COMPONENT}-targets NAMESPACE smx:: FILE smx-${A_COMPONENT}-targets.cmake)
    endif()
  endif()
endfunction()

function(smx_install_package)
  if(NOT SMX_INSTALL)
    return()
  endif()
  configure_package_config_file(cmake/smx-config.cmake.in smx-config.cmake
                                INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/smx)
  write_basic_package_version_file(smx-config-version.cmake COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/smx-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/smx-config-version.cmake
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/smx)
endfunction()
