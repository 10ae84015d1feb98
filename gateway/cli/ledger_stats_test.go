package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// listed serves the records two a page, and tells what was asked.
func listed(h *house, records ...ledger.Record) *[]string {
	var seen []string
	h.control.HandleFunc("GET /api/v1/audit-logs", func(w http.ResponseWriter, req *http.Request) {
		seen = append(seen, req.URL.RawQuery)
		from := 0
		_, _ = fmt.Sscan(req.FormValue("cursor"), &from)
		var items []string
		for i := from; i < min(from+2, len(records)); i++ {
			leaf := records[i].AppendJSON(nil)
			items = append(items, fmt.Sprintf(`{"index":%d,"leaf":%q,"record":%s}`, i+7, merkle.LeafHash(leaf).String(), leaf))
		}
		next := ""
		if from+2 < len(records) {
			next = fmt.Sprintf(`,"next":"%d"`, from+2)
		}
		answer(w, 200, fmt.Sprintf(`{"size":99,"first":0,"items":[%s]%s}`, strings.Join(items, ","), next))
	})
	return &seen
}

func TestAWrongFilterIsRefusedBeforeAnythingIsSent(t *testing.T) {
	h := newHouse(t)
	seen := listed(h)
	for _, verb := range []string{"list", "stats"} {
		for text, args := range map[string][]string{
			"is no time":    {"--since", "yesterday"},
			"--until \"-5m": {"--until=-5m"},
			"not after":     {"--since", "2026-03-01", "--until", "2026-03-01T00:00:00Z"},
			"is no kind":    {"--kind", "read"},
			"--since \"19":  {"--since", "1969-01-01T00:00:00Z"},
			"is no verdict": {"--verdict", "permit"},
			"is no outcome": {"--outcome", "success"},
			"unknown flag":  {"--from", "24h"},
		} {
			h.fails(t, 2, text, append([]string{"ledger", verb}, args...)...)
		}
	}
	h.fails(t, 2, "--limit is", "ledger", "list", "--limit", "0")
	h.fails(t, 2, "--top is", "ledger", "stats", "--top", "0")
	if len(*seen) != 0 {
		t.Errorf("sent %q", *seen)
	}
	h.fails(t, 3, "not a gateway", "ledger", "stats")
	delete(h.env, "GATEWRIGHT_ADMIN_KEY")
	h.fails(t, 2, "no management key", "ledger", "list")
	h.fails(t, 2, "no management key", "ledger", "stats")
}

func TestRecordsOfFiltersSayWhatBecameOfThem(t *testing.T) {
	h := newHouse(t)
	listed(h,
		ledger.Record{ID: firstRecord, Time: 1, Tenant: "demo", Kind: ledger.Filter, Step: -1, User: "usr_1", Verdict: "deny", Body: []byte(`{"name":"f","op":"reject","stage":"scan"}`)},
		ledger.Record{ID: secondRecord, Time: 1, Tenant: "demo", Kind: ledger.Filter, Step: -1, User: "usr_1", Verdict: "allow", Body: []byte(`{"name":"f","op":"shadow","version":3}`)})
	if o := h.run(t, "ledger", "list"); o.code != 0 || !strings.Contains(o.out, "  reject f in stage scan  deny ") || !strings.Contains(o.out, "  shadow f 3 ") {
		t.Errorf("%s\n%+v", o.out, o)
	}
}

func TestRecordsOfHeldToolsSayWhatTheyAre(t *testing.T) {
	h := newHouse(t)
	listed(h,
		ledger.Record{ID: firstRecord, Time: 1, Tenant: "demo", Kind: ledger.Admin, Step: -1, Op: "tool-quarantine", Server: "bank", Verdict: "deny"},
		ledger.Record{ID: secondRecord, Time: 1, Tenant: "demo", Kind: ledger.Admin, Step: -1, Op: "tool-first-use", Server: "bank", Tool: "transfer", Verdict: "allow"})
	if o := h.run(t, "ledger", "list"); o.code != 0 || !strings.Contains(o.out, "  tool-quarantine bank  ") || !strings.Contains(o.out, "  tool-first-use bank/transfer  ") {
		t.Errorf("%s\n%+v", o.out, o)
	}
}

func TestRecordsAreListedForPeopleAndForMachines(t *testing.T) {
	h := newHouse(t)
	records := []ledger.Record{
		{ID: firstRecord, Time: 1_750_000_000_000_123, Tenant: "demo", Kind: ledger.Admitted, Step: -1, Agent: "agt_1", Op: "tools/call", Server: "files", Tool: "read\u202eyap", Verdict: "allow"},
		{ID: secondRecord, Time: 1_750_000_000_900_000, Tenant: "demo", Kind: ledger.Settled, Step: -1, Of: firstRecord, Outcome: "ok"},
		{ID: "rec_06f4k3m1v8q2c7x9z5n0b2w4hx", Time: 1, Tenant: "demo", Kind: ledger.Refused, Step: -1, Op: "tools/list", User: "usr_1", Verdict: "deny", Code: "policy\ndenied"},
		{ID: "rec_06f4k3m1v8q2c7x9z5n0b2w4hy", Time: 1, Tenant: "demo", Kind: ledger.Bundle, Step: -1, User: "usr_1", Verdict: "allow", Body: []byte(`{"mode":"canary","op":"activate","percent":9,"revision":3}`)},
	}
	seen := listed(h, records...)
	o := h.run(t, "ledger", "list", "--agent", "agt_1", "--oldest", "--since", "2026-03-01T12:00:00+01:00")
	want := `INDEX  TIME                      KIND      WHO    WHAT                   VERDICT  RESULT         ID
7      2025-06-15T15:06:40.000Z  admitted  agt_1  files/read\u202eyap    allow    -              ` + firstRecord + `
8      2025-06-15T15:06:40.900Z  settled   -      -                      -        ok             ` + secondRecord + `
9      1970-01-01T00:00:00.000Z  refused   usr_1  tools/list             deny     policy denied  ` + records[2].ID + `
10     1970-01-01T00:00:00.000Z  bundle    usr_1  activate 3 canary 9 %  allow    -              ` + records[3].ID + "\n"
	if o.code != 0 || o.out != want || o.errOut != "" {
		t.Errorf("%s\n%+v", o.out, o)
	}
	if len(*seen) != 2 || (*seen)[0] != "agent_id=agt_1&from=2026-03-01T11%3A00%3A00Z&limit=50&order=oldest" || !strings.Contains((*seen)[1], "cursor=2&") || !strings.Contains((*seen)[1], "limit=48") {
		t.Errorf("%q", *seen)
	}
	if o := h.run(t, "ledger", "list", "--limit", "2"); o.code != 0 || strings.Count(o.out, "\n") != 3 || !strings.Contains(o.errOut, "more") {
		t.Errorf("%+v", o)
	}
	var v struct {
		Items []struct{ Record struct{ ID string } }
		More  bool
	}
	if o := h.run(t, "ledger", "list", "--json"); o.code != 0 || json.Unmarshal([]byte(o.out), &v) != nil || len(v.Items) != len(records) || v.Items[2].Record.ID != records[2].ID || v.More {
		t.Errorf("%+v", o)
	}
}

func TestAListThatDoesNotEndIsGivenUp(t *testing.T) {
	h := newHouse(t)
	h.control.HandleFunc("GET /api/v1/audit-logs", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, `{"items":[],"next":"again"}`) })
	h.fails(t, 3, "does not end", "ledger", "list")
}

func TestRecordsAreAddedUpForPeopleAndForMachines(t *testing.T) {
	h := newHouse(t)
	var seen string
	h.control.HandleFunc("GET /api/v1/audit-logs/stats", func(w http.ResponseWriter, req *http.Request) {
		seen = req.URL.RawQuery
		answer(w, 200, `{"size":120,"first":20,"total":3,"earliest":"2026-03-01T12:00:01Z","latest":"2026-03-01T13:00:00Z","kinds":[{"name":"refused","count":3}],"verdicts":[],"tools":[{"name":"a\u202eb","count":2},{"name":"c","count":1}],"hours":[{"start":"2026-03-01T12:00:00Z","count":3}]}`)
	})
	o := h.run(t, "ledger", "stats", "--tool", "a b", "--top", "5")
	want := "3 of 100 records, from 2026-03-01T12:00:01Z to 2026-03-01T13:00:00Z\nrecords before 20 are kept no more\n\nKIND     RECORDS\nrefused  3\n\nTOOL      RECORDS\n" +
		"a\\u202eb  2\nc         1\n\nHOUR                  RECORDS\n2026-03-01T12:00:00Z  3\n"
	if o.code != 0 || o.out != want || seen != "tool=a+b&top=5" {
		t.Errorf("%q\n%s\nwant\n%s", seen, o.out, want)
	}
	if o := h.run(t, "ledger", "stats", "--json"); o.code != 0 || !strings.Contains(o.out, `"total": 3`) {
		t.Errorf("%+v", o)
	}
}
