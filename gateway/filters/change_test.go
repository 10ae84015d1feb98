package filters_test

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/filters"
)

// TestTheSameBytesMendADamagedModule, as the error says: a tenant is refused everything until then.
func TestTheSameBytesMendADamagedModule(t *testing.T) {
	w := newWorld(t)
	v := w.push(acme, "guard", denies("one"))
	w.activate("guard", 1, filters.Placement{})
	w.flip(acme, v)
	w.restart()
	if _, ok := w.bundles.Current(acme); ok {
		t.Fatal("in force without its filter")
	}
	if again := w.push(acme, "guard", denies("one")); again.Number != 1 {
		t.Errorf("%+v", again)
	}
	w.inForce("guard deny one")
	if b, ok := w.bundles.Current(acme); !ok || len(b.Manifest().Filters) != 1 || w.bundles.Alarm(acme) != "" {
		t.Errorf("nothing is in force: %s", w.bundles.Alarm(acme))
	}
	w.restart()
	w.inForce("guard deny one")
}

// TestWhatWasTriedIsWhatIsActivated: with the config that it was tried with.
func TestWhatWasTriedIsWhatIsActivated(t *testing.T) {
	w := newWorld(t)
	w.push(acme, "guard", denies("one"))
	w.push(acme, "guard", denies("two"))
	w.activate("guard", 1, filters.Placement{Servers: []string{"mail"}})
	if _, err := w.Shadow(t.Context(), acme, ada, "guard", 2, filters.Placement{Config: []byte(`{"strict":true}`)}); err != nil {
		t.Fatal(err)
	}
	w.activate("guard", 2, filters.Placement{})
	f, err := w.Filter(t.Context(), acme, "guard")
	if err != nil || f.Enforced == nil || !strings.Contains(string(f.Enforced.Config), "strict") || len(f.Enforced.Servers) != 1 || f.Tried != nil {
		t.Errorf("%+v %v", f.Enforced, err)
	}
}

// TestARollbackUndoesAMove and nothing before it.
func TestARollbackUndoesAMove(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "b"} {
		w.push(acme, name, denies(name))
		w.activate(name, 1, filters.Placement{})
	}
	w.push(acme, "b", denies("b2"))
	w.activate("b", 2, filters.Placement{})
	w.activate("b", 2, filters.Placement{Position: 1})
	w.inForce("b deny b2, a deny a")
	if _, err := w.Rollback(t.Context(), acme, ada, "b"); err != nil {
		t.Fatal(err)
	}
	w.inForce("a deny a, b deny b2")
	if _, err := w.Rollback(t.Context(), acme, ada, "b"); err != nil {
		t.Fatal(err)
	}
	w.inForce("a deny a, b deny b")
}
