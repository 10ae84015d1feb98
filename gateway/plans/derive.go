package plans

import (
	"cmp"
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
		return nil, "", limit("the token was derived " + strconv.Itoa(maxDepth) + " times already")
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

// Revocation is what was revoked.
type Revocation struct {
	Delta    string   // signed; it names at most 4096 of Cascaded
	Token    string   // id of the token
	Cascaded []string // ids of the tokens revoked with it, ascending
}

// maxListed is how many tokens a delta can name.
const maxListed = 4096

// RevokeToken refuses a token, and all that were derived from it, from now on: an agent its own and those it
// delegated, an admin any of the organisation. A token that is revoked already, or has expired, needs nothing more.
func (r *Register) RevokeToken(ctx context.Context, by Actor, id, reason string) error {
	if _, err := r.revokeTree(ctx, by, id, taking{reason: reason, by: by.KeyID, root: id}, false); err != nil {
		return fmt.Errorf("revoke token: %w", err)
	}
	return nil
}

// RevokeTree is RevokeToken, and with cascade the tokens derived from it are revoked by name: each is listed, kept
// and recorded as revoked. Without, they are refused all the same.
func (r *Register) RevokeTree(ctx context.Context, by Actor, tokenID, reason string, cascade bool) (Revocation, error) {
	t, err := r.revokeTree(ctx, by, tokenID, taking{reason: reason, by: by.KeyID, root: tokenID}, cascade)
	if err != nil {
		return Revocation{}, fmt.Errorf("revoke token: %w", err)
	}
	out := Revocation{Token: tokenID, Cascaded: r.cascaded(t)}
	claims := intent.DeltaClaims{Kind: intent.DeltaRevoke, Tenant: t.plan.tenant, From: t.plan.ref(), Token: tokenID, Reason: reason}
	if n := min(len(out.Cascaded), maxListed); n > 0 {
		claims.Revoked = out.Cascaded[:n]
	}
	if out.Delta, err = r.sign(claims); err != nil {
		return Revocation{}, fmt.Errorf("revoke token: %w", err)
	}
	return out, nil
}

func (r *Register) revokeTree(ctx context.Context, by Actor, id string, how taking, cascade bool) (*token, error) {
	if err := checkReason(how.reason); err != nil {
		return nil, err
	}
	r.mu.RLock()
	t := r.tokens[planKey{by.Tenant, id}]
	visible := t != nil && (by.Admin || t.row.of(by.Owner))
	r.mu.RUnlock()
	if !visible {
		return nil, ErrNotFound
	}
	t.plan.chain.change.Lock()
	defer t.plan.chain.change.Unlock()
	list := []*token{t}
	if cascade {
		list = append(list, r.derived(t)...)
	}
	return t, r.revoke(ctx, list, how)
}

// derived lists the tokens derived from t, by id.
func (r *Register) derived(t *token) []*token {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []*token
	for _, c := range r.tokens {
		if c.plan.chain == t.plan.chain && slices.Contains(c.row.Parents, t.row.ID) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *token) int { return cmp.Compare(a.row.ID, b.row.ID) })
	return out
}

// cascaded lists the tokens that were revoked with t.
func (r *Register) cascaded(t *token) []string {
	out := []string{}
	for _, c := range r.derived(t) {
		r.mu.RLock()
		with := c.row.With == t.row.ID
		r.mu.RUnlock()
		if with {
			out = append(out, c.row.ID)
		}
	}
	return out
}

// taking is how tokens are revoked: root is the one that was named.
type taking struct {
	reason, by, root string
}

// revoke takes tokens of one chain out of use: in memory at once, then on disk, then in the ledger. When a later part
// fails they stay revoked, and asking again goes on where it stopped. The chain's change lock is held.
func (r *Register) revoke(ctx context.Context, list []*token, how taking) error {
	list = r.take(list, how)
	if len(list) == 0 {
		return nil
	}
	for _, t := range list {
		r.deps.Verifier.Revoke(t.row.ID, unix(t.row.Expires))
	}
	if err := r.putTokens(ctx, list[0].plan.tenant, tokenRows(list)); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return r.recordTokens(ctx, list)
}

// take revokes in memory and returns the tokens whose revocation is still to be kept or recorded.
func (r *Register) take(list []*token, how taking) []*token {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*token
	for _, t := range list {
		row := &t.row
		if row.Revoked != 0 && !row.Pending {
			continue
		}
		if row.Revoked == 0 {
			row.Revoked, row.Reason, row.By, row.Pending = r.deps.Now().Unix(), how.reason, how.by, true
			if row.ID != how.root {
				row.With = how.root
			}
		}
		out = append(out, t)
	}
	return out
}

// tokenRows copies the rows of tokens. Their chain's change lock is held.
func tokenRows(list []*token) []tokenRow {
	out := make([]tokenRow, len(list))
	for i, t := range list {
		out[i] = t.row
	}
	return out
}

// recordTokens writes the records that kept revocations still lack. The chain's change lock is held.
func (r *Register) recordTokens(ctx context.Context, list []*token) error {
	done := 0
	var err error
	for _, t := range list {
		if err = r.recordToken(ctx, t); err != nil {
			break
		}
		done++
	}
	if done == 0 {
		return err
	}
	list = list[:done]
	r.mu.Lock()
	for _, t := range list {
		t.row.Pending = false
	}
	r.mu.Unlock()
	r.fault(r.putTokens(ctx, list[0].plan.tenant, tokenRows(list))) // at worst a start records it once more
	return err
}

func (r *Register) recordToken(ctx context.Context, t *token) error {
	row := &t.row
	rec := t.plan.record(&t.plan.row, ledger.Token, "revoked")
	rec.User, rec.Agent, rec.Key, rec.Token, rec.Detail = row.User, row.Agent, row.By, row.ID, row.Reason
	if row.With != "" {
		rec.Body = fmt.Appendf(nil, `{"with":%q}`, row.With)
	}
	if _, err := r.deps.Ledger.Append(ctx, rec); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}
