#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and tests smx. Installs what is missing (Debian packages) and ends with the summary of ctest.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'HELP'
usage: scripts/test.sh [options]

Without options, what CI runs: g++ and clang++ with every test between them; AddressSanitizer and UBSan (the kernels, files);
ThreadSanitizer where there are threads; one ctest run over the four builds. About twenty minutes on 2 cores.

  --quick         g++ only: the unit tests and the checks of the sources, no package or compile-time tests
  --preset NAME   one preset of CMakePresets.json with every test it has; may be repeated
  --jobs N        parallel jobs (default: one per core, at most one per 3 GiB of memory)
  --no-install    never install packages
  -h, --help      this text

Builds go to build/NAME and are kept, so that the next run only builds what changed.
HELP
}

presets=()
add_preset() {  # once: two builds would share a folder
  case " ${presets[*]-} " in
    *" $1 "*) ;;
    *) presets+=("$1") ;;
  esac
}
quick=no install=yes jobs="$(smx_jobs)"
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) quick=yes ;;
    --preset) smx_require_value "$1" $#; add_preset "$2"; shift ;;
    --preset=*) add_preset "${1#*=}" ;;
    --jobs) smx_require_value "$1" $#; jobs="$2"; shift ;;
    --jobs=*) jobs="${1#*=}" ;;
    --no-install) install=no ;;
    -h | --help) usage; exit 0 ;;
    *) smx_fail "unknown option: $1 (see --help)" ;;
  esac
  shift
done
smx_require_number --jobs "$jobs"
known="release debug asan-ubsan tsan clang native"
for preset in ${presets[@]+"${presets[@]}"}; do
  case " $known " in
    *" $preset "*) ;;
    *) smx_fail "option --preset: expected one of $known, got '$preset'" ;;
  esac
done
[ "$quick" = no ] || [ ${#presets[@]} -eq 0 ] || smx_fail "options --quick and --preset exclude each other"

# What each build of the full run tests, so that nothing is tested twice in the same way. g++ builds for its default
# instruction set, which conformance, mixers, models and goldens run on, and the kernels' own tests for AVX-512 where the
# machine has it; the sanitizers build them for AVX2, clang for this machine. g++ holds every mixer to the suite in double on
# every backend, clang in float on the CPU backend, whose kernels for float are code of their own. The tests of single
# layers are clang's: g++ compiles the same layers into models, goldens and programs, and tests those. A sanitizer says
# nothing about the sources or the package files, and that a header compiles alone does not depend on the compiler. The
# sanitizers run in float: kernels reach for memory, and threads share out work, in the same way in both precisions, and
# instrumented kernels take three times as long to compile.
units="core;io;backend;backend/cpu;structured;mixers;nn;models;examples;examples/training;conformance;goldens;fuzz"
release_parts="${units/;nn;/;};headers;compile_fail;package;architecture;scripts;docs;compile_time;cuda"
options_for() {
  case "$1" in
    release) echo "-DSMX_TEST_PARTS=$release_parts -DSMX_TEST_ISA=$isa -DSMX_TEST_CONFORMANCE=double -DSMX_BENCH_FLAGS=-O0 -DSMX_EXAMPLE_FLAGS=-Og -DSMX_EXAMPLES_TOGETHER=ON $cuda" ;;
    clang) echo "-DSMX_TEST_PARTS=core;io;backend;backend/cpu;structured;nn;models;conformance;fuzz;all_headers;compile_fail -DSMX_ARCH_FLAGS=-march=native -DSMX_TEST_ISA=build -DSMX_TEST_FLAGS=-O0 -DSMX_TEST_CONFORMANCE=float -DSMX_BUILD_FUZZERS=ON -DSMX_BUILD_BENCH=OFF -DSMX_BUILD_EXAMPLES=OFF" ;;
    asan-ubsan) echo "-DSMX_TEST_PARTS=io;backend/cpu;fuzz -DSMX_TEST_SCALARS=float -DSMX_ARCH_FLAGS=$avx2 -DSMX_TEST_ISA=build -DSMX_BUILD_EXAMPLES=OFF -DSMX_BUILD_BENCH=OFF" ;;
    tsan) echo "-DSMX_TEST_PARTS=backend -DSMX_TEST_SCALARS=float -DSMX_BUILD_EXAMPLES=OFF -DSMX_BUILD_BENCH=OFF" ;;
  esac
}
cpu_has() {
  local feature
  for feature; do grep -qw "$feature" /proc/cpuinfo 2>/dev/null || return 1; done
}
isa=build avx2=-march=native
! cpu_has avx512f avx512dq avx512bw avx512vl || isa=avx512
! cpu_has avx2 fma || avx2="-mavx2;-mfma"
# Where nvcc is: one architecture, and not the CUDA benchmarks, which scripts/gpu.sh builds where they can run. Without
# a GPU the tests only have to compile, to PTX, and link.
cuda="-DCMAKE_CUDA_ARCHITECTURES=90a -DSMX_BENCH_PARTS=cpu"
[ -e /dev/nvidiactl ] || cuda="-DCMAKE_CUDA_ARCHITECTURES=90a-virtual -DSMX_BENCH_PARTS=cpu -DSMX_CUDA_OPTIMIZE=OFF"
if [ "$quick" = yes ]; then
  presets=(release)
  options_for() { echo "-DSMX_TEST_PARTS=$units;architecture;scripts;docs;compile_fail"; }
elif [ ${#presets[@]} -gt 0 ]; then
  options_for() { echo "-DSMX_TEST_PARTS=all"; }
else
  presets=(release clang asan-ubsan tsan)
fi

if [ "$install" = yes ]; then
  packages=(cmake ninja-build g++ git python3 python3-matplotlib libeigen3-dev catch2 libbenchmark-dev
    nlohmann-json3-dev libcli11-dev libpng-dev libutf8proc-dev python3-venv)
  case " ${presets[*]} " in
    *" clang "*) packages+=(clang libclang-rt-dev) ;;
  esac
  smx_require_packages "${packages[@]}"
fi

cd "$smx_root"
all_tests=build/all  # a folder that names the others, so that one ctest run covers them
mkdir -p "$all_tests"
: >"$all_tests/CTestTestfile.cmake"
configure() {  # PRESET; becomes cmake
  local prefix="" generator=() launcher=() options=() light=()
  [ ${#presets[@]} -eq 1 ] || [ "$1" = release ] || prefix="$1."
  [ -e "build/$1/CMakeCache.txt" ] || ! command -v ninja >/dev/null 2>&1 || generator=(-G Ninja)
  ! command -v ccache >/dev/null 2>&1 || launcher=(-D CMAKE_CXX_COMPILER_LAUNCHER=ccache)
  read -r -a options <<<"$(options_for "$1")"
  # clang is here for its diagnostics and its code, not for speed: -O1 halves its build
  [ "$1" != clang ] || [ ${#presets[@]} -eq 1 ] || light=(-D "CMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG")
  mkdir -p "build/$1"
  exec cmake --preset "$1" ${generator[@]+"${generator[@]}"} ${launcher[@]+"${launcher[@]}"} ${light[@]+"${light[@]}"} \
    "${options[@]}" -D "SMX_TEST_PREFIX=$prefix" >"build/$1/configure.log" 2>&1
}

smx_say "configure ${presets[*]}"
configuring=()
trap 'kill "${configuring[@]}" 2>/dev/null || true' EXIT  # they would go on after Ctrl-C, or where one fails
for preset in "${presets[@]}"; do  # each is one process that waits for one compiler at a time
  configure "$preset" &
  configuring+=("$!")
done
for n in "${!presets[@]}"; do
  wait "${configuring[$n]}" || {
    cat "build/${presets[$n]}/configure.log" >&2
    smx_fail "configuring preset ${presets[$n]} failed"
  }
done
trap - EXIT
for preset in "${presets[@]}"; do
  smx_say "$preset: build"
  begin=$SECONDS
  cmake --build "build/$preset" --parallel "$jobs" || smx_fail "building preset $preset failed"
  smx_say "$preset: built in $((SECONDS - begin)) s"
  printf 'subdirs("%s/build/%s")\n' "$smx_root" "$preset" >>"$all_tests/CTestTestfile.cmake"
done

smx_say "test"
exec ctest --test-dir "$all_tests" --output-on-failure --parallel "$jobs"
