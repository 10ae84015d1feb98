package ledger_test

import (
	"reflect"
	"testing"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// skimmed is what of a record a Skimmer keeps.
func skimmed(r *ledger.Record) ledger.Record {
	out := ledger.Record{
		ID: r.ID, Time: r.Time, Tenant: r.Tenant, Instance: r.Instance, Boot: r.Boot, Kind: r.Kind, KindName: r.KindName, Plan: r.Plan,
		Step: r.Step, Uses: r.Uses, PlanExpires: r.PlanExpires, Of: r.Of, Outcome: r.Outcome, Code: r.Code, Status: r.Status, Micros: r.Micros,
	}
	if r.Kind == ledger.Recovery {
		out.Body = r.Body
	}
	return out
}

// same fails unless both readers say the same of a leaf.
func same(t *testing.T, s *ledger.Skimmer, leaf []byte) {
	t.Helper()
	want, wantErr := ledger.ParseRecord(leaf)
	got, err := s.Record(leaf)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%q: skimmed %v, parsed %v", leaf, err, wantErr)
	}
	if err == nil && !reflect.DeepEqual(*got, skimmed(&want)) {
		t.Fatalf("%q:\nskimmed %+v\nparsed  %+v", leaf, *got, skimmed(&want))
	}
	words := ledger.Skimmer{Words: true}
	got, err = words.Record(leaf)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%q: skimmed with words %v, parsed %v", leaf, err, wantErr)
	}
	if err != nil {
		return
	}
	w := skimmed(&want)
	w.Agent, w.User, w.Op, w.Server, w.Tool, w.Verdict = want.Agent, want.User, want.Op, want.Server, want.Tool, want.Verdict
	if !reflect.DeepEqual(*got, w) {
		t.Fatalf("%q:\nskimmed with words %+v\nparsed %+v", leaf, *got, w)
	}
}

// sameDecision is same for who wants the decision too.
func sameDecision(t *testing.T, s *ledger.Skimmer, leaf []byte) {
	t.Helper()
	want, wantErr := ledger.ParseRecord(leaf)
	got, err := s.Record(leaf)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%q: skimmed %v, parsed %v", leaf, err, wantErr)
	}
	if err != nil {
		return
	}
	w := skimmed(&want)
	w.Agent, w.User, w.Op, w.Server, w.Tool, w.Verdict = want.Agent, want.User, want.Op, want.Server, want.Tool, want.Verdict
	w.Ask, w.Bundle, w.Detail, w.Policies = want.Ask, want.Bundle, want.Detail, want.Policies
	if !reflect.DeepEqual(*got, w) {
		t.Fatalf("%q:\nskimmed with the decision %+v\nparsed %+v", leaf, *got, w)
	}
}

var members = []string{
	"addr", "after", "agent", "ask", "body", "boot", "bundle", "code", "detail", "id", "instance", "key", "kind", "labels", "micros", "of", "op",
	"outcome", "plan", "plan_expires", "plan_id", "policies", "reply", "request", "route", "server", "snapshot", "stages", "status", "step",
	"tenant", "time", "token", "tool", "user", "uses", "v", "verdict", "later",
}

var values = []string{
	`"x"`, `""`, `"\u0041"`, `"a\\b"`, `5`, `-1`, `0`, `1.5`, `4294967296`, `2147483648`, `9007199254740991`, `9007199254740992`, `null`, `true`,
	`[]`, `[1]`, `[65536]`, `["x"]`, `[["a",1]]`, `[["a"]]`, `[["a",1,2]]`, `[[1,"a"]]`, `[["a",4294967296]]`, `{}`, `{"a":1}`, `"` + hexHash + `"`, `"` + hexHash[1:] + `"`,
	`"A` + hexHash[1:] + `"`, `"rec_00000000000000000000000000"`, `"acme"`, `"recovery"`, `"admitted"`, `"later"`, `"\ud800"`, `{"a":1,"a":2}`,
}

const hexHash = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// A leaf that ParseRecord refuses must be refused by who skims it, whatever is wrong with which member.
func TestSkimmingRefusesWhatParsingRefuses(t *testing.T) {
	var s ledger.Skimmer
	decisions := ledger.Skimmer{Words: true, Decision: true}
	r := ledger.Record{
		ID: "rec_00000000000000000000000000", Tenant: "acme", Instance: "gw-1", Kind: ledger.Admitted, Boot: 1, Time: 1, Plan: merkle.LeafHash(nil),
		Step: 2, Uses: 3, After: []int{1}, PlanExpires: 4, Agent: "a", Labels: []string{"l"}, Stages: []ledger.StageTime{{Name: "s", Micros: 1}},
		Ask: merkle.LeafHash([]byte("ask")), Bundle: merkle.LeafHash([]byte("bundle")), Detail: "d", Policies: []string{"p", "q"},
	}
	leaf := r.AppendJSON(nil)
	same(t, &s, leaf)
	sameDecision(t, &decisions, leaf)
	base := map[string]string{"id": `"rec_00000000000000000000000000"`, "kind": `"admitted"`, "tenant": `"acme"`}
	for _, name := range members {
		for _, value := range append(values, "") {
			text := "{"
			for _, m := range members {
				v := base[m]
				if m == name {
					v = value
				}
				if v != "" {
					text += `"` + m + `":` + v + ","
				}
			}
			same(t, &s, []byte(text[:max(1, len(text)-1)]+"}"))
			sameDecision(t, &decisions, []byte(text[:max(1, len(text)-1)]+"}"))
		}
	}
	for i := range leaf {
		same(t, &s, leaf[:i])
		for _, c := range []byte{'"', '\\', 'x', 0, '}', '9'} {
			was := leaf[i]
			leaf[i] = c
			same(t, &s, leaf)
			sameDecision(t, &decisions, leaf)
			leaf[i] = was
		}
	}
}

// fullest is a record that has every member.
func fullest() ledger.Record {
	h := merkle.LeafHash([]byte("h"))
	return ledger.Record{
		ID: "rec_00000000000000000000000000", Tenant: "acme", Instance: "gw-1", Kind: ledger.Settled, Boot: 1, Time: 1_795_355_826_461_346,
		Agent: "agt", User: "usr", Key: "key", Addr: "192.0.2.7", Route: "/mcp", Op: "tools/call", Server: "srv", Tool: "notes_add",
		Plan: h, PlanID: "pln", Step: 2, Uses: 3, After: []int{0, 1}, PlanExpires: 4, Token: "tok", Ask: h, Request: h, Reply: h, Bundle: h,
		Snapshot: h, Verdict: "permit", Code: "ok", Detail: "say \"hi\", \u00e9", Policies: []string{"p", "q"}, Labels: []string{"l"},
		Stages: []ledger.StageTime{{Name: "identify", Micros: 3}, {Name: "intent", Micros: 41}}, Of: "rec_0123456789abcdefghjkmnpqrs",
		Outcome: "ok", Status: 200, Micros: 77, Body: []byte(`{"a":[1,{"b":"c"}]}`),
	}
}

// What a skimmer remembers of one leaf must not be read into the next.
func TestSkimmingALeafDoesNotDependOnTheLast(t *testing.T) {
	r := fullest()
	leaf := r.AppendJSON(nil)
	kept := ledger.Skimmer{Words: true}
	for i := range leaf {
		for _, bit := range []byte{1, 2, 4, 8, 16, 32, 64, 128} {
			if _, err := kept.Record(leaf); err != nil {
				t.Fatal(err)
			}
			leaf[i] ^= bit
			var fresh ledger.Skimmer
			same(t, &fresh, leaf)
			fresh.Words = true
			want, wantErr := fresh.Record(leaf)
			if got, err := kept.Record(leaf); (err == nil) != (wantErr == nil) || !reflect.DeepEqual(got, want) {
				t.Fatalf("%q: %+v %v, fresh %+v %v", leaf, got, err, want, wantErr)
			}
			leaf[i] ^= bit
		}
	}
}

func TestSkimmingAllocatesNextToNothing(t *testing.T) {
	r := fullest()
	r.Detail = "plain"
	leaf := r.AppendJSON(nil)
	s := ledger.Skimmer{Words: true}
	var to ledger.Record
	if n := testing.AllocsPerRun(1000, func() {
		if err := s.Read(&to, leaf); err != nil {
			t.Fatal(err)
		}
	}); n > 0 { // rounded down: the memory of ids is made anew every so often
		t.Errorf("%v allocations", n)
	}
}

func FuzzSkim(f *testing.F) {
	r := fullest()
	full := r.AppendJSON(nil)
	f.Add(full)
	f.Add([]byte(`{"id":"rec_00000000000000000000000000","kind":"settled","tenant":"acme"}`))
	f.Fuzz(func(t *testing.T, leaf []byte) {
		var s ledger.Skimmer
		same(t, &s, leaf)
		if _, err := s.Record(full); err != nil {
			t.Fatal(err)
		}
		same(t, &s, leaf)
		sameDecision(t, &ledger.Skimmer{Words: true, Decision: true}, leaf)
	})
}

func BenchmarkSkim(b *testing.B) {
	r := fullest()
	r.Body, r.Detail = nil, ""
	leaf := r.AppendJSON(nil)
	s := ledger.Skimmer{Words: true}
	var to ledger.Record
	b.SetBytes(int64(len(leaf)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Read(&to, leaf); err != nil {
			b.Fatal(err)
		}
	}
}
