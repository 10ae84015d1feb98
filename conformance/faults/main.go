// Command faults breaks a gateway in every way it can think of, one at a time, and looks whether anything got out that
// should not have, or happened that nobody wrote down.
//
//	go run ./conformance/faults
//
// It wires the line as the gateway does, from the real parts, and puts faults around them: in each stage, in the line's own
// acts, in what these rest on (store, vault, disk), in connector processes, which this program plays itself, and in HTTP
// servers. Two witnesses that the gateway does not know stand by: one counts what leaves and looks, at that moment, for the
// durable record that lets it; the other reads the ledger. After each fault the same call is repeated under its
// Idempotency-Key, which must not have a second effect, and an ordinary call must work again.
//
// Its last line is `faults injected=N allowed=N unrecorded=N`: how many faults struck; how often something left without a
// durable admitted record, a second time, or although the fault had to stop it; how often a call of a known caller went
// unanswered or unrecorded. It exits 1 when one of the last two is not 0, or when the line did not recover.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

func main() {
	if part := os.Getenv(partVariable); part != "" {
		os.Exit(play(part))
	}
	only := flag.String("group", "", "run one group alone")
	flag.Parse()
	t, err := run(context.Background(), os.Stdout, *only, mutation{})
	if err == nil {
		err = t.judge()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

// group is a set of faults around one part.
type group struct {
	name   string
	faults func(context.Context, *world) ([]*fault, error)
}

func groups() []group {
	return []group{
		{"stages", stageFaults}, {"parts", partFaults}, {"filters", filterFaults}, {"line", lineFaults}, {"ledger", ledgerFaults},
		{"forward", forwardFaults}, {"http", httpFaults}, {"store", storeFaults}, {"vault", vaultFaults}, {"disk", diskFaults},
		{"connectors", connectorFaults},
	}
}

// tally is what a run found.
type tally struct {
	injected int
	counts   map[string]int
	broken   []string // faults that did not strike, or after which the line did not recover
}

func (t *tally) judge() error {
	switch {
	case t.counts[allowed]+t.counts[unrecorded] > 0:
		return fmt.Errorf("%d violations", t.counts[allowed]+t.counts[unrecorded])
	case len(t.broken) > 0:
		return fmt.Errorf("%d faults did not strike, or the line did not recover from them", len(t.broken))
	}
	return nil
}

// run injects all faults, or those of one group.
func run(ctx context.Context, out io.Writer, only string, m mutation) (t *tally, err error) {
	dir, err := os.MkdirTemp("", "gwf")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w, err := open(ctx, dir, m)
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	if err != nil {
		return nil, err
	}
	t = &tally{counts: map[string]int{}}
	names := []string{}
	for _, g := range groups() {
		names = append(names, g.name)
		if only != "" && g.name != only {
			continue
		}
		if err := t.group(ctx, out, w, g); err != nil {
			return nil, fmt.Errorf("%s: %w", g.name, err)
		}
	}
	if only != "" && !slices.Contains(names, only) {
		return nil, fmt.Errorf("no group %q: %v", only, names)
	}
	t.leftOpen(ctx, out, w)
	fmt.Fprintf(out, "faults injected=%d allowed=%d unrecorded=%d\n", t.injected, t.counts[allowed], t.counts[unrecorded])
	return t, nil
}

func (t *tally) group(ctx context.Context, out io.Writer, w *world, g group) error {
	began, before := time.Now(), *t
	faults, err := g.faults(ctx, w)
	if err != nil {
		return err
	}
	for _, f := range faults {
		f.group = g.name
		t.one(out, w, f)
	}
	for _, end := range w.groupEnd {
		end()
	}
	w.groupEnd = nil
	fmt.Fprintf(out, "%-12s %4d faults in %5.1f s\n", g.name, t.injected-before.injected, time.Since(began).Seconds())
	return nil
}

// one injects one fault and looks at all that came of it.
func (t *tally) one(out io.Writer, w *world, f *fault) {
	try := func(what string, act func(*world) error) bool {
		if act == nil {
			return true
		}
		err := act(w)
		if err != nil {
			t.note(out, "%s: %s: %v", f, what, err)
		}
		return err == nil
	}
	if !try("bring it about", f.before) {
		return
	}
	prefix := f.prefix
	if prefix == "" {
		prefix = "fault"
	}
	args, retry := w.next(prefix)
	o := w.run(f, w.in.arm(f), w.call(f, args, retry))
	t.take(out, w.judge(o))
	struck := w.in.disarm()
	if try("mend it", f.after) {
		if !f.forget {
			t.again(out, w, o, args, retry)
		}
		t.recover(out, w, f)
	}
	try("end it", f.end)
	if struck || f.struck {
		t.injected++
	} else {
		t.note(out, "%s: it did not strike", f)
	}
}

// again repeats the call as its caller would: that must not have a second effect, and what was refused by the fault and is
// let through now must be on record like any other.
func (t *tally) again(out io.Writer, w *world, first *outcome, args []byte, retry string) {
	f := &fault{group: first.f.group, point: first.f.point, kind: first.f.kind + ", repeated", ledger: first.f.ledger, call: first.f.call, key: first.f.key}
	o := w.run(f, w.in.arm(nil), w.call(f, args, retry))
	found := w.judge(o)
	if n := len(first.sent) + len(o.sent); n > 1 {
		found = append(found, finding{allowed, fmt.Sprintf("%s: one call left %d times", f, n)})
	}
	t.take(out, found)
}

// recover makes an ordinary call, which must work.
func (t *tally) recover(out io.Writer, w *world, f *fault) {
	calm := &fault{group: f.group, point: f.point, kind: f.kind + ", afterwards"}
	var o *outcome
	for range 200 { // a connector may still be on its way back
		args, retry := w.next("ok")
		o = w.run(calm, w.in.arm(nil), w.call(calm, args, retry))
		t.take(out, w.judge(o))
		if o.call.Denial == nil && len(o.sent) == 1 {
			return
		}
		if d := o.call.Denial; d == nil || d.Code != pipeline.UpstreamDown && d.Code != pipeline.UpstreamTimeout {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.note(out, "%s: %s, %d left: %v", calm, told(o.call), len(o.sent), o.call.Denial)
}

// leftOpen restarts the ledger: what a fault kept from being settled must be settled then, as unknown.
func (t *tally) leftOpen(ctx context.Context, out io.Writer, w *world) {
	f := &fault{group: "ledger", point: "restart", kind: "after all"}
	if err := w.restart(ctx); err != nil {
		t.note(out, "%s: %v", f, err)
		return
	}
	recs, err := w.records(tenant, 0)
	if err != nil {
		t.note(out, "%s: %v", f, err)
	}
	for _, id := range unsettled(recs) {
		t.take(out, []finding{{unrecorded, fmt.Sprintf("%s: %s was admitted and is not settled", f, id)}})
	}
}

func (t *tally) take(out io.Writer, all []finding) {
	for _, v := range all {
		t.counts[v.kind]++
		fmt.Fprintf(out, "VIOLATION %s: %s\n", v.kind, v.text)
	}
}

func (t *tally) note(out io.Writer, format string, args ...any) {
	t.broken = append(t.broken, fmt.Sprintf(format, args...))
	fmt.Fprintf(out, "BROKEN "+format+"\n", args...)
}
