package filters_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store"
)

// TestAVersionOnItsWayIntoForceIsNotDeleted: its bundle was judged and is being put on record, and would name nothing afterwards.
func TestAVersionOnItsWayIntoForceIsNotDeleted(t *testing.T) {
	w := newWorld(t)
	w.push(acme, "guard", denies("one"))
	w.activate("guard", 1, filters.Placement{})
	now := w.bundles.History(acme)[0].Number
	if _, err := w.bundles.Rollback(t.Context(), acme, bundles.Actor{}); err != nil {
		t.Fatal(err)
	}
	var deleted error
	w.mu.Lock()
	w.fail = func(r *ledger.Record) bool {
		if r.Kind == ledger.Bundle {
			w.fail = nil
			w.mu.Unlock()
			deleted = w.Delete(t.Context(), acme, ada, "guard", 1)
			w.mu.Lock()
		}
		return false
	}
	w.mu.Unlock()
	if _, err := w.bundles.Activate(t.Context(), acme, bundles.Actor{}, now, policies.Mode{}); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(deleted, filters.ErrState) || !strings.Contains(deleted.Error(), "being put in force") {
		t.Error(deleted)
	}
	w.inForce("guard deny one")
	w.restart()
	w.inForce("guard deny one")
	if _, err := w.bundles.Rollback(t.Context(), acme, bundles.Actor{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), acme, ada, "guard", 1); err != nil {
		t.Error("nothing names it any more:", err)
	}
	if _, err := w.bundles.Activate(t.Context(), acme, bundles.Actor{}, now, policies.Mode{}); !errors.Is(err, bundles.ErrRefused) {
		t.Error(err)
	}
}

// TestAVersionThatAWaitingBundleNamesIsNotDeleted: nothing is in force, but the bundle comes up again when it can.
func TestAVersionThatAWaitingBundleNamesIsNotDeleted(t *testing.T) {
	w := newWorld(t)
	v := w.push(acme, "guard", denies("one"))
	w.activate("guard", 1, filters.Placement{})
	w.flip(acme, v)
	w.restart()
	if _, ok := w.bundles.Current(acme); ok {
		t.Fatal("in force without its filter")
	}
	if err := w.Delete(t.Context(), acme, ada, "guard", 1); !errors.Is(err, filters.ErrState) || !strings.Contains(err.Error(), "is active") {
		t.Error(err)
	}
	w.flip(acme, v)
	w.restart()
	w.inForce("guard deny one")
}

// TestARemovedFilterComesBackWhereItStood: the order of filters is the order in which calls pass them.
func TestARemovedFilterComesBackWhereItStood(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "b", "c"} {
		w.push(acme, name, denies(name))
		w.activate(name, 1, filters.Placement{})
	}
	if _, err := w.Remove(t.Context(), acme, ada, "b"); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if _, err := w.Rollback(t.Context(), acme, ada, "b"); err != nil {
		t.Fatal(err)
	}
	w.inForce("a deny a, b deny b, c deny c")
}

// TestConfigsAndVectorsTakeRoomToo, also after a restart: modules are not all that is kept of a version.
func TestConfigsAndVectorsTakeRoomToo(t *testing.T) {
	w := newWorld(t)
	w.cfg.Bytes = 40 << 10
	w.restart()
	up := func(name string, config, text int) error {
		u := filters.Upload{Name: name, Module: passes(), Config: fmt.Appendf(nil, `{"a":%q}`, strings.Repeat("x", config))}
		if text > 0 {
			u.Vectors = []filters.Vector{{Name: strings.Repeat("n", 100), Arguments: fmt.Appendf(nil, `{"a":%q}`, strings.Repeat("x", text)), Want: filters.Want{Verdict: "pass"}}}
		}
		_, err := w.Upload(t.Context(), acme, ada, u, nil)
		return err
	}
	if err := errors.Join(up("a", 15<<10, 0), up("b", 0, 15<<10)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for name, err := range map[string]error{"config": up("c", 15<<10, 0), "vectors": up("c", 0, 15<<10)} {
			if !errors.Is(err, filters.ErrQuota) || !strings.Contains(err.Error(), "max_bytes") {
				t.Errorf("%s: %v", name, err)
			}
		}
		w.restart()
	}
	if err := up("c", 0, 0); err != nil {
		t.Error(err)
	}
}

// TestASignedBundleSaysTheConfigToo: what an uploader gave is not what was signed.
func TestASignedBundleSaysTheConfigToo(t *testing.T) {
	w := newWorld(t)
	v, err := w.Upload(t.Context(), acme, ada, filters.Upload{Name: "guard", Module: denies("one"), Config: []byte(`{"rules": "none"}`)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	named := func(config string) *policies.Bundle {
		t.Helper()
		b, err := policies.NewBundle(bundle(t, `[{"name":"guard","digest":"`+digestOf(v)+`"`+config+`}]`))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if err := w.Check(t.Context(), acme, named("")); err != nil {
		t.Error(err)
	}
	w.keys = ledger.VerifierKeys{{Name: "release"}}
	if err := w.Check(t.Context(), acme, named("")); !errors.Is(err, filters.ErrInvalid) || !strings.Contains(err.Error(), `"config": {"rules":"none"}`) {
		t.Error(err)
	}
	if err := w.Check(t.Context(), acme, named(`,"config":{"rules":"strict"}`)); err != nil {
		t.Error(err)
	}
}

// TestNothingIsLeftOfANameWithoutVersions, or somebody who uploads under ever new names fills the store; and no number is given
// twice all the same.
func TestNothingIsLeftOfANameWithoutVersions(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		name := fmt.Sprint("f", i)
		v := w.push(acme, name, denies(name))
		w.activate(name, v.Number, filters.Placement{})
		w.ask(acme, "mail", "send")
		if err := errors.Join(second(w.Remove(t.Context(), acme, ada, name)), w.Delete(t.Context(), acme, ada, name, v.Number)); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	w.Each(func(_, name string, _ bool, _ filters.Stats) { seen = append(seen, name) })
	rows := 0
	err := w.db.View(t.Context(), acme, func(tx store.Txn) error {
		return tx.Scan("filter_names", "", func(string, store.Value) error { rows++; return nil })
	})
	if err != nil || rows != 0 || len(seen) != 0 {
		t.Errorf("%d rows, counts of %q, %v", rows, seen, err)
	}
	w.restart()
	if v := w.push(acme, "f0", denies("again")); v.Number <= 1 {
		t.Errorf("number %d is given again", v.Number)
	}
}
