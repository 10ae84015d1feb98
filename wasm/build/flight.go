package build

import (
	"context"
	"errors"
	"sync/atomic"
)

// flight is one compilation for a tenant, and all of the tenant's who wait for it. Others have flights of their own, which find
// what the first one made in the cache: who waited in another's would wait for that one's turn, and give way with it.
type flight struct {
	key     flightKey
	cancel  context.CancelFunc
	done    chan struct{} // closed when what follows is set
	a       Artifact
	err     error
	waiting int // guarded by Compiler.mu
}

// flightKey says which compilations are the same.
type flightKey struct {
	module name
	tenant string
}

// join waits for the module's compilation, which it begins when nobody has. When the last one stops waiting the child is
// killed.
func (c *Compiler) join(ctx context.Context, n name, j Job) (Artifact, error) {
	f, err := c.board(n, j)
	if err != nil {
		return Artifact{}, err
	}
	defer c.leave(f)
	select {
	case <-f.done:
		return f.a, f.err
	case <-ctx.Done():
		return Artifact{}, refuse(Canceled, Usage{}, context.Cause(ctx).Error())
	}
}

func (c *Compiler) board(n name, j Job) (*flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.New("the compiler is closed")
	}
	key := flightKey{n, j.Tenant}
	f := c.flights[key]
	if f == nil {
		var ctx context.Context
		f = &flight{key: key, done: make(chan struct{})}
		ctx, f.cancel = context.WithCancel(c.ctx)
		c.flights[key] = f
		c.wg.Go(func() { c.fly(ctx, j, f) })
	}
	f.waiting++
	return f, nil
}

func (c *Compiler) leave(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiting--; f.waiting > 0 {
		return
	}
	f.cancel()
	if c.flights[f.key] == f {
		delete(c.flights, f.key)
	}
}

func (c *Compiler) fly(ctx context.Context, j Job, f *flight) {
	defer f.cancel()
	f.a, f.err = c.make(ctx, f.key.module, j)
	c.mu.Lock()
	if c.flights[f.key] == f {
		delete(c.flights, f.key)
	}
	c.mu.Unlock()
	close(f.done)
}

// make compiles in a child, once it is this tenant's turn.
func (c *Compiler) make(ctx context.Context, n name, j Job) (Artifact, error) {
	leave, err := c.queue.Enter(ctx, j.Tenant)
	if err != nil {
		c.counts.busy.Add(1)
		return Artifact{}, err
	}
	defer leave()
	if a, ok := c.cache.get(n); ok { // another flight landed before this one was on the board
		return a, nil
	}
	b := c.options.Small
	if j.Large {
		b = c.options.Large
	}
	a, err := c.child(ctx, j, b)
	if err != nil {
		c.counts.failed.Add(1)
		return Artifact{}, err
	}
	c.counts.compiled.Add(1)
	if a.Unsaved = c.cache.put(n, a); a.Unsaved != nil {
		c.counts.unsaved.Add(1)
	}
	return a, nil
}

// counts are what a compiler has done.
type counts struct {
	hits, refused, compiled, failed, busy, unsaved, evicted atomic.Uint64
}

// Stats are what a compiler has done since it was made.
type Stats struct {
	// Hits came from the cache; Refused were entries there that did not bear our seal, or not for that module.
	Hits, Refused uint64
	// Compiled and Failed count children, Busy jobs that found no place in the queue.
	Compiled, Failed, Busy uint64
	// Unsaved could not be written into the cache; Evicted had to make room there.
	Unsaved, Evicted uint64
}

// Stats returns what the compiler has done.
func (c *Compiler) Stats() Stats {
	n := &c.counts
	return Stats{
		Hits: n.hits.Load(), Refused: n.refused.Load(), Compiled: n.compiled.Load(), Failed: n.failed.Load(),
		Busy: n.busy.Load(), Unsaved: n.unsaved.Load(), Evicted: n.evicted.Load(),
	}
}
