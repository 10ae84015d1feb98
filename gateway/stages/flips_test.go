package stages_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/approvals"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/policies"
)

const everything = `permit (principal, action, resource);`

// forbidding permits everything but reads whose path has the text.
func forbidding(path string) string {
	return everything + fmt.Sprintf("\n@id(\"not-%s\") forbid (principal, action == Action::\"files___read\", resource) when { context.input.path like \"*%s*\" };", path, path)
}

func TestTheEngineInShadowIsAskedAndDecidesNothing(t *testing.T) {
	w := newWorld(t)
	w.engines.Swap("acme", w.engine(everything))
	w.engines.Stage("acme", w.engine(forbidding("pay")), policies.Mode{Shadow: true})
	flips := &stages.Flips{Now: time.Now}
	decide := stages.Decide{Policies: &w.engines, Flips: flips}
	c := w.granted(`{"path":"/pay/1"}`)
	w.must(decide.Check(context.Background(), c))
	shadow, _ := w.engines.Staged("acme")
	want := []pipeline.Flip{{By: "engine", From: "allow", To: "deny", Bundle: shadow.Digest(), Policies: []string{"rules.cedar:2 not-pay"}}}
	if !reflect.DeepEqual(c.Flips, want) || c.Decision.Bundle() != w.engines.For("acme").Digest() {
		t.Fatalf("flips %+v", c.Flips)
	}
	c.Record = "rec_1"
	flips.Note(c)
	c = w.granted(`{"path":"/a"}`)
	if w.must(decide.Check(context.Background(), c)); c.Flips != nil {
		t.Errorf("an answer that is the same is a flip: %+v", c.Flips)
	}
	s := flips.Stats("acme")
	way := stages.Direction{By: "engine", From: "allow", To: "deny"}
	if s.Asked != 2 || s.Compared != 2 || s.Total[way] != 1 || s.Current[way] != 1 || s.Bundle != shadow.Digest() || len(s.Latest) != 1 || s.Latest[0].Record != "rec_1" || s.Latest[0].Tool != "read" {
		t.Errorf("%+v", s)
	}
	if s := flips.Stats("other"); s.Asked != 0 || s.Latest != nil {
		t.Errorf("another tenant has %+v", s)
	}
}

func TestFlipsHaveTheirDirections(t *testing.T) {
	w := newWorld(t)
	hold := everything + `@id("ask") @hold("why") forbid (principal, action, resource);`
	shadowed := everything + `@id("no") @mode("shadow") forbid (principal, action, resource);`
	for _, c := range []struct{ now, next, by, from, to string }{
		{everything, hold, "engine", "allow", "hold"}, {hold, everything, "engine", "hold", "allow"}, {forbidding("a"), everything, "engine", "deny", "allow"},
		{hold, forbidding("a"), "engine", "hold", "deny"}, {shadowed, everything, "policy", "allow", "deny"},
	} {
		w.engines.Swap("acme", w.engine(c.now))
		w.engines.Stage("acme", w.engine(c.next), policies.Mode{Shadow: true})
		call := w.granted(`{"path":"/a"}`)
		_ = stages.Decide{Policies: &w.engines, Flips: &stages.Flips{Now: time.Now}}.Check(context.Background(), call)
		if len(call.Flips) != 1 || call.Flips[0].By != c.by || call.Flips[0].From != c.from || call.Flips[0].To != c.to || len(call.Flips[0].Policies) == 0 {
			t.Errorf("%q to %q: %+v", c.now, c.next, call.Flips)
		}
	}
}

// Whatever stands in the shadow, and however its comparison goes wrong, outcome and refusal are those of the engine in force.
func TestAShadowNeverChangesAnOutcome(t *testing.T) {
	w := newWorld(t)
	texts := []string{
		everything, forbidding("a"), forbidding("b"), `permit (principal, action, resource) when { context.trust > 100000 };`,
		everything + `forbid (principal, action, resource) when { 9223372036854775807 + context.trust + 1 > 0 };`,
		everything + `@hold("why") forbid (principal, action, resource);`, everything + `@mode("shadow") ` + forbidding("b")[len(everything)+1:],
	}
	engines := make([]*policies.Engine, len(texts))
	for i := range texts {
		engines[i] = w.engine(texts[i])
	}
	random := rand.New(rand.NewPCG(1, 2))
	panics := &stages.Flips{Now: func() time.Time { panic("clock") }}
	flips := 0
	for i := range 400 {
		now, next := engines[random.IntN(len(engines))], engines[random.IntN(len(engines))]
		args := []string{`{"path":"/a"}`, `{"path":"/b"}`, `{"path":"/c"}`}[random.IntN(3)]
		alone, beside := w.granted(args), w.granted(args)
		w.engines.Put("acme", now, nil, policies.Mode{})
		want := stages.Decide{Policies: &w.engines}.Check(context.Background(), alone)
		w.engines.Put("acme", now, next, policies.Mode{Shadow: true})
		f := []*stages.Flips{{Now: time.Now}, panics, nil}[i%3]
		got := stages.Decide{Policies: &w.engines, Flips: f}.Check(context.Background(), beside)
		if !same(got, want) || !slices.Equal(beside.Decision.Policies(), alone.Decision.Policies()) || beside.Decision.Bundle() != now.Digest() {
			t.Fatalf("%v instead of %v", got, want)
		}
		ask := beside.BuildAsk(0)
		if !beside.Decision.Covers(&ask) {
			t.Fatal("the decision does not cover the call that the line looks at again")
		}
		flips += len(beside.Flips)
	}
	if flips < 20 || panics.Stats("acme").Failed == 0 {
		t.Errorf("%d flips, %d failures: the property is about nothing", flips, panics.Stats("acme").Failed)
	}
}

func same(a, b error) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	var x, y *pipeline.Denial
	return errors.As(a, &x) && errors.As(b, &y) && x.Code == y.Code && x.Reason == y.Reason && x.Message == y.Message && x.Policy == y.Policy
}

// What a slow shadow takes is bounded: the calls it would slow down pass without it, and are counted.
func TestASlowShadowIsLeftOut(t *testing.T) {
	w := newWorld(t)
	w.engines.Swap("acme", w.engine(everything))
	w.engines.Stage("acme", w.engine(forbidding("a")), policies.Mode{Shadow: true})
	now := time.Unix(1_900_000_000, 0)
	begins := false
	f := &stages.Flips{Now: func() time.Time { // each takes a millisecond, and nothing else takes any time
		if !begins {
			now = now.Add(time.Millisecond)
		}
		begins = false
		return now
	}}
	calls := func(n int, apart time.Duration) (asked, passed uint64) {
		before := f.Stats("acme")
		for range n {
			now, begins = now.Add(apart), true
			w.must(stages.Decide{Policies: &w.engines, Flips: f}.Check(context.Background(), w.granted(`{"path":"/b"}`)))
		}
		after := f.Stats("acme")
		return after.Asked - before.Asked, after.Passed - before.Passed
	}
	if asked, passed := calls(220, 0); asked < 15 || asked > 30 || asked+passed != 220 {
		t.Errorf("asked %d, passed %d", asked, passed)
	}
	if asked, passed := calls(100, 4*time.Millisecond); asked < 99 || asked+passed != 100 {
		t.Errorf("with time between them: asked %d, passed %d", asked, passed)
	}
}

func TestOnlyTheLatestFlipsAreKept(t *testing.T) {
	w := newWorld(t)
	f := &stages.Flips{Now: time.Now}
	c := w.granted(`{"path":"/a"}`)
	c.Flips = []pipeline.Flip{{By: "engine", From: "allow", To: "deny"}}
	for i := range 130 {
		c.Record = fmt.Sprint(i)
		f.Note(c)
	}
	s := f.Stats("acme")
	if len(s.Latest) != 50 || s.Latest[0].Record != "129" || s.Latest[49].Record != "80" || s.Total[stages.Direction{By: "engine", From: "allow", To: "deny"}] != 130 {
		t.Errorf("%d are kept, from %s", len(s.Latest), s.Latest[0].Record)
	}
}

// In a canary each principal's calls are decided by one engine, and its lists by the same.
func TestACanaryDecidesForItsShare(t *testing.T) {
	w := newWorld(t)
	old, next := w.engine(forbidding("a")), w.engine(everything)
	w.engines.Swap("acme", old)
	w.engines.Stage("acme", next, policies.Mode{Canary: 50})
	enforced, _ := w.engines.Choose("acme", w.alice.Principal())
	c := w.granted(`{"path":"/a"}`)
	err := stages.Decide{Policies: &w.engines, Flips: &stages.Flips{Now: time.Now}}.Check(context.Background(), c)
	if c.Decision.Bundle() != enforced.Digest() || (err == nil) != (enforced == next) || len(c.Flips) != 1 {
		t.Errorf("decided by %s, %v, flips %+v", c.Decision.Bundle(), err, c.Flips)
	}
}

// everApproved has approved every call, and counts who asks.
type everApproved struct{ asked int }

func (a *everApproved) ApprovedBy(string, merkle.Hash, int, string) (string, bool) {
	a.asked++
	return "apr_1", true
}

func (a *everApproved) Given(string, string) int { return 1 }

func (a *everApproved) Request(context.Context, approvals.Request) (approvals.View, error) {
	return approvals.View{}, errors.New("not to be asked for")
}

// An approval that is found is spent, and answers holds: what is in shadow must not make the gate look for one.
func TestAShadowThatReadsApprovalsSpendsNone(t *testing.T) {
	w := newWorld(t)
	reading := everything + `forbid (principal, action == Action::"files___read", resource) unless { context.approval.approved };`
	for now, want := range map[string]int{everything: 0, reading: 1} {
		w.engines.Put("acme", w.engine(now), w.engine(reading), policies.Mode{Shadow: true})
		all := &everApproved{}
		c := w.granted(`{"path":"/a"}`)
		w.must(stages.Decide{Policies: &w.engines, Flips: &stages.Flips{Now: time.Now}, Approvals: all}.Check(context.Background(), c))
		if all.asked != want || (c.Approval != "") != (want > 0) {
			t.Errorf("%s: asked %d times, approval %q", now, all.asked, c.Approval)
		}
	}
}
