#!/usr/bin/env bash
# Builds the examples: build.sh [FOLDER], by default this one. build.sh --toolchain names what is missing for that.
# RUSTC=rustc takes another compiler than Debian's, one that has the target wasm32-unknown-unknown.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../toolchains.sh"
if [ "${1:-}" = --toolchain ]; then
  missing debian-rust
  exit
fi
out=${1:-$here}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$here"
rustc=${RUSTC:-$debian_rustc}
linker=()
if [ "$rustc" = "$debian_rustc" ]; then
  need debian-rust
  linker=(-C linker=wasm-ld-14)
fi
for example in redact-secrets block-sql label-pii rate-injection; do
  "$rustc" --edition 2021 --target wasm32-unknown-unknown --crate-type cdylib --crate-name filter -D warnings -C opt-level=3 \
    -C panic=abort -C strip=symbols -C link-arg=-zstack-size=16384 -C link-arg=--initial-memory=131072 \
    ${linker[@]+"${linker[@]}"} "examples/$example.rs" -o "$out/$example.wasm"
done
