#!/usr/bin/env bash
# Runs the end-to-end suite of ArmorIQ's TypeScript client (tests/e2e, four tests) against a gateway built from this tree.
#
#   conformance/armoriq/e2e.sh CHECKOUT
#
# CHECKOUT is a checkout of the client's repository; its dependencies are installed there, nothing else in it is touched.
# It is run by hand and not by .ci/run, because the suite is in no package. It needs go, node 18 or newer and npm.
set -euo pipefail
[ $# -eq 1 ] && [ -d "$1/tests/e2e" ] || { echo "usage: $0 CHECKOUT (with tests/e2e in it)" >&2; exit 2; }
suite=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
run=$(mktemp -d)
gateway=

finish() {
  if [ -n "$gateway" ]; then kill "$gateway" 2>/dev/null || true; wait "$gateway" 2>/dev/null || true; fi
  rm -rf "$run"
}
trap finish EXIT

(cd "$top" && go build -o "$run/gatewright" ./gateway && go build -o "$run/e2eserver" ./conformance/armoriq/e2eserver)
cp -r "$top/policies/default" "$run/bundle"
cp "$here/e2e.cedar" "$run/bundle/"
sed -e "s|BUNDLE\"|$run/bundle\"|" -e "s|E2ESERVER\"|$run/e2eserver\"|" "$here/e2e.hcl" >"$run/gateway.hcl"
[ -d "$suite/node_modules" ] || (cd "$suite" && npm ci --no-audit --no-fund --loglevel=error)

(cd "$run" && exec ./gatewright --data "$run/data" --listen 127.0.0.1:0 --control 127.0.0.1:0 >"$run/out" 2>"$run/log") &
gateway=$!
for _ in $(seq 300); do
  grep -q '^gatewright ready' "$run/out" && break
  kill -0 "$gateway" 2>/dev/null || { cat "$run/log" >&2; exit 1; }
  sleep 0.1
done
. "$run/data/demo.env"
list='{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
for _ in $(seq 300); do # the server is a process of its own, which takes a moment
  curl -s -H "Authorization: Bearer $ARMORIQ_API_KEY" -H 'Accept: application/json, text/event-stream' \
    -H 'Content-Type: application/json' -d "$list" "$GATEWRIGHT_URL/mcp/e2e" | grep -q '"pay"' && break
  sleep 0.1
done

export ARMORIQ_ENV=local ARMORIQ_E2E_API_KEY=$ARMORIQ_API_KEY ARMORIQ_E2E_USER_EMAIL=e2e@example.com ARMORIQ_E2E_APPROVER=approver@example.com
export ARMORIQ_E2E_ALLOW_MCP=e2e ARMORIQ_E2E_BLOCK_MCP=e2e ARMORIQ_E2E_HOLD_MCP=e2e
(cd "$suite" && npx jest tests/e2e) || { tail -n 50 "$run/log" >&2; exit 1; }
"$run/gatewright" ledger verify --data "$run/data" --k0 "$run/data/keys/ledger.k0"
