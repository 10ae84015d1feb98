package server

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/build"
	builtin "github.com/gatewright/gatewright/wasm/filters"
)

// tenantFilters gives each tenant its own instances of the filters in force, built-in ones first: what one tenant's call
// leaves in a filter's memory is never seen by another's.
type tenantFilters struct {
	*filters.Service
	judge    *filters.Judge
	compiler *build.Compiler // nil where nothing bounds a child process: uploads are refused there
}

// openFilters makes ready to put filters in force.
func (g *Gateway) openFilters(ctx context.Context) error {
	c := g.o.Config.Filters
	t := &tenantFilters{}
	g.filters = t
	var builtIn []filters.BuiltIn
	for _, name := range c.Enabled {
		module, ok := builtin.Module(name)
		if !ok {
			return g.misconfigured(fmt.Errorf("filters: enabled: filter %q is not one of the built-in ones: %s", name, strings.Join(builtin.Names(), ", ")))
		}
		builtIn = append(builtIn, filters.BuiltIn{Name: name, Module: module})
	}
	if err := g.openCompiler(); err != nil {
		return err
	}
	judge := filters.DefaultJudgeConfig()
	judge.Wasm, judge.Large = wasmConfig(c, t.compiler), c.Large
	var err error
	if t.judge, err = filters.NewJudge(ctx, judge); err != nil {
		return err
	}
	t.Service, err = filters.New(filters.Config{
		Filters: c.MaxFilters, Versions: c.MaxVersions, Bytes: int64(c.MaxBytes), Uploads: c.UploadsPerHour, LogLines: c.LogLines, Retry: c.BreakFor,
		Quota: wasm.Quota{Memory: int64(c.TenantMemory), FuelPerSecond: int64(c.TenantFuel), Concurrency: c.TenantCalls},
	}, filters.Deps{
		Store: g.store, Record: g.write, Bundles: saidByBundles{g}, Judge: t.judge, BuiltIn: builtIn, Now: g.o.Now, Log: g.o.Log,
	})
	if err != nil {
		return err
	}
	set, err := t.For(ctx, demoTenant) // what cannot be used is a plain error at the start
	set.Release()
	return err
}

// openCompiler opens the cache of native code. Its key is made of the store's: whoever has that can change anything anyway.
func (g *Gateway) openCompiler() error {
	if runtime.GOOS != "linux" {
		return nil
	}
	key, err := hkdf.Key(sha256.New, g.keys.store, nil, "gatewright/wasm-code/v1", 32)
	if err != nil {
		return fmt.Errorf("make the key of compiled filters: %w", err)
	}
	dir := g.dir.Join("wasm")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of compiled filters: %w", err)
	}
	g.filters.compiler, err = build.New(build.Options{Dir: dir, Key: key, Self: g.o.Self})
	return err
}

// wasmConfig is what one filter may take.
func wasmConfig(c config.Filters, compiler *build.Compiler) wasm.Config {
	conf := wasm.DefaultConfig()
	conf.Fuel, conf.ByteFuel, conf.InitFuel = int64(c.Fuel), int64(c.ByteFuel), int64(c.InitFuel)
	conf.MemoryPages = uint32(c.Memory / wasmPage) //nolint:gosec // bounded by the configuration
	conf.MaxContext, conf.MaxVerdict = int(c.MaxContext), int(c.MaxVerdict)
	conf.Wait, conf.Traps, conf.TrapWindow, conf.BreakFor = c.Wait, c.Traps, c.TrapWindow, c.BreakFor
	conf.Compiler = compiler
	if c.Instances > 0 {
		conf.Instances = c.Instances
	}
	return conf
}

// wasmPage is the unit of a module's memory in bytes.
const wasmPage = 64 << 10

// close takes all filters out of force, and frees them.
func (t *tenantFilters) close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	errs := []error{t.Close(ctx)}
	if t.judge != nil {
		errs = append(errs, t.judge.Close(ctx))
	}
	if t.compiler != nil {
		t.compiler.Close()
	}
	return errors.Join(errs...)
}

// saidByBundles is the revisions of policies, as the filters' service needs them.
type saidByBundles struct{ g *Gateway }

// Current is the bundle that is enforced.
func (s saidByBundles) Current(tenant string) (*policies.Bundle, bool) {
	return s.g.bundles.Current(tenant)
}

// Standing is that too while it waits.
func (s saidByBundles) Standing(tenant string) (*policies.Bundle, bool) {
	return s.g.bundles.Standing(tenant)
}

// Signed tells whether the tenant's bundles have to be signed.
func (s saidByBundles) Signed(tenant string) bool { return s.g.bundles.Signed(tenant) }

// Retool tries again what waits for filters.
func (s saidByBundles) Retool(ctx context.Context, tenant string) { s.g.bundles.Retool(ctx, tenant) }

// Amend enforces the enforced bundle with one file changed. That nothing can be changed now is the filters' own word too.
func (s saidByBundles) Amend(ctx context.Context, tenant string, by filters.Actor, edit func(*policies.Bundle) (string, []byte, error)) (uint64, error) {
	r, err := s.g.bundles.Amend(ctx, tenant, bundles.Actor{User: by.User, Key: by.Key}, edit)
	if errors.Is(err, bundles.ErrState) {
		err = fmt.Errorf("%w: %w", filters.ErrState, err)
	}
	return r.Number, err
}

// namedByBundles is the filters' service, as the revisions of policies need it.
type namedByBundles struct{ g *Gateway }

// Check refuses a bundle whose filters the tenant cannot have.
func (n namedByBundles) Check(ctx context.Context, tenant string, b *policies.Bundle) error {
	return n.g.filters.Check(ctx, tenant, b)
}

// Prepare loads a bundle's filters.
func (n namedByBundles) Prepare(ctx context.Context, tenant string, b *policies.Bundle) (bundles.Ready, error) {
	p, err := n.g.filters.Prepare(ctx, tenant, b)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// filterFamilies are what the tenants' filters did, for /metrics. Names are as many as an organisation may upload.
func (g *Gateway) filterFamilies() []control.Family {
	of := func(name, help string, counter bool, labels []string, values func(s filters.Stats, emit func(v float64, more ...string))) control.Family {
		return control.Family{
			Name: "gatewright_filter_" + name, Help: help, Labels: append([]string{"tenant", "filter", "mode"}, labels...), Counter: counter,
			Values: func(emit func(float64, ...string)) {
				g.filters.Each(func(tenant, filter string, shadow bool, s filters.Stats) {
					mode := "enforce"
					if shadow {
						mode = "shadow"
					}
					values(s, func(v float64, more ...string) { emit(v, append([]string{tenant, filter, mode}, more...)...) })
				})
			},
		}
	}
	one := func(name, help string, counter bool, value func(filters.Stats) float64) control.Family {
		return of(name, help, counter, nil, func(s filters.Stats, emit func(float64, ...string)) { emit(value(s)) })
	}
	return []control.Family{
		of("verdicts_total", "Verdicts of a filter; in shadow what it would have said.", true, []string{"verdict"}, func(s filters.Stats, emit func(float64, ...string)) {
			emit(float64(s.Passed), "pass")
			emit(float64(s.Denied), "deny")
			emit(float64(s.Rewritten), "rewrite")
		}),
		of("traps_total", "Calls without a verdict, which are refused, by kind.", true, []string{"kind"}, func(s filters.Stats, emit func(float64, ...string)) {
			for kind, n := range s.Traps {
				emit(float64(n), kind)
			}
		}),
		one("calls_total", "Calls that a filter was asked about.", true, func(s filters.Stats) float64 { return float64(s.Calls()) }),
		one("fuel_total", "Units of fuel that a filter spent.", true, func(s filters.Stats) float64 { return float64(s.Fuel) }),
		one("seconds_sum", "Time of the calls that were timed, one of sixteen.", true, func(s filters.Stats) float64 { return s.Time.Seconds() }),
		one("seconds_count", "Calls that were timed.", true, func(s filters.Stats) float64 { return float64(s.Timed) }),
		one("waits_total", "Calls that found every instance at work.", true, func(s filters.Stats) float64 { return float64(s.Waits) }),
		one("thrown_total", "Instances thrown away, because they trapped or had grown.", true, func(s filters.Stats) float64 { return float64(s.Thrown) }),
		one("skipped_total", "Calls that a filter in shadow was not shown, because it was behind.", true, func(s filters.Stats) float64 { return float64(s.Skipped) }),
		one("instances", "Instances held.", false, func(s filters.Stats) float64 { return float64(s.Instances) }),
		one("broken", "1 while a filter is not asked, because it trapped too often.", false, func(s filters.Stats) float64 {
			if s.Broken {
				return 1
			}
			return 0
		}),
	}
}
