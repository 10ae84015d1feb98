package ledger_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// sample has every member set, and every string hostile to a sloppy encoder.
func sample() ledger.Record {
	h := func(s string) merkle.Hash { return merkle.LeafHash([]byte(s)) }
	return ledger.Record{
		ID: "rec_01jd0000000000000000000000", Time: 1_800_000_000_123_456, Tenant: "acme", Instance: "gw-1", Boot: 3,
		Kind: ledger.Settled, Agent: "agt_\"quoted\"", User: "usr_\u00e9", Key: "key_\\", Addr: "192.0.2.1", Route: "/mcp",
		Op: "tools/call", Server: "demo", Tool: "t\u0000\u2028\U0001F600", Plan: h("plan"), PlanID: "pln_1", Step: 0,
		Uses: math.MaxUint32, After: []int{0, 7}, PlanExpires: 1_900_000_000, Token: "tok_1", Ask: h("ask"),
		Request: h("request"), Reply: h("reply"), Bundle: h("bundle"), Snapshot: h("snapshot"), Verdict: "permit",
		Code: "ok", Detail: "<&>\t\n", Policies: []string{"a.cedar:1 x"}, Labels: []string{"", "pii"},
		Stages: []ledger.StageTime{{Name: "intent", Micros: 12}, {Name: "decide", Micros: 0}},
		Of:     "rec_01jd0000000000000000000001", Outcome: ledger.OutcomeOK, Status: 200, Micros: 1<<53 - 1,
		Body: []byte(`{"a":[1,2],"b":"x"}`),
	}
}

func TestALeafIsCanonicalAndComesBack(t *testing.T) {
	full := sample()
	least := ledger.Record{ID: full.ID, Tenant: "acme", Kind: ledger.Admin, Step: -1}
	for _, r := range []ledger.Record{full, least} {
		if err := r.Normalize(); err != nil {
			t.Fatal(err)
		}
		leaf := r.AppendJSON(nil)
		same, err := canon.AppendCanonical(nil, leaf, canon.DefaultLimits())
		if err != nil || !bytes.Equal(same, leaf) {
			t.Fatalf("not RFC 8785: %v\n%s\n%s", err, leaf, same)
		}
		back, err := ledger.ParseRecord(leaf)
		if err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("%v\n%+v\n%+v", err, back, r)
		}
	}
}

func TestSideStaysOutOfTheLeaf(t *testing.T) {
	r := sample()
	plain := r.AppendJSON(nil)
	r.Side = []byte("sealed")
	if !bytes.Equal(plain, r.AppendJSON(nil)) {
		t.Fatal("the leaf depends on the side bytes")
	}
}

func TestAStepWithoutAPlanIsNotRecorded(t *testing.T) {
	r := sample()
	r.Plan = merkle.Hash{}
	back, err := ledger.ParseRecord(r.AppendJSON(nil))
	if err != nil || back.Step != -1 || back.After != nil {
		t.Fatalf("%+v %v", back, err)
	}
}

func TestARecordOfANewerVersionIsKept(t *testing.T) {
	r, err := ledger.ParseRecord([]byte(`{"future":{"x":[1]},"id":"rec_01jd0000000000000000000000","kind":"teleported","tenant":"acme","v":2}`))
	if err != nil || r.Kind != ledger.Unknown || r.Label() != "kind(0/teleported)" {
		t.Fatalf("%+v %v", r, err)
	}
}

func TestSpoiledLeavesAreRefused(t *testing.T) {
	const head = `{"id":"rec_01jd0000000000000000000000","kind":"admin","tenant":"acme"`
	for name, leaf := range map[string]string{
		"empty":             "",
		"array":             "[]",
		"no id":             `{"kind":"admin","tenant":"acme"}`,
		"no tenant":         `{"id":"rec_01jd0000000000000000000000","kind":"admin"}`,
		"no kind":           `{"id":"rec_01jd0000000000000000000000","tenant":"acme"}`,
		"empty kind":        `{"id":"rec_01jd0000000000000000000000","kind":"","tenant":"acme"}`,
		"tenant twice":      head + `,"tenant":"rival"}`,
		"trailing":          head + `}{}`,
		"text as number":    head + `,"tool":7}`,
		"number as text":    head + `,"time":"7"}`,
		"negative":          head + `,"step":-1}`,
		"fraction":          head + `,"uses":1.5}`,
		"exponent":          head + `,"uses":1e2}`,
		"uses past 32 bits": head + `,"uses":4294967296}`,
		"step past 31 bits": head + `,"step":2147483648}`,
		"short hash":        head + `,"plan":"00"}`,
		"upper-case hash":   head + `,"plan":"` + strings.Repeat("AB", 32) + `"}`,
		"null hash":         head + `,"plan":null}`,
		"stage of three":    head + `,"stages":[["a",1,2]]}`,
		"stage of one":      head + `,"stages":[["a"]]}`,
		"body array":        head + `,"body":[]}`,
		"endless list":      head + `,"after":[0` + strings.Repeat(",0", 5000) + `]}`,
		"not UTF-8":         head + ",\"tool\":\"\xff\"}",
		"huge":              head + `,"detail":"` + strings.Repeat("x", ledger.MaxLeaf) + `"}`,
	} {
		if _, err := ledger.ParseRecord([]byte(leaf)); !errors.Is(err, ledger.ErrRecord) {
			t.Error(name, err)
		}
	}
}

func TestIDsSortByTimeAndParse(t *testing.T) {
	at := time.UnixMilli(1_800_000_000_000)
	last := ""
	for range 100 {
		id, err := ledger.NewID(at, rand.Reader)
		if err != nil || !ledger.ValidID(id) || id <= last {
			t.Fatal(id, last, err)
		}
		last, at = id, at.Add(time.Millisecond)
	}
	if _, err := ledger.NewID(at, strings.NewReader("short")); err == nil {
		t.Fatal("an id without randomness")
	}
	for _, bad := range []string{"", "rec_", last[:29], last + "0", "REC_" + last[4:], "rec_U" + last[5:], "agt_" + last[4:]} {
		if ledger.ValidID(bad) {
			t.Error(bad)
		}
	}
}

func TestTenantNamesThatCouldEscapeAreRefused(t *testing.T) {
	for _, bad := range []string{"", ".", "..", "a/b", "-a", "A", "a_b", "_wal", "a b", "\u00e9", strings.Repeat("a", 64), "_instance/x"} {
		if ledger.ValidTenant(bad) {
			t.Error(bad)
		}
	}
	for _, good := range []string{"a", "0", "acme-2", strings.Repeat("a", 63), ledger.InstanceTenant} {
		if !ledger.ValidTenant(good) {
			t.Error(good)
		}
	}
}

func TestEncodingAllocatesNothing(t *testing.T) {
	r := sample()
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = r.AppendJSON(buf[:0]) }); n != 0 {
		t.Fatal(n, "allocations")
	}
}

func FuzzRecord(f *testing.F) {
	r := sample()
	f.Add(r.AppendJSON(nil))
	f.Add([]byte(`{"id":"rec_01jd0000000000000000000000","kind":"x","tenant":"acme"}`))
	f.Fuzz(func(t *testing.T, leaf []byte) {
		r, err := ledger.ParseRecord(leaf)
		if err != nil || r.Kind == ledger.Unknown {
			return
		}
		if err := r.Normalize(); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		first := r.AppendJSON(nil)
		back, err := ledger.ParseRecord(first)
		if err != nil || !bytes.Equal(back.AppendJSON(nil), first) {
			t.Fatalf("does not come back: %v\n%s", err, first)
		}
	})
}

func BenchmarkAppendJSON(b *testing.B) {
	r := sample()
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = r.AppendJSON(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkParseRecord(b *testing.B) {
	r := sample()
	leaf := r.AppendJSON(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ledger.ParseRecord(leaf); err != nil {
			b.Fatal(err)
		}
	}
}
