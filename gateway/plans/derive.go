package plans

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// maxDepth bounds how often a token is derived from another, as intent does.
const maxDepth = 8

// Delegation is what a token's bearer gives to the holder of another key.
type Delegation struct {
	// Key is the Ed25519 key of whoever is to bear the derived token.
	Key ed25519.PublicKey
	// Steps are the plan's steps the derived token covers, as far as the parent does; nil is all the parent covers now.
	// Either way they are named in the token, so that it does not grow with the plan.
	Steps []int
	// TTL is the life asked for; 0 takes the configured one. It is cut to the configured maximum, to the plan's end and to
	// the parent's.
	TTL time.Duration
	// Bearer is who asks, as proved; it must be the parent's bearer, and the same as the owner that asks.
	Bearer intent.Bearer
}

// Delegate derives a token for the holder of a key from a token its own bearer shows. The new token covers some of the
// parent's steps, never outlives it, is refused as soon as one of its parents is revoked, and counts as a token of the
// plan. It is recorded and kept before it is answered, with a signed delta that says who gave what.
func (r *Register) Delegate(ctx context.Context, who Owner, parent *intent.Token, d Delegation) (Issued, string, error) {
	if err := errors.Join(who.check(), d.check(who)); err != nil {
		return Issued{}, "", fmt.Errorf("delegate token: %w", err)
	}
	if err := r.deps.Verifier.Bears(parent, d.Bearer, r.deps.Now()); err != nil {
		return Issued{}, "", fmt.Errorf("delegate token: %w", err)
	}
	e := r.planOf(parent)
	if e == nil {
		return Issued{}, "", fmt.Errorf("delegate token: the token's plan: %w", ErrNotFound)
	}
	e.chain.change.Lock()
	defer e.chain.change.Unlock()
	t, raw, err := r.derive(e, who, parent, d)
	if err != nil {
		return Issued{}, "", fmt.Errorf("delegate token: %w", err)
	}
	delta, err := r.sign(intent.DeltaClaims{
		Kind: intent.DeltaDelegate, Tenant: e.tenant, From: e.ref(), Token: parent.ID(), Child: t.row.ID, Thumbprint: t.row.Delegate, Steps: t.row.Steps,
	})
	if err != nil {
		return Issued{}, "", fmt.Errorf("delegate token: %w", err)
	}
	rec := e.record(&e.row, ledger.Token, "delegated")
	rec.User, rec.Agent, rec.Key, rec.Token = who.User, who.Agent, who.KeyID, t.row.ID
	if rec.Body, err = delegatedBody(parent.ID(), &t.row); err == nil {
		err = r.issue(ctx, t, rec)
	}
	if err != nil {
		return Issued{}, "", fmt.Errorf("delegate token: %w", err)
	}
	return t.issued(raw), delta, nil
}

func (d *Delegation) check(who Owner) error {
	b := &d.Bearer
	if b.Tenant != who.Tenant || b.User != who.User || b.Agent != who.Agent || b.KeyID != who.KeyID {
		return fmt.Errorf("%w: the bearer is not who asks", ErrForbidden)
	}
	return checkTTL(d.TTL)
}

// planOf finds the plan a token stands for, when both are kept here and of one chain.
func (r *Register) planOf(t *intent.Token) *entry {
	c := t.Claims()
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, p := r.byRoot[rootKey{c.Tenant, c.PlanRoot}], r.tokens[planKey{c.Tenant, c.ID}]
	if e == nil || p == nil || p.plan.chain != e.chain {
		return nil
	}
	return e
}

// derive makes the row and the text of a token derived from parent. The chain's change lock is held.
func (r *Register) derive(e *entry, who Owner, parent *intent.Token, d Delegation) (*token, string, error) {
	c := parent.Claims()
	if len(c.Parents) >= maxDepth {
		return nil, "", limit("the token was derived "+strconv.Itoa(maxDepth)+" times already", "delegate from a token nearer to the plan's own agent")
	}
	row := tokenRow{
		User: c.Subject, Agent: c.Agent, Key: who.KeyID, GiverUser: who.User, GiverAgent: who.Agent,
		Delegate: intent.KeyThumbprint(d.Key), Parents: append(slices.Clone(c.Parents), c.ID), Expires: c.Expires,
	}
	if row.Delegate == "" {
		return nil, "", &intent.Error{Reason: intent.PlanInvalid, Pointer: "/key", Msg: "is no Ed25519 key, or one that anybody can sign for"}
	}
	var err error
	if row.Steps, err = narrow(d.Steps, c.Steps, e.row.Size); err != nil {
		return nil, "", err
	}
	t, raw, err := r.mint(e, row, d.TTL)
	if intent.ReasonOf(err) == intent.TokenMalformed {
		return nil, "", &intent.Error{Reason: intent.PlanInvalid, Pointer: "/steps", Msg: "a token cannot name " + strconv.Itoa(len(row.Steps)) + " steps", Hint: "delegate fewer"}
	}
	return t, raw, err
}

// narrow returns the steps asked for, as far as the parent covers them; nil asks for all, and a nil parent covers all.
func narrow(asked []int, parent []uint32, size int) ([]uint32, error) {
	var out []uint32
	for _, i := range asked {
		if i < 0 || i >= size {
			return nil, &intent.Error{Reason: intent.StepUnknown, Pointer: "/steps", Msg: "the plan has no step " + strconv.Itoa(i), Hint: "steps count from 0"}
		}
		if s := uint32(i); parent == nil || slices.Contains(parent, s) { //nolint:gosec // not negative, below intent.MaxSteps
			out = append(out, s)
		}
	}
	if asked == nil && parent == nil {
		for i := range size {
			out = append(out, uint32(i)) //nolint:gosec // below intent.MaxSteps
		}
	} else if asked == nil {
		out = slices.Clone(parent)
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) == 0 {
		return nil, &intent.Error{Reason: intent.StepUnknown, Pointer: "/steps", Msg: "the token covers none of these steps", Hint: "only what a token covers can be delegated"}
	}
	return out, nil
}

func delegatedBody(parent string, row *tokenRow) ([]byte, error) {
	return json.Marshal(struct {
		Delegate string   `json:"delegate"`
		Expires  int64    `json:"expires"`
		Parent   string   `json:"parent"`
		Steps    []uint32 `json:"steps"`
	}{row.Delegate, row.Expires, parent, row.Steps})
}
