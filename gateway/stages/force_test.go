package stages_test

import (
	"context"
	"slices"
	"testing"

	life "github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/wasm"
)

// revision is what one bundle brings.
type revision struct {
	cedar string
	units []*unit
}

// revisions puts policies and filters in force together, as bundles do.
type revisions struct {
	*world
	policies.Set
	open int // sets that are not over
}

func (r *revisions) put(v revision) merkle.Hash {
	set := life.NewSet()
	for _, u := range v.units {
		set.Units = append(set.Units, life.Place(u, nil))
	}
	r.open++
	set.Over(func() { r.open-- })
	_, _, with := r.ChooseWith("acme", nil)
	e := r.engine(v.cedar)
	r.PutWith("acme", e, nil, policies.Mode{}, set)
	if old, ok := with.(*life.Set); ok {
		old.Release()
	}
	return e.Digest()
}

func (r *revisions) For(context.Context, string) (*life.Set, error) {
	_, _, with := r.ChooseWith("acme", nil)
	set := with.(*life.Set)
	set.Hold()
	return set, nil
}

func (r *revisions) Take(tenant string, p *policies.Principal) (f pipeline.Force) {
	var with any
	f.Engine, f.Shadow, with = r.ChooseWith(tenant, p)
	f.Filters = with.(*life.Set)
	f.Filters.Hold()
	return f
}

// hook is a stage that does something to others.
type hook struct{ do func() }

func (hook) Name() string                                  { return "hook" }
func (h hook) Check(context.Context, *pipeline.Call) error { h.do(); return nil }
func (w *world) judged(before revision) (*row, *revisions) {
	return w.judgedBy(&revisions{world: w}, before)
}
func (r *row) between(name string, do func()) {
	r.line.Stages = slices.Insert(r.line.Stages, r.at(name), pipeline.Stage(hook{do}))
}
func (r *row) at(name string) int {
	return slices.IndexFunc(r.line.Stages, func(s pipeline.Stage) bool { return s.Name() == name })
}

// judgedBy is the row over revisions.
func (w *world) judgedBy(r *revisions, before revision) (*row, *revisions) {
	w.t.Helper()
	r.put(before)
	row := w.row(open + `,"uses":0`)
	row.line.Stages[row.at("filter")] = &stages.Filter{Filters: r, Arguments: canon.DefaultLimits(), Results: canon.DefaultLimits()}
	row.line.Stages[row.at("decide")] = stages.Decide{Policies: r}
	row.line.Stages = slices.Insert(row.line.Stages, row.at("filter"), pipeline.Stage(stages.Session{Policies: r}))
	return row, r
}

const (
	unlessSecret = `permit (principal, action, resource); forbid (principal, action in Action::"work", resource) when { context.filters.labels.contains("secret") };`
	onlyVetted   = `permit (principal, action, resource); forbid (principal, action in Action::"work", resource) unless { context.filters.labels.contains("secret") };`
	noWork       = `permit (principal, action, resource); forbid (principal, action in Action::"work", resource);`
	anything     = `permit (principal, action, resource);`
)

// TestACallSeesOneRevision: filters of one and policies of another might give what neither gives. Whatever comes into force on
// the way of a call, it gets the answer of the revision that it began under, and that one is on record.
func TestACallSeesOneRevision(t *testing.T) {
	label := func(_ string, v *wasm.Verdict) error { v.Labels = append(v.Labels, "secret"); return nil }
	labels := []*unit{{name: "f", request: label}}
	refusing := []*unit{{name: "g", response: func(_ string, v *wasm.Verdict) error { v.Kind, v.Reason = wasm.Deny, "no"; return nil }}}
	for name, c := range map[string]struct {
		before, after revision
		at            string // the stage before which the other comes into force; "": while the call is out
		want          pipeline.Code
	}{
		"a permit that no revision gives":                 {revision{noWork, nil}, revision{unlessSecret, labels}, "decide", pipeline.PolicyDenied},
		"a refusal that no revision gives":                {revision{anything, nil}, revision{onlyVetted, labels}, "decide", ""},
		"new filters, old policies, refused":              {revision{onlyVetted, labels}, revision{anything, nil}, "filter", ""},
		"new filters, old policies, permitted":            {revision{unlessSecret, labels}, revision{noWork, nil}, "filter", pipeline.PolicyDenied},
		"a result that the old ones refuse":               {revision{anything, refusing}, revision{anything, nil}, "", pipeline.ReplyWithheld},
		"a result that the new ones refuse":               {revision{anything, nil}, revision{anything, refusing}, "", ""},
		"policies that read a session nobody has counted": {revision{anything, nil}, revision{`permit (principal, action in Action::"work", resource) when { context.session.calls > 3 };`, nil}, "decide", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			row, r := w.judged(c.before)
			_, _, with := r.ChooseWith("acme", nil)
			first, _ := r.Choose("acme", nil)
			swap := func() {
				if r.put(c.after); r.open != 2 {
					t.Errorf("%d sets are open while a call passes", r.open)
				}
			}
			if c.at != "" {
				row.between(c.at, swap)
			} else {
				row.line.Upstream = forwarder(func(c *pipeline.Call) error {
					swap()
					c.Reply = pipeline.Reply{Status: 200, Result: []byte(row.result)}
					return nil
				})
			}
			call := row.run(a, "")
			if got := call.Denial; (got == nil) != (c.want == "") || got != nil && got.Code != c.want {
				t.Errorf("refused with %v, want %q", got, c.want)
			}
			for i := range row.book.records {
				if rec := &row.book.records[i]; rec.Bundle != first.Digest() {
					t.Errorf("%s names bundle %s, want the one it began under", rec.Kind, rec.Bundle)
				}
			}
			if r.open != 1 || with.(*life.Set).Hold() {
				t.Errorf("%d sets are open after the call", r.open)
			}
		})
	}
}

// TestATrialSeesOneRevision, as the call does that it is about.
func TestATrialSeesOneRevision(t *testing.T) {
	label := &unit{name: "f", request: func(_ string, v *wasm.Verdict) error { v.Labels = append(v.Labels, "secret"); return nil }}
	for _, c := range []struct {
		before, after revision
		passes        bool
	}{
		{revision{noWork, nil}, revision{unlessSecret, []*unit{label}}, false},
		{revision{anything, nil}, revision{onlyVetted, []*unit{label}}, true},
	} {
		w := newWorld(t)
		row, r := w.judged(c.before)
		row.between("decide", func() { r.put(c.after) })
		call := &pipeline.Call{Route: "/mcp", Credential: []byte(w.aliceKey), Read: func(_ context.Context, c *pipeline.Call) error {
			c.Op, c.Action, c.Plan, c.Server, c.Name, c.Args, c.Shown.Token = "tools/check", "call_tool", true, "files", "read", []byte(a), row.token
			c.Trial, c.Answer = true, func(_ context.Context, c *pipeline.Call) error {
				c.Reply = pipeline.Reply{Result: []byte(`{}`)}
				return nil
			}
			return nil
		}}
		if row.line.Run(context.Background(), call); (call.Denial == nil) != c.passes || r.open != 1 {
			t.Errorf("%v, %d sets are open", call.Denial, r.open)
		}
	}
}

// TestARefusedCallGivesItsFiltersBack, wherever it ends.
func TestARefusedCallGivesItsFiltersBack(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("boom") }, "no more": func() {}} {
		w := newWorld(t)
		row, r := w.judged(revision{noWork, nil})
		row.between("decide", end)
		if c := row.run(a, ""); c.Denial == nil {
			t.Errorf("%s: passes", name)
		}
		if r.put(revision{anything, nil}); r.open != 1 {
			t.Errorf("%s: %d sets are open", name, r.open)
		}
	}
}

// TestTakingWhatIsInForceAllocatesNothing.
func TestTakingWhatIsInForceAllocatesNothing(t *testing.T) {
	w := newWorld(t)
	_, r := w.judged(revision{anything, []*unit{{name: "f"}}})
	c := w.call(w.alice, "read", a, nil)
	if n := testing.AllocsPerRun(100, func() {
		c.Force = pipeline.Force{}
		c.Take(r).Filters.Release()
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
