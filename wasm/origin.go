package wasm

import (
	"context"
	"fmt"
)

// LoadFor is Load for somebody: where Config.Compiler has a queue, the tenant of that name waits in it. Nothing else is the
// tenant's: what the filter takes counts against no Quota, so that a module on trial slows down none that is in force.
func (r *Runtime) LoadFor(ctx context.Context, tenant, name string, module, initConfig []byte, options ...Option) (*Filter, error) {
	f, err := r.load(ctx, name, module, initConfig, r.origin(tenant, len(module)), options...)
	if err != nil {
		return nil, fmt.Errorf("load filter %q: %w", name, err)
	}
	return f, nil
}
