package plans_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/merkle/ledger"
)

func TestExpiryEndsAPlanAtOnceAndIsRecordedOnce(t *testing.T) {
	w := newWorld(t, nil)
	p := w.capture(alice)
	w.clock.move(time.Hour - time.Second)
	if _, state, _ := w.Held("acme", p.Root); state != plans.Active {
		t.Fatal(state)
	}
	w.clock.move(time.Second)
	if h, state, ok := w.Held("acme", p.Root); !ok || state != plans.Expired || h != nil {
		t.Fatal(state)
	}
	w.Sweep(t.Context())
	w.Sweep(t.Context())
	w.reopen()
	w.Sweep(t.Context())
	if got := w.book.acts(); got != "plan captured, plan expired" {
		t.Fatalf("recorded %s", got)
	}
	if l := w.List("acme", plans.Filter{State: plans.Expired}); len(l) != 1 {
		t.Fatalf("%+v", l)
	}
	w.clock.move(w.cfg.Keep)
	w.Sweep(t.Context())
	if _, _, ok := w.Held("acme", p.Root); ok || len(w.List("acme", plans.Filter{})) != 0 {
		t.Fatal("kept for ever")
	}
	w.reopen()
	if s := w.Stats(); s.Plans != 0 || s.Faults != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestAPlanCompletesWhenEveryUseOfEveryStepSettledOk(t *testing.T) {
	w := newWorld(t, nil)
	p := w.capture(alice)
	w.take(p, 0, "ok")
	w.take(p, 1, "tool_error")
	w.follow()
	w.follow() // told twice, counted once
	w.Sweep(t.Context())
	if _, state, _ := w.Held("acme", p.Root); state != plans.Active {
		t.Fatal(state)
	}
	w.take(p, 1, "ok")
	w.follow()
	w.Sweep(t.Context())
	if _, state, _ := w.Held("acme", p.Root); state != plans.Completed {
		t.Fatal(state)
	}
	if got := w.book.acts(); strings.Count(got, "plan completed") != 1 {
		t.Fatalf("recorded %s", got)
	}

	twice, err := w.Capture(t.Context(), alice, []byte(`{"steps":[{"server":"files","tool":"read","uses":2}]}`))
	if err != nil {
		t.Fatal(err)
	}
	free, err := w.Capture(t.Context(), alice, []byte(`{"steps":[{"server":"files","tool":"read"},{"server":"files","tool":"read","uses":0}]}`))
	if err != nil {
		t.Fatal(err)
	}
	w.take(twice, 0, "ok")
	w.take(free, 0, "ok")
	w.take(free, 1, "ok")
	w.reopen() // the counts come back from the ledger
	w.Sweep(t.Context())
	if _, state, _ := w.Held("acme", twice.Root); state != plans.Active {
		t.Fatal("completed with a use left")
	}
	w.take(twice, 0, "ok")
	w.follow()
	w.Sweep(t.Context())
	if _, state, _ := w.Held("acme", twice.Root); state != plans.Completed {
		t.Fatal(state)
	}
	if _, state, _ := w.Held("acme", free.Root); state != plans.Active {
		t.Fatal("a plan with a step without limit ended by itself")
	}
}

func TestHistoryNamesEveryRecordWithItsIndexAndIsBounded(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.History = 8 })
	p := w.capture(alice)
	other := w.capture(alice)
	tok := w.token(alice, p.ID)
	w.take(p, 0, "ok")
	refusal := &ledger.Record{Kind: ledger.Refused, Tenant: "acme", Plan: p.Root, PlanID: p.ID, Step: -1, Code: "args_mismatch"}
	stranger := &ledger.Record{Kind: ledger.Refused, Tenant: "umbrella", Plan: p.Root, PlanID: p.ID, Step: -1, Code: "args_mismatch"}
	for _, r := range []*ledger.Record{refusal, stranger} {
		if _, err := w.book.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	w.follow()
	h, err := w.History("acme", p.ID)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range h.Events {
		got = append(got, fmt.Sprint(e.Index, " ", e.Kind, " ", e.Act, e.Outcome, " ", e.Step))
	}
	want := "0 plan captured -1, 2 token issued -1, 3 admitted  0, 4 settled ok 0, 5 refused args_mismatch -1"
	if s := strings.Join(got, ", "); s != want || h.Events[1].Token != tok.ID {
		t.Fatalf("%s\nwant %s", s, want)
	}
	if h, _ := w.History("acme", other.ID); len(h.Events) != 1 {
		t.Fatalf("%+v", h)
	}
	for range 20 {
		w.take(p, 0, "ok")
	}
	w.follow()
	if h, _ := w.History("acme", p.ID); len(h.Events) != 8 || h.Lost != 37 || h.Events[0].Act != "captured" || h.Events[7].Kind != "settled" {
		t.Fatalf("%d events, %d lost", len(h.Events), h.Lost)
	}
	w.reopen()
	if h, _ := w.History("acme", p.ID); len(h.Events) != 8 || h.Events[0].Act != "captured" {
		t.Fatalf("after a restart: %+v", h)
	}
}

func TestAnEventThatOvertakesTheAnswerIsNotLost(t *testing.T) {
	w := newWorld(t, nil)
	var id string
	w.book.onWrite = func(r *ledger.Record) { id = r.PlanID }
	p := w.capture(alice)
	if id != p.ID {
		t.Fatal(id)
	}
	// During the append the plan is known to the follower and to nobody else.
	w.book.onWrite = func(r *ledger.Record) {
		if _, _, ok := w.Held("acme", r.Plan); ok {
			t.Error("held before it was recorded")
		}
		if _, err := w.View(context.Background(), alice, r.PlanID); !errors.Is(err, plans.ErrNotFound) {
			t.Errorf("seen before it was recorded: %v", err)
		}
	}
	w.capture(alice)
	w.book.onWrite = nil
}

func TestAnotherTenantsRecordsMoveNoPlan(t *testing.T) {
	w := newWorld(t, nil)
	p, err := w.Capture(t.Context(), alice, []byte(`{"steps":[{"server":"files","tool":"read"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	taken := &ledger.Record{Kind: ledger.Admitted, Tenant: "acme", Plan: p.Root, PlanID: p.ID, Step: 0}
	for _, r := range []*ledger.Record{
		taken, {Kind: ledger.Settled, Tenant: "umbrella", Plan: p.Root, PlanID: p.ID, Step: 0, Outcome: "ok"},
		{Kind: ledger.Settled, Tenant: "umbrella", Step: -1, Outcome: "ok"},
	} {
		if r.Kind == ledger.Settled && r.Step == -1 {
			r.Of = taken.ID
		}
		if _, err := w.book.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	w.follow()
	w.Sweep(t.Context())
	if _, state, _ := w.Held("acme", p.Root); state != plans.Active {
		t.Fatal(state)
	}
}

// The register wants to follow from its oldest living plan on: what is older, and what has ended, need not be told again.
func TestTheLedgerIsFollowedFromTheOldestLivingPlanOn(t *testing.T) {
	w := newWorld(t, nil)
	if _, ok := w.Begins(); ok {
		t.Fatal("without a plan there is nothing to follow")
	}
	old := w.capture(alice)
	begun := w.clock.now()
	w.clock.move(10 * time.Minute)
	young := w.capture(alice)
	if at, ok := w.Begins(); !ok || at.Unix() != begun.Unix() {
		t.Fatal(at, ok)
	}
	w.follow()
	if err := w.SetState(t.Context(), mine(alice), old.ID, plans.Completed, ""); err != nil {
		t.Fatal(err)
	}
	if at, ok := w.Begins(); !ok || at.Unix() != w.clock.now().Unix() {
		t.Fatal(at, ok)
	}
	w.Close()
	w.open() // nothing is told of what was before
	h, err := w.History("acme", old.ID)
	if err != nil || !h.Partial {
		t.Fatalf("%+v %v", h, err)
	}
	w.clock.move(2 * time.Hour)
	if _, ok := w.Begins(); ok {
		t.Fatal("an expired plan is followed", young.ID)
	}
}
