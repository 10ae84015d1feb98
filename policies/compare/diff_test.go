package compare_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/compare"
)

func tools() []policies.ToolDef {
	return []policies.ToolDef{
		{Server: "sql", Name: "query", ReadOnly: true, InputSchema: []byte(`{"type":"object","properties":{"table":{"type":"string"},"limit":{"type":"integer"},"dry":{"type":"boolean"}},"required":["table"]}`)},
		{Server: "mail", Name: "send", InputSchema: []byte(`{"type":"object","properties":{"to":{"type":"string"},"price":{"type":"number"},"meta":{"type":"object","properties":{"dept":{"type":"string"}}}},"required":["to"]}`)},
	}
}

const (
	all      = "@id(\"all\") permit (principal, action, resource);\n"
	noSalary = all + `@id("salaries") forbid (principal, action == Action::"sql___query", resource) when { context.input.table == "salaries" };`
)

func engine(t testing.TB, text string) *policies.Engine {
	t.Helper()
	return engineOf(t, text, tools())
}

func engineOf(t testing.TB, text string, defs []policies.ToolDef) *policies.Engine {
	t.Helper()
	b, err := policies.LoadBundle(fstest.MapFS{"p.cedar": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := policies.Compile(b, defs)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// sealed is a question as the gateway writes it.
func sealed(i int, tool string) []byte {
	server, name, _ := strings.Cut(tool, "/")
	return fmt.Appendf(nil, `{"action":"call_tool","addr":"192.0.2.7","agent":"agt_%d","facts":{"id":"agt_%d","kind":"Agent","labels":["blue"],"owner":"usr_1","roles":["Member"],"status":"active","talks_to":[],"teams":["ops"],"tenant":"acme","trust":500},"labels":[],"now":1900000000000000,"plan":{"done":1,"id":"pln_1","issued_under":"","step":1,"steps":3},"principal":"00","request":"00","salt":"AA","server":%q,"tls":true,"tool":%q,"user":"usr_1"}`, i%50, i%50, server, name)
}

func recorded(t testing.TB, i int, tool, args string) compare.RecordedAsk {
	t.Helper()
	r, err := compare.ParseAsk(sealed(i, tool), []byte(args))
	if err != nil {
		t.Fatal(err)
	}
	r.Record = fmt.Sprintf("rec_%d", i)
	return r
}

func batches(all ...compare.Batch) iter.Seq2[compare.Batch, error] {
	return func(yield func(compare.Batch, error) bool) {
		for _, b := range all {
			if !yield(b, nil) {
				return
			}
		}
	}
}

func diff(t testing.TB, old, next *policies.Engine, o compare.Options, all ...compare.Batch) *compare.Report {
	t.Helper()
	r, err := compare.Diff(t.Context(), old, next, batches(all...), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFlipsAreExactlyThoseTheChangeMakes(t *testing.T) {
	var asks compare.Asks
	for i := range 100 {
		table := "orders"
		if i%10 == 3 {
			table = "salaries"
		}
		asks = append(asks, recorded(t, i, "sql/query", `{"table":"`+table+`"}`), recorded(t, i, "mail/send", `{"to":"salaries"}`))
	}
	for _, workers := range []int{1, 7} {
		r := diff(t, engine(t, all), engine(t, noSalary), compare.Options{Workers: workers, Examples: 3}, asks[:31], asks[31:32], asks[32:])
		if r.Read != 200 || r.Replayed != 200 || r.Flips != 10 || len(r.Groups) != 1 || len(r.Lost)+len(r.Approximate) != 0 {
			t.Fatalf("%+v", r)
		}
		g := r.Groups[0]
		if g.From != "allow" || g.To != "deny" || g.Policy != "p.cedar:2 salaries" || g.Of != "new" || g.Count != 10 || !reflect.DeepEqual(g.Tools, []compare.Count{{Name: "sql/query", Count: 10}}) {
			t.Errorf("%+v", g)
		}
		var names []string
		for _, x := range g.Examples {
			names = append(names, x.Record+" "+x.Target+" "+x.Agent+x.Args)
		}
		if fmt.Sprint(names) != "[rec_3 sql/query agt_3 rec_13 sql/query agt_13 rec_23 sql/query agt_23]" || len(g.Agents) != 5 || g.Agents[0].Count != 2 {
			t.Errorf("%q %v", names, g.Agents)
		}
	}
	if r := diff(t, engine(t, noSalary), engine(t, noSalary+"// a note\n"), compare.Options{}, asks); r.Flips != 0 || r.Groups == nil {
		t.Errorf("%+v", r)
	}
}

func TestTheStricterAnswerIsBlamed(t *testing.T) {
	ask := compare.Asks{recorded(t, 1, "sql/query", `{"table":"salaries"}`)}
	hold := all + `@id("ask") @hold("why") forbid (principal, action, resource);`
	narrow := `@id("narrow") permit (principal, action, resource) when { context.trust > 100000 };`
	broken := all + `@id("broken") forbid (principal, action, resource) when { context.trust + 9223372036854775807 > 0 };`
	for _, c := range []struct{ old, next, want string }{
		{all, noSalary, "allow deny p.cedar:2 salaries new"}, {noSalary, all, "deny allow p.cedar:2 salaries old"}, {all, hold, "allow hold p.cedar:2 ask new"},
		{hold, all, "hold allow p.cedar:2 ask old"}, {all, narrow, "allow deny p.cedar:1 all old"}, {narrow, all, "deny allow p.cedar:1 all new"},
		{hold, noSalary, "hold deny p.cedar:2 salaries new"}, {all, broken, "allow deny p.cedar:2 broken new"}, {all, noSalary[:len(all)] + `@mode("shadow") ` + noSalary[len(all):], ""},
	} {
		r := diff(t, engine(t, c.old), engine(t, c.next), compare.Options{}, ask)
		got := ""
		if len(r.Groups) > 0 {
			g := r.Groups[0]
			got = strings.Join([]string{g.From, g.To, g.Policy, g.Of}, " ")
		}
		if got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if r := diff(t, engine(t, all), nil, compare.Options{}, ask); r.Flips != 1 || r.Groups[0].Policy != "p.cedar:1 all" {
		t.Errorf("nothing in force: %+v", r)
	}
}

// lossy is questions of which some cannot be read.
type lossy struct {
	compare.Asks
	err error
}

func (l lossy) Read(i int, p *compare.Parser) (compare.RecordedAsk, error) {
	if i%2 == 1 {
		return compare.RecordedAsk{}, l.err
	}
	return l.Asks.Read(i, p)
}

func TestWhatCannotBeReplayedIsCountedWithItsReason(t *testing.T) {
	gone, stranger, known, narrowed := recorded(t, 1, "sql/drop", `{}`), recorded(t, 2, "sql/query", `{"table":"a"}`), recorded(t, 3, "sql/query", `{"table":"a"}`), recorded(t, 4, "sql/query", `{"table":"a"}`)
	known.Principal, known.Snapshot = nil, "known"
	stranger.Principal, narrowed.Narrowed = nil, true
	who := recorded(t, 3, "sql/query", `{}`).Principal
	o := compare.Options{Resolve: func(r *compare.RecordedAsk) *policies.Principal {
		if r.Snapshot == "known" {
			return who
		}
		return nil
	}}
	r := diff(t, engine(t, all), engine(t, all), o, compare.Asks{gone, stranger, known, narrowed}, lossy{compare.Asks{known, known, known, known}, fmt.Errorf("open: %w", compare.LostErased)})
	if r.Read != 8 || r.Replayed != 4 || !reflect.DeepEqual(r.Lost, map[string]uint64{string(compare.LostErased): 2, string(compare.LostTool): 1, string(compare.LostPrincipal): 1}) {
		t.Errorf("%+v", r)
	}
	if len(r.Approximate) != 2 || r.Approximate["who called is as the directory knows them now"] != 3 {
		t.Errorf("%+v", r.Approximate)
	}
	read, sum := r.Read, r.Replayed
	for _, n := range r.Lost {
		sum += n
	}
	if read != sum {
		t.Errorf("%d were read, %d are accounted for", read, sum)
	}
	broken := errors.New("broken disk")
	if _, err := compare.Diff(t.Context(), engine(t, all), engine(t, all), batches(lossy{compare.Asks{known, known}, broken}), o); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	failing := func(yield func(compare.Batch, error) bool) { yield(nil, broken) }
	if _, err := compare.Diff(t.Context(), engine(t, all), engine(t, all), failing, o); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

func TestRecordsThatTheOldBundleDoesNotExplainAreTold(t *testing.T) {
	old := engine(t, all)
	same, other, held, silent, narrowed := recorded(t, 1, "sql/query", `{"table":"a"}`), recorded(t, 2, "sql/query", `{"table":"a"}`), recorded(t, 3, "sql/query", `{"table":"a"}`), recorded(t, 4, "sql/query", `{"table":"a"}`), recorded(t, 5, "sql/query", `{"table":"a"}`)
	same.Verdict, same.Bundle = "deny", old.Digest().String()
	other.Verdict, other.Bundle = "deny", engine(t, noSalary).Digest().String()
	held.Verdict, narrowed.Verdict, narrowed.Narrowed = "allow", "deny", true
	u := diff(t, old, old, compare.Options{}, compare.Asks{same, other, held, silent, narrowed}).Unexplained
	if u.Same != 1 || u.Other != 1 || u.Total() != 2 || len(u.Examples) != 2 || u.Examples[0].Record != "rec_1" {
		t.Errorf("%+v", u)
	}
}

func TestAComparisonCanBeEndedAndTellsItsProgress(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	endless := func(yield func(compare.Batch, error) bool) {
		for i := 0; ; i++ {
			if i == 50 {
				cancel()
			}
			if !yield(compare.Asks{recorded(t, i, "sql/query", `{"table":"a"}`)}, nil) {
				return
			}
		}
	}
	if _, err := compare.Diff(ctx, engine(t, all), engine(t, all), endless, compare.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	last := uint64(0)
	diff(t, engine(t, all), engine(t, all), compare.Options{Progress: func(n uint64) { last = n }}, compare.Asks{recorded(t, 1, "sql/query", `{}`), recorded(t, 2, "mail/send", `{}`)})
	if last != 2 {
		t.Errorf("the last progress is %d", last)
	}
}

func TestAReportHasABound(t *testing.T) {
	var text strings.Builder
	text.WriteString(all)
	var asks compare.Asks
	for i := range 700 {
		fmt.Fprintf(&text, "@id(\"p%d\") forbid (principal, action == Action::\"sql___query\", resource) when { context.input.table == \"t%d\" };\n", i, i)
		r := recorded(t, i, "sql/query", fmt.Sprintf(`{"table":"t%d"}`, i))
		r.Agent = fmt.Sprint("agt_", i)
		asks = append(asks, r)
	}
	r := diff(t, engine(t, all), engine(t, text.String()), compare.Options{Workers: 3}, asks)
	listed := uint64(0)
	for _, g := range r.Groups {
		listed += g.Count
	}
	if len(r.Groups) > 500 || r.Flips != 700 || listed+r.Further != 700 {
		t.Errorf("%d groups of %d flips, further %d, flips %d", len(r.Groups), listed, r.Further, r.Flips)
	}
	r = diff(t, engine(t, all), engine(t, "permit (principal, action, resource) when { false };"), compare.Options{Workers: 2}, asks)
	if n := len(r.Groups[0].Agents); n > 402 {
		t.Errorf("%d agents are listed", n)
	}
}
