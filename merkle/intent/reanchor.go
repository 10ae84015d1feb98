package intent

import "slices"

// maxChain bounds the plans a token is led through.
const maxChain = 256

// anchoring is a token led along a chain of deltas under one set of pinned keys.
type anchoring struct {
	chain  []*Delta // all of them since the token was issued
	pinned *keySet
	token  *Token
}

// Reanchor returns the token as it stands for the plan the chain leads to; t itself for no chain. The
// deltas are re-anchorings by the token's own issuer, within its tenant, verified here; the first leads
// from the token's plan and each from where the one before led to. The result keeps id, bearer and times,
// but ends with the first plan on its way to end, and names the last plan. It is refused as soon as the
// token, one of its parents or any plan it was led through is revoked. A token for some steps only has no
// place in another plan and is refused. The chain must not be changed afterwards.
func (v *Verifier) Reanchor(t *Token, chain []*Delta) (*Token, error) {
	if t == nil || t.by != v {
		return nil, refuse(TokenMalformed, "token was not verified here", "")
	}
	if len(chain) == 0 {
		return t, nil
	}
	pinned := v.keys.snapshot.Load()
	if a := t.ahead.Load(); a != nil && a.pinned == pinned && slices.Equal(a.chain[len(t.led()):], chain) {
		return a.token.unrevoked()
	}
	a, err := t.lead(chain, pinned)
	if err != nil {
		return nil, err
	}
	t.ahead.Store(a)
	return a.token.unrevoked()
}

// led returns the deltas that brought the token to its plan.
func (t *Token) led() []*Delta {
	if t.way == nil {
		return nil
	}
	return t.way.chain
}

// lead walks the chain.
func (t *Token) lead(chain []*Delta, pinned *keySet) (*anchoring, error) {
	before := t.led()
	if t.claims.Steps != nil {
		return nil, refuse(PlanMismatch, "a token for some steps of a plan does not follow it into another", "ask for a token for the new plan")
	}
	if len(before)+len(chain) > maxChain {
		return nil, refuse(PlanMismatch, "the plan was re-anchored more than 256 times", "ask for a token for the new plan")
	}
	a := &anchoring{pinned: pinned, chain: slices.Concat(before, chain)}
	next := &Token{claims: t.claims, by: t.by, pinned: t.pinned, keyEnd: t.keyEnd, policy: t.policy, way: a}
	for _, d := range chain {
		if err := next.follow(d, pinned); err != nil {
			return nil, err
		}
	}
	if err := next.claims.check(); err != nil {
		return nil, err
	}
	next.epoch.Store(t.by.revoked.epoch.Load() - 1) // makes unrevoked look
	a.token = next
	return a, nil
}

// follow takes one step of the chain.
func (t *Token) follow(d *Delta, pinned *keySet) error {
	if d == nil || d.by != t.by {
		return refuse(TokenMalformed, "delta was not verified here", "")
	}
	notAfter, err := d.good(pinned)
	if err != nil {
		return err
	}
	c := &t.claims
	from, to := &d.claims.From, &d.claims.To
	switch {
	case d.claims.Kind != DeltaReanchor || d.claims.Issuer != c.Issuer || d.claims.Tenant != c.Tenant:
		return refuse(PlanMismatch, "delta does not re-anchor plans of the token's issuer and tenant", "")
	case from.Root != c.PlanRoot || from.Hash != c.PlanHash || from.ID != c.PlanID || from.Nonce != c.PlanNonce || from.Size != c.PlanSize:
		return refuse(PlanMismatch, "delta does not lead from the plan reached so far", "")
	}
	if notAfter != 0 && (t.keyEnd == 0 || notAfter < t.keyEnd) {
		t.keyEnd = notAfter
	}
	c.PlanID, c.PlanNonce, c.PlanHash, c.PlanRoot, c.PlanSize = to.ID, to.Nonce, to.Hash, to.Root, to.Size
	c.PlanExpires, c.Expires = to.Expires, min(c.Expires, to.Expires)
	return nil
}

// unrevoked returns the token unless it has been revoked.
func (t *Token) unrevoked() (*Token, error) {
	if t.epoch.Load() != t.by.revoked.epoch.Load() {
		if err := t.recheck(); err != nil {
			return nil, err
		}
	}
	return t, nil
}
