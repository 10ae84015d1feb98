#!/usr/bin/env bash
# Builds the examples: build.sh [FOLDER], by default this one. build.sh --toolchain names what is missing for that.
# RUSTC=rustc takes another compiler than Debian's, one that has the target wasm32-unknown-unknown.
set -euo pipefail
cd "$(dirname "$0")"
. ../toolchains.sh
if [ "${1:-}" = --toolchain ]; then
  missing debian-rust
  exit
fi
out=${1:-.}
rustc=${RUSTC:-$debian_rustc}
linker=()
[ "$rustc" != "$debian_rustc" ] || linker=(-C linker=wasm-ld-14)
for example in redact-secrets block-sql label-pii rate-injection; do
  "$rustc" --edition 2021 --target wasm32-unknown-unknown --crate-type cdylib --crate-name filter -D warnings -C opt-level=3 \
    -C panic=abort -C strip=symbols -C link-arg=-zstack-size=16384 -C link-arg=--initial-memory=131072 \
    ${linker[@]+"${linker[@]}"} "examples/$example.rs" -o "$out/$example.wasm"
done
