package filters_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/store"
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

// TestAFilterOfABuiltInNameThatWasThereGoesOn, as one does whose name a later gateway takes: it can be mended, or its tenant would be
// refused everything for good, and no version is added to it.
func TestAFilterOfABuiltInNameThatWasThereGoesOn(t *testing.T) {
	for _, broken := range []string{"", "module", "row"} {
		w := newWorld(t)
		w.push(acme, "guard", denies("old"))
		v := w.push(acme, "guard", denies("one"))
		w.activate("guard", 1, filters.Placement{})
		w.activate("guard", 2, filters.Placement{})
		w.builtIn = []filters.BuiltIn{{Name: "guard", Module: passes()}}
		switch broken {
		case "module":
			w.flip(acme, v)
		case "row":
			if err := w.db.Update(t.Context(), acme, func(tx store.Txn) error {
				key := ""
				if err := tx.Scan("filter_versions", "guard", func(k string, _ store.Value) error { key = k; return nil }); err != nil {
					return err
				}
				_, err := tx.Put("filter_versions", key, []byte("x"), store.AnyVersion)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		w.restart()
		if _, ok := w.bundles.Current(acme); ok != (broken == "") {
			t.Errorf("%q: in force %v: %s", broken, ok, w.bundles.Alarm(acme))
		}
		if again := w.push(acme, "guard", denies("one")); broken != "row" && again.Number != 2 {
			t.Errorf("%q: %+v", broken, again)
		}
		if _, ok := w.bundles.Current(acme); !ok {
			t.Errorf("%q: nothing is in force: %s", broken, w.bundles.Alarm(acme))
		}
		if _, err := w.Upload(t.Context(), acme, ada, filters.Upload{Name: "guard", Module: denies("two")}, nil); broken != "row" && !errors.Is(err, filters.ErrInvalid) {
			t.Errorf("%q: a new version: %v", broken, err)
		}
		if _, err := w.Upload(t.Context(), other, ada, filters.Upload{Name: "guard", Module: denies("one")}, nil); !errors.Is(err, filters.ErrInvalid) {
			t.Errorf("%q: another organisation's: %v", broken, err)
		}
		if _, err := w.Rollback(t.Context(), acme, ada, "guard"); err != nil {
			t.Errorf("%q: %v", broken, err)
		}
		if _, err := w.Remove(t.Context(), acme, ada, "guard"); err != nil {
			t.Errorf("%q: %v", broken, err)
		}
		if err := w.Delete(t.Context(), acme, ada, "guard", 1); err != nil {
			t.Errorf("%q: %v", broken, err)
		}
	}
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

// TestADamagedRowCostsItsFilterAlone: what names it is refused until the bytes come again, other filters and new uploads go on, and
// no number is given twice.
func TestADamagedRowCostsItsFilterAlone(t *testing.T) {
	for _, table := range []string{"filter_versions", "filter_names", "filter_rejected"} {
		w := newWorld(t)
		w.push(acme, "guard", denies("old"))
		w.push(acme, "guard", denies("one"))
		w.push(acme, "spare", denies("spare"))
		w.activate("guard", 2, filters.Placement{})
		if _, err := w.Upload(t.Context(), acme, ada, filters.Upload{Name: "bad", Module: []byte("no module")}, nil); err == nil {
			t.Fatal("taken")
		}
		err := w.db.Update(t.Context(), acme, func(tx store.Txn) error {
			key := ""
			if err := tx.Scan(table, "", func(k string, _ store.Value) error {
				if key == "" || strings.HasPrefix(k, "guard") {
					key = k
				}
				return nil
			}); err != nil {
				return err
			}
			_, err := tx.Put(table, key, []byte("x"), store.AnyVersion)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		w.restart()
		if _, ok := w.bundles.Current(acme); ok == (table == "filter_versions") {
			t.Errorf("%s: in force %v: %s", table, ok, w.bundles.Alarm(acme))
		} else if !ok && !strings.Contains(w.bundles.Alarm(acme), "filter guard") {
			t.Errorf("%s: %s", table, w.bundles.Alarm(acme))
		}
		if err := w.Delete(t.Context(), acme, ada, "spare", 1); err != nil {
			t.Errorf("%s: %v", table, err)
		}
		again := w.push(acme, "guard", denies("one"))
		fresh := w.push(acme, "guard", denies("new"))
		if table == "filter_versions" && again.Number != 3 || fresh.Number <= 2 || fresh.Number == again.Number {
			t.Errorf("%s: numbers %d and %d", table, again.Number, fresh.Number)
		}
		w.inForce("guard deny one")
		if err := w.Delete(t.Context(), acme, ada, "guard", fresh.Number); err != nil || w.kept(fresh) {
			t.Errorf("%s: deleted: %v, and its bytes are there: %v", table, err, w.kept(fresh))
		}
		if _, ok := w.bundles.Current(acme); !ok {
			t.Errorf("%s: %s", table, w.bundles.Alarm(acme))
		}
	}
}

// kept tells whether a module's bytes are in the store.
func (w *world) kept(v filters.Version) (found bool) {
	w.t.Helper()
	err := w.db.View(w.t.Context(), acme, func(tx store.Txn) error {
		return tx.Scan("filter_modules", v.Digest.String(), func(string, store.Value) error { found = true; return nil })
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}
