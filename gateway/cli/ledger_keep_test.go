package cli_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

func TestSinksAreListed(t *testing.T) {
	h := newHouse(t)
	h.control.HandleFunc("GET /api/v1/sinks", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, `{"items":[{"name":"siem","type":"syslog","tenant":"_all","address":"tls://h:6514","kinds":[],"lag":7,"sent":3,"failed":1,"lost":41,"rejected":42,"last_error":"re\u001bfused","cursor":"0:0"}]}`)
	})
	o := h.run(t, "ledger", "sinks")
	for _, want := range []string{"siem", "tls://h:6514", "7", "never", "refused", "LOST", "41", "REJECTED", "42"} {
		if o.code != 0 || !strings.Contains(o.out, want) || strings.Contains(o.out, "\x1b") {
			t.Errorf("no %q in %s%s", want, o.out, o.errOut)
		}
	}
}

func TestSinksAreItemsAsInTheAPI(t *testing.T) {
	h := newHouse(t)
	h.control.HandleFunc("GET /api/v1/sinks", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{"items":[{"name":"siem"}]}`) })
	var out struct{ Items []struct{ Name string } }
	if o := h.run(t, "ledger", "sinks", "--json"); json.Unmarshal([]byte(o.out), &out) != nil || len(out.Items) != 1 || out.Items[0].Name != "siem" {
		t.Error(o.out)
	}
}

func TestHoldReleaseAndPrune(t *testing.T) {
	h := newHouse(t)
	var asked []string
	note := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			asked = append(asked, r.Method+" "+string(b))
			answer(w, 200, body)
		}
	}
	held := `{"held":true,"reason":"case 12","by":"usr_a","since":"2026-01-02T03:04:05Z"}`
	h.control.HandleFunc("GET /api/v1/ledger/hold", note(held))
	h.control.HandleFunc("POST /api/v1/ledger/hold", note(held))
	h.control.HandleFunc("DELETE /api/v1/ledger/hold", note(`{"held":false}`))
	h.control.HandleFunc("POST /api/v1/ledger/prune", note(`{"before":"2026-01-01T00:00:00Z","dry_run":true,"items":[{"tenant":"demo","from":0,"to":512,"size":600,"held":false,"why":"record 512 is young","record":"rec_1"},{"tenant":"other","from":0,"to":0,"size":0,"held":true}]}`))
	for _, c := range []struct{ args, out string }{
		{"hold", "case 12"}, {"hold --reason=twelve", "under legal hold since 2026-01-02"}, {"release --reason=over", "released"},
		{"prune --dry-run --before=2026-01-01T00:00:00Z", "under legal hold"}, {"prune --dry-run --before=2026-01-01", "record 512 is young"},
		{"prune --before=24h", "rec_1"}, {"prune --before=30d", "rec_1"},
	} {
		if o := h.run(t, append([]string{"ledger"}, strings.Fields(c.args)...)...); o.code != 0 || !strings.Contains(o.out, c.out) {
			t.Errorf("%s: %d %s%s", c.args, o.code, o.out, o.errOut)
		}
	}
	if all := strings.Join(asked, "\n"); !strings.Contains(all, `POST {"reason":"twelve"}`) || !strings.Contains(all, `DELETE {"reason":"over"}`) || !strings.Contains(all, `POST {"before":"2026-01-01T00:00:00Z","dry_run":true}`) {
		t.Error(all)
	}
	for _, text := range []string{"yesterday", "0d", "-1d", "d", "1.5d", "99999999d"} {
		h.fails(t, 2, "is no time", "ledger", "prune", "--before="+text)
	}
	before := len(asked)
	for _, reason := range []string{"", " "} { // a variable that is not set
		h.fails(t, 2, "--reason is empty", "ledger", "hold", "--reason="+reason)
		h.fails(t, 2, "--reason is empty", "ledger", "release", "--reason="+reason)
		h.fails(t, 2, "--reason is empty", "ledger", "erase", "--subject=usr_x", "--yes", "--reason="+reason)
	}
	if len(asked) != before {
		t.Error("asked all the same:", asked[before:])
	}
}

func TestAnErasureWantsAYes(t *testing.T) {
	h := newHouse(t)
	asked := 0
	h.control.HandleFunc("POST /api/v1/audit-logs/erase", func(w http.ResponseWriter, r *http.Request) {
		asked++
		var in struct{ Subject, Reason, Confirm string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Subject != "usr_x" || in.Confirm != in.Subject || in.Reason != "asked" {
			t.Errorf("%+v %v", in, err)
		}
		answer(w, 200, `{"digest":"d1","salt":"s1","record":"rec_1","outcome":"rec_2","already":false,"records":3,"nothing":`+strconv.FormatBool(asked > 1)+`}`)
	})
	h.fails(t, 2, "cannot be undone", "ledger", "erase", "--subject", "usr_x", "--reason", "asked")
	if asked != 0 {
		t.Fatal("asked for it all the same")
	}
	if o := h.run(t, "ledger", "erase", "--subject", "usr_x", "--reason", "asked", "--yes"); o.code != 0 || !strings.Contains(o.out, "d1") || !strings.Contains(o.out, "3 of the records") || strings.Contains(o.out, "usr_x") {
		t.Errorf("%d %s%s", o.code, o.out, o.errOut)
	}
	if o := h.run(t, "ledger", "erase", "--subject", "usr_x", "--reason", "asked", "--yes"); o.code != 0 || !strings.Contains(o.out, "nothing was erased") || strings.Contains(o.out, "d1") {
		t.Errorf("%d %s%s", o.code, o.out, o.errOut)
	}
}
