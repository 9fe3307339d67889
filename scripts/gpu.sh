#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the CUDA tests and benchmarks on a machine with a GPU, runs the conformance suite and the goldens, compute-sanitizer
# and the benchmarks on it, and writes JSON and one HTML page. Needs nvcc, cmake and ninja, no network; python3 for the
# sanitizer and the benchmarks, with matplotlib for the page, with torch for its rivals; nlohmann_json for the goldens.
#
# Usage: scripts/gpu.sh [OPTION]...
#   --smoke          the essentials, in two minutes (default: all but --full's, in about eight)
#   --full           the conformance suite in f64 too, for as long as it takes
#   --out DIR        where everything that is found goes: index.html, results.json, logs (default: results/gpu)
#   --build-dir DIR  the build folder, such as one that was carried over (default: build/gpu)
#   --no-build       take the build folder as it is
#   --build-only     build and stop; needs no GPU
#   --only STAGES    some of test,sanitize,bench, by comma
#   --filter REGEX   only benchmark rows whose name it matches, such as 'monarch.*L:4096'
#   --against OLD    compare with an earlier results.json
#   --no-peers       time no other libraries (cuBLAS, cuFFT, torch)
#   --arch LIST      architectures to compile for, as CMAKE_CUDA_ARCHITECTURES (default: this machine's GPU; without one 90a)
#   --jobs N         parallel compile jobs (default: one per core, at most one per 3 GiB of memory)
#   --help           this text
# A stage that fails does not stop the later ones. Ctrl-C keeps what is there. Exit status: 0; 1 when a stage failed, 2 wrong
# use or no GPU, 130 interrupted.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() { sed -n '3,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
wrong_use() {
  printf 'error: %s (see --help)\n' "$*" >&2
  exit 2
}
value_of() {  # OPTION COUNT VALUE
  if [ "$2" -lt 2 ] || [ -z "$3" ]; then wrong_use "option $1 needs a value"; fi
}

command_line="scripts/gpu.sh$(printf ' %q' "$@")"
[ "$#" -gt 0 ] || command_line=scripts/gpu.sh
mode=default full=no out=results/gpu build=build/gpu make=yes build_only=no only='' filter='' against='' peers=yes arch='' jobs=''
while [ "$#" -gt 0 ]; do
  case "$1" in
    --smoke) mode=quick ;;
    --full) full=yes ;;
    --out) value_of "$1" "$#" "${2-}"; out="$2"; shift ;;
    --build-dir) value_of "$1" "$#" "${2-}"; build="$2"; shift ;;
    --no-build) make=no ;;
    --build-only) build_only=yes ;;
    --only) value_of "$1" "$#" "${2-}"; only="$2"; shift ;;
    --filter) value_of "$1" "$#" "${2-}"; filter="$2"; shift ;;
    --against) value_of "$1" "$#" "${2-}"; against="$2"; shift ;;
    --no-peers) peers=no ;;
    --arch) value_of "$1" "$#" "${2-}"; arch="$2"; shift ;;
    --jobs)
      value_of "$1" "$#" "${2-}"
      [[ "$2" =~ ^[1-9][0-9]{0,3}$ ]] || wrong_use "option --jobs: expected a number from 1 to 9999, got '$2'"
      jobs="$2"; shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) wrong_use "unknown option $1" ;;
  esac
  shift
done
[ "$mode" = default ] || [ "$full" = no ] || wrong_use "--smoke and --full exclude each other"
[ "$make" = yes ] || [ "$build_only" = no ] || wrong_use "--no-build and --build-only exclude each other"
[ -z "$against" ] || [ -r "$against" ] || wrong_use "option --against: $against: no such file"
[ -z "$against" ] || against="$(realpath "$against")"
stages=(test sanitize bench)
if [ -n "$only" ]; then
  IFS=, read -r -a stages <<<"$only"
  for stage in "${stages[@]}"; do
    case "$stage" in
      test | sanitize | bench) ;;
      *) wrong_use "option --only: expected some of test,sanitize,bench, got '$stage'" ;;
    esac
  done
fi
mkdir -p "$out" || wrong_use "option --out: cannot make $out"
out="$(cd "$out" && pwd)"
[ "${build#/}" != "$build" ] || build="$smx_root/$build"
cd "$smx_root"

find_tool() {  # NAME: its path, also where the CUDA toolkit is not on the PATH
  command -v "$1" 2>/dev/null || { [ -x "/usr/local/cuda/bin/$1" ] && echo "/usr/local/cuda/bin/$1"; } || true
}
gpu_query() {  # FIELD, of the first GPU; nothing without one
  local smi
  smi="$(find_tool nvidia-smi)"
  [ -n "$smi" ] || return 0
  { timeout 60 "$smi" --query-gpu="$1" --format=csv,noheader 2>/dev/null || true; } | head -n 1
}
gpu="$(gpu_query name)"
case "$gpu" in
  '' | *[Ff]ailed* | *[Ee]rror* | 'No devices'*) gpu='' ;;
esac
# A driver without its nvidia-smi: the tests and the benchmarks find the device themselves.
[ -n "$gpu" ] || ! compgen -G '/dev/nvidia[0-9]*' >/dev/null || gpu='an NVIDIA GPU that nvidia-smi does not name'
if [ "$build_only" = no ]; then
  if [ -z "$gpu" ]; then
    printf 'error: no GPU: nvidia-smi finds none (--build-only builds without one)\n' >&2
    exit 2
  fi
  smx_say "GPU: $gpu"
fi

failed=() times=() building='' testing=''
interrupted() {
  trap '' INT TERM
  local one
  for one in "$building" "$testing"; do [ -z "$one" ] || kill "$one" 2>/dev/null || true; done
  printf '\ninterrupted; what was found until then is in %s\n' "$out" >&2
  exit 130
}
trap interrupted INT TERM

# stage NAME COMMAND...: runs it, says how long it took, and remembers a failure. Status 77: nothing to do, with the reason
# on its last line.
stage() {
  local name="$1" started="$SECONDS" code=0
  shift
  smx_say "$name"
  "$@" || code=$?
  local took="$((SECONDS - started)) s"
  case "$code" in
    0) ;;
    77) took="$took, skipped" ;;
    130) interrupted ;;
    *) failed+=("$name"); took="$took, FAILED" ;;
  esac
  times+=("$(printf '%-10s %s' "$name" "$took")")
  smx_say "$name: $took"
}

compile() {
  local nvcc capability
  nvcc="$(find_tool nvcc)"
  [ -n "$nvcc" ] || { echo "error: no nvcc on the PATH or in /usr/local/cuda/bin" >&2; return 1; }
  command -v cmake >/dev/null || { echo "error: no cmake" >&2; return 1; }
  command -v ninja >/dev/null || { echo "error: no ninja" >&2; return 1; }
  if [ -z "$arch" ]; then
    capability="$(gpu_query compute_cap)"
    [[ "$capability" =~ ^[0-9]+\.[0-9]+$ ]] || capability=9.0
    arch="${capability/./}"
    [ "${capability%%.*}" -lt 9 ] || arch="${arch}a"  # with the instructions of that generation alone
  fi
  local cuda_tests=float
  [ "$mode" = default ] || cuda_tests=short
  [ "$full" = no ] || cuda_tests=all
  if ! CUDACXX="$nvcc" cmake --preset release -S . -B "$build" -G Ninja -D SMX_WITH_CUDA=ON -D SMX_FETCH=OFF \
    -D SMX_BUILD_TESTS=ON -D SMX_TEST_PARTS=cuda -D SMX_BUILD_BENCH=ON -D SMX_BENCH_PARTS=cuda \
    -D SMX_BUILD_EXAMPLES=OFF -D SMX_EMULATE_CUDA=OFF -D SMX_CUDA_TESTS="$cuda_tests" -D "CMAKE_CUDA_ARCHITECTURES=$arch" >"$out/configure.log" 2>&1; then
    tail -n 40 "$out/configure.log" >&2
    return 1
  fi
  if [[ " ${stages[*]} " != *" test "* ]] || [ "$build_only" = yes ]; then
    run_ninja build
    return
  fi
  # The tests need the GPU and hardly a core: what they do not run compiles beside them.
  local code=0
  run_ninja build cuda_tests cuda_no_device || code=$?
  start_ninja >"$out/build_rest.log" 2>&1 &
  building=$!
  return "$code"
}

# What does not compile stops neither the rest nor the stages that do not need it. In the background it becomes ninja, so
# that a signal reaches that.
start_ninja() { exec ninja -C "$build" -j "${jobs:-$(smx_jobs)}" -k 0 "$@"; }
say_what_failed() { grep -E 'error|FAILED|ninja:' "$1" | head -n 40 >&2 || true; }
# run_ninja LOG [TARGET...]
run_ninja() {
  local log="$out/$1.log" code=0
  shift
  (start_ninja "$@") >"$log" 2>&1 || code=$?
  [ "$code" -eq 0 ] || say_what_failed "$log"
  return "$code"
}
end_rest() {
  local code=0
  wait "$building" || code=$?
  building=''
  [ "$code" -eq 0 ] || say_what_failed "$out/build_rest.log"
  return "$code"
}

# run_tests LOG [CTEST OPTION]... Tests are labelled cuda; smoke are those that --smoke runs.
run_tests() {
  local log="$1" select=(-L '^cuda$') seconds=240 found
  shift
  [ "$mode" = default ] || { select+=(-L '^smoke$'); seconds=60; }
  [ "$full" = no ] || seconds=3600
  select+=("$@")
  found="$(ctest --test-dir "$build" "${select[@]}" -N | sed -n 's/^Total Tests: //p')"
  [ "${found:-0}" -gt 0 ] || { echo "error: no test is labelled ${select[*]}" >&2; return 1; }
  # A group of processes, so that a test that hangs ends with ctest; in the background, so that a signal is not kept waiting.
  local code=0
  timeout --kill-after=10 "$seconds" ctest --test-dir "$build" "${select[@]}" --output-on-failure --no-tests=error \
    --parallel "$(nproc)" --output-junit "$out/$log.xml" >"$out/$log.log" 2>&1 &
  testing=$!
  wait "$testing" || code=$?
  testing=''
  if [ "$code" -ne 0 ]; then
    tail -n 60 "$out/$log.log"
    [ "$code" -ne 124 ] || echo "the tests did not end within $seconds s"
    return 1
  fi
  tail -n 12 "$out/$log.log"
  # They skip where CUDA finds no device; there is one here.
  if grep -q '(Skipped)' "$out/$log.log"; then
    echo "error: tests were skipped: CUDA finds no device that it can use, but there is $gpu" >&2
    return 1
  fi
}

# compute-sanitizer on the tests labelled sanitize, each under each of its tools.
run_sanitizer() {
  local sanitizer seconds=75
  sanitizer="$(find_tool compute-sanitizer)"
  [ -n "$sanitizer" ] || { echo "no compute-sanitizer here"; return 77; }
  [ "$mode" = default ] || seconds=25
  "$python" tests/cuda/sanitize.py --sanitizer "$sanitizer" --build "$build" --out "$out" --seconds "$seconds"
}

# The goldens have a program of their own, but for --smoke.
run_goldens() {
  [ "$mode" = default ] || return 0
  if [ "$(ctest --test-dir "$build" -L '^goldens$' -N | sed -n 's/^Total Tests: //p')" != 0 ]; then
    stage goldens run_tests goldens -L '^goldens$'
  else
    stage goldens no_goldens
  fi
}
no_goldens() {
  echo "the goldens were not built: cmake found no nlohmann_json 3.11 (CMAKE_PREFIX_PATH says where to look)"
  return 77
}
finish_build() {
  [ -n "$building" ] || return 0
  stage build-rest end_rest
  run_goldens
}

run_bench() {
  local options=(--bin "$build/bench/cuda" --out "$out" --mode "$mode" --command "$command_line")
  [ -z "$filter" ] || options+=(--filter "$filter")
  [ -z "$against" ] || options+=(--against "$against")
  [ "$peers" = yes ] || options+=(--no-peers)
  "$python" bench/report/run_cuda.py "${options[@]}"
}

if [ "$make" = yes ]; then stage build compile; fi
if [ "$build_only" = no ]; then
  # A Python with matplotlib, if there is one: a plain python3 is the one that holds torch, where there is torch.
  python=''
  for candidate in python3 /usr/bin/python3; do
    if "$candidate" -c 'import matplotlib, numpy' 2>/dev/null; then
      python="$candidate"
      break
    fi
  done
  [ -n "$python" ] || python=python3
  for name in "${stages[@]}"; do
    case "$name" in
      test)
        stage "$name" run_tests tests -LE '^goldens$'
        [ -n "$building" ] || run_goldens
        ;;
      sanitize) stage "$name" run_sanitizer ;;
      bench)
        finish_build
        stage "$name" run_bench
        ;;
    esac
  done
  finish_build
fi
smx_say "done in $SECONDS s; everything is in $out"
printf '   %s\n' "${times[@]}"
if [ "${#failed[@]}" -gt 0 ]; then
  printf 'failed: %s\n' "${failed[*]}" >&2
  exit 1
fi
