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
	r := ledger.Record{
		ID: "rec_00000000000000000000000000", Tenant: "acme", Instance: "gw-1", Kind: ledger.Admitted, Boot: 1, Time: 1, Plan: merkle.LeafHash(nil),
		Step: 2, Uses: 3, After: []int{1}, PlanExpires: 4, Agent: "a", Labels: []string{"l"}, Stages: []ledger.StageTime{{Name: "s", Micros: 1}},
	}
	leaf := r.AppendJSON(nil)
	same(t, &s, leaf)
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
		}
	}
	for i := range leaf {
		same(t, &s, leaf[:i])
		for _, c := range []byte{'"', '\\', 'x', 0, '}', '9'} {
			was := leaf[i]
			leaf[i] = c
			same(t, &s, leaf)
			leaf[i] = was
		}
	}
}

func FuzzSkim(f *testing.F) {
	f.Add([]byte(`{"id":"rec_00000000000000000000000000","kind":"settled","tenant":"acme"}`))
	f.Fuzz(func(t *testing.T, leaf []byte) {
		var s ledger.Skimmer
		same(t, &s, leaf)
	})
}
