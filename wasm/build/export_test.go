package build

import (
	"context"

	"github.com/tetratelabs/wazero"
)

// What tests reach of the inside: Queue is the queue alone, Foreign loads an artifact as if it were another module's.
type Queue struct{ q *queue }

func NewQueue(parallel, most, perTenant int) Queue { return Queue{newQueue(parallel, most, perTenant)} }

func (q Queue) Enter(ctx context.Context, tenant string) (func(), error) {
	return q.q.enter(ctx, tenant)
}

// Empty reports whether the queue remembers nobody.
func (q Queue) Empty() bool {
	return q.q.running == 0 && len(q.q.waiting) == 0 && len(q.q.tenants) == 0
}

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

// Code is an artifact's native code.
func (a Artifact) Code() []byte { return a.code }
