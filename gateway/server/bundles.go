package server

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
)

// bundles keeps each tenant's engine compiled from its bundle and its tools. A bundle or a tool list that does not
// compile leaves the last good engine in force and raises an alarm in the log; a tenant that never had one is refused
// everything.
type bundles struct {
	folder string // bundle folder for every tenant; empty: the embedded default
	tools  func(tenant string) []policies.ToolDef
	record func(ctx context.Context, tenant string, body []byte, b *policies.Bundle) error
	log    *slog.Logger

	engines policies.Set

	// mu serializes loading and compiling, so that what came into force last stays in force.
	mu sync.Mutex

	// state guards the maps and is never held while anything is compiled: every token asks for Current.
	state   sync.RWMutex
	current map[string]*policies.Bundle
	waiting map[string]bool // tenants whose bundle did not compile for want of tools
}

// inForce reads the tenant's bundle and whether it waits for tools.
func (b *bundles) inForce(tenant string) (p *policies.Bundle, waiting bool) {
	b.state.RLock()
	defer b.state.RUnlock()
	return b.current[tenant], b.waiting[tenant]
}

// read loads the bundle anew.
func (b *bundles) read() (*policies.Bundle, error) {
	if b.folder == "" {
		return policies.Default(), nil
	}
	if info, err := os.Stat(b.folder); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("policies.bundle %s is not a folder that can be read", b.folder)
	}
	out, err := policies.LoadBundle(os.DirFS(b.folder))
	if err != nil {
		return nil, fmt.Errorf("policies.bundle %s: %w", b.folder, err)
	}
	return out, nil
}

// Current is the bundle in force for a tenant.
func (b *bundles) Current(tenant string) (*policies.Bundle, bool) {
	p, _ := b.inForce(tenant)
	return p, p != nil
}

// Reload reads the bundle again and puts it in force when it compiles. The change is a ledger record, written first.
func (b *bundles) Reload(ctx context.Context, tenant string) (*policies.Bundle, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next, err := b.read()
	if err != nil {
		return nil, err
	}
	e, err := policies.Compile(next, b.tools(tenant))
	if err != nil {
		return nil, fmt.Errorf("compile bundle: %w", err)
	}
	old, _ := b.inForce(tenant)
	if old == nil || old.Digest() != next.Digest() {
		if err := b.announce(ctx, tenant, old, next); err != nil {
			return nil, err
		}
	}
	if !e.Permits() {
		b.log.Warn("no policy of the bundle permits anything, and so everything is refused; a bundle begins with a copy of policies/default", "tenant", tenant)
	}
	b.engines.Swap(tenant, e)
	b.state.Lock()
	defer b.state.Unlock()
	b.current[tenant] = next
	delete(b.waiting, tenant)
	return next, nil
}

// reloadAll reads every tenant's bundle again, as SIGHUP asks. Where that fails the last good one stays in force.
func (b *bundles) reloadAll(ctx context.Context) {
	b.state.RLock()
	tenants := slices.Sorted(maps.Keys(b.current))
	b.state.RUnlock()
	for _, t := range tenants {
		if p, err := b.Reload(ctx, t); err != nil {
			b.log.Error("policies not reloaded; the last good ones stay in force", "tenant", t, "error", err)
		} else {
			b.log.Info("policies reloaded", "tenant", t, "bundle", p.Digest().String())
		}
	}
}

// await notes that the tenant's bundle is to be tried again when its tools change. Until then it is refused everything.
func (b *bundles) await(tenant string) {
	b.state.Lock()
	defer b.state.Unlock()
	b.waiting[tenant] = true
}

func (b *bundles) announce(ctx context.Context, tenant string, old, next *policies.Bundle) error {
	body := map[string]any{"files": next.Files(), "digest": next.Digest().String()}
	if old != nil {
		body["replaces"] = old.Digest().String()
	}
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("describe the bundle: %w", err)
	}
	return b.record(ctx, tenant, text, next)
}

// retool compiles the tenant's bundle against its tools as they are now.
func (b *bundles) retool(tenant string) {
	if _, waiting := b.inForce(tenant); waiting {
		b.retry(tenant)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p, _ := b.inForce(tenant) // read under mu: no other can come into force before the swap
	if p == nil {
		return
	}
	e, err := policies.Compile(p, b.tools(tenant))
	if err != nil {
		b.log.Error("policies do not compile against the tools as they are now; the last good ones stay in force", "tenant", tenant, "error", err)
		return
	}
	b.engines.Swap(tenant, e)
}

// retry puts a bundle in force that had to wait for tools.
func (b *bundles) retry(tenant string) {
	if _, err := b.Reload(context.Background(), tenant); err != nil {
		b.log.Error("policies still do not compile; the tenant is refused everything", "tenant", tenant, "error", err)
		return
	}
	b.log.Info("policies are in force now that the tools are known", "tenant", tenant)
}

// recordBundle writes that a bundle came into force.
func (g *Gateway) recordBundle(ctx context.Context, tenant string, body []byte, b *policies.Bundle) error {
	r := &ledger.Record{Tenant: tenant, Kind: ledger.Bundle, Step: -1, Bundle: b.Digest(), Verdict: "allow", Body: body}
	return g.write(ctx, r)
}
