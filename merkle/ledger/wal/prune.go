package wal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// Pruned says what Prune dropped.
type Pruned struct {
	Segments int    // dropped now
	First    uint64 // number of the first segment that is kept
	Records  uint64 // dropped since the log began
}

// Prune drops whole segments from the beginning of the log, as far as all their records lie below what their tenants keep:
// before says the index of the first record that must stay, 0 for all. Before anything is removed, the state at the start
// of the first segment that stays is signed and made durable: from then on the log begins there. Whoever calls it has
// written down, in the log, what is dropped and why.
//
// The history must have been checked: Prune waits for the check in the background, and reads the whole log once more, at
// the same pace, so that what it signs is what every later record rests on. After an error nothing is lost: what was
// begun is finished by the next call, or start.
func (l *Log) Prune(ctx context.Context, before func(tenant string) uint64) (Pruned, error) {
	select {
	case <-l.audited:
	case <-ctx.Done():
		return Pruned{}, fmt.Errorf("prune: %w", context.Cause(ctx))
	}
	l.prune.mu.Lock()
	defer l.prune.mu.Unlock()
	p, err := l.pruneTo(ctx, l.prunable(before))
	if err != nil {
		return p, fmt.Errorf("prune: %w", err)
	}
	return p, nil
}

func (l *Log) pruneTo(ctx context.Context, first uint64) (Pruned, error) {
	from := l.prune.base.first()
	if err := l.dropBefore(from); err != nil { // an earlier removal that failed
		return Pruned{}, err
	}
	if first <= from {
		return l.pruned(from), nil
	}
	base, err := l.stateAt(ctx, first)
	if errors.Is(err, ErrCorrupt) {
		err = l.fail(err)
	}
	if err != nil {
		return l.pruned(from), err
	}
	text, err := base.text(l.signer.Private)
	if err == nil {
		err = disk.ReplaceFile(l.opt.FS, baseName(l.opt.Dir), text)
	}
	if err != nil {
		return l.pruned(from), fmt.Errorf("store the base: %w", err)
	}
	l.prune.base = base
	l.forget(first)
	if err := l.dropBefore(first); err != nil {
		return l.pruned(from), err
	}
	return l.pruned(from), l.saveState()
}

func (l *Log) pruned(from uint64) Pruned {
	p := Pruned{Segments: int(l.prune.base.first() - from), First: l.prune.base.first()}
	if l.prune.base != nil {
		p.Records = l.prune.base.records
	}
	return p
}

// prunable returns the number of the first segment with a record that must stay, at most the one that is written.
func (l *Log) prunable(before func(tenant string) uint64) uint64 {
	l.view.RLock()
	defer l.view.RUnlock()
	if l.index.open == nil {
		return 0
	}
	first := l.index.open.Segment()
	for tenant, s := range l.tenants {
		keep := before(tenant)
		for _, span := range s.full {
			if span.segment >= first {
				break
			}
			if span.End() > keep {
				first = span.segment
				break
			}
		}
	}
	return first
}

// stateAt reads the log to its end and returns the state at the start of a segment on the way.
func (l *Log) stateAt(ctx context.Context, segment uint64) (*state, error) {
	end, err := l.moment()
	if err != nil {
		return nil, err
	}
	a := audit{log: l, to: end, slow: true, busy: time.Now(), quiet: true}
	uses := &aging{uses: newUses()}
	if b := l.prune.base; b != nil {
		if uses.uses, err = b.table.table(len(b.chains)); err != nil {
			return nil, err
		}
	}
	r := &replay{
		fs: l.opt.FS, dir: l.opt.Dir, instance: l.opt.Instance, first: l.prune.base.first(), until: end, uses: uses, pace: a.pace,
		passing: segment,
	}
	var base *state
	r.pass = func() {
		uses.age(min(r.clock/1e6, l.opt.Now().Unix()))
		base = r.state()
		base.generation = l.gen.Number
		uses.begin()
		base.table = uses.finish()
		r.uses = nil
	}
	if err := r.begin(l.prune.base); err != nil {
		return nil, err
	}
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	if differs := end.same(r.chains); differs != "" || base == nil {
		return nil, fmt.Errorf("%w: what is on the disk is not what was written: %s", ErrCorrupt, differs)
	}
	return base, nil
}

// moment is the end of the log now, without its table of uses.
func (l *Log) moment() (*state, error) {
	l.saver.mu.Lock()
	defer l.saver.mu.Unlock()
	var st *state
	err := l.quiet(func() { st = l.standing() })
	if err == nil {
		st.chains = append([]chainState(nil), l.saver.chains...)
	}
	return st, err
}

// state is where the walk stands, at the start of the segment that comes next.
func (r *replay) state() *state {
	s := &state{
		kind: stateBase, instance: r.instance, at: place{r.tail.at.segment + 1, 0}, prevEnd: r.tail.at.off,
		boot: r.boot, clock: r.clock, records: r.records, unknown: r.unknown, told: r.told,
	}
	for _, c := range r.chains {
		s.chains = append(s.chains, chainState{name: c.name, tree: c.front.Clone(), mac: c.mac})
	}
	return s
}

// aging counts uses and lets go of plans that ended, by the records' own clock, so that a long history does not fill the
// memory.
type aging struct {
	*uses
	records int
}

// agingEvery is how many records lie between two times that is done.
const agingEvery = 1 << 18

func (a *aging) replay(tenant uint32, r *ledger.Record) {
	a.uses.replay(tenant, r)
	if a.records++; a.records%agingEvery == 0 {
		a.age(r.Time / 1e6)
	}
}

func (a *aging) age(now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sweep(now)
}
