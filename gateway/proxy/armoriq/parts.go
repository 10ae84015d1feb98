package armoriq

import (
	"context"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/gateway/terms"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/policies"
)

// Parts are what the dialect translates to. Each decides for itself who may what; the dialect hands it the caller.
type Parts struct {
	Catalogue *catalogue.Catalogue
	Plans     Plans
	Policies  Engines
	Terms     Terms
	Desk
}

// Plans is the register of plans and tokens.
type Plans interface {
	Capturer
	Truster
	Shelf
}

// Capturer takes plans in and gives tokens out.
type Capturer interface {
	CapturePlan(ctx context.Context, who plans.Owner, d plans.Draft) (plans.Captured, error)
	Token(ctx context.Context, who plans.Owner, planID string, o plans.TokenOptions) (plans.Issued, error)
	SetState(ctx context.Context, by plans.Actor, id string, to plans.State, reason string) error
	View(ctx context.Context, who plans.Owner, id string) (plans.Captured, error)
}

// Truster changes what tokens stand for.
type Truster interface {
	Delegate(ctx context.Context, who plans.Owner, parent *intent.Token, d plans.Delegation) (plans.Issued, string, error)
	Reanchor(ctx context.Context, who plans.Owner, planID string, d plans.Draft, reason string) (plans.Captured, string, error)
	RevokeTree(ctx context.Context, by plans.Actor, tokenID, reason string, cascade bool) (plans.Revocation, error)
}

// Shelf is the plans that are held.
type Shelf interface {
	Head(who plans.Owner, planID string) (id string, held *intent.Held, ok bool)
	Find(who plans.Owner, op, server, tool string) (planID string, step int, ok bool)
	Active(who plans.Owner, n int) []*intent.Held
	Held(tenant string, root merkle.Hash) (held *intent.Held, state plans.State, ok bool)
	Anchors(tenant string, root merkle.Hash) []*intent.Delta
}

// Engines gives the policy engine whose answer counts for a principal.
type Engines interface {
	Choose(tenant string, p *policies.Principal) (enforced, shadow *policies.Engine)
}

// Terms knows what narrows a tenant's calls beside its bundle.
type Terms interface {
	Of(tenant string, h *intent.Held) (*terms.Terms, error)
}

// owner is the caller as the register of plans knows it.
func (r *request) owner() plans.Owner {
	c := r.c.Caller
	return plans.Owner{Tenant: c.Tenant(), User: c.User(), Agent: c.Agent(), KeyID: c.KeyID()}
}

// bearer is the caller as one who shows a token.
func (r *request) bearer() intent.Bearer {
	c := r.c.Caller
	return intent.Bearer{Tenant: c.Tenant(), User: c.User(), Agent: c.Agent(), KeyID: c.KeyID(), Thumbprint: c.Thumbprint()}
}

// identity is what their clients call the composite identity.
func (r *request) identity() string { return r.c.Caller.User() + "|" + r.c.Caller.Agent() }
