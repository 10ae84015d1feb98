package wasm

import (
	"sync"
	"sync/atomic"
	"time"
)

// breaker refuses calls at once when a filter trapped too often of late. After the pause the first trap breaks it again,
// until one call has gone well.
type breaker struct {
	traps         int
	window, pause time.Duration

	armed atomic.Bool // there is something to look at under mu

	mu    sync.Mutex
	at    []time.Time // the latest traps, oldest first
	until time.Time   // when the pause ends; zero when it never began
}

// open reports whether calls are refused now.
func (b *breaker) open() bool {
	if !b.armed.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Before(b.until)
}

// trapped counts a trap and reports whether it broke the filter.
func (b *breaker) trapped() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.armed.Store(true)
	if now.Before(b.until) {
		return false // a call that began before
	}
	if len(b.at) == b.traps {
		b.at = append(b.at[:0], b.at[1:]...)
	}
	b.at = append(b.at, now)
	if b.until.IsZero() && (len(b.at) < b.traps || now.Sub(b.at[0]) > b.window) {
		return false
	}
	b.until, b.at = now.Add(b.pause), b.at[:0]
	return true
}

// passed notes a call that went well: a pause that has ended is over for good.
func (b *breaker) passed() {
	if !b.armed.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := time.Now(); b.until.IsZero() || now.Before(b.until) {
		return
	}
	b.until = time.Time{}
	b.armed.Store(len(b.at) > 0)
}
