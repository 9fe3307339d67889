#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Writes the table of mixers, patterns and backends in README.md anew, from the traits of the mixers.
#
# Usage: scripts/support_table.sh
# CXX names the compiler (default: g++).
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1-}" in
  '') ;;
  -h | --help) sed -n '3,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
  *) printf 'error: unknown option %s (see --help)\n' "$1" >&2; exit 2 ;;
esac
smx_require_packages cmake make g++ libeigen3-dev catch2 python3
cd "$smx_root"
# the build knows how the concepts are asked of the CUDA backend: on the emulator of its tests
folder=build/support_table
cmake -B "$folder" -D CMAKE_CXX_COMPILER="${CXX:-g++}" -D CMAKE_BUILD_TYPE=Debug -D SMX_TEST_PARTS=docs -D SMX_BUILD_BENCH=OFF \
  -D SMX_BUILD_EXAMPLES=OFF -D SMX_WITH_CUDA=OFF >/dev/null
cmake --build "$folder" --target support_table >/dev/null
python3 tests/docs/support_table.py README.md "$folder/tests/docs/support_table" --write
