package build

import (
	"context"

	"github.com/tetratelabs/wazero"
)

// Empty reports whether the queue remembers nobody.
func (q *Queue) Empty() bool { return q.running == 0 && len(q.waiting) == 0 && len(q.tenants) == 0 }

// Foreign loads an artifact as if it were that module's.
func (c *Compiler) Foreign(ctx context.Context, r wazero.Runtime, module []byte, a Artifact) error {
	_, err := c.loader.load(ctx, r, module, a)
	return err
}

// Unhook makes this program look as if its main did not call Hook, until the function it returns is called.
func Unhook() func() {
	hooked.Store(false)
	return func() { hooked.Store(true) }
}

// Waiting is how many wait for modules that are being compiled.
func (c *Compiler) Waiting() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.flights {
		n += f.waiting
	}
	return n
}

// Tickets is how many modules have a place or wait for one.
func (c *Compiler) Tickets() int {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	return c.queue.running + len(c.queue.waiting)
}

// Code is an artifact's native code.
func (a Artifact) Code() []byte { return a.code }

// Fresh reports whether a metered module did not come from the cache.
func (m Metered) Fresh() bool { return m.fresh }

// MeteredName is what a metered module's entry is called.
var MeteredName = meteredName
