#!/usr/bin/env bash
# Builds the examples: build.sh [FOLDER], by default this one. build.sh --toolchain names what is missing for that.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../toolchains.sh"
if [ "${1:-}" = --toolchain ]; then
  missing go
  exit
fi
out=${1:-$here}
need go
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$here"
for example in redact-secrets block-sql label-pii rate-injection; do
  GOOS=wasip1 GOARCH=wasm GOFLAGS= go build -trimpath -buildmode=c-shared -ldflags='-s -w' -o "$out/$example.wasm" "./examples/$example"
done
