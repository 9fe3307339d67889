#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# unknown_option.sh FOLDER: each script in the folder refuses an option that it does not know, by name and at once, before
# it installs or builds anything, and explains itself on --help.
set -uo pipefail
failed=0
for script in "$1"/*.sh; do
  name="$(basename "$script")"
  [ "$name" != lib.sh ] || continue
  if output="$(timeout 20 bash "$script" --no-such-option </dev/null 2>&1)"; then
    echo "$name: accepts --no-such-option"
    failed=1
  elif [[ "$output" != *--no-such-option* ]]; then
    echo "$name: the error does not name the option: $output"
    failed=1
  fi
  if ! output="$(timeout 20 bash "$script" --help </dev/null 2>&1)" || [[ "$output" != *[Uu]sage:* ]]; then
    echo "$name: --help does not print the usage: $output"
    failed=1
  fi
done
exit $failed
