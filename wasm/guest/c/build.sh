#!/usr/bin/env bash
# Builds the examples: build.sh [FOLDER], by default this one. build.sh --toolchain names what is missing for that.
set -euo pipefail
cd "$(dirname "$0")"
. ../toolchains.sh
if [ "${1:-}" = --toolchain ]; then
  missing clang
  exit
fi
out=${1:-.}
for example in redact-secrets block-sql label-pii rate-injection; do
  "$clang" --target=wasm32 -O2 -Wall -Wextra -Werror -ffreestanding -nostdlib -mbulk-memory -Wl,--no-entry,--strip-all,--stack-first \
    -Wl,-z,stack-size=8192,--initial-memory=131072 gatewright.c "examples/$example.c" -o "$out/$example.wasm"
done
