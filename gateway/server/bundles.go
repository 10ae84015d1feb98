package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/gateway/bundles/git"
	"github.com/gatewright/gatewright/gateway/bundles/watch"
	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
)

// revisions is every tenant's policies: the revisions, and the sources that bring new ones by themselves.
type revisions struct {
	*bundles.Service
	engines policies.Set
	cfg     config.Policies

	// common is the source of the tenants that have none of their own. Both are fixed after the start.
	common *source
	own    map[string]*source
}

var _ control.Bundles = (*revisions)(nil)

// source is where tenants' bundles come from by themselves: the built-in bundle, a folder, or a repository.
type source struct {
	mu    sync.Mutex   // guards read, which is for one at a time
	read  watch.Source // nil: the built-in bundle
	every time.Duration
	now   chan struct{}
}

// openPolicies makes ready to put bundles in force.
func (g *Gateway) openPolicies(context.Context) error {
	p := g.o.Config.Policies
	r := &revisions{cfg: p, own: map[string]*source{}}
	keys := map[string]ledger.VerifierKeys{}
	for _, name := range append([]string{""}, slices.Sorted(maps.Keys(p.Tenants))...) {
		t := p.For(name)
		src, err := newSource(p, t)
		if err != nil {
			return g.misconfigured(fmt.Errorf("policies: %w", err))
		}
		if name == "" {
			r.common = src
		} else {
			r.own[name] = src
		}
		for _, text := range t.Keys {
			k, err := ledger.ParseVerifierKey(text)
			if err != nil {
				return g.misconfigured(fmt.Errorf("policies: keys: %w", err))
			}
			keys[name] = append(keys[name], k)
		}
	}
	r.engines.Changed = g.hub.Changed
	var err error
	r.Service, err = bundles.New(bundles.Config{History: p.History}, bundles.Deps{
		Store: g.store, Record: g.write, Tools: g.tools.Defs, Engines: &r.engines, Filters: namedByBundles{g}, Now: g.o.Now, Log: g.o.Log,
		Keys: func(tenant string) ledger.VerifierKeys {
			if _, ok := p.Tenants[tenant]; ok {
				return keys[tenant]
			}
			return keys[""]
		},
	})
	g.bundles = r
	return err
}

func newSource(p config.Policies, t config.TenantPolicies) (*source, error) {
	s := &source{now: make(chan struct{}, 1)}
	switch {
	case t.Bundle != "":
		s.read, s.every = watch.Folder{Dir: t.Bundle}, p.Watch
	case t.Git != "":
		token := ""
		if t.TokenEnv != "" {
			if token = os.Getenv(t.TokenEnv); token == "" {
				return nil, fmt.Errorf("token_env: the variable %s is not set", t.TokenEnv)
			}
		}
		repo, err := git.New(git.Config{URL: t.Git, Ref: t.Ref, Commit: t.Commit, Path: t.Path, Token: token})
		if err != nil {
			return nil, err
		}
		s.read, s.every = watch.Repository{Source: repo}, p.Poll
	}
	return s, nil
}

// bundle reads what the source has now.
func (s *source) bundle(ctx context.Context) (*policies.Bundle, bundles.Source, error) {
	if s.read == nil {
		return policies.Default(), bundles.Source{Kind: bundles.BuiltIn}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read.Read(ctx)
}

func (r *revisions) source(tenant string) *source {
	if s := r.own[tenant]; s != nil {
		return s
	}
	return r.common
}

// Reload brings in force what a tenant's source has now, whatever was put in force since. On error the bundle before
// stays.
func (r *revisions) Reload(ctx context.Context, tenant string, by bundles.Actor) (*policies.Bundle, error) {
	b, from, err := r.source(tenant).bundle(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.Offer(ctx, tenant, by, b, from, true); err != nil {
		return nil, err
	}
	return b, nil
}

// start puts in force what the tenant had, or what its source has that it did not have yet. Only a tenant without either
// ends the start, and then it says why.
func (r *revisions) start(ctx context.Context, tenant string) error {
	has, err := r.Open(ctx, tenant)
	if err != nil {
		return err
	}
	b, from, err := r.source(tenant).bundle(ctx)
	if err == nil {
		err = r.Offer(ctx, tenant, bundles.Actor{}, b, from, false)
	}
	switch {
	case err == nil:
		return nil
	case !has && !errors.Is(err, git.ErrFetch) && !errors.Is(err, bundles.ErrFilters) && !namesUnknownTools(err):
		return err
	}
	r.Alarmed(tenant, r.standing(tenant)+err.Error())
	r.Retool(ctx, tenant) // its tools may have become known between the two
	return nil
}

// standing says what holds while a bundle cannot be had.
func (r *revisions) standing(tenant string) string {
	if _, ok := r.Current(tenant); ok {
		return "the policies in force before stay: "
	}
	return "nothing is in force, so the tenant is refused everything until this is mended: "
}

// watch follows every source until ctx ends.
func (r *revisions) watch(ctx context.Context) {
	var all sync.WaitGroup
	for name, s := range r.sources() {
		if s.read == nil {
			continue
		}
		w := &watch.Watch{Source: locked{s}, Every: s.every, Now: s.now, Found: func(ctx context.Context, b *policies.Bundle, from bundles.Source, err error) {
			for _, tenant := range r.Tenants() {
				if r.named(tenant) == name {
					r.found(ctx, tenant, b, from, err)
				}
			}
		}}
		all.Go(func() { w.Run(ctx) })
	}
	all.Wait()
}

// sources lists them by the tenant they are for; "" is the common one.
func (r *revisions) sources() map[string]*source {
	all := map[string]*source{"": r.common}
	maps.Copy(all, r.own)
	return all
}

func (r *revisions) named(tenant string) string {
	if r.own[tenant] != nil {
		return tenant
	}
	return ""
}

// found takes what a watch found, or raises the alarm.
func (r *revisions) found(ctx context.Context, tenant string, b *policies.Bundle, from bundles.Source, err error) {
	if err != nil {
		r.Alarmed(tenant, r.standing(tenant)+err.Error())
		return
	}
	_ = r.Offer(ctx, tenant, bundles.Actor{}, b, from, false) // what it refuses it raises the alarm about
}

// hangup looks at every source at once, as SIGHUP asks. What a person put in force since stays unless the source changed.
func (r *revisions) hangup() {
	for _, s := range r.sources() {
		select {
		case s.now <- struct{}{}:
		default: // it is asked already
		}
	}
}

// locked is a source that others read too.
type locked struct{ s *source }

// Settles, Stamp and Read are the source's.
func (l locked) Settles() bool { return l.s.read.Settles() }

// Stamp names what is there.
func (l locked) Stamp(ctx context.Context) (string, error) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.s.read.Stamp(ctx)
}

// Read reads it.
func (l locked) Read(ctx context.Context) (*policies.Bundle, bundles.Source, error) {
	return l.s.bundle(ctx)
}

// bundleGauges are what is counted about policies, for /metrics.
func (g *Gateway) bundleGauges() []control.Gauge {
	gauge := func(name, help string, counter bool, value func(bundles.Stats) float64) control.Gauge {
		return control.Gauge{Name: "gatewright_policy_" + name, Help: help, Counter: counter, Value: func() float64 { return value(g.bundles.Stats()) }}
	}
	return []control.Gauge{
		gauge("alarms", "Tenants that do not have the policies they are meant to have.", false, func(s bundles.Stats) float64 { return float64(s.Alarms) }),
		gauge("waiting", "Tenants whose policies wait for tools, and that are refused everything.", false, func(s bundles.Stats) float64 { return float64(s.Waiting) }),
		gauge("revisions", "Revisions of policies kept.", false, func(s bundles.Stats) float64 { return float64(s.Revisions) }),
		gauge("changes_total", "Changes of policies since the start.", true, func(s bundles.Stats) float64 { return float64(s.Changes) }),
		gauge("refused_total", "Bundles of policies that were refused since the start.", true, func(s bundles.Stats) float64 { return float64(s.Refused) }),
	}
}
