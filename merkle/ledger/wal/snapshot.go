package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// How often the state is stored: when the log grew by so many bytes, some 20,000 records, and by a multiple of what the
// state itself takes, so that storing it never costs more than a part of the log.
const (
	stateEvery  = 16 << 20
	stateFactor = 4
	stateLook   = time.Second
)

// saver stores the state of the log, so that a start need not read the whole of it.
type saver struct {
	mu     sync.Mutex   // one at a time; guards all below
	chains []chainState // as they stood last time
	at     place        // where the stored state stands
	size   int64        // bytes of its file
}

func snapshotName(dir string) string { return filepath.Join(dir, walDir, "snapshot") }

// runSave stores the state now and then, in the background. The last one is stored when the log is closed.
func (l *Log) runSave() {
	t := time.NewTicker(min(stateLook, l.opt.Checkpoint))
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if l.saveDue() {
				l.noteSaved(l.saveState())
			}
		case <-l.written:
			return
		}
	}
}

func (l *Log) noteSaved(err error) {
	l.view.Lock()
	l.stats.Snapshot = err
	l.view.Unlock()
}

func (l *Log) saveDue() bool {
	l.state.Lock()
	now := place{l.w.segment, l.w.off}
	l.state.Unlock()
	every := l.opt.StateEvery
	if every == 0 {
		every = stateEvery
	}
	s := &l.saver
	s.mu.Lock()
	defer s.mu.Unlock()
	grown := int64(now.segment-s.at.segment)*l.opt.SegmentBytes + now.off - s.at.off
	return grown >= max(every, stateFactor*s.size)
}

// saveState stores the state as it is now. Commits wait only while what changed of the chains is copied.
func (l *Log) saveState() error {
	s := &l.saver
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := l.stand(s.at)
	if err != nil || st == nil {
		return err
	}
	st.kind = stateSnapshot
	text, err := st.text(l.signer.Private)
	if err == nil {
		err = disk.ReplaceFile(l.opt.FS, snapshotName(l.opt.Dir), text)
	}
	if err != nil {
		return fmt.Errorf("store state: %w", err)
	}
	s.at, s.size = st.at, int64(len(text))
	return nil
}

// stand copies the state at one moment between two commits, all of it durable; nil when the log still stands at a place.
func (l *Log) stand(already place) (*state, error) {
	var st *state
	err := l.quiet(func() {
		w := &l.w
		if now := (place{w.segment, w.off}); now == already || len(w.chains) == 0 {
			return
		}
		st = l.standing()
		l.uses.begin()
	})
	if err != nil || st == nil {
		return nil, err
	}
	st.table = l.uses.finish()
	st.chains = slices.Clone(l.saver.chains)
	for i := range st.chains {
		st.records += st.chains[i].tree.Size()
	}
	return st, nil
}

// standing is the state as it is now but for the table of uses, and with the chains left in the saver. The log is quiet,
// and the saver held.
func (l *Log) standing() *state {
	w := &l.w
	l.saver.take(w.chains)
	return &state{
		instance: l.opt.Instance, generation: l.gen.Number, at: place{w.segment, w.off}, prevEnd: w.prevEnd, boot: l.boot,
		clock: max(l.clock, l.opt.Now().UnixMicro()), unknown: l.unknown, told: l.told,
	}
}

// take copies the chains that grew since the last time.
func (s *saver) take(chains map[string]*chain) {
	for len(s.chains) < len(chains) {
		s.chains = append(s.chains, chainState{})
	}
	for name, c := range chains {
		if k := &s.chains[c.number]; k.tree.Size() != c.front.Size() {
			*k = chainState{name: name, tree: c.front.Clone(), mac: c.mac}
		}
	}
}

// readSnapshot reads the stored state. One that cannot be believed, or that says nothing, comes as nil and the reason.
func (l *Log) readSnapshot(boot uint64) (*state, error) {
	s, err := readState(l.opt.FS, snapshotName(l.opt.Dir), stateSnapshot, l.keys()...)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("no state is stored")
	case err != nil:
		return nil, err
	case s.instance != l.opt.Instance:
		return nil, fmt.Errorf("%w: it is of instance %q", errState, s.instance)
	case s.generation != l.gen.Number:
		return nil, fmt.Errorf("%w: it is of generation %d", errState, s.generation)
	case s.boot > boot:
		return nil, fmt.Errorf("%w: boot %d is recorded, the boot file says %d", errState, s.boot, boot)
	case s.at == (place{}):
		return nil, fmt.Errorf("%w: it is of an empty log", errState)
	}
	return s, nil
}

// joint reads the segment that ends where a state stands, up to there, and holds the last record of each tenant in it
// against the state: a state of another log, or of another history of this one, is not gone on from.
func (r *replay) joint(ctx context.Context, s *state) error {
	end := s.tail()
	if end.at.segment < r.first {
		return nil
	}
	w, done, err := r.open(end.at.segment)
	if err != nil {
		return err
	}
	defer done()
	if _, err := r.header(w, end.at.segment, end.prevEnd); err != nil {
		return err
	}
	last := map[uint32]lastFrame{}
	seed := frameSeed(end.at.segment)
	for off, n := int64(headerBytes), 0; off != end.at.off; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f, size, err := frameAt(w, off, seed)
		if err != nil {
			return fmt.Errorf("segment %d, offset %d: %w", end.at.segment, off, err)
		}
		if off += int64(size); off > end.at.off {
			return fmt.Errorf("%w: no record ends at its place", errState)
		}
		last[f.tenant] = lastFrame{seq: f.seq, mac: [macBytes]byte(f.mac)}
		r.last = last[f.tenant]
		r.last.tenant = s.name(f.tenant)
	}
	return s.fits(last)
}

func (s *state) name(tenant uint32) string {
	if int(tenant) < len(s.chains) {
		return s.chains[tenant].name
	}
	return ""
}

// fits compares the chains to their last records.
func (s *state) fits(last map[uint32]lastFrame) error {
	for tenant, f := range last {
		if int(tenant) >= len(s.chains) {
			return fmt.Errorf("%w: tenant number %d is not in it", errState, tenant)
		}
		if c := &s.chains[tenant]; c.tree.Size() != f.seq+1 || c.mac != f.mac {
			return fmt.Errorf("%w: the last record of %s is not in it", errState, c.name)
		}
	}
	return nil
}

// same compares the chains to those of a walk that came to the same place.
func (s *state) same(chains []*chain) string {
	if len(chains) != len(s.chains) {
		return fmt.Sprintf("%d tenants are there, %d were", len(chains), len(s.chains))
	}
	for i, c := range chains {
		k := &s.chains[i]
		switch {
		case c.name != k.name || c.front.Size() != k.tree.Size():
			return fmt.Sprintf("%d records of %s are there, %d of %s were", c.front.Size(), c.name, k.tree.Size(), k.name)
		case c.front.Root() != k.tree.Root():
			return "the tree of " + c.name + " is another"
		case c.mac != k.mac:
			return "the last MAC of " + c.name + " is another"
		}
	}
	return ""
}
