package retention_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/retention"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/store/storetest"
)

// A clock that leapt makes everything old. Nothing goes by it, whether or not it wrote records since, over a restart too;
// when it went on for a day it is believed.
func TestAClockThatLeaptPrunesNothing(t *testing.T) {
	for _, writes := range []bool{false, true} {
		w := newWorld(t)
		w.fill("acme", 600)
		w.later(10 * 365 * keep)
		if writes {
			w.fill("acme", 8)
		}
		w.published()
		for range 2 {
			for _, dry := range []bool{true, false} {
				_, err := w.Prune(t.Context(), retention.Request{DryRun: dry})
				want(t, err, retention.ErrClock)
			}
			w.later(time.Hour)
			w.close()
			w.open()
			w.published()
		}
		if w.book.First("acme") != 0 || len(w.tiles.least)+len(w.records("acme", ledger.Prune)) > 0 {
			t.Fatal("pruned by a clock that leapt")
		}
		w.later(keep)
		_, err := w.Prune(t.Context(), retention.Request{})
		w.must(err)
		if w.book.First("acme") < 600 {
			t.Fatal("it is never believed", w.book.First("acme"))
		}
		w.close()
	}
}

// A clock that leapt and was put right leaves nothing behind.
func TestAClockThatIsPutRightIsBelieved(t *testing.T) {
	w := newWorld(t)
	w.old()
	w.later(10 * 365 * keep)
	_, err := w.Prune(t.Context(), retention.Request{})
	want(t, err, retention.ErrClock)
	w.later(-10 * 365 * keep)
	r, err := w.Prune(t.Context(), retention.Request{})
	w.must(err)
	if p := part(t, r, "acme"); p.From == p.To {
		t.Fatalf("%+v", p)
	}
}

// Where nothing is known of the clock, the newest record says what time it was.
func TestWithoutALookTheNewestRecordTells(t *testing.T) {
	w := newWorld(t)
	w.fill("acme", 600)
	w.published()
	w.later(30 * keep)
	w.store = storetest.NewFaulty(storetest.NewMemory()) // restored from before
	w.Keeper = w.keeper(keep)
	_, err := w.Prune(t.Context(), retention.Request{})
	want(t, err, retention.ErrClock)
	if !strings.Contains(err.Error(), "2026-01-01T00:00:00Z") {
		t.Fatal(err)
	}
}

// A hold that came between a prune record and the giving up is on record, with what it saved; a pruning after it begins anew.
func TestAHoldThatCallsAPruningOffIsOnRecord(t *testing.T) {
	w := newWorld(t)
	w.fill("aaa", 600)
	w.fill("acme", 600)
	w.later(2 * keep)
	w.fill("aaa", 8)
	w.fill("acme", 8)
	w.published()
	w.tiles.err = errBroken
	if _, err := w.Prune(t.Context(), retention.Request{}); err == nil {
		t.Fatal("the fault was not met")
	}
	w.tiles.err = nil
	for _, tenant := range []string{"aaa", "acme"} { // what failed to go, and what was never tried
		_, err := w.Hold(t.Context(), tenant, "case 12", retention.Who{})
		w.must(err)
		records := w.records(tenant, ledger.Prune)
		if len(records) != 2 || records[1].Of != records[0].ID || records[1].Code != "held" || !strings.Contains(string(records[1].Body), `"called_off":"`+records[0].ID) {
			t.Fatalf("%s: %+v", tenant, records)
		}
	}
	w.close()
	w.open()
	for _, tenant := range []string{"aaa", "acme"} {
		if _, err := w.book.Scan(t.Context(), tenant, 0, 1); err != nil || w.tiles.least[tenant] != 0 {
			t.Fatal(tenant, err, w.tiles.least)
		}
		_, err := w.Release(t.Context(), tenant, "over")
		w.must(err)
	}
	r, err := w.Prune(t.Context(), retention.Request{})
	w.must(err)
	if p := part(t, r, "acme"); p.From != 0 || p.Record == "" || w.book.First("acme") != p.To {
		t.Fatalf("%+v", p)
	}
}

// An answer that was lost may be asked for again; another reason does not take the place of the first.
func TestASecondHoldDoesNotReplaceTheFirst(t *testing.T) {
	w := newWorld(t)
	first, err := w.Hold(t.Context(), "acme", "case 42", retention.Who{User: "usr_a"})
	w.must(err)
	w.later(time.Hour)
	again, err := w.Hold(t.Context(), "acme", "case 42", retention.Who{User: "usr_a"})
	if err != nil || again != first {
		t.Fatal(again, err)
	}
	for _, other := range []struct{ reason, user string }{{"case 43", "usr_a"}, {"case 42", "usr_b"}} {
		_, err = w.Hold(t.Context(), "acme", other.reason, retention.Who{User: other.user})
		want(t, err, retention.ErrStands)
	}
	if h, _, err := w.Held(t.Context(), "acme"); err != nil || h != first {
		t.Fatal(h, err)
	}
}

func TestADryRunSaysWhyNoMoreGoes(t *testing.T) {
	w := newWorld(t)
	w.fill("acme", 24)
	w.published()
	say := func(want string) {
		t.Helper()
		r, err := w.Prune(t.Context(), retention.Request{Tenant: "acme", DryRun: true})
		w.must(err)
		if p := part(t, r, "acme"); !strings.Contains(p.Why, want) {
			t.Fatalf("%+v", p)
		}
	}
	say("record 0 is of 2026-01-01T00:00:00Z, not older than 2025-12-31T00:00:00Z")
	w.later(2 * keep)
	say("the published checkpoint ends before record 24")
	_, err := w.Hold(t.Context(), "acme", "case 12", retention.Who{})
	w.must(err)
	say("legal hold")
}
