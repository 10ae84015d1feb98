package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/filters"
)

// tenantFilters gives each tenant its own instances of the filters in force: what one tenant's call leaves in a filter's
// memory is never seen by another's.
type tenantFilters struct {
	runtime  *wasm.Runtime
	names    []string
	now      func() time.Time
	breakFor time.Duration

	mu    sync.Mutex // taken to load
	known atomic.Pointer[map[string][]stages.FilterUnit]
	open  []*wasm.Filter
	// failed remembers what could not be loaded, so that not each call tries again.
	failed map[string]failure
}

type failure struct {
	err   error
	until time.Time
}

// openFilters loads the filters once, so that a filter that cannot be used is a plain error at start.
func (g *Gateway) openFilters(ctx context.Context) error {
	c := g.o.Config.Filters
	if len(c.Enabled) == 0 {
		return nil
	}
	conf := wasm.DefaultConfig()
	conf.Fuel, conf.ByteFuel, conf.InitFuel = int64(c.Fuel), int64(c.ByteFuel), int64(c.InitFuel)
	conf.MemoryPages = uint32(c.Memory / wasmPage) //nolint:gosec // bounded by the configuration
	conf.MaxContext, conf.MaxVerdict = int(c.MaxContext), int(c.MaxVerdict)
	conf.Wait, conf.Traps, conf.TrapWindow, conf.BreakFor = c.Wait, c.Traps, c.TrapWindow, c.BreakFor
	if c.Instances > 0 {
		conf.Instances = c.Instances
	}
	r, err := wasm.New(ctx, conf)
	if err != nil {
		return err
	}
	g.filters = &tenantFilters{runtime: r, names: c.Enabled, now: g.o.Now, breakFor: c.BreakFor, failed: map[string]failure{}}
	g.filters.known.Store(&map[string][]stages.FilterUnit{})
	_, err = g.filters.load(ctx, demoTenant)
	return err
}

// wasmPage is the unit of a module's memory in bytes.
const wasmPage = 64 << 10

// For returns a tenant's filters in their order.
func (f *tenantFilters) For(ctx context.Context, tenant string) ([]stages.FilterUnit, error) {
	if f == nil {
		return nil, nil
	}
	if units, ok := (*f.known.Load())[tenant]; ok {
		return units, nil
	}
	return f.load(context.WithoutCancel(ctx), tenant)
}

// load makes a tenant's instances. A filter that cannot be loaded makes all of the tenant's calls be refused.
func (f *tenantFilters) load(ctx context.Context, tenant string) ([]stages.FilterUnit, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := *f.known.Load()
	if units, ok := old[tenant]; ok {
		return units, nil
	}
	if why, ok := f.failed[tenant]; ok && f.now().Before(why.until) {
		return nil, why.err
	}
	units, err := f.loadAll(ctx)
	if err != nil {
		f.failed[tenant] = failure{err, f.now().Add(f.breakFor)}
		return nil, err
	}
	delete(f.failed, tenant)
	next := make(map[string][]stages.FilterUnit, len(old)+1)
	maps.Copy(next, old)
	next[tenant] = units
	f.known.Store(&next)
	return units, nil
}

// loadAll loads each filter, or none.
func (f *tenantFilters) loadAll(ctx context.Context) ([]stages.FilterUnit, error) {
	var units []stages.FilterUnit
	var loaded []*wasm.Filter
	for _, name := range f.names {
		unit, err := f.loadOne(ctx, name)
		if err != nil {
			for _, l := range loaded {
				err = errors.Join(err, l.Close(ctx))
			}
			return nil, err
		}
		loaded = append(loaded, unit)
		units = append(units, unit)
	}
	f.open = append(f.open, loaded...)
	return units, nil
}

func (f *tenantFilters) loadOne(ctx context.Context, name string) (*wasm.Filter, error) {
	module, ok := filters.Module(name)
	if !ok {
		return nil, fmt.Errorf("filter %q is not one of the built-in ones: %s", name, strings.Join(filters.Names(), ", "))
	}
	unit, err := f.runtime.Load(ctx, name, module, nil)
	if err != nil {
		return nil, fmt.Errorf("load filter %q: %w", name, err)
	}
	return unit, nil
}

func (f *tenantFilters) close(ctx context.Context) error {
	if f == nil {
		return nil
	}
	var errs []error
	for _, unit := range f.open {
		errs = append(errs, unit.Close(ctx))
	}
	return errors.Join(append(errs, f.runtime.Close(ctx))...)
}
