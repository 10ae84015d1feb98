package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/gatewright/gatewright/store"
)

// ErrInjected is what a fault looks like to the caller, in either flavour.
var ErrInjected = errors.New("injected fault")

// Fault is what becomes of one commit.
type Fault int

// The flavours. Persisted is the one that catches code that trusts an error: the disk has the write, the caller was told
// it failed (a lost answer, a timeout after the sync).
const (
	None      Fault = iota // as the engine does it
	Failed                 // nothing is written, and the caller is told so
	Persisted              // everything is written, and the caller is told that it failed
)

// Faulty wraps an engine and breaks commits on demand.
type Faulty struct {
	inner store.Store

	mu     sync.Mutex
	script []Fault
	views  int // how many of the next views fail
	choose func(commit int) Fault
	done   int
}

var _ store.Store = (*Faulty)(nil)

// NewFaulty wraps inner. Without a script it changes nothing.
func NewFaulty(inner store.Store) *Faulty { return &Faulty{inner: inner} }

// Next sets what becomes of the next commits, in order; after them the engine works again.
func (f *Faulty) Next(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = faults
}

// FailViews makes the next n views fail.
func (f *Faulty) FailViews(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.views = n
}

// Choose asks choose about every commit, counted from 0, once the script is empty. It must be safe to call again.
func (f *Faulty) Choose(choose func(commit int) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.choose = choose
}

// Commits is how many commits were attempted: a test that asks for at most so many writes can say so.
func (f *Faulty) Commits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.done
}

func (f *Faulty) take() Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.done
	f.done++
	if len(f.script) > 0 {
		next := f.script[0]
		f.script = f.script[1:]
		return next
	}
	if f.choose != nil {
		return f.choose(n)
	}
	return None
}

// View fails before it reads as often as FailViews said.
func (f *Faulty) View(ctx context.Context, tenant string, fn func(store.Txn) error) error {
	f.mu.Lock()
	fail := f.views > 0
	if fail {
		f.views--
	}
	f.mu.Unlock()
	if fail {
		return fmt.Errorf("view: %w", ErrInjected)
	}
	return f.inner.View(ctx, tenant, fn)
}

// Update breaks the commit, never fn: a transaction that fails by itself takes no fault.
func (f *Faulty) Update(ctx context.Context, tenant string, fn func(store.Txn) error) error {
	fault, taken := None, false
	err := f.inner.Update(ctx, tenant, func(tx store.Txn) error {
		if err := fn(tx); err != nil {
			return err
		}
		if !taken {
			fault, taken = f.take(), true
		}
		if fault == Failed {
			return fmt.Errorf("update: %w", ErrInjected)
		}
		return nil
	})
	if err == nil && fault == Persisted {
		return fmt.Errorf("update: %w", ErrInjected)
	}
	return err
}

// Consume breaks like a commit.
func (f *Faulty) Consume(ctx context.Context, tenant, key string, limit uint64) (uint64, error) {
	fault := f.take()
	if fault == Failed {
		return 0, fmt.Errorf("consume: %w", ErrInjected)
	}
	n, err := f.inner.Consume(ctx, tenant, key, limit)
	if err == nil && fault == Persisted {
		return 0, fmt.Errorf("consume: %w", ErrInjected)
	}
	return n, err
}

// Close closes the engine.
func (f *Faulty) Close() error { return f.inner.Close() }
