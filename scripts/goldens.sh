#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Recomputes reference outputs: builds smx_goldens when needed and runs it on a folder of .safetensors files.
#
# Usage: scripts/goldens.sh DIR
# Exit status: that of smx_goldens: 0 all passed, 1 something failed, 2 wrong use; 1 when the build fails.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() { sed -n '3,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
wrong_use() {
  printf 'error: %s (see --help)\n' "$*" >&2
  exit 2
}

[ "$#" -eq 1 ] || wrong_use "expected one folder, got $# arguments"
case "$1" in
  -h | --help) usage; exit 0 ;;
  -*) wrong_use "unknown option $1" ;;
  '') wrong_use "expected one folder, got an empty name" ;;
esac
[ -d "$1" ] || wrong_use "$1: no such folder"
folder="$(cd -- "$1" && pwd)"

smx_require_packages cmake g++ make libeigen3-dev catch2 nlohmann-json3-dev libbenchmark-dev libcli11-dev >&2
cd "$smx_root"
smx_say "building smx_goldens (minutes the first time)" >&2
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
if ! { cmake --preset release -D SMX_TEST_PARTS=all &&
  cmake --build --preset release --target smx_goldens -j "$(smx_jobs)"; } >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  smx_fail "smx_goldens could not be built; the messages are above"
fi
build/release/tests/goldens/smx_goldens "$folder"
