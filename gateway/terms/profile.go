package terms

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies/armoriq"
	"github.com/gatewright/gatewright/store"
)

// Profile is the profile in force as shown to people.
type Profile struct {
	Version  int             `json:"version"` // counts the tenant's profiles, from 1
	Digest   merkle.Hash     `json:"digest"`  // SHA-256 of the canonical policy
	Policy   json.RawMessage `json:"policy"`
	Cedar    string          `json:"cedar"`
	Lines    []string        `json:"lines"`
	Proposal string          `json:"proposal"`
	By       string          `json:"by"`
	Since    time.Time       `json:"since"`
	Problem  string          `json:"problem,omitempty"` // why it cannot be read any more; then every call it would judge is refused
}

// profile is one profile in force. It is immutable; nil is none.
type profile struct {
	row    profileRow
	digest merkle.Hash
	terms  *Terms
	cedar  []byte
	lines  []string
	err    error
}

// own are the profile's terms; nil when there is no profile, or it says nothing.
func (p *profile) own() *Terms {
	if p == nil {
		return nil
	}
	return p.terms
}

// newProfile translates and compiles a profile. It returns what it can show of it also when that fails.
func (k *Keeper) newProfile(row profileRow) (*profile, error) {
	p := &profile{row: row, digest: sha256.Sum256(row.Policy)}
	from, err := armoriq.Profile(row.Policy)
	if err != nil {
		return p, unread{err}
	}
	p.cedar, p.lines = from.Cedar, from.Lines
	p.terms, err = compile("profile", &from)
	return p, err
}

// Active returns the tenant's profile in force, as canonical JSON that must not be changed.
func (k *Keeper) Active(tenant string) (raw []byte, digest merkle.Hash, ok bool) {
	t := k.of(tenant)
	if t == nil {
		return nil, merkle.Hash{}, false
	}
	p := t.active.Load()
	if p == nil {
		return nil, merkle.Hash{}, false
	}
	return p.row.Policy, p.digest, true
}

// Profile returns the tenant's profile in force with everything that is known of it.
func (k *Keeper) Profile(tenant string) (Profile, bool) {
	t := k.of(tenant)
	if t == nil {
		return Profile{}, false
	}
	p := t.active.Load()
	if p == nil {
		return Profile{}, false
	}
	out := Profile{
		Version: p.row.Version, Digest: p.digest, Policy: p.row.Policy, Cedar: string(p.cedar), Lines: append([]string{}, p.lines...),
		Proposal: p.row.Proposal, By: p.row.By, Since: unix(p.row.Since),
	}
	if p.err != nil {
		out.Problem = p.err.Error()
	}
	return out, true
}

// Remove takes the tenant's profile out of force. ErrNotFound: there is none.
func (k *Keeper) Remove(ctx context.Context, by Actor, reason string) error {
	if err := checkReason(reason); err != nil {
		return fmt.Errorf("remove profile: %w", err)
	}
	if k.of(by.Tenant) == nil {
		return fmt.Errorf("remove profile: %w", ErrNotFound)
	}
	t, err := k.enter(ctx, by.Tenant)
	if err != nil {
		return fmt.Errorf("remove profile: %w", err)
	}
	defer t.change.Unlock()
	old := t.active.Load()
	if old == nil {
		return fmt.Errorf("remove profile: %w", ErrNotFound)
	}
	body := facts{Act: "removed", Kind: KindProfile, Replaces: old.digest.String()}
	if err := k.record(ctx, &ledger.Record{Tenant: t.name, User: by.User, Key: by.Key, Code: codeProfile, Detail: reason}, body); err != nil {
		return fmt.Errorf("remove profile: %w", err)
	}
	row := profileRow{Version: t.version, Removed: true, By: by.User, Since: k.deps.Now().Unix()}
	err = k.keep(ctx, t, func(tx store.Txn) error {
		_, err := profileTable.Put(tx, activeKey, row, store.AnyVersion)
		return err
	})
	if err != nil {
		return fmt.Errorf("remove profile: %w", err)
	}
	t.active.Store(nil)
	return nil
}

// The codes of this package's records.
const (
	codeProfile  = "profile"  // what is enforced changed
	codeProposal = "proposal" // somebody asked, or was answered
)

// facts is the body of a record. Policy is whole where it comes into force, so that decisions can be judged again.
type facts struct {
	Act      string          `json:"act"` // proposed, approved, rejected, withdrawn, removed
	Kind     Kind            `json:"kind"`
	Form     string          `json:"form,omitempty"`
	Proposal string          `json:"proposal,omitempty"`
	Digest   string          `json:"digest,omitempty"` // of a profile; a proposal for a server may hold secrets
	Replaces string          `json:"replaces,omitempty"`
	Policy   json.RawMessage `json:"policy,omitempty"`
}

// record makes a record durable.
func (k *Keeper) record(ctx context.Context, r *ledger.Record, body facts) error {
	now := k.deps.Now()
	id, err := ledger.NewID(now, k.deps.Rand)
	if err != nil {
		return fmt.Errorf("make a record id: %w", err)
	}
	r.ID, r.Time, r.Kind, r.Step, r.Verdict = id, now.UnixMicro(), ledger.Bundle, -1, "allow"
	if r.Body, err = json.Marshal(body); err != nil {
		return fmt.Errorf("describe the change: %w", err)
	}
	if _, err := k.deps.Ledger.Append(ctx, r); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// canonical checks what was sent against the JSON gate and its bounds, and brings it to its one form. kinds are the JSON
// values it may be, as canon.KindOf tells them.
func (k *Keeper) canonical(raw []byte, kinds string) ([]byte, error) {
	out, err := canon.AppendCanonical(nil, raw, canon.Limits{Bytes: k.cfg.Bytes, Depth: 32, Values: 10_000})
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	case strings.IndexByte(kinds, canon.KindOf(out)) < 0:
		return nil, fmt.Errorf("%w: must be a JSON object", ErrInvalid)
	case len(out) > k.cfg.Bytes:
		return nil, fmt.Errorf("%w: %d bytes in canonical form, at most %d", ErrInvalid, len(out), k.cfg.Bytes)
	}
	return out, nil
}
