package quota

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/gatewright/gatewright/store"
)

// row is an account as kept.
type row struct {
	Expires int64                 `json:"expires"` // unix seconds from which nothing in it counts
	Last    int64                 `json:"last"`
	Counts  map[string][][2]int64 `json:"counts"`
	Labels  map[string]int64      `json:"labels,omitempty"`
	Ends    int64                 `json:"ends,omitempty"`
}

var table = store.Table[row]{Name: "quota", Version: 1}

// lasting is how long a plan's session is kept that does not say when it ends.
const lasting = 400 * 24 * time.Hour

// pruneEvery is how often rows that count nothing any more are removed, and pruneBatch how many in one transaction.
const (
	pruneEvery = 6 * time.Hour
	pruneBatch = 400
)

// account finds or reads an account, and uses it: leave ends that.
func (k *Keeper) account(ctx context.Context, n name, span time.Duration, slots int64, now time.Time) (*account, error) {
	a, err := k.find(n, span, slots)
	if err != nil {
		return nil, err
	}
	if err := a.read(context.WithoutCancel(ctx), k.store); err != nil {
		a.leave()
		k.forget(a)
		return nil, err
	}
	return a, nil
}

func (k *Keeper) find(n name, span time.Duration, slots int64) (*account, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.open[n]
	if a == nil {
		if len(k.open) >= k.cfg.Counters && !k.makeRoom() {
			return nil, fmt.Errorf("%w: %d counters are in use", ErrFull, len(k.open))
		}
		a = &account{name: n, slots: slots, counts: map[string]*tally{}, labels: map[string]int64{}, held: map[place]int64{}}
		if slots > 0 {
			a.width = (int64(span) + slots - 1) / slots
		}
		k.open[n] = a
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refs++
	return a, nil
}

// makeRoom lets go of some account that nobody uses; the map gives them in no order. mu is held.
func (k *Keeper) makeRoom() bool {
	const looks = 1000
	looked := 0
	for n, a := range k.open {
		if a.idle() {
			delete(k.open, n)
			return true
		}
		if looked++; looked == looks {
			break
		}
	}
	return false
}

// forget lets go of an account that is not what the store has: the next use reads it anew.
func (k *Keeper) forget(a *account) {
	a.mu.Lock()
	a.dead = true
	a.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open[a.name] == a {
		delete(k.open, a.name)
	}
}

// read fills the account on its first use; others wait.
func (a *account) read(ctx context.Context, s store.Store) error {
	a.writing.Lock()
	defer a.writing.Unlock()
	a.mu.Lock()
	ready, dead := a.ready, a.dead
	a.mu.Unlock()
	switch {
	case dead:
		return ErrLost
	case ready:
		return nil
	}
	var r row
	err := s.View(ctx, a.name.tenant, func(tx store.Txn) (err error) {
		r, a.version, err = table.Get(tx, a.name.key)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("read a counter: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fill(&r)
	a.ready = true
	return nil
}

// fill takes up a row. mu is held.
func (a *account) fill(r *row) {
	a.last, a.ends = r.Last, max(a.ends, r.Ends)
	for what, slots := range r.Counts {
		t := &tally{}
		for _, s := range slots {
			t.Slots = append(t.Slots, slotCount{s[0], s[1]})
			t.sum += s[1]
		}
		a.counts[what] = t
	}
	maps.Copy(a.labels, r.Labels)
}

// row is what is to be kept, and the change it stands for.
func (a *account) row(now time.Time) (r row, change uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r = row{Last: a.last, Counts: map[string][][2]int64{}, Labels: map[string]int64{}, Ends: a.ends}
	for what, t := range a.counts {
		for _, s := range t.Slots {
			if n := s.Count - a.held[place{what, s.Slot}]; n > 0 {
				r.Counts[what] = append(r.Counts[what], [2]int64{s.Slot, n})
			}
		}
	}
	maps.Copy(r.Labels, a.labels)
	switch {
	case a.width > 0:
		r.Expires = now.Add(time.Duration(a.width*(a.slots+1))).Unix() + 1
	case a.ends > 0:
		r.Expires = a.ends + 1
	default:
		r.Expires = now.Add(lasting).Unix()
	}
	return r, a.change
}

// keep makes durable what is counted up to now. Calls that come together share one write.
func (a *account) keep(ctx context.Context, s store.Store, now time.Time) error {
	a.mu.Lock()
	want := a.change
	a.mu.Unlock()
	a.writing.Lock()
	defer a.writing.Unlock()
	a.mu.Lock()
	kept, dead := a.kept, a.dead
	a.mu.Unlock()
	switch {
	case dead:
		return ErrLost
	case kept >= want:
		return nil
	}
	r, change := a.row(now)
	var version uint64
	err := s.Update(ctx, a.name.tenant, func(tx store.Txn) (err error) {
		version, err = table.Put(tx, a.name.key, r, a.version)
		return err
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.dead = true
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	a.version, a.kept = version, change
	return nil
}

// Place is what one call has taken. It is used by one goroutine, and ended once.
type Place struct {
	keeper  *Keeper
	taken   []taken
	session bool // labels are noted
	kept    bool
	now     time.Time
}

type taken struct {
	account *account
	place
}

// Keep makes the place durable, with labels that its session has seen now; once it returns nil the call may go out. A
// caller that goes away does not interrupt it: a write of unknown outcome would cost the others their counter.
func (p *Place) Keep(ctx context.Context, labels []string) error {
	if p == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	if !p.kept {
		p.kept = true
		for _, t := range p.taken {
			t.account.settle(t.place)
		}
	}
	for i, t := range p.taken {
		if i > 0 && p.taken[i-1].account == t.account {
			continue
		}
		if p.session {
			if err := t.account.label(labels, p.now); err != nil {
				return err
			}
		}
		if err := t.account.keep(ctx, p.keeper.store, p.now); err != nil {
			p.keeper.forget(t.account)
			return fmt.Errorf("keep a counter: %w", err)
		}
	}
	p.keeper.prune(ctx, p.taken, p.now)
	return nil
}

// End ends the use of the place. The place of a call that did not go out is free again.
func (p *Place) End(out bool) {
	if p == nil {
		return
	}
	for i, t := range p.taken {
		if !out {
			t.account.giveBack(t.place, p.kept)
		}
		if i == 0 || p.taken[i-1].account != t.account {
			t.account.leave()
		}
	}
	p.taken = nil
}

// prune removes, now and then, rows of a tenant that count nothing any more. What fails is tried again later.
func (k *Keeper) prune(ctx context.Context, of []taken, now time.Time) {
	if len(of) == 0 {
		return
	}
	tenant := of[0].account.name.tenant
	k.mu.Lock()
	due := now.Unix()-k.pruned[tenant] >= int64(pruneEvery/time.Second)
	if due {
		k.pruned[tenant] = now.Unix()
	}
	k.mu.Unlock()
	if !due {
		return
	}
	_ = k.store.Update(ctx, tenant, func(tx store.Txn) error { // nothing depends on it
		left := pruneBatch
		return table.Scan(tx, "", func(key string, r row, version uint64) error {
			if r.Expires > now.Unix() || k.inUse(name{tenant, key}) {
				return nil
			}
			if left--; left < 0 {
				return store.ErrDone
			}
			return table.Delete(tx, key, version)
		})
	})
}

// inUse tells whether an account is in memory, which then knows the version of its row.
func (k *Keeper) inUse(n name) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.open[n] != nil
}
