#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Writes the handwritten digits that the Python package scikit-learn carries (1797 images of 8x8 pixels with values from
# 0 to 16, UCI's optical recognition test set) as NumPy files: images.npy (1797,8,8) and labels.npy (1797).
# The package is downloaded with pip and read; nothing is installed.
#
# Usage: scripts/fetch_digits.sh [--out DIR]
#   --out DIR   where the files go (default: build/data/digits); files that are there and whole are kept
# Exit status: 0; 1 when something failed, 2 wrong use, 77 when there is no network.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

wrong_use() {
  printf 'error: %s (see --help)\n' "$*" >&2
  exit 2
}

out="$smx_root/build/data/digits"
while [ "$#" -gt 0 ]; do
  case "$1" in
    --out)
      if [ "$#" -lt 2 ] || [ -z "$2" ]; then wrong_use "option --out needs a value"; fi
      out="$2"; shift
      ;;
    -h | --help) sed -n '3,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) wrong_use "unknown option $1" ;;
  esac
  shift
done

# 128 bytes of header, and 1797 images of 64 bytes or labels of 8
whole() { [ "$(stat -c %s -- "$1" 2>/dev/null || true)" = "$2" ]; }
if whole "$out/images.npy" 115136 && whole "$out/labels.npy" 14504; then
  smx_say "the digits are in $out"
  exit 0
fi
mkdir -p -- "$out" 2>/dev/null || smx_fail "cannot make the folder $out"

command -v python3 >/dev/null || smx_fail "no python3 (Debian: apt-get install python3 python3-venv)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
pip=(python3 -m pip)
if ! "${pip[@]}" --version >/dev/null 2>&1; then
  python3 -m venv "$work/venv" >"$work/log" 2>&1 ||
    smx_fail "python3 has neither pip nor venv (Debian: apt-get install python3-venv)"
  pip=("$work/venv/bin/python" -m pip)
fi
smx_say "downloading the package scikit-learn (about 10 MB)"
if ! "${pip[@]}" --disable-pip-version-check --no-input --retries 2 --timeout 30 download --quiet --no-deps --only-binary :all: \
  --dest "$work" scikit-learn >"$work/log" 2>&1; then
  tail -n 5 "$work/log" >&2
  if grep -qiE 'connection|resolution|unreachable|timed out|proxy' "$work/log"; then
    printf 'skipped: no network\n' >&2
    exit 77
  fi
  smx_fail "pip could not download scikit-learn; its messages are above"
fi
python3 - "$work" "$out" <<'PYTHON' || smx_fail "the package does not carry the digits as expected"
import glob, gzip, os, sys, zipfile

work, out = sys.argv[1:]
wheel = zipfile.ZipFile(glob.glob(os.path.join(work, "*.whl"))[0])
rows = [[int(float(n)) for n in line.split(",")]
        for line in gzip.decompress(wheel.read("sklearn/datasets/data/digits.csv.gz")).decode().split()]
assert len(rows) == 1797 and all(len(row) == 65 and 0 <= min(row) and max(row) <= 16 and row[64] <= 9 for row in rows)


def write(name, descr, shape, data):
    header = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (descr, shape)
    header += " " * (117 - len(header)) + "\n"
    part = os.path.join(out, name + ".part")
    with open(part, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data)
    os.replace(part, os.path.join(out, name))


write("images.npy", "|u1", (1797, 8, 8), bytes(pixel for row in rows for pixel in row[:64]))
write("labels.npy", "<i8", (1797,), b"".join(row[64].to_bytes(8, "little") for row in rows))
PYTHON
smx_say "the digits are in $out: images.npy, labels.npy"
