#!/usr/bin/env bash
# Builds the bench's guests byte for byte as they are committed: build.sh [FOLDER], by default this one. The compilers are
# pinned: Zig's C compiler, Debian's rustc 1.63 with wasm-ld 14, and AssemblyScript; ../../../wasm/guest/toolchains.sh
# brings them. build.sh --toolchain names what is missing.
set -euo pipefail
cd "$(dirname "$0")"
. ../../../wasm/guest/toolchains.sh
if [ "${1:-}" = --toolchain ]; then
  missing zig debian-rust assemblyscript
  exit
fi
out=${1:-.}
mkdir -p "$out"/{c,rust,as}
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ZIG_GLOBAL_CACHE_DIR="$work/cache" ZIG_LOCAL_CACHE_DIR="$work/cache"

c() { # c SOURCE NAME BYTES OF MEMORY
  "$zig_python" -m ziglang cc -target wasm32-freestanding -mcpu=mvp+bulk_memory+sign_ext+mutable_globals -std=c23 -O2 \
    -ffreestanding -fno-builtin -fno-sanitize=all -fno-stack-protector -g0 -Wall -Wextra -Werror -c "c/$1.c" -o "$work/$2.o"
  "$zig_python" -m ziglang wasm-ld --no-entry --strip-all --gc-sections --stack-first -z stack-size=4096 \
    --initial-memory="$3" "$work/$2.o" -o "$out/c/$2.wasm"
}

rust() { # rust NAME
  (cd rust && /usr/bin/rustc --target wasm32-unknown-unknown --crate-type cdylib -C opt-level=3 -C panic=abort \
    -C strip=symbols -C linker=wasm-ld-14 -C link-arg=-zstack-size=4096 -C link-arg=--initial-memory=131072 \
    "$1.rs" -o "$work/$1.wasm")
  cp "$work/$1.wasm" "$out/rust/"
}

as() { # as NAME
  (cd as && "$node" "$asc" "$1.ts" -O3 --runtime stub --noAssert --initialMemory 2 -o "$out/as/$1.wasm")
}

for guest in noop loop calls; do
  c $guest $guest 131072
  rust $guest
  as $guest
done
c noop noop-256k 262144
c noop noop-4m 4194304
chmod 644 "$out"/{c,rust,as}/*.wasm
