package ladder

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/filters"
)

// filterName is the filter that one rung has.
const filterName = "redact-secrets"

// filterLoads says why a filter cannot be had in this build, or nil. A rung that needs it is then left out, and nothing
// else fails for it.
func filterLoads(ctx context.Context, name string) (err error) {
	module, ok := filters.Module(name)
	if !ok {
		return fmt.Errorf("there is no filter %q", name)
	}
	r, err := wasm.New(ctx, wasm.DefaultConfig())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close(ctx)) }()
	f, err := r.Load(ctx, name, module, nil)
	if err != nil {
		return err
	}
	return f.Close(ctx)
}
