// Package wasm runs tenants' own filters: WebAssembly modules that look at each call and let it pass, refuse it or rewrite
// it. A filter is hostile until shown otherwise, and the engine, wazero, does not contain one alone. What does:
//
//   - a module is read strictly and rewritten by package wasm/meter before the engine sees it: every instruction is paid
//     for with fuel, and open calls are counted;
//   - fuel is handed out in slices of about a tenth of a millisecond, between which the scheduler runs, so that a runaway
//     delays neither a garbage collection nor its neighbours;
//   - a filter imports nothing but gw.log: it has no clock, no randomness, no network and no file;
//   - after each call an instance is put back to the state it had after gw_init, or thrown away: what one call showed, the
//     next cannot see, and the same input always gets the same verdict;
//   - whatever else happens is a Trap, and a Trap refuses the call. A filter that traps too often is not asked any more for
//     a while.
//
// README.md beside this file is what authors of filters read.
package wasm

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/tetratelabs/wazero"
)

// Runtime loads filters under one configuration.
type Runtime struct {
	config Config
	cache  wazero.CompilationCache // native code, in memory

	mu      sync.Mutex // guards what follows
	filters map[*Filter]struct{}
	tenants map[string]*Tenant
	closed  bool
}

// New returns a runtime without filters.
func New(_ context.Context, c Config) (*Runtime, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Runtime{config: c, cache: wazero.NewCompilationCache(), filters: make(map[*Filter]struct{}), tenants: make(map[string]*Tenant)}, nil
}

// Close closes all filters, as Filter.Close does; no other can be loaded.
func (r *Runtime) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	all := slices.Collect(maps.Keys(r.filters))
	r.mu.Unlock()
	for _, f := range all {
		f.end() // all of them at once; then wait
	}
	var errs []error
	for _, f := range all {
		errs = append(errs, f.Close(ctx))
	}
	return errors.Join(errs...)
}

// add lists a filter, unless the runtime was closed meanwhile.
func (r *Runtime) add(f *Filter) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errors.New("the runtime is closed")
	}
	r.filters[f] = struct{}{}
	return nil
}

func (r *Runtime) forget(f *Filter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.filters, f)
}

// validName accepts what may stand in records, logs and metrics without a quote.
func validName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c-'a' > 'z'-'a' && c-'0' > 9 && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return len(name) >= 1 && len(name) <= 64
}
