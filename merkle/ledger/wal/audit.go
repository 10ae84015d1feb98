package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Pace of the check in the background: it works for auditWork and then rests auditRest times as long, so that it takes at
// most a fifth of one core.
const (
	auditWork = 2 * time.Millisecond
	auditRest = 4
	// auditRetry is how long it waits after the disk could not be read.
	auditRetry = time.Minute
)

// audit checks what a start from a stored state took on trust: every byte before it, as a start from nothing would, and
// that the log comes to that state. Indexes that differ from the records are made again.
type audit struct {
	log   *Log
	key   chainKey // running; segments before its epoch have MACs that only k_0 can check
	from  *state   // base, nil: the beginning
	to    *state
	pins  map[string]ledger.Checkpoint // what was signed at sizes before the state's
	slow  bool
	quiet bool      // tells nobody how far it is
	busy  time.Time // since when it works
}

// run walks once. It reports a *CorruptError, ErrVersion, or why it could not read.
func (a *audit) run(ctx context.Context) error {
	l := a.log
	want, err := a.to.table.table(len(a.to.chains))
	if err != nil {
		return fmt.Errorf("%w: stored state: %w", ErrCorrupt, err)
	}
	t := newTally(want, a.from)
	r := &replay{
		fs: l.opt.FS, dir: l.opt.Dir, key: a.key, keys: true, instance: l.opt.Instance, first: a.from.first(), until: a.to,
		pins: a.pins, uses: t, pace: a.pace, rows: &matching{fs: l.opt.FS, dir: l.opt.Dir, part: a.to.tail().at.segment},
	}
	if err := r.begin(a.from); err != nil {
		return err
	}
	l.notePace(r.records, a.to.records)
	if err := r.run(ctx); err != nil {
		return err
	}
	differs := a.to.same(r.chains)
	if differs == "" {
		differs = t.differs()
	}
	if differs != "" {
		return &CorruptError{
			Segment: a.to.at.segment, Offset: a.to.at.off, Reason: "the stored state is not that of the log: " + differs,
		}
	}
	r.rows.finish()
	for _, segment := range r.rows.bad {
		if err := l.remake(ctx, segment); err != nil {
			return err
		}
	}
	l.notePace(a.to.records, a.to.records)
	return nil
}

// pace tells how far the walk is and rests in between.
func (a *audit) pace(ctx context.Context, records uint64) {
	if !a.slow {
		return
	}
	worked := time.Since(a.busy)
	if worked < auditWork {
		return
	}
	if !a.quiet {
		a.log.notePace(records, a.to.records)
	}
	rest(ctx, auditRest*worked)
	a.busy = time.Now()
}

// rest waits, or until the context ends.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (l *Log) notePace(done, of uint64) {
	l.view.Lock()
	l.stats.Verified, l.stats.VerifyOf = done, of
	l.view.Unlock()
}

// runAudit checks in the background. What it finds poisons the log: nothing more is appended to a log that is not whole.
func (l *Log) runAudit() {
	defer close(l.audited)
	if l.audit == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-l.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	l.audit.slow, l.audit.busy = true, time.Now()
	for {
		err := l.audit.run(ctx)
		if ctx.Err() != nil {
			return
		}
		l.noteAudit(err)
		switch {
		case err == nil:
			l.audit = nil // and with it the key and the state
			return
		case errors.Is(err, ErrCorrupt), errors.Is(err, ErrTruncated), errors.Is(err, ErrVersion), errors.Is(err, fs.ErrNotExist):
			_ = l.fail(fmt.Errorf("%w: found by the check in the background: %w", ErrCorrupt, err))
			return
		}
		rest(ctx, auditRetry)
	}
}

func (l *Log) noteAudit(err error) {
	l.view.Lock()
	l.stats.Verify = err
	l.view.Unlock()
}

// tally counts what the records of a walk say and holds it against a table that was stored. It keeps only plans that are
// in that table: one that is not must have ended by the time the table had been swept for.
type tally struct {
	want  *uses
	base  int64 // the table that the walk began with was swept up to here
	got   map[merkle.Hash]*planUse
	first map[merkle.Hash]int64 // end that a plan had when it was first met
	open  map[[26]byte]openCall
	bad   string
}

func newTally(want *uses, from *state) *tally {
	t := &tally{want: want, got: map[merkle.Hash]*planUse{}, first: map[merkle.Hash]int64{}, open: map[[26]byte]openCall{}}
	if from == nil {
		return t
	}
	have, err := from.table.table(len(from.chains))
	if err != nil {
		t.bad = err.Error()
		return t
	}
	t.base, t.open = have.swept, have.open
	for h, p := range have.plans {
		if t.wanted(h, p.expires) {
			t.got[h], t.first[h] = p, p.expires
		}
	}
	return t
}

// wanted reports whether a plan is in the table, and notes one that is missing there.
func (t *tally) wanted(h merkle.Hash, expires int64) bool {
	if t.want.plans[h] != nil {
		return true
	}
	if expires == 0 || expires > t.want.swept {
		t.bad = "plan " + h.String() + " is not in it"
	}
	return false
}

func (t *tally) replay(tenant uint32, r *ledger.Record) {
	switch r.Kind {
	case ledger.Admitted:
		call := openCall{tenant: tenant, step: -1}
		if !r.Plan.IsZero() && r.Step >= 0 && r.Step < maxStep {
			call.step, call.of = r.Step, r.Plan
			t.count(tenant, r)
		}
		t.open[idKey(r.ID)] = call
	case ledger.Settled:
		call, ok := t.open[idKey(r.Of)]
		if !ok || call.tenant != tenant {
			return
		}
		delete(t.open, idKey(r.Of))
		if p := t.got[call.of]; p != nil && call.step >= 0 && int(call.step) < len(p.steps) && r.Outcome == ledger.OutcomeOK {
			p.steps[call.step].Done = true
		}
	default:
	}
}

func (t *tally) count(tenant uint32, r *ledger.Record) {
	if !t.wanted(r.Plan, r.PlanExpires) {
		return
	}
	p := t.got[r.Plan]
	if p == nil {
		p = &planUse{tenant: tenant, expires: r.PlanExpires}
		t.got[r.Plan], t.first[r.Plan] = p, r.PlanExpires
	}
	p.claim(r.PlanExpires)
	p.grow(r.Step)
	p.steps[r.Step].add()
}

// differs says what the table has otherwise than the records; empty when nothing.
func (t *tally) differs() string {
	if t.bad != "" {
		return t.bad
	}
	for h, w := range t.want.plans {
		p := t.got[h]
		switch {
		case p != nil && w.tenant == p.tenant && t.agrees(h, w, p):
		case p == nil && w.expires != 0 && w.expires <= t.base:
		default:
			return "the uses of plan " + h.String() + " are others"
		}
	}
	if len(t.open) != len(t.want.open) {
		return fmt.Sprintf("%d calls are open, %d were", len(t.open), len(t.want.open))
	}
	for id, c := range t.open {
		if w, ok := t.want.open[id]; !ok || w.tenant != c.tenant || w.step != c.step || w.of != c.of {
			return "other calls are open"
		}
	}
	return ""
}

// agrees compares one plan. Of one that could have been swept and taken up again, the table may have fewer uses.
func (t *tally) agrees(h merkle.Hash, want, got *planUse) bool {
	swept := t.first[h] != 0 && t.first[h] <= t.want.swept
	if len(want.steps) != len(got.steps) && !swept || len(want.steps) > len(got.steps) {
		return false
	}
	if want.expires != got.expires {
		return false
	}
	for i, w := range want.steps {
		g := got.steps[i]
		if w != g && !(swept && w.Used <= g.Used) {
			return false
		}
	}
	return true
}
