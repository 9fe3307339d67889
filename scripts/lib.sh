# SPDX-License-Identifier: Apache-2.0
# Shell functions that the scripts here share. Source it; it runs nothing by itself.

smx_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

smx_say() { printf '== %s\n' "$*"; }

smx_fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# smx_require_value OPTION COUNT: an option that takes a value was given one. COUNT is $#, the option included.
smx_require_value() {
  [ "$2" -ge 2 ] || smx_fail "option $1 needs a value (see --help)"
}

# smx_require_number OPTION VALUE: the value is an integer of at least 1.
smx_require_number() {
  case "$2" in
    '' | *[!0-9]* | 0*) smx_fail "option $1: expected a whole number of at least 1, got '$2'" ;;
  esac
}

# Parallel compile jobs: one per core, and no more than 3 GiB of memory each allow.
smx_jobs() {
  local cores memory_kib by_memory
  cores="$(nproc 2>/dev/null || echo 1)"
  memory_kib="$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo 2>/dev/null || true)"
  by_memory=$(( ${memory_kib:-4194304} / 3145728 ))
  [ "$by_memory" -ge 1 ] || by_memory=1
  echo $(( cores < by_memory ? cores : by_memory ))
}

# smx_require_packages PACKAGE...: installs those Debian packages that are missing. Needs root or sudo for that;
# without, says what to install by hand. Where there is no dpkg it only warns: the build says what it does not find.
smx_require_packages() {
  local missing=() package log as_root=()
  if ! command -v dpkg-query >/dev/null 2>&1; then
    printf 'note: no dpkg here; the equivalents of these Debian packages are needed: %s\n' "$*" >&2
    return 0
  fi
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0

  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
      as_root=(sudo -n)
    else
      smx_fail "missing packages, and neither root nor sudo without a password to install them; install by hand:
  apt-get install ${missing[*]}"
    fi
  fi
  command -v apt-get >/dev/null 2>&1 || smx_fail "missing packages, and no apt-get to install them: ${missing[*]}"
  smx_say "installing ${missing[*]}"
  log="$(mktemp)"
  if ! { "${as_root[@]}" apt-get -q update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 \
      install --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    smx_fail "could not install the packages above; install by hand:
  apt-get install ${missing[*]}"
  fi
  rm -f "$log"
}
