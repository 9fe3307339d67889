#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the benchmarks for this machine, runs them, and writes one HTML page: throughput and memory of every mixer against
# sequence length, the length from which each is faster than softmax attention, and whole models.
#
# Usage: scripts/bench.sh [OPTION]...
#   --quick         about a minute of measuring: four lengths
#   --full          every row, however long it takes (default: under 10 minutes, building included)
#   --peers         time torch, FFTW and Hugging Face's models on the same shapes too, interleaved (installs torch and
#                   transformers into .venv-peers; adds minutes; models at L = 4096 and 8192 only with --full)
#   --out DIR       where index.html and results.json go (default: results)
#   --against OLD   compare with an earlier results.json
#   --filter REGEX  only rows whose name it matches, such as 'monarch.*L:4096'
#   --threads N     the second thread count beside 1 (default: all cores)
#   --compiler CXX  the compiler (default: g++)
#   --help          this text
# Ctrl-C ends the measuring and writes the page from what is there. Exit status: 0; 1 when something failed, 2 wrong use,
# 130 interrupted.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() { sed -n '3,18s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
wrong_use() {
  printf 'error: %s (see --help)\n' "$*" >&2
  exit 2
}
value_of() {  # OPTION COUNT VALUE
  if [ "$2" -lt 2 ] || [ -z "$3" ]; then wrong_use "option $1 needs a value"; fi
}

command_line="scripts/bench.sh$(printf ' %q' "$@")"
[ "$#" -gt 0 ] || command_line=scripts/bench.sh
mode=default peers=no out=results against='' filter='' threads=0 compiler=g++
while [ "$#" -gt 0 ]; do
  case "$1" in
    --quick | --full)
      [ "$mode" = default ] || [ "$mode" = "${1#--}" ] || wrong_use "--quick and --full exclude each other"
      mode="${1#--}"
      ;;
    --peers) peers=yes ;;
    --out) value_of "$1" "$#" "${2-}"; out="$2"; shift ;;
    --against) value_of "$1" "$#" "${2-}"; against="$2"; shift ;;
    --filter) value_of "$1" "$#" "${2-}"; filter="$2"; shift ;;
    --threads)
      value_of "$1" "$#" "${2-}"
      [[ "$2" =~ ^[1-9][0-9]{0,3}$ ]] || wrong_use "option --threads: expected a number from 1 to 9999, got '$2'"
      threads="$2"; shift
      ;;
    --compiler) value_of "$1" "$#" "${2-}"; compiler="$2"; shift ;;
    -h | --help) usage; exit 0 ;;
    *) wrong_use "unknown option $1" ;;
  esac
  shift
done
[ -z "$against" ] || [ -r "$against" ] || wrong_use "option --against: $against: no such file"
[ -z "$against" ] || against="$(realpath "$against")"
mkdir -p "$out" || wrong_use "option --out: cannot make $out"
out="$(cd "$out" && pwd)"

packages=(cmake make libeigen3-dev libbenchmark-dev python3 python3-matplotlib python3-numpy)
case "$(basename "$compiler")" in
  g++*) packages+=(g++) ;;
  clang++*) packages+=(g++ clang) ;;  # clang uses libstdc++
esac
[ "$peers" = no ] || packages+=(libfftw3-dev python3-venv)
smx_require_packages "${packages[@]}"
command -v "$compiler" >/dev/null || wrong_use "option --compiler: $compiler: no such program"
cd "$smx_root"

# The distribution's Python first: it is the one that has the distribution's matplotlib.
python=''
for candidate in /usr/bin/python3 python3; do
  if "$candidate" -c 'import matplotlib, numpy' 2>/dev/null; then
    python="$candidate"
    break
  fi
done
[ -n "$python" ] || smx_fail "no python3 with matplotlib and numpy"

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
torch_python=.venv-peers/bin/python
if [ "$peers" = yes ] && ! "$torch_python" -c 'import torch, transformers' 2>/dev/null; then
  smx_say "installing torch and transformers into .venv-peers (minutes)"
  if ! { "$python" -m venv .venv-peers &&
    "$torch_python" -m pip install --quiet --disable-pip-version-check numpy torch 'transformers>=5,<6' &&
    "$torch_python" -c 'import torch, transformers'; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    smx_fail "torch and transformers could not be installed; the messages are above"
  fi
fi

started="$SECONDS"
build="build/bench-$(basename "$compiler")"
smx_say "building the benchmarks with $compiler -O3 -march=native (minutes the first time)"
if ! { cmake --preset native -B "$build" -D CMAKE_CXX_COMPILER="$compiler" -D SMX_BUILD_TESTS=OFF \
    -D SMX_BUILD_EXAMPLES=OFF -D SMX_BUILD_BENCH=ON -D SMX_BENCH_PARTS=cpu &&
  cmake --build "$build" -j "$(smx_jobs)"; } >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  smx_fail "the benchmarks could not be built; the messages are above"
fi

options=(--bin "$build/bench" --out "$out" --mode "$mode" --threads "$threads" --command "$command_line")
[ "$mode" != default ] || options+=(--spent "$((SECONDS - started))")
[ -z "$filter" ] || options+=(--filter "$filter")
[ -z "$against" ] || options+=(--against "$against")
[ "$peers" = no ] || options+=(--peers "$torch_python")
smx_say "measuring ($mode); Ctrl-C ends it and keeps what is there"
rm -f "$log"
trap - EXIT
exec "$python" bench/report/run.py "${options[@]}"
