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
smx_require_packages g++ libeigen3-dev python3
cd "$smx_root"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${CXX:-g++}" -std=c++20 -Iinclude tests/docs/support_table.cpp -o "$folder/support_table" -pthread
python3 tests/docs/support_table.py README.md "$folder/support_table" --write
