package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// TestMain lets the test binary be the connectors too.
func TestMain(m *testing.M) {
	if part := os.Getenv(partVariable); part != "" {
		os.Exit(play(part))
	}
	goleak.VerifyTestMain(m)
}

var lastLine = regexp.MustCompile(`^faults injected=(\d+) allowed=(\d+) unrecorded=(\d+)$`)

// TestNoFaultLetsACallPassOrGoUnrecorded runs the whole program.
func TestNoFaultLetsACallPassOrGoUnrecorded(t *testing.T) {
	var out bytes.Buffer
	found, err := run(t.Context(), &out, "", mutation{})
	if err == nil {
		err = found.judge()
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	m := lastLine.FindStringSubmatch(lines[len(lines)-1])
	if m == nil {
		t.Fatalf("last line: %s", lines[len(lines)-1])
	}
	if n, err := strconv.Atoi(m[1]); err != nil || n < 200 || m[2] != "0" || m[3] != "0" {
		t.Errorf("last line: %s", m[0])
	}
	if len(lines) != len(groups())+1 {
		t.Errorf("%d lines for %d groups", len(lines), len(groups()))
	}
	t.Log(out.String())
}

// deaf is a stage whose refusals are not heard.
type deaf struct{ pipeline.Stage }

func (s deaf) Check(ctx context.Context, c *pipeline.Call) error {
	_ = s.Stage.Check(ctx, c)
	return nil
}

// hasty is a stage that sends the call out by itself, before it is admitted.
type hasty struct {
	pipeline.Stage
	w *witness
}

func (s *hasty) Check(ctx context.Context, c *pipeline.Call) error {
	if s.w != nil && c.Args != nil {
		s.w.see(c.Args)
	}
	return s.Stage.Check(ctx, c)
}

// forgetful is a ledger that keeps nothing of one kind, and says all the same where it stands, with a receipt that was good
// once.
type forgetful struct {
	pipeline.Ledger
	kind ledger.Kind

	mu   sync.Mutex
	last []byte
}

func (l *forgetful) Append(ctx context.Context, r *ledger.Record) (wal.Mark, error) {
	if r.Kind == l.kind {
		return wal.Mark{Tenant: r.Tenant}, nil
	}
	return l.Ledger.Append(ctx, r)
}

func (l *forgetful) Admit(ctx context.Context, r *ledger.Record, u wal.Use) (wal.Mark, error) {
	if r.Kind == l.kind {
		return wal.Mark{Tenant: r.Tenant}, nil
	}
	return l.Ledger.Admit(ctx, r, u)
}

func (l *forgetful) Settle(ctx context.Context, r *ledger.Record, receipt []byte) (wal.Mark, []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Kind == l.kind {
		return wal.Mark{Tenant: r.Tenant}, append(receipt, append(l.last, "x"...)...), nil
	}
	m, receipt, err := l.Ledger.Settle(ctx, r, receipt)
	l.last = append(l.last[:0], receipt...)
	return m, receipt, err
}

// believing is a line that takes a ledger's errors for success.
type believing struct{ pipeline.Ledger }

func (l believing) Admit(ctx context.Context, r *ledger.Record, u wal.Use) (wal.Mark, error) {
	if m, err := l.Ledger.Admit(ctx, r, u); err == nil {
		return m, nil
	}
	return wal.Mark{Tenant: r.Tenant}, nil
}

// TestABrokenLineIsFound: each way of breaking the line that the program is for is told under its name, with the fault.
func TestABrokenLineIsFound(t *testing.T) {
	only := func(name string, change func(pipeline.Stage) pipeline.Stage) func(pipeline.Stage) pipeline.Stage {
		return func(s pipeline.Stage) pipeline.Stage {
			if s.Name() == name {
				return change(s)
			}
			return s
		}
	}
	swallow := func(s pipeline.Stage) pipeline.Stage { return deaf{s} }
	forget := func(kind ledger.Kind) func(*world, pipeline.Ledger) pipeline.Ledger {
		return func(_ *world, l pipeline.Ledger) pipeline.Ledger { return &forgetful{Ledger: l, kind: kind} }
	}
	early := &hasty{}
	for name, c := range map[string]struct {
		group string
		m     mutation
		kind  string
		text  string
	}{
		"a quota whose refusal is not heard":  {"stages", mutation{stage: only("quota", swallow)}, allowed, "VIOLATION allowed: stages: quota: error: 1 calls left in spite of the fault"},
		"a filter whose refusal is not heard": {"filters", mutation{stage: only("filter", swallow)}, allowed, "VIOLATION allowed: filters: filter's verdict: error: "},
		"a stage that sends the call itself": {"parts", mutation{
			stage: only("decide", func(s pipeline.Stage) pipeline.Stage { early.Stage = s; return early }),
			ledger: func(w *world, l pipeline.Ledger) pipeline.Ledger {
				early.w = w.witness
				return l
			},
		}, allowed, "left without a durable record"},
		"no admitted records":            {"parts", mutation{ledger: forget(ledger.Admitted)}, allowed, "left without a durable record"},
		"no settled records":             {"forward", mutation{ledger: forget(ledger.Settled)}, unrecorded, "was admitted and is not settled"},
		"no records of refusals":         {"stages", mutation{ledger: forget(ledger.Refused)}, unrecorded, "VIOLATION unrecorded: stages: quota: error: refused with internal: receipt"},
		"errors of the ledger not heard": {"ledger", mutation{ledger: func(_ *world, l pipeline.Ledger) pipeline.Ledger { return believing{l} }}, allowed, "VIOLATION allowed: ledger: ledger admit: ledger has no room: "},
		"errors of the disk not heard":   {"disk", mutation{ledger: func(_ *world, l pipeline.Ledger) pipeline.Ledger { return believing{l} }}, allowed, "VIOLATION allowed: disk: record admitted: write fails"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			found, err := run(t.Context(), &out, c.group, c.m)
			if err != nil {
				t.Fatal(err)
			}
			if found.judge() == nil || found.counts[c.kind] == 0 || !strings.Contains(out.String(), c.text) {
				t.Errorf("%v, want %q among\n%.4000s", found.judge(), c.text, out.String())
			}
		})
	}
}

// TestAFaultThatDoesNotStrikeIsNotCounted: a number that counts what never happened would be worth nothing.
func TestAFaultThatDoesNotStrikeIsNotCounted(t *testing.T) {
	w, err := open(t.Context(), t.TempDir(), mutation{})
	defer func() {
		if err := w.close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err != nil {
		t.Fatal(err)
	}
	found := &tally{counts: map[string]int{}}
	found.one(io.Discard, w, &fault{group: "none", point: "nowhere", kind: "error", strike: failing(errInjected)})
	if found.injected != 0 || len(found.broken) != 1 || found.judge() == nil {
		t.Errorf("%+v", found)
	}
}

// TestALineThatDoesNotRecoverIsFound: a gateway that a fault has stopped for good is no success.
func TestALineThatDoesNotRecoverIsFound(t *testing.T) {
	w, err := open(t.Context(), t.TempDir(), mutation{})
	defer func() {
		if err := w.close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err != nil {
		t.Fatal(err)
	}
	found := &tally{counts: map[string]int{}}
	lasting := &fault{group: "none", point: "quota", kind: "error", strike: failing(errInjected)}
	lasting.after = func(w *world) error { w.engines.Swap(tenant, nil); return nil }
	found.one(io.Discard, w, lasting)
	if len(found.broken) != 1 || found.judge() == nil {
		t.Errorf("%+v", found)
	}
}
