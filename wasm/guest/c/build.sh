#!/usr/bin/env bash
# Builds the examples: build.sh [FOLDER], by default this one. build.sh --toolchain names what is missing for that. Without
# Debian's clang 14 (CLANG=clang names another) it takes Zig's C compiler.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../toolchains.sh"
if [ "${1:-}" = --toolchain ]; then
  missing clang
  exit
fi
out=${1:-$here}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$here"
examples='redact-secrets block-sql label-pii rate-injection'
if have clang; then
  for example in $examples; do
    "$clang" --target=wasm32 -O2 -Wall -Wextra -Werror -ffreestanding -nostdlib -mbulk-memory -Wl,--no-entry,--strip-all,--stack-first \
      -Wl,-z,stack-size=8192,--initial-memory=131072 gatewright.c "examples/$example.c" -o "$out/$example.wasm"
  done
  exit
fi
need zig
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ZIG_GLOBAL_CACHE_DIR="$work/cache" ZIG_LOCAL_CACHE_DIR="$work/cache"
for source in gatewright $examples; do
  file=examples/$source.c
  [ -f "$file" ] || file=$source.c
  "$zig_python" -m ziglang cc -target wasm32-freestanding -mcpu=mvp+bulk_memory+sign_ext+mutable_globals -O2 -Wall -Wextra -Werror \
    -ffreestanding -fno-sanitize=all -fno-stack-protector -g0 -c "$file" -o "$work/$source.o"
done
for example in $examples; do
  "$zig_python" -m ziglang wasm-ld --no-entry --strip-all --gc-sections --stack-first -z stack-size=8192 --initial-memory=131072 \
    "$work/gatewright.o" "$work/$example.o" -o "$out/$example.wasm"
done
