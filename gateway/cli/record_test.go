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

const (
	firstRecord  = "rec_06f4k3m1v8q2c7x9z5n0b2w4ht"
	secondRecord = "rec_06f4k3m1v8q2c7x9z5n0b2w4hw"
)

// shelve serves records under their ids, and under indices from 7 on, each with the members given.
func shelve(h *house, more map[string]string, records ...ledger.Record) *[]string {
	var seen []string
	h.control.HandleFunc("GET /api/v1/ledger/records/{record}", func(w http.ResponseWriter, req *http.Request) {
		seen = append(seen, req.PathValue("record"))
		for i := range records {
			r := &records[i]
			if name := req.PathValue("record"); name == r.ID || name == fmt.Sprint(i+7) {
				leaf := r.AppendJSON(nil)
				answer(w, 200, fmt.Sprintf(`{"index":%d,"leaf":%q,"record":%s%s}`, i+7, merkle.LeafHash(leaf).String(), leaf, more[r.ID]))
				return
			}
		}
		answer(w, 404, `{"code":"not_found","detail":"there is no such thing in this organisation","record":"rec_1"}`)
	})
	return &seen
}

func TestWhatNamesNoRecordIsRefusedBeforeAnythingIsSent(t *testing.T) {
	h := newHouse(t)
	seen := shelve(h, nil)
	for _, name := range []string{"x", "-1", "1.5", "rec_", firstRecord[:29], strings.ToUpper(firstRecord), firstRecord + "/..", "18446744073709551616", "9007199254740992", ""} {
		h.fails(t, 2, "names no record", "ledger", "show", "--", name)
	}
	h.fails(t, 2, "expected", "ledger", "show")
	if len(*seen) != 0 {
		t.Errorf("sent %q", *seen)
	}
	h.fails(t, 1, "not_found", "ledger", "show", firstRecord)
	if o := h.run(t, "ledger", "show", firstRecord); !strings.Contains(o.errOut, "own organisation") {
		t.Errorf("%s", o.errOut)
	}
	h.env["GATEWRIGHT_ADMIN_KEY"] = runtimeKey
	h.fails(t, 1, "unauthenticated", "ledger", "show", firstRecord)
	delete(h.env, "GATEWRIGHT_ADMIN_KEY")
	h.fails(t, 2, "no management key", "ledger", "show", "7")
	h.fails(t, 2, "flag", "ledger", "show", "7", "--data", "x") // it does not read a folder
}

func TestARecordIsShownForPeopleAndForMachines(t *testing.T) {
	h := newHouse(t)
	plan := merkle.LeafHash([]byte("plan"))
	admitted := ledger.Record{
		ID: firstRecord, Time: 1_750_000_000_000_123, Tenant: "demo", Kind: ledger.Admitted, Agent: "agt_1", User: "usr_1", Key: "key_1", Addr: "192.0.2.7",
		Route: "/mcp", Op: "tools/call", Server: "files", Tool: "read\u202eyap", Plan: plan, PlanID: "pln_1", Step: 2, Uses: 3, PlanExpires: 1_750_003_600, Token: "tok_1",
		Verdict: "allow", Policies: []string{"files.cedar:3 read", "b"}, Labels: []string{"email", "card"},
		Stages: []ledger.StageTime{{Name: "identify", Micros: 3}, {Name: "filter", Micros: 1500}},
	}
	settled := ledger.Record{
		ID: secondRecord, Time: 1_750_000_000_900_000, Tenant: "demo", Kind: ledger.Settled, Step: -1, Of: firstRecord, Outcome: "ok", Status: 200, Micros: 1234,
		Detail: "result\u001b[2J\nrewritten",
	}
	refused := ledger.Record{ID: "rec_06f4k3m1v8q2c7x9z5n0b2w4hx", Time: 1, Tenant: "demo", Kind: ledger.Refused, Step: -1, Op: "tools/list", Verdict: "deny", Code: "policy_denied", Plan: plan}
	change := ledger.Record{ID: "rec_06f4k3m1v8q2c7x9z5n0b2w4hy", Time: 1, Tenant: "demo", Kind: ledger.Admin, Step: -1, Op: "create-user", Of: firstRecord, Body: json.RawMessage(`{"phase":"outcome"}`)}
	open := ledger.Record{ID: "rec_06f4k3m1v8q2c7x9z5n0b2w4hz", Time: 1, Tenant: "demo", Kind: ledger.Admitted, Step: -1}
	lost := ledger.Record{ID: "rec_06f4k3m1v8q2c7x9z5n0b2w4j0", Time: 1, Tenant: "demo", Kind: ledger.Admitted, Step: -1}
	more := map[string]string{
		firstRecord: `,"sealed":true,"counterpart":{"id":"` + secondRecord + `","index":8}`, secondRecord: `,"counterpart":{"id":"` + firstRecord + `","index":7}`, open.ID: `,"open":true`,
	}
	all := []ledger.Record{admitted, settled, refused, change, open, lost}
	shelve(h, more, all...)
	leaf := func(i int) string { return merkle.LeafHash(all[i].AppendJSON(nil)).String() + "\n" }
	hint := "hint: the receipt that came with the answer proves this record to anybody: gatewright verify RECEIPT --key FILE\n"
	shown := "record    " + firstRecord + ` at 7, with sealed bytes beside it
kind      admitted
time      2025-06-15T15:06:40.000123Z
who       agent agt_1, user usr_1, key key_1, from 192.0.2.7, organisation demo
what      files/read\u202eyap, tools/call, over /mcp
verdict   allow
stages    identify 3µs, filter 1.5ms
plan      pln_1, step 2, uses at most 3, until 2025-06-15T16:06:40Z
token     tok_1
policies  files.cedar:3 read, b
labels    email, card
became    ` + secondRecord + " at 8\nleaf      " + leaf(0)
	for _, c := range []struct{ name, out, errOut string }{
		{firstRecord, shown, ""},
		{"7", shown, ""},
		{secondRecord, "record   " + secondRecord + " at 8\nkind     settled\ntime     2025-06-15T15:06:40.900000Z\nwho      organisation demo\n" +
			`detail   result\u001b[2J rewritten` + "\noutcome  ok, status 200, after 1.234ms\nof       " + firstRecord + " at 7\nleaf     " + leaf(1), hint},
		{"9", "record   " + refused.ID + " at 9\nkind     refused\ntime     1970-01-01T00:00:00.000001Z\nwho      organisation demo\nwhat     tools/list\nverdict  deny\ncode     policy_denied\n" +
			"plan     with root " + plan.String() + "\nleaf     " + leaf(2), hint},
		{"10", "record  " + change.ID + " at 10\nkind    admin\ntime    1970-01-01T00:00:00.000001Z\nwho     organisation demo\nwhat    create-user\n" +
			`about   {"phase":"outcome"}` + "\nof      " + firstRecord + "\nleaf    " + leaf(3), ""},
		{"11", "record  " + open.ID + " at 11\nkind    admitted\ntime    1970-01-01T00:00:00.000001Z\nwho     organisation demo\nbecame  nothing yet: the call is not settled\nleaf    " + leaf(4), ""},
		{"12", "record  " + lost.ID + " at 12\nkind    admitted\ntime    1970-01-01T00:00:00.000001Z\nwho     organisation demo\nbecame  not found: too many records came after it\nleaf    " + leaf(5), ""},
	} {
		if o := h.run(t, "ledger", "show", c.name); o.code != 0 || o.out != c.out || o.errOut != c.errOut {
			t.Errorf("%s:\n got %s (exit %d, %s)\nwant %s", c.name, o.out, o.code, o.errOut, c.out)
		}
	}
	var v struct {
		Index       int
		Record      struct{ ID, Agent string }
		Counterpart struct{ ID string }
	}
	if o := h.run(t, "ledger", "show", "--json", firstRecord); o.code != 0 || json.Unmarshal([]byte(o.out), &v) != nil || v.Index != 7 || v.Record.Agent != "agt_1" || v.Counterpart.ID != secondRecord {
		t.Errorf("%+v", o)
	}
}
