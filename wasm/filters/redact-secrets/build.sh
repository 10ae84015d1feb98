#!/usr/bin/env bash
# Builds the module byte for byte as it is committed: build.sh [FILE], a path from this folder, by default
# ../redact-secrets.wasm. The compiler is Zig's C compiler, pinned, which pip installs by name under $GATEWRIGHT_TOOLS.
set -euo pipefail
cd "$(dirname "$0")"
version=0.17.1
tools="${GATEWRIGHT_TOOLS:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/gatewright-tools}"
python="$tools/ziglang-$version/bin/python"
if [ "${1:-}" = --toolchain ]; then # says whether the compiler is there already
  [ -x "$python" ]
  exit
fi
out=${1:-../redact-secrets.wasm}
if [ ! -x "$python" ]; then
  rm -rf "$tools/ziglang-$version.new"
  python3 -m venv "$tools/ziglang-$version.new"
  "$tools/ziglang-$version.new/bin/python" -m pip install --quiet --disable-pip-version-check "ziglang==$version"
  mv "$tools/ziglang-$version.new" "$tools/ziglang-$version"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ZIG_GLOBAL_CACHE_DIR="$work/cache" ZIG_LOCAL_CACHE_DIR="$work/cache"
for part in redact find tokens cards settings; do
  "$python" -m ziglang cc -target wasm32-freestanding -mcpu=mvp+bulk_memory+sign_ext+mutable_globals -std=c23 -O2 \
    -ffreestanding -fno-builtin -fno-sanitize=all -fno-stack-protector -g0 -Wall -Wextra -Werror -c $part.c -o "$work/$part.o"
done
"$python" -m ziglang wasm-ld --no-entry --strip-all --gc-sections --stack-first -z stack-size=4096 \
  "$work"/{redact,find,tokens,cards,settings}.o -o "$out"
