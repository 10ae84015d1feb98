package bundles_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/store"
)

// spoil changes a file of a bundle in the store.
func (w *world) spoil(text string) {
	w.t.Helper()
	err := w.store.Update(w.t.Context(), acme, func(tx store.Txn) error {
		found := ""
		if err := tx.Scan("bundle_files", "", func(key string, v store.Value) error {
			if strings.Contains(string(v.Data), text) {
				found = key
			}
			return nil
		}); err != nil {
			return err
		}
		_, err := tx.Put("bundle_files", found, []byte("x"), store.AnyVersion)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestADamagedRevisionLetsNoOtherTakeItsPlace: the one before it permits what it does not, and knows nothing of its filter.
func TestADamagedRevisionLetsNoOtherTakeItsPlace(t *testing.T) {
	w, o := withOwner(t)
	w.activate(w.push(allow("send")).Number, enforce)
	w.activate(w.push(filtered("read")).Number, enforce)
	w.damage("bundle_revisions", fmt.Sprintf("%020d", 2), []byte("x"))
	o.inForce = ""
	w.reopen()
	if w.may(acme, "a") != "" || o.inForce != "" {
		t.Errorf("may %q with %q filters", w.may(acme, "a"), o.inForce)
	}
	for _, part := range []string{"revision 2", "enforces the filters a;", "everything is refused", "activate N"} {
		if !strings.Contains(w.Alarm(acme), part) {
			t.Errorf("the alarm does not say %q: %s", part, w.Alarm(acme))
		}
	}
	if h := w.History(acme); h[0].Problem == "" || h[1].State != bundles.Idle || w.Stats().Alarms != 1 {
		t.Errorf("%+v", h)
	}
	if _, err := w.Activate(t.Context(), acme, ada, 2, enforce); !errors.Is(err, bundles.ErrDamaged) {
		t.Errorf("%v", err)
	}
	if _, err := w.Activate(t.Context(), acme, ada, 1, enforce); !errors.Is(err, bundles.ErrRefused) || !strings.Contains(err.Error(), "take a out of force") {
		t.Errorf("who activates the one before is not told what it does: %v", err)
	}
	if err := w.offer(allow("send"), bundles.Folder, false); !errors.Is(err, bundles.ErrState) || !strings.Contains(w.Alarm(acme), "revision 2") {
		t.Errorf("%v, alarm %s", err, w.Alarm(acme))
	}
	if w.activate(w.push(filtered("send")).Number, enforce); w.may(acme, "a") != "send" || o.inForce != "1" || w.Alarm(acme) != "" {
		t.Errorf("may %q, alarm %q", w.may(acme, "a"), w.Alarm(acme))
	}
}

// TestTheSameFilesMendADamagedRevision: brought by the source again they come into force, pushed by a person they can be activated.
func TestTheSameFilesMendADamagedRevision(t *testing.T) {
	for name, damage := range map[string]func(w *world){
		"file": func(w *world) { w.spoil("mail___read") },
		"row":  func(w *world) { w.damage("bundle_revisions", fmt.Sprintf("%020d", 2), []byte("x")) },
	} {
		w := newWorld(t)
		us := signer(t, "us", 'u')
		w.keys = ledger.VerifierKeys{us.Public}
		for i, tool := range []string{"send", "read"} {
			if err := w.offer(w.signed(tool, i+1, us), bundles.Folder, false); err != nil {
				t.Fatal(err)
			}
		}
		damage(w)
		w.reopen()
		if err := w.offer(w.signed("send", 1, us), bundles.Folder, false); !errors.Is(err, bundles.ErrState) || w.may(acme, "a") != "" {
			t.Errorf("%s: an overtaken one came into force: %v, may %q", name, err, w.may(acme, "a"))
		}
		if err := w.offer(w.signed("read", 2, us), bundles.Folder, false); err != nil || w.may(acme, "a") != "read" || w.Alarm(acme) != "" {
			t.Errorf("%s: %v, may %q, alarm %q", name, err, w.may(acme, "a"), w.Alarm(acme))
		}
		if w.reopen(); w.may(acme, "a") != "read" {
			t.Errorf("%s: after a restart may %q, alarm %q", name, w.may(acme, "a"), w.Alarm(acme))
		}
	}
	w := newWorld(t)
	w.two()
	w.spoil("mail___read")
	w.reopen()
	if r := w.push(allow("read")); r.Number != 2 || w.may(acme, "a") != "" {
		t.Errorf("%+v, may %q", r, w.may(acme, "a"))
	}
	if w.activate(2, enforce); w.may(acme, "a") != "read" {
		t.Errorf("may %q", w.may(acme, "a"))
	}
}

// TestTheWayBackIsSignedToo: what was in force before signatures were asked for, or by a key that is believed no more, is not brought
// back by whoever may roll back.
func TestTheWayBackIsSignedToo(t *testing.T) {
	us, them := signer(t, "us", 'u'), signer(t, "them", 't')
	for name, first := range map[string]map[string][]byte{"unsigned": allow("send"), "by another key": newWorld(t).signed("send", 1, them)} {
		w := newWorld(t)
		w.activate(w.push(first).Number, enforce)
		w.keys = ledger.VerifierKeys{us.Public}
		w.activate(w.push(w.signed("read", 2, us)).Number, enforce)
		if _, err := w.Rollback(t.Context(), acme, ada); !errors.Is(err, bundles.ErrUnsigned) || w.may(acme, "a") != "read" {
			t.Errorf("%s: %v, may %q", name, err, w.may(acme, "a"))
		}
	}
}

// TestALostStateTakesNoFilterOutOfForceUnsaid: any that a revision enforces may have been in force.
func TestALostStateTakesNoFilterOutOfForceUnsaid(t *testing.T) {
	w, o := withOwner(t)
	w.activate(w.push(allow("send")).Number, enforce)
	w.activate(w.push(filtered("read")).Number, enforce)
	w.damage("bundle_state", "", []byte("{"))
	w.reopen()
	if _, err := w.Activate(t.Context(), acme, ada, 1, enforce); !errors.Is(err, bundles.ErrRefused) || !strings.Contains(err.Error(), "take a out of force") || w.may(acme, "a") != "" {
		t.Errorf("%v, may %q", err, w.may(acme, "a"))
	}
	if w.activate(2, enforce); w.may(acme, "a") != "read" || o.inForce != "1" {
		t.Errorf("may %q with %q", w.may(acme, "a"), o.inForce)
	}
}
