package plans

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
)

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
	if !r.kept(list[0].plan) {
		return ErrNotFound
	}
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
		if row.Revoked != 0 && !row.Pending || r.tokens[planKey{t.plan.tenant, row.ID}] != t { // the latter has expired and is gone
			continue
		}
		if row.Revoked == 0 {
			row.Revoked, row.Reason, row.By, row.Pending = r.deps.Now().Unix(), how.reason, how.by, true
			t.plan.owed++
			if row.ID != how.root {
				row.With = how.root
			}
		}
		out = append(out, t)
	}
	r.order(list[0].plan.chain)
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
		t.plan.owed--
	}
	r.order(list[0].plan.chain)
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
