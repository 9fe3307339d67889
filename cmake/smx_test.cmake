# smx_test(NAME SOURCES ... [LINK ...] [ISA ...] [PRECOMPILE header...] [TIMEOUT seconds]): a Catch2 executable test_NAME,
# the ctest NAME. Headers that all of many sources include are worth precompiling: Catch2 and Eigen take seconds.
#
# Each ISA (avx2, avx512) adds an executable test_NAME_ISA and a ctest NAME.ISA from the same sources, where the
# compiler knows the flags. At run time it is skipped, with the reason, on a CPU that lacks them.
include(CheckCXXCompilerFlag)

set(smx_isa_flags_avx2 -mavx2 -mfma)
set(smx_isa_flags_avx512 -mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx2 -mfma)
set(smx_isa_features_avx2 avx2,fma)
set(smx_isa_features_avx512 avx512f,avx512dq,avx512bw,avx512vl,avx2,fma)

foreach(isa avx2 avx512)
  string(REPLACE ";" " " flags "${smx_isa_flags_${isa}}")
  check_cxx_compiler_flag("${flags}" SMX_COMPILER_HAS_${isa})
endforeach()

function(smx_test_executable target)
  cmake_parse_arguments(A "" "" "SOURCES;LINK;PRECOMPILE" ${ARGN})
  add_executable(${target} ${A_SOURCES} "${PROJECT_SOURCE_DIR}/tests/sanitizer_options.cpp")
  set_source_files_properties("${PROJECT_SOURCE_DIR}/tests/sanitizer_options.cpp" PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
  target_precompile_headers(${target} PRIVATE ${A_PRECOMPILE})
  target_link_libraries(${target} PRIVATE ${A_LINK} Catch2::Catch2WithMain)
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_compile_definitions(${target} PRIVATE TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data")
endfunction()

function(smx_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;LINK;ISA;PRECOMPILE" ${ARGN})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 600)
  endif()
  smx_test_executable(test_${name} SOURCES ${A_SOURCES} LINK ${A_LINK} PRECOMPILE ${A_PRECOMPILE})
  add_test(NAME ${SMX_TEST_PREFIX}${name} COMMAND test_${name})
  set_tests_properties(${SMX_TEST_PREFIX}${name} PROPERTIES TIMEOUT ${A_TIMEOUT} LABELS unit)
  foreach(isa IN LISTS A_ISA)
    if(SMX_COMPILER_HAS_${isa})
      smx_test_executable(test_${name}_${isa} SOURCES ${A_SOURCES} LINK ${A_LINK} PRECOMPILE ${A_PRECOMPILE})
      target_compile_options(test_${name}_${isa} PRIVATE ${smx_isa_flags_${isa}})
      set(test ${SMX_TEST_PREFIX}${name}.${isa})
      add_test(NAME ${test}
               COMMAND run_if_cpu_has ${smx_isa_features_${isa}} $<TARGET_FILE:test_${name}_${isa}>)
      set_tests_properties(${test} PROPERTIES TIMEOUT ${A_TIMEOUT} LABELS "unit;isa" SKIP_RETURN_CODE 77)
    endif()
  endforeach()
endfunction()

# smx_check(NAME COMMAND ... [TIMEOUT seconds]): a ctest on the sources or the build.
function(smx_check name)
  cmake_parse_arguments(A "" "TIMEOUT" "COMMAND" ${ARGN})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 60)
  endif()
  add_test(NAME ${SMX_TEST_PREFIX}${name} COMMAND ${A_COMMAND})
  set_tests_properties(${SMX_TEST_PREFIX}${name} PROPERTIES TIMEOUT ${A_TIMEOUT} LABELS build)
endfunction()
