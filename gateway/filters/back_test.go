package filters_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/manifest"
)

// moved says what becomes of filters, as "NAME BEFORE>AFTER" by mode.
func moved(r bundles.Revision) string {
	var out []string
	side := func(f *manifest.Filter) string {
		if f == nil {
			return ""
		}
		return f.Mode
	}
	for _, m := range r.Moves {
		out = append(out, fmt.Sprintf("%s %s>%s", m.Name, side(m.Before), side(m.After)))
	}
	return strings.Join(out, ", ")
}

// TestARevisionSaysWhatItTakesOutOfForce: when it is handed in, when it is enforced, and on the way back.
func TestARevisionSaysWhatItTakesOutOfForce(t *testing.T) {
	w := newWorld(t)
	a, b := w.push(acme, "a", denies("a")), w.push(acme, "b", denies("b"))
	w.activate("a", 1, filters.Placement{})
	w.activate("b", 1, filters.Placement{})
	push := func(section string) bundles.Revision {
		t.Helper()
		r, err := w.bundles.Push(t.Context(), acme, bundles.Actor{}, bundle(t, section))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	none := push(`[]`)
	if got := moved(none); got != "a enforce>, b enforce>" {
		t.Errorf("pushed: %q", got)
	}
	if got := moved(push(`[]`)); got != "a enforce>, b enforce>" {
		t.Errorf("pushed again: %q", got)
	}
	other := push(`[{"name":"b","digest":"` + digestOf(b) + `","config":{},"direction":"request"},{"name":"a","digest":"` + digestOf(a) + `","mode":"shadow"}]`)
	if got := moved(other); got != "a enforce>, b enforce>enforce, a >shadow" {
		t.Errorf("pushed: %q", got)
	}
	r, err := w.bundles.Activate(t.Context(), acme, bundles.Actor{}, none.Number, policies.Mode{})
	if got := moved(r); err != nil || got != "a enforce>, b enforce>" {
		t.Errorf("enforced: %q %v", got, err)
	}
	r, err = w.bundles.Rollback(t.Context(), acme, bundles.Actor{})
	if got := moved(r); err != nil || got != "a >enforce, b >enforce" {
		t.Errorf("rolled back: %q %v", got, err)
	}
	r, err = w.bundles.Push(t.Context(), acme, bundles.Actor{}, map[string][]byte{"p.cedar": []byte("permit (principal, action, resource);")})
	if err != nil || len(r.Moves) != 0 || !strings.Contains(r.Warning, "would take a, b out of force") {
		t.Errorf("says nothing of filters: %+v %v", r, err)
	}
}

// TestARollbackThatADeletedFilterStopsSaysWhichAndWhereItCanGo, and goes nowhere by itself.
func TestARollbackThatADeletedFilterStopsSaysWhichAndWhereItCanGo(t *testing.T) {
	w := newWorld(t)
	one := w.push(acme, "guard", denies("one"))
	w.push(acme, "guard", denies("two"))
	before := w.bundles.History(acme)[0].Number
	gone := w.activate("guard", 1, filters.Placement{}).Revision
	now := w.activate("guard", 2, filters.Placement{}).Revision
	if list, err := w.bundles.Naming(t.Context(), acme, "guard", digestOf(one)); err != nil || !slices.Equal(list, []uint64{gone}) {
		t.Errorf("revisions that name it: %v %v", list, err)
	}
	if list, err := w.bundles.Naming(t.Context(), other, "guard", digestOf(one)); err != nil || list != nil {
		t.Errorf("another tenant's: %v %v", list, err)
	}
	if err := w.Delete(t.Context(), acme, ada, "guard", 1); err != nil {
		t.Fatal(err)
	}
	_, err := w.bundles.Rollback(t.Context(), acme, bundles.Actor{})
	for _, want := range []string{fmt.Sprintf("revision %d cannot be put in force again", gone), "filter guard", digestOf(one), fmt.Sprintf("`gatewright policy rollback %d` goes back to revision %d", before, before)} {
		if !errors.Is(err, bundles.ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	w.inForce("guard deny two")
	if _, err := w.bundles.RollbackTo(t.Context(), acme, bundles.Actor{}, now); !errors.Is(err, bundles.ErrState) || !strings.Contains(err.Error(), fmt.Sprintf("%d, %d", before, gone)) {
		t.Errorf("to what was not enforced before: %v", err)
	}
	if _, err := w.bundles.RollbackTo(t.Context(), acme, bundles.Actor{}, gone); !errors.Is(err, bundles.ErrRefused) {
		t.Errorf("to what cannot be: %v", err)
	}
	r, err := w.bundles.RollbackTo(t.Context(), acme, bundles.Actor{}, before)
	if err != nil || r.Number != before || moved(r) != "guard enforce>" {
		t.Errorf("%+v %v", r, err)
	}
	w.inForce("")
	if _, err := w.bundles.Rollback(t.Context(), acme, bundles.Actor{}); !errors.Is(err, bundles.ErrState) {
		t.Errorf("what lay between is on no way back: %v", err)
	}
}

// TestARollbackWithNoWayLeftSaysSo.
func TestARollbackWithNoWayLeftSaysSo(t *testing.T) {
	w := newWorld(t, func(w *world) { w.bare = true })
	w.push(acme, "guard", denies("one"))
	w.push(acme, "guard", denies("two"))
	files := bundle(t, `[{"name":"guard","digest":"`+digestOf(w.push(acme, "guard", denies("one")))+`"}]`)
	r, err := w.bundles.Push(t.Context(), acme, bundles.Actor{}, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.bundles.Activate(t.Context(), acme, bundles.Actor{}, r.Number, policies.Mode{}); err != nil {
		t.Fatal(err)
	}
	w.activate("guard", 2, filters.Placement{})
	if err := w.Delete(t.Context(), acme, ada, "guard", 1); err != nil {
		t.Fatal(err)
	}
	if _, err := w.bundles.Rollback(t.Context(), acme, bundles.Actor{}); !errors.Is(err, bundles.ErrRefused) || !strings.Contains(err.Error(), "none that was enforced before it can be") || !strings.Contains(err.Error(), "upload the module") {
		t.Error(err)
	}
}

// TestAChangeSaysWhatThereWasAndWhatThereIs, and what a rollback would bring.
func TestAChangeSaysWhatThereWasAndWhatThereIs(t *testing.T) {
	w := newWorld(t)
	for _, reason := range []string{"one", "two", "three"} {
		w.push(acme, "guard", denies(reason))
	}
	change := func(c filters.Change, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(c.Was, ">", c.Now, " back ", c.Back)
	}
	for i, step := range []struct {
		do   func() (filters.Change, error)
		want string
	}{
		{func() (filters.Change, error) {
			return w.Shadow(t.Context(), acme, ada, "guard", 1, filters.Placement{})
		}, "{0 0}>{0 1} back 0"},
		{func() (filters.Change, error) {
			return w.Activate(t.Context(), acme, ada, "guard", 1, filters.Placement{})
		}, "{0 1}>{1 0} back 0"},
		{func() (filters.Change, error) {
			return w.Activate(t.Context(), acme, ada, "guard", 2, filters.Placement{})
		}, "{1 0}>{2 0} back 1"},
		{func() (filters.Change, error) {
			return w.Activate(t.Context(), acme, ada, "guard", 2, filters.Placement{Direction: "request"})
		}, "{2 0}>{2 0} back 2"},
		{func() (filters.Change, error) {
			return w.Shadow(t.Context(), acme, ada, "guard", 3, filters.Placement{})
		}, "{2 0}>{2 3} back 2"},
		{func() (filters.Change, error) { return w.Rollback(t.Context(), acme, ada, "guard") }, "{2 3}>{2 0} back 2"},
		{func() (filters.Change, error) { return w.Remove(t.Context(), acme, ada, "guard") }, "{2 0}>{0 0} back 2"},
		{func() (filters.Change, error) { return w.Rollback(t.Context(), acme, ada, "guard") }, "{0 0}>{2 0} back 2"},
		{func() (filters.Change, error) { return w.Rollback(t.Context(), acme, ada, "guard") }, "{2 0}>{2 0} back 1"},
		{func() (filters.Change, error) { return w.Rollback(t.Context(), acme, ada, "guard") }, "{2 0}>{1 0} back 0"},
	} {
		if got := change(step.do()); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
}
