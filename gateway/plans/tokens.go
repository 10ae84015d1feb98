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
	// Alone lets the token be shown as the only credential. Danger: whoever has it may take the steps of its plan.
	Alone bool
}

// checkTTL refuses a life that is given and too short.
func checkTTL(ttl time.Duration) error {
	if ttl < 0 || ttl > 0 && ttl < time.Second {
		return &intent.Error{Reason: intent.TokenLifetime, Msg: "a token lives at least a second"}
	}
	return nil
}

// Issued is a token, shown this once.
type Issued struct {
	Token    string    `json:"token"`
	ID       string    `json:"id"`
	Expires  time.Time `json:"expires"`
	IssuedAt int64     `json:"-"` // unix seconds, as the token says
}

// Token issues a token for an active plan to the plan's own agent and user. Only the key that asks may
// show it. It is recorded and kept before it is answered.
func (r *Register) Token(ctx context.Context, who Owner, planID string, o TokenOptions) (Issued, error) {
	if err := who.check(); err != nil {
		return Issued{}, fmt.Errorf("issue token: %w", err)
	}
	if err := checkTTL(o.TTL); err != nil {
		return Issued{}, fmt.Errorf("issue token: %w", err)
	}
	e := r.own(who, planID)
	if e == nil {
		return Issued{}, fmt.Errorf("issue token: plan: %w", ErrNotFound)
	}
	e.chain.change.Lock()
	defer e.chain.change.Unlock()
	t, raw, err := r.mint(e, tokenRow{User: who.User, Agent: who.Agent, Key: who.KeyID, Alone: o.Alone}, o.TTL)
	if err != nil {
		return Issued{}, fmt.Errorf("issue token: %w", err)
	}
	rec := e.record(&e.row, ledger.Token, "issued")
	rec.User, rec.Agent, rec.Key, rec.Token = who.User, who.Agent, who.KeyID, t.row.ID
	rec.Body = fmt.Appendf(nil, `{"expires":%d}`, t.row.Expires)
	if o.Alone {
		rec.Body = fmt.Appendf(nil, `{"alone":true,"expires":%d}`, t.row.Expires)
	}
	if err := r.issue(ctx, t, rec); err != nil {
		return Issued{}, fmt.Errorf("issue token: %w", err)
	}
	return t.issued(raw), nil
}

// issue records a token, keeps it, and counts it. The chain's change lock is held.
func (r *Register) issue(ctx context.Context, t *token, rec *ledger.Record) error {
	if _, err := r.deps.Ledger.Append(ctx, rec); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if err := r.putTokens(ctx, t.plan.tenant, []tokenRow{t.row}); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	r.mu.Lock()
	r.tokens[planKey{t.plan.tenant, t.row.ID}] = t
	t.plan.live++
	t.plan.until = max(t.plan.until, t.row.Expires)
	r.order(t.plan.chain)
	r.mu.Unlock()
	return nil
}

func (t *token) issued(raw string) Issued {
	return Issued{Token: raw, ID: t.row.ID, Expires: unix(t.row.Expires), IssuedAt: t.row.Issued}
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

// mint completes the row of a token and makes its text. want says whose it is, and when it ends at the latest if not
// with its plan. The chain's change lock is held.
func (r *Register) mint(e *entry, want tokenRow, ttl time.Duration) (*token, string, error) {
	now := r.deps.Now()
	r.mu.RLock()
	row, held, live := e.row, e.held, e.live
	r.mu.RUnlock()
	if s := row.state(now.Unix()); !s.Active() || held == nil {
		return nil, "", fmt.Errorf("plan is %s: %w", s, ErrInactive)
	}
	if live >= r.cfg.TokensPerPlan {
		return nil, "", limit("the plan has "+strconv.Itoa(r.cfg.TokensPerPlan)+" tokens that have not expired, as many as intent.max_tokens", "let some expire, or ask whoever runs the gateway to raise intent.max_tokens")
	}
	if ttl == 0 {
		ttl = r.cfg.TokenTTL
	}
	id, err := r.newID("tok_", now)
	if err != nil {
		return nil, "", err
	}
	end := row.Expires
	if want.Expires != 0 {
		end = min(end, want.Expires)
	}
	want.ID, want.Plan, want.Issued = id, row.ID, now.Unix()
	want.Expires = min(want.Issued+int64(min(ttl, r.cfg.MaxTokenTTL)/time.Second), end)
	t := &token{plan: e, row: want, key: want.key()}
	raw, err := r.deps.Signer.Mint(r.claims(t))
	return t, raw, err
}

// claims says in a token what its row says.
func (r *Register) claims(t *token) intent.Claims {
	var policy merkle.Hash
	if r.deps.Policy != nil {
		policy = r.deps.Policy(t.plan.tenant)
	}
	row, plan := &t.row, t.plan.ref()
	c := intent.Claims{
		Subject: row.User, Audience: r.cfg.Audience, ID: row.ID, Tenant: t.plan.tenant, Agent: row.Agent, KeyID: row.Key,
		PlanID: plan.ID, PlanNonce: plan.Nonce, PlanHash: plan.Hash, PlanRoot: plan.Root, PlanSize: plan.Size,
		PolicyDigest: policy, IssuedAt: row.Issued, NotBefore: row.Issued, Expires: row.Expires, PlanExpires: plan.Expires,
		Steps: row.Steps, Parents: row.Parents, Alone: row.Alone,
	}
	if row.Delegate != "" {
		c.KeyID, c.Thumbprint = "", row.Delegate
	}
	return c
}
