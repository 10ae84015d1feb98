#!/usr/bin/env bash
# Builds the examples: build.sh [FOLDER], by default this one. build.sh --toolchain names what is missing for that.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../toolchains.sh"
if [ "${1:-}" = --toolchain ]; then
  missing assemblyscript
  exit
fi
out=${1:-$here}
need assemblyscript
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$here"
for example in redact-secrets block-sql label-pii rate-injection; do
  "$node" "$asc" "examples/$example.ts" -o "$out/$example.wasm"
done
