package plans

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// TokenOptions are an agent's wishes for a token.
type TokenOptions struct {
	// TTL is the life asked for; 0 takes the configured one. It is cut to the configured maximum and to
	// the plan's own end.
	TTL time.Duration
}

// Issued is a token, shown this once.
type Issued struct {
	Token   string    `json:"token"`
	ID      string    `json:"id"`
	Expires time.Time `json:"expires"`
}

// Token issues a token for an active plan to the plan's own agent and user. Only the key that asks may
// show it. It is recorded and kept before it is answered.
func (r *Register) Token(ctx context.Context, who Owner, planID string, o TokenOptions) (Issued, error) {
	if err := who.check(); err != nil {
		return Issued{}, fmt.Errorf("issue token: %w", err)
	}
	if o.TTL < 0 || o.TTL > 0 && o.TTL < time.Second {
		return Issued{}, fmt.Errorf("issue token: %w", &intent.Error{Reason: intent.TokenLifetime, Msg: "a token lives at least a second"})
	}
	e := r.own(who, planID)
	if e == nil {
		return Issued{}, fmt.Errorf("issue token: plan: %w", ErrNotFound)
	}
	e.change.Lock()
	defer e.change.Unlock()
	t, raw, err := r.mint(e, who, o.TTL)
	if err != nil {
		return Issued{}, fmt.Errorf("issue token: %w", err)
	}
	rec := e.record(&e.row, ledger.Token, "issued")
	rec.User, rec.Agent, rec.Key, rec.Token = who.User, who.Agent, who.KeyID, t.row.ID
	rec.Body = fmt.Appendf(nil, `{"expires":%d}`, t.row.Expires)
	if _, err := r.deps.Ledger.Append(ctx, rec); err != nil {
		return Issued{}, fmt.Errorf("issue token: record: %w", err)
	}
	if err := r.putToken(ctx, e.tenant, t.row); err != nil {
		return Issued{}, fmt.Errorf("issue token: keep: %w", err)
	}
	r.mu.Lock()
	r.tokens[planKey{e.tenant, t.row.ID}] = t
	e.live++
	r.mu.Unlock()
	return Issued{Token: raw, ID: t.row.ID, Expires: unix(t.row.Expires)}, nil
}

// own finds a plan of this very agent and user.
func (r *Register) own(who Owner, planID string) *entry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.byID[planKey{who.Tenant, planID}]
	if e == nil || !e.ready || e.row.Agent != who.Agent || e.row.User != who.User {
		return nil
	}
	return e
}

// mint makes the row and the text of a token. e.change is held.
func (r *Register) mint(e *entry, who Owner, ttl time.Duration) (*token, string, error) {
	now := r.deps.Now()
	r.mu.RLock()
	row, held, live := e.row, e.held, e.live
	r.mu.RUnlock()
	if s := row.state(now.Unix()); !s.Active() || held == nil {
		return nil, "", fmt.Errorf("plan is %s: %w", s, ErrInactive)
	}
	if live >= r.cfg.TokensPerPlan {
		return nil, "", limit("the plan has " + strconv.Itoa(r.cfg.TokensPerPlan) + " tokens that have not expired")
	}
	if ttl == 0 {
		ttl = r.cfg.TokenTTL
	}
	id, err := r.newID("tok_", now)
	if err != nil {
		return nil, "", err
	}
	issued := now.Unix()
	t := &token{plan: e, row: tokenRow{
		ID: id, Plan: row.ID, User: who.User, Agent: who.Agent, Key: who.KeyID,
		Issued: issued, Expires: min(issued+int64(min(ttl, r.cfg.MaxTokenTTL)/time.Second), row.Expires),
	}}
	t.key = t.row.key()
	var policy merkle.Hash
	if r.deps.Policy != nil {
		policy = r.deps.Policy(e.tenant)
	}
	raw, err := r.deps.Signer.Mint(intent.Claims{
		Subject: who.User, Audience: r.cfg.Audience, ID: id, Tenant: who.Tenant, Agent: who.Agent, KeyID: who.KeyID,
		PlanID: row.ID, PlanNonce: held.Plan().Nonce, PlanHash: row.Hash, PlanRoot: row.Root, PlanSize: uint32(row.Size), //nolint:gosec // at most intent.MaxSteps
		PolicyDigest: policy, IssuedAt: issued, NotBefore: issued, Expires: t.row.Expires, PlanExpires: row.Expires,
	})
	return t, raw, err
}

// RevokeToken refuses a token from now on: an agent its own, an admin any of the organisation. A token
// that is revoked already, or has expired, needs nothing more.
func (r *Register) RevokeToken(ctx context.Context, by Actor, id, reason string) error {
	if err := checkReason(reason); err != nil {
		return fmt.Errorf("revoke token: %w", err)
	}
	r.mu.RLock()
	t := r.tokens[planKey{by.Tenant, id}]
	visible := t != nil && (by.Admin || t.row.Agent == by.Agent && t.row.User == by.User)
	r.mu.RUnlock()
	if !visible {
		return fmt.Errorf("revoke token: %w", ErrNotFound)
	}
	t.plan.change.Lock()
	defer t.plan.change.Unlock()
	r.mu.Lock()
	if t.row.Revoked != 0 && !t.row.Pending {
		r.mu.Unlock()
		return nil
	}
	if t.row.Revoked == 0 {
		t.row.Revoked, t.row.Reason, t.row.By, t.row.Pending = r.deps.Now().Unix(), reason, by.KeyID, true
	}
	row := t.row
	r.mu.Unlock()
	r.deps.Verifier.Revoke(id, unix(row.Expires))
	if err := r.putToken(ctx, t.plan.tenant, row); err != nil {
		return fmt.Errorf("revoke token: keep: %w", err)
	}
	if err := r.recordToken(ctx, t, row); err != nil {
		return fmt.Errorf("revoke token: %w", err)
	}
	return nil
}

// recordToken writes the record a kept revocation still lacks. The plan's change lock is held.
func (r *Register) recordToken(ctx context.Context, t *token, row tokenRow) error {
	rec := t.plan.record(&t.plan.row, ledger.Token, "revoked")
	rec.User, rec.Agent, rec.Key, rec.Token, rec.Detail = row.User, row.Agent, row.By, row.ID, row.Reason
	if _, err := r.deps.Ledger.Append(ctx, rec); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	r.mu.Lock()
	t.row.Pending = false
	row = t.row
	r.mu.Unlock()
	if err := r.putToken(ctx, t.plan.tenant, row); err != nil {
		r.faults.Add(1) // at worst a start records it once more
	}
	return nil
}
