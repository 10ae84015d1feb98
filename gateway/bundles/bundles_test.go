package bundles_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

var enforce = policies.Mode{}

// TestARevisionIsPushedTriedEnforcedAndRolledBack is the life of a change, and of the next start.
func TestARevisionIsPushedTriedEnforcedAndRolledBack(t *testing.T) {
	w := newWorld(t)
	if err := w.offer(allow("send"), bundles.Folder, false); err != nil {
		t.Fatal(err)
	}
	if r := w.push(allow("read")); r.Number != 2 || r.State != bundles.Idle || r.By != ada || r.Source.Kind != bundles.API || w.may(acme, "a") != "send" {
		t.Fatalf("%+v, may %q", r, w.may(acme, "a"))
	}
	if r := w.activate(2, policies.Mode{Shadow: true}); r.State != bundles.Shadow || w.may(acme, "a") != "send" {
		t.Errorf("%+v, may %q", r, w.may(acme, "a"))
	}
	if r := w.activate(2, policies.Mode{Canary: 50}); r.State != bundles.Canary || r.Percent != 50 {
		t.Errorf("%+v", r)
	}
	tried := 0
	for i := range 100 {
		if w.may(acme, fmt.Sprint("agent", i)) == "read" {
			tried++
		}
	}
	if tried < 30 || tried > 70 {
		t.Errorf("a canary of 50 %% chose %d of 100", tried)
	}
	w.reopen()
	if r, _ := w.Revision(acme, 2); r.State != bundles.Canary || w.may(acme, "agent0") == "" {
		t.Errorf("after a restart: %+v", r)
	}
	if r := w.activate(2, enforce); r.State != bundles.Enforced || w.may(acme, "a") != "read" {
		t.Errorf("%+v, may %q", r, w.may(acme, "a"))
	}
	r, err := w.Rollback(t.Context(), acme, ada)
	if err != nil || r.Number != 1 || w.may(acme, "a") != "send" {
		t.Errorf("%+v %v, may %q", r, err, w.may(acme, "a"))
	}
	if _, err := w.Rollback(t.Context(), acme, ada); !errors.Is(err, bundles.ErrState) {
		t.Errorf("a second rollback: %v", err)
	}
	w.reopen()
	if w.may(acme, "a") != "send" {
		t.Errorf("after a restart: %q", w.may(acme, "a"))
	}
	want := "load 1 enforce, push 2, activate 2 shadow, activate 2 canary, activate 2 enforce, rollback 1 enforce"
	if w.said() != want {
		t.Errorf("the ledger says %s", w.said())
	}
	if h := w.History(acme); len(h) != 2 || h[0].Number != 2 || h[1].State != bundles.Enforced {
		t.Errorf("%+v", h)
	}
}

func TestARollbackWithdrawsWhatIsTriedFirst(t *testing.T) {
	w := newWorld(t)
	w.activate(w.push(allow("send")).Number, enforce)
	w.activate(w.push(allow("read")).Number, enforce)
	w.activate(1, policies.Mode{Canary: 99})
	for _, want := range []string{"read", "send"} {
		if _, err := w.Rollback(t.Context(), acme, ada); err != nil || w.may(acme, "a") != want {
			t.Errorf("%v, may %q, want %q", err, w.may(acme, "a"), want)
		}
	}
	if !strings.HasSuffix(w.said(), "withdraw 2 enforce, rollback 1 enforce") {
		t.Errorf("the ledger says %s", w.said())
	}
}

func TestTheRecordStandsBeforeTheChangeAndWithoutItNothingChanges(t *testing.T) {
	w := newWorld(t)
	w.activate(w.push(allow("send")).Number, enforce)
	w.push(allow("read"))
	w.before = func(*ledger.Record) {
		if w.may(acme, "a") != "send" {
			t.Error("it is in force before the record stands")
		}
	}
	w.fail = true
	if _, err := w.Activate(t.Context(), acme, ada, 2, enforce); !errors.Is(err, errLedger) {
		t.Errorf("activated without a record: %v", err)
	}
	if _, err := w.Rollback(t.Context(), acme, ada); err == nil {
		t.Error("rolled back")
	}
	if _, err := w.Push(t.Context(), acme, ada, map[string][]byte{"p.cedar": []byte("permit (principal, action, resource);")}); !errors.Is(err, errLedger) {
		t.Errorf("pushed without a record: %v", err)
	}
	if err := w.offer(map[string][]byte{"p.cedar": []byte("permit (principal, action, resource);")}, bundles.Folder, false); !errors.Is(err, errLedger) {
		t.Errorf("loaded without a record: %v", err)
	}
	w.reopen()
	if w.may(acme, "a") != "send" || len(w.History(acme)) != 2 {
		t.Errorf("may %q, %d revisions", w.may(acme, "a"), len(w.History(acme)))
	}
	w.fail = false
	if w.activate(2, enforce); w.may(acme, "a") != "read" {
		t.Errorf("may %q", w.may(acme, "a"))
	}
}

// TestAKillBetweenRecordAndSwap: the ledger names an intention, and what the store says is in force.
func TestAKillBetweenRecordAndSwap(t *testing.T) {
	for _, c := range []struct {
		fault storetest.Fault
		want  string
		fails bool
	}{{storetest.Failed, "send", true}, {storetest.Persisted, "read", false}} {
		w := newWorld(t)
		w.activate(w.push(allow("send")).Number, enforce)
		w.push(allow("read"))
		w.store.Next(c.fault)
		_, err := w.Activate(t.Context(), acme, ada, 2, enforce)
		if (err != nil) != c.fails || w.may(acme, "a") != c.want {
			t.Errorf("%v: %v, may %q", c.fault, err, w.may(acme, "a"))
		}
		if got := strings.HasSuffix(w.said(), "activate 2 enforce, failed 2 enforce"); got != c.fails {
			t.Errorf("%v: the ledger says %s", c.fault, w.said())
		}
		w.reopen()
		if w.may(acme, "a") != c.want {
			t.Errorf("%v: after a restart may %q", c.fault, w.may(acme, "a"))
		}
	}
}

func TestWhatDoesNotCompileNeverTakesEffect(t *testing.T) {
	w := newWorld(t)
	w.activate(w.push(allow("send")).Number, enforce)
	broken := map[string]map[string][]byte{
		"unknown tool":   allow("nothing"),
		"no policy":      {"manifest.json": []byte(`{"format":1}`)},
		"no Cedar":       {"p.cedar": []byte("permit")},
		"path traversal": {"p.cedar": allow("send")["p.cedar"], "../../etc/x": nil},
		"absolute":       {"p.cedar": allow("send")["p.cedar"], "/etc/x": nil},
		"case":           {"p.cedar": allow("send")["p.cedar"], "P.CEDAR": nil},
		"large":          {"p.cedar": allow("send")["p.cedar"], "x": make([]byte, 4<<20+1)},
		"member":         {"p.cedar": allow("send")["p.cedar"], "manifest.json": []byte(`{"format":1,"x":1}`)},
	}
	for name, files := range broken {
		if r, err := w.Push(t.Context(), acme, ada, files); !errors.Is(err, bundles.ErrRefused) {
			t.Errorf("%s: %+v %v", name, r, err)
		}
	}
	if err := w.offer(allow("nothing"), bundles.Folder, false); !errors.Is(err, bundles.ErrRefused) || w.Alarm(acme) == "" || w.Stats().Alarms != 1 {
		t.Errorf("%v, alarm %q", err, w.Alarm(acme))
	}
	if w.may(acme, "a") != "send" || len(w.History(acme)) != 1 || w.said() != "push 1, activate 1 enforce" {
		t.Errorf("may %q; the ledger says %s", w.may(acme, "a"), w.said())
	}
	if err := w.offer(allow("read"), bundles.Folder, false); err != nil || w.Alarm(acme) != "" || w.may(acme, "a") != "read" {
		t.Errorf("a good one: %v, alarm %q", err, w.Alarm(acme))
	}
}

func TestARevisionIsJudgedAgainWhenItIsActivated(t *testing.T) {
	w := newWorld(t)
	w.activate(w.push(allow("send")).Number, enforce)
	w.push(allow("read"))
	w.tools = w.tools[:1] // read is gone
	if _, err := w.Activate(t.Context(), acme, ada, 2, enforce); !errors.Is(err, bundles.ErrRefused) || w.may(acme, "a") != "send" {
		t.Errorf("%v, may %q", err, w.may(acme, "a"))
	}
	if _, err := w.Activate(t.Context(), acme, ada, 2, policies.Mode{Shadow: true}); !errors.Is(err, bundles.ErrRefused) {
		t.Errorf("%v", err)
	}
}

func TestATenantReachesOnlyItsOwnRevisions(t *testing.T) {
	w := newWorld(t)
	w.activate(w.push(allow("send")).Number, enforce)
	w.push(allow("read"))
	_, e1 := w.Activate(t.Context(), other, ada, 2, enforce)
	_, e2 := w.Bundle(t.Context(), other, 1)
	_, e3 := w.Revision(other, 1)
	_, e4 := w.Activate(t.Context(), acme, ada, 3, enforce)
	for _, err := range []error{e1, e2, e3, e4} {
		if !errors.Is(err, bundles.ErrNotFound) {
			t.Errorf("%v", err)
		}
	}
	if _, err := w.Rollback(t.Context(), other, ada); !errors.Is(err, bundles.ErrState) {
		t.Errorf("%v", err)
	}
	if w.may(other, "a") != "" || len(w.History(other)) != 0 || w.may(acme, "a") != "send" {
		t.Error("one tenant's change reached another")
	}
}

func TestModesThatMeanNothingAreRefused(t *testing.T) {
	w := newWorld(t)
	w.push(allow("send"))
	for _, m := range []policies.Mode{{Shadow: true}, {Canary: 5}, {Canary: 100}, {Canary: -1}, {Shadow: true, Canary: 5}} {
		if _, err := w.Activate(t.Context(), acme, ada, 1, m); !errors.Is(err, bundles.ErrState) {
			t.Errorf("%+v with nothing enforced: %v", m, err)
		}
	}
	w.activate(1, enforce)
	if _, err := w.Activate(t.Context(), acme, ada, 1, policies.Mode{Shadow: true}); !errors.Is(err, bundles.ErrState) {
		t.Errorf("the enforced one in its own shadow: %v", err)
	}
}

func TestTheSameFilesAreTheSameRevision(t *testing.T) {
	w := newWorld(t)
	if a, b := w.push(allow("send")), w.push(allow("send")); a.Number != b.Number || w.said() != "push 1" {
		t.Errorf("%d and %d: %s", a.Number, b.Number, w.said())
	}
}

// TestASourceDoesNotUndoWhatAPersonDid: looking at the same files again is no news, but changed files are.
func TestASourceDoesNotUndoWhatAPersonDid(t *testing.T) {
	w := newWorld(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.offer(allow("send"), bundles.Folder, false))
	must(w.offer(allow("read"), bundles.Folder, false))
	if _, err := w.Rollback(t.Context(), acme, ada); err != nil {
		t.Fatal(err)
	}
	must(w.offer(allow("read"), bundles.Folder, false))
	w.reopen()
	must(w.offer(allow("read"), bundles.Folder, false))
	if w.may(acme, "a") != "send" {
		t.Errorf("a poll undid the rollback: may %q", w.may(acme, "a"))
	}
	must(w.offer(map[string][]byte{"p.cedar": []byte("permit (principal, action, resource);")}, bundles.BuiltIn, false))
	if w.may(acme, "a") != "send" {
		t.Errorf("the built-in bundle undid the rollback: may %q", w.may(acme, "a"))
	}
	must(w.offer(allow("read"), bundles.Folder, true))
	if w.may(acme, "a") != "read" || len(w.History(acme)) != 2 {
		t.Errorf("an explicit reload: may %q, %d revisions", w.may(acme, "a"), len(w.History(acme)))
	}
}

func TestABundleWaitsForItsTools(t *testing.T) {
	w := newWorld(t)
	if err := w.offer(allow("late"), bundles.Folder, false); err == nil || w.may(acme, "a") != "" {
		t.Errorf("%v, may %q", err, w.may(acme, "a"))
	}
	w.tools = append(w.tools, tool("late"))
	w.Retool(t.Context(), acme)
	if w.may(acme, "a") != "late" || w.Alarm(acme) != "" {
		t.Errorf("may %q, alarm %q", w.may(acme, "a"), w.Alarm(acme))
	}
	w.tools = w.tools[:2]
	w.Retool(t.Context(), acme)
	if w.may(acme, "a") != "late" || w.Alarm(acme) == "" {
		t.Errorf("the last good engine is gone: may %q, alarm %q", w.may(acme, "a"), w.Alarm(acme))
	}
	w.reopen()
	if w.may(acme, "a") != "" || w.Stats().Waiting != 1 {
		t.Errorf("may %q, %+v", w.may(acme, "a"), w.Stats())
	}
	w.tools = append(w.tools, tool("late"))
	w.Retool(t.Context(), acme)
	if w.may(acme, "a") != "late" || w.Stats().Waiting != 0 || w.Alarm(acme) != "" {
		t.Errorf("may %q, %+v, alarm %q", w.may(acme, "a"), w.Stats(), w.Alarm(acme))
	}
}

func TestAReloadThatWasRefusedIsNotTakenLater(t *testing.T) {
	w := newWorld(t)
	if err := w.offer(allow("send"), bundles.Folder, false); err != nil {
		t.Fatal(err)
	}
	if err := w.offer(allow("late"), bundles.Folder, true); !errors.Is(err, bundles.ErrRefused) {
		t.Fatal(err)
	}
	w.tools = append(w.tools, tool("late"))
	w.Retool(t.Context(), acme)
	if w.may(acme, "a") != "send" {
		t.Errorf("what was refused to who asked came in force by itself: may %q", w.may(acme, "a"))
	}
}

func TestARevisionThatCanNoLongerBeTriedRaisesTheAlarm(t *testing.T) {
	w := newWorld(t)
	w.tools = append(w.tools, tool("late"))
	w.activate(w.push(allow("send")).Number, policies.Mode{})
	tried := w.push(allow("late")).Number
	w.activate(tried, policies.Mode{Shadow: true})
	w.tools = w.tools[:2]
	w.reopen()
	r, err := w.Revision(acme, tried)
	if err != nil || r.State != bundles.Shadow || !strings.Contains(r.Problem, "it is not tried") || w.Alarm(acme) != r.Problem || w.may(acme, "a") != "send" {
		t.Errorf("%+v, %v, alarm %q, may %q", r, err, w.Alarm(acme), w.may(acme, "a"))
	}
	w.tools = append(w.tools, tool("late"))
	w.Retool(t.Context(), acme)
	if r, _ = w.Revision(acme, tried); r.Problem != "" || w.Alarm(acme) != "" {
		t.Errorf("%+v, alarm %q", r, w.Alarm(acme))
	}
	w.tools = w.tools[:2]
	w.reopen()
	if _, err := w.Rollback(t.Context(), acme, ada); err != nil || w.Alarm(acme) != "" {
		t.Errorf("%v, alarm %q", err, w.Alarm(acme))
	}
}

func TestOnlySignedAndNewerBundlesAreTaken(t *testing.T) {
	w := newWorld(t)
	us, them := signer(t, "us", 'u'), signer(t, "them", 't')
	w.keys = ledger.VerifierKeys{us.Public}
	first, second := w.signed("send", 1, us), w.signed("read", 2, us)
	changed := w.signed("send", 3, us)
	changed["p.cedar"] = allow("read")["p.cedar"]
	torn := w.signed("send", 3, us)
	torn[policies.SignatureFile] = torn[policies.SignatureFile][:20]
	borrowed := w.signed("send", 3, us)
	borrowed[policies.SignatureFile] = first[policies.SignatureFile]
	impostor := w.signed("send", 3, signer(t, "us", 'x'))
	for name, files := range map[string]map[string][]byte{
		"unsigned": allow("send"), "another's": w.signed("send", 3, them), "changed": changed, "torn": torn, "another bundle's": borrowed, "under our name": impostor,
	} {
		if _, err := w.Push(t.Context(), acme, ada, files); !errors.Is(err, bundles.ErrUnsigned) {
			t.Errorf("%s: pushed: %v", name, err)
		}
		if err := w.offer(files, bundles.Git, true); !errors.Is(err, bundles.ErrUnsigned) {
			t.Errorf("%s: loaded: %v", name, err)
		}
	}
	if err := w.offer(first, bundles.Git, false); err != nil || w.History(acme)[0].SignedBy != "us" {
		t.Fatalf("%v %+v", err, w.History(acme))
	}
	if err := w.offer(second, bundles.Git, false); err != nil || w.may(acme, "a") != "read" {
		t.Fatalf("%v", err)
	}
	for name, files := range map[string]map[string][]byte{"replayed": first, "same version, other content": w.signed("send", 2, us)} {
		for _, anew := range []bool{false, true} {
			if err := w.offer(files, bundles.Git, anew); !errors.Is(err, bundles.ErrOld) || w.may(acme, "a") != "read" {
				t.Errorf("%s: %v, may %q", name, err, w.may(acme, "a"))
			}
		}
		if _, err := w.Push(t.Context(), acme, ada, files); !errors.Is(err, bundles.ErrOld) {
			t.Errorf("%s: pushed: %v", name, err)
		}
	}
	w.reopen()
	if err := w.offer(first, bundles.Git, false); !errors.Is(err, bundles.ErrOld) {
		t.Errorf("replayed after a restart: %v", err)
	}
	if _, err := w.Rollback(t.Context(), acme, ada); err != nil || w.may(acme, "a") != "send" {
		t.Errorf("the explicit way back: %v", err)
	}
	w.keys = ledger.VerifierKeys{them.Public}
	if _, err := w.Activate(t.Context(), acme, ada, 2, enforce); !errors.Is(err, bundles.ErrUnsigned) {
		t.Errorf("a key that is believed no more: %v", err)
	}
	if err := w.offer(allow("send"), bundles.BuiltIn, true); err != nil {
		t.Errorf("the built-in bundle needs no signature: %v", err)
	}
}

func TestABundleWithoutNameOrVersionCannotBeSigned(t *testing.T) {
	w := newWorld(t)
	for _, m := range []string{`{"format":1}`, `{"format":1,"name":"a"}`, `{"format":1,"version":1}`} {
		files := allow("send")
		files["manifest.json"] = []byte(m)
		if _, err := bundles.Sign(w.bundle(files), signer(t, "us", 'u')); err == nil {
			t.Errorf("%s: signed", m)
		}
	}
}

// damage changes a row under the service's feet.
func (w *world) damage(table, key string, data []byte) {
	w.t.Helper()
	err := w.store.Update(w.t.Context(), acme, func(tx store.Txn) error {
		if key != "" {
			_, err := tx.Put(table, key, data, store.AnyVersion)
			return err
		}
		var keys []string
		if err := tx.Scan(table, "", func(k string, _ store.Value) error { keys = append(keys, k); return nil }); err != nil {
			return err
		}
		for _, k := range keys {
			if _, err := tx.Put(table, k, data, store.AnyVersion); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) two() {
	w.activate(w.push(allow("send")).Number, enforce)
	w.activate(w.push(allow("read")).Number, enforce)
}

func TestDamageThatLeavesNothingGoodRefusesEverything(t *testing.T) {
	for _, table := range []string{"bundle_files", "bundle_revisions"} {
		w := newWorld(t)
		w.two()
		w.damage(table, "", []byte("x"))
		w.reopen()
		if err := w.offer(allow("send"), bundles.Folder, false); !errors.Is(err, bundles.ErrState) || w.may(acme, "a") != "" || w.Alarm(acme) == "" {
			t.Errorf("%s: %v, may %q, alarm %q", table, err, w.may(acme, "a"), w.Alarm(acme))
		}
		if w.activate(w.push(map[string][]byte{"p.cedar": []byte("permit (principal, action, resource);")}).Number, enforce); w.may(acme, "a") != "send read" {
			t.Errorf("%s: a person's word does not help: may %q", table, w.may(acme, "a"))
		}
	}
}

func TestALostStateNeedsAPersonsWord(t *testing.T) {
	w := newWorld(t)
	w.keys = ledger.VerifierKeys{signer(t, "us", 'u').Public}
	w.activate(w.push(w.signed("send", 7, signer(t, "us", 'u'))).Number, enforce)
	w.damage("bundle_state", "", []byte("{"))
	w.reopen()
	if err := w.offer(w.signed("read", 8, signer(t, "us", 'u')), bundles.Git, false); !errors.Is(err, bundles.ErrState) || w.may(acme, "a") != "" || w.Alarm(acme) == "" {
		t.Errorf("%v, may %q", err, w.may(acme, "a"))
	}
	if _, err := w.Push(t.Context(), acme, ada, w.signed("read", 6, signer(t, "us", 'u'))); !errors.Is(err, bundles.ErrOld) {
		t.Errorf("the highest version was forgotten: %v", err)
	}
	if r := w.push(w.signed("read", 8, signer(t, "us", 'u'))); r.Number != 2 {
		t.Errorf("a number was given twice: %+v", r)
	}
	if w.activate(1, enforce); w.may(acme, "a") != "send" || w.Alarm(acme) != "" {
		t.Errorf("may %q", w.may(acme, "a"))
	}
}

func TestADamagedTrialIsWithdrawn(t *testing.T) {
	w := newWorld(t)
	w.two()
	w.activate(1, policies.Mode{Canary: 99})
	w.damage("bundle_revisions", fmt.Sprintf("%020d", 1), []byte("x"))
	w.reopen()
	if w.may(acme, "a") != "read" || !strings.HasSuffix(w.said(), "withdraw 2") || w.Alarm(acme) == "" {
		t.Errorf("may %q: %s", w.may(acme, "a"), w.said())
	}
}

func TestHistoryIsBoundedAndKeepsWhatIsNeeded(t *testing.T) {
	w := newWorld(t)
	w.cfg.History = 3
	w.reopen()
	w.two()
	for i := range 8 {
		files := allow("send")
		files["note.txt"] = fmt.Appendf(nil, "%d", i)
		w.push(files)
	}
	var numbers []uint64
	for _, r := range w.History(acme) {
		numbers = append(numbers, r.Number)
	}
	if fmt.Sprint(numbers) != "[10 2 1]" {
		t.Errorf("kept %v", numbers)
	}
	files := 0
	_ = w.store.View(t.Context(), acme, func(tx store.Txn) error {
		return tx.Scan("bundle_files", "", func(string, store.Value) error { files++; return nil })
	})
	if files != 3 { // two policies and one note
		t.Errorf("%d files are kept", files)
	}
	w.reopen()
	for _, n := range numbers {
		if _, err := w.Bundle(t.Context(), acme, n); err != nil {
			t.Error(err)
		}
	}
}

func TestTwoActivationsAtOnceLeaveOneInForce(t *testing.T) {
	w := newWorld(t)
	w.two()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := w.Activate(t.Context(), acme, ada, uint64(1+i%2), enforce); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	now, b := w.may(acme, "a"), w.engines.For(acme).Digest()
	cur, _ := w.Current(acme)
	last := w.records[len(w.records)-1].Bundle
	if cur.Digest() != b || last != b {
		t.Errorf("engine %s, service %s, ledger %s", b, cur.Digest(), last)
	}
	w.reopen()
	if w.may(acme, "a") != now {
		t.Errorf("%q before and %q after a restart", now, w.may(acme, "a"))
	}
	n := 0
	for _, r := range w.History(acme) {
		if r.State == bundles.Enforced {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d revisions are enforced", n)
	}
}
