package terms

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/armoriq"
)

// Of returns what narrows a call of the tenant under a plan: the tenant's profile, and the plan's own policy when h is
// not nil. nil terms mean that nothing does. A policy that cannot be read is an error, and then the call is to be
// refused. What was returned once for a plan comes from memory and allocates nothing.
func (k *Keeper) Of(tenant string, h *intent.Held) (*Terms, error) {
	var with *profile
	if t := k.of(tenant); t != nil {
		with = t.active.Load()
	}
	if with != nil && with.err != nil {
		return nil, fmt.Errorf("profile: %w", with.err)
	}
	if h == nil || len(h.Plan().Metadata) == 0 {
		return with.own(), nil
	}
	if h.Plan().Tenant != tenant {
		return nil, fmt.Errorf("%w: the plan is another tenant's", ErrForbidden)
	}
	p := k.plans.get(planKey{tenant, h.Root()})
	if p == nil {
		p = k.read(h)
		k.plans.put(planKey{tenant, h.Root()}, p)
	}
	return p.joined(with)
}

// read makes the terms of a plan. What is wrong with it is remembered too: a plan never changes.
func (k *Keeper) read(h *intent.Held) *plan {
	p := &plan{}
	if p.own, p.err = k.Plan(h.Plan().Metadata); p.err != nil {
		p.err = fmt.Errorf("the plan's own policy: %w", p.err)
	}
	return p
}

// Plan translates the policy in a plan's metadata, as Of will; nil when there is none.
func (k *Keeper) Plan(metadata json.RawMessage) (*Terms, error) {
	if len(metadata) == 0 {
		return nil, nil
	}
	if err := canon.Check(metadata, planLimits()); err != nil {
		return nil, fmt.Errorf("%w: metadata: %w", ErrPolicy, err)
	}
	policy, err := policyOf(metadata)
	if err != nil || len(policy) == 0 {
		return nil, err
	}
	if len(policy) > k.cfg.Bytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrPolicy, len(policy), k.cfg.Bytes)
	}
	from, err := armoriq.Policy(policy)
	if err != nil {
		return nil, unread{err}
	}
	return compile("plan", &from)
}

// planLimits are those of the largest plan that is kept.
func planLimits() canon.Limits { return canon.Limits{Bytes: 1 << 20, Depth: 64, Values: 1 << 20} }

// policyOf finds {"armoriq":{"policy":...}} in a plan's metadata. What an agent writes into its metadata besides is its own.
func policyOf(metadata json.RawMessage) (json.RawMessage, error) {
	if canon.KindOf(metadata) != '{' {
		return nil, fmt.Errorf("%w: metadata is not an object", ErrPolicy)
	}
	own, ok := canon.Get(metadata, "armoriq")
	if !ok {
		return nil, nil
	}
	if canon.KindOf(own) != '{' {
		return nil, fmt.Errorf("%w: metadata member armoriq is not an object", ErrPolicy)
	}
	policy, _ := canon.Get(own, "policy")
	return policy, nil
}

// compile makes terms of what was translated; nil when it says nothing.
func compile(name string, from *armoriq.Terms) (*Terms, error) {
	if len(from.Rates) > maxRates {
		return nil, fmt.Errorf("%w: %d rates, at most %d", ErrPolicy, len(from.Rates), maxRates)
	}
	t := &Terms{Lines: from.Lines}
	for _, r := range from.Rates {
		t.Rates = append(t.Rates, Rate{r.Max, r.Per})
	}
	if len(from.Cedar) > 0 {
		o, err := policies.CompileOverlay(name, from.Cedar)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
		}
		t.Overlays = []*policies.Overlay{o}
	}
	if len(t.Overlays) == 0 && len(t.Rates) == 0 {
		return nil, nil
	}
	return t, nil
}

// plan is what was read of one plan.
type plan struct {
	own *Terms
	err error
	sum atomic.Pointer[sum] // the last one asked for
}

// sum is a plan's terms together with a profile's.
type sum struct {
	with  *profile
	terms *Terms
}

func (p *plan) joined(with *profile) (*Terms, error) {
	switch {
	case p.err != nil:
		return nil, p.err
	case p.own == nil:
		return with.own(), nil
	case with.own() == nil:
		return p.own, nil
	}
	if s := p.sum.Load(); s != nil && s.with == with {
		return s.terms, nil
	}
	a, b := with.own(), p.own
	t := &Terms{Overlays: slices.Concat(a.Overlays, b.Overlays), Rates: slices.Concat(a.Rates, b.Rates), Lines: slices.Concat(a.Lines, b.Lines)}
	p.sum.Store(&sum{with, t})
	return t, nil
}

type planKey struct {
	tenant string
	root   merkle.Hash
}

// plans is a bounded map with a second chance: the hand passes over what was used since it last came by.
type plans struct {
	mu    sync.RWMutex
	byKey map[planKey]*slot
	ring  []*slot
	hand  int
}

type slot struct {
	key  planKey
	plan *plan
	used atomic.Bool
}

func newPlans(limit int) plans {
	return plans{byKey: map[planKey]*slot{}, ring: make([]*slot, 0, limit)}
}

func (c *plans) len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.byKey)
}

func (c *plans) get(key planKey) *plan {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s := c.byKey[key]
	if s == nil {
		return nil
	}
	if !s.used.Load() {
		s.used.Store(true)
	}
	return s.plan
}

func (c *plans) put(key planKey, p *plan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.byKey[key]; s != nil {
		return // somebody else read the same plan meanwhile
	}
	s := &slot{key: key, plan: p}
	c.byKey[key] = s
	if len(c.ring) < cap(c.ring) {
		c.ring = append(c.ring, s)
		return
	}
	for c.ring[c.hand].used.Swap(false) {
		c.hand = (c.hand + 1) % len(c.ring)
	}
	delete(c.byKey, c.ring[c.hand].key)
	c.ring[c.hand] = s
	c.hand = (c.hand + 1) % len(c.ring)
}
