package cli_test

import (
	"net/http"
	"strings"
	"testing"
)

const standing = `{"keys":["gatewright.local/witness/main+0badc0de+BAAA"],"origin":"gatewright.local/ledger/_checkpoints/main","log_keys":["gatewright.local/ledger/_instance/main+0badc0de+AQAA"],"logs":[{"origin":"peer.example/log","size":0}],
	"witnesses":[{"name":"corp","key":"w.example/corp+69a7b9ee+BId5","size":12,"at":"2026-01-02T03:04:05Z","asked":"2026-01-02T03:04:06Z"PROBLEM}]}`

func TestWitnessesAreShownAndAsked(t *testing.T) {
	h := newHouse(t)
	problem, asked := "", 0
	h.control.HandleFunc("GET /api/v1/ledger/witnesses", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, strings.Replace(standing, "PROBLEM", problem, 1))
	})
	h.control.HandleFunc("POST /api/v1/ledger/witnesses/cosign", func(w http.ResponseWriter, _ *http.Request) {
		asked++
		answer(w, 200, strings.Replace(standing, "PROBLEM", problem, 1))
	})
	for _, args := range [][]string{{"ledger", "witness"}, {"ledger", "witness", "--now"}} {
		o := h.run(t, args...)
		for _, want := range []string{"gatewright.local/witness/main+0badc0de+BAAA", "corp", "12", "2026-01-02T03:04:05Z", "w.example/corp+69a7b9ee\n", "peer.example/log", "never"} {
			if o.code != 0 || !strings.Contains(o.out, want) {
				t.Errorf("%q: %d, no %q in %s%s", args, o.code, want, o.out, o.errOut)
			}
		}
	}
	if asked != 1 {
		t.Error("asked", asked, "times")
	}
	shown := h.run(t, "ledger", "witness").out
	for _, block := range []string{
		"witness {\n  log \"gatewright-local\" {\n    origin = \"gatewright.local/ledger/_checkpoints/main\"\n    keys = [\"gatewright.local/ledger/_instance/main+0badc0de+AQAA\"]\n  }\n}\n",
		"ledger {\n  witness \"gatewright-local\" {\n    url = \"" + h.env["GATEWRIGHT_CONTROL_URL"] + "/witness\"\n    key = \"gatewright.local/witness/main+0badc0de+BAAA\"\n  }\n}\n",
	} {
		if !strings.Contains(shown, block) {
			t.Errorf("no\n%s in\n%s", block, shown)
		}
	}
	if o := h.run(t, "ledger", "witness", "--json"); o.code != 0 || !strings.Contains(o.out, `"asked": "2026-01-02T03:04:06Z"`) {
		t.Errorf("%d %s%s", o.code, o.out, o.errOut)
	}
	problem = `,"error":"dial tcp: re\u001bfused\nagain"`
	if o := h.run(t, "ledger", "witness", "--now"); o.code != 1 || !strings.Contains(o.errOut, "witness corp: dial tcp: refused again\n") || strings.Contains(o.out, "\x1b") {
		t.Errorf("%d %q %q", o.code, o.out, o.errOut)
	}
}

func TestAGatewayWithoutAWitnessSaysWhatThatMeans(t *testing.T) {
	h := newHouse(t)
	h.control.HandleFunc("GET /api/v1/ledger/witnesses", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, `{"keys":["k+00000000+BA=="],"logs":[],"witnesses":[]}`)
	})
	h.control.HandleFunc("POST /api/v1/ledger/witnesses/cosign", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 409, `{"code":"conflict","detail":"no witness of the ledger is configured","hint":"name one"}`)
	})
	if o := h.run(t, "ledger", "witness"); o.code != 0 || !strings.Contains(o.out, "no witness cosigns this gateway's ledger") {
		t.Errorf("%d %s%s", o.code, o.out, o.errOut)
	}
	h.fails(t, 1, "no witness of the ledger is configured", "ledger", "witness", "--now")
}
