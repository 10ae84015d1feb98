package terms

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/store"
)

// Who is the agent that proposes, as its credential proved it.
type Who struct {
	Tenant, User, Agent, Key string
}

func (w Who) check() error {
	if w.Agent == "" || w.Key == "" || !ledger.ValidTenant(w.Tenant) || w.Tenant == ledger.InstanceTenant {
		return fmt.Errorf("%w: proposals are from an agent of an organisation", ErrForbidden)
	}
	return nil
}

// Actor is who decides: an admin of the tenant.
type Actor struct {
	Tenant, User, Key string
}

// Kind is what a proposal is about.
type Kind string

// The kinds.
const (
	KindProfile Kind = "profile"
	KindServer  Kind = "server"
)

// State is where a proposal stands. It leaves pending once.
type State string

// The states.
const (
	Pending   State = "pending"
	Approved  State = "approved"
	Rejected  State = "rejected"
	Withdrawn State = "withdrawn"
)

// Proposal is a proposal as shown to people. Lists leave out everything from Content on.
type Proposal struct {
	ID      string      `json:"id"`
	Kind    Kind        `json:"kind"`
	Form    string      `json:"form,omitempty"` // of a server: how it was sent
	State   State       `json:"state"`
	User    string      `json:"user"`
	Agent   string      `json:"agent"`
	Key     string      `json:"key"`
	Digest  merkle.Hash `json:"digest"` // SHA-256 of the canonical content
	Reason  string      `json:"reason,omitempty"`
	Created time.Time   `json:"created"`
	Decided *time.Time  `json:"decided,omitempty"`
	By      string      `json:"by,omitempty"`
	Note    string      `json:"note,omitempty"`

	Content json.RawMessage `json:"content,omitempty"`
	Cedar   string          `json:"cedar,omitempty"`   // what a profile becomes
	Lines   []string        `json:"lines,omitempty"`   // the same in plain sentences
	Problem string          `json:"problem,omitempty"` // why it cannot come into force
}

// Filter narrows a list. Zero fields narrow nothing.
type Filter struct {
	Kind  Kind
	State State
	Agent string
	After string // ids above this one, for the next page
	Limit int    // at most maxPage, which 0 means too
}

// maxPage bounds a list's answer.
const maxPage = 1000

// maxReason bounds the words that go with a change into the ledger, where they stay for good.
const maxReason = 256

func checkReason(s string) error {
	if len(s) > maxReason || !utf8.ValidString(s) {
		return fmt.Errorf("%w: a reason is valid UTF-8 of at most %d bytes", ErrInvalid, maxReason)
	}
	return nil
}

// Draft keeps what the agent means to propose as a profile, in place of what it kept before. A draft changes nothing. One
// that could never come into force is refused, in words for whoever wrote it; the one before is gone then too, so that
// nobody proposes what they meant to replace.
func (k *Keeper) Draft(ctx context.Context, who Who, raw []byte) error {
	if err := who.check(); err != nil {
		return fmt.Errorf("draft profile: %w", err)
	}
	text, refused := k.canonical(raw, "{[")
	if refused == nil {
		_, refused = k.newProfile(profileRow{Policy: text})
	}
	row := draftRow{User: who.User, Raw: text, Saved: k.deps.Now().Unix()}
	err := k.deps.Store.Update(ctx, who.Tenant, func(tx store.Txn) error {
		if refused != nil {
			return draftTable.Delete(tx, who.Agent, store.AnyVersion)
		}
		_, err := draftTable.Put(tx, who.Agent, row, store.AnyVersion)
		return err
	})
	if err != nil && (refused == nil || !errors.Is(err, store.ErrNotFound)) {
		return fmt.Errorf("draft profile: keep: %w", err)
	}
	return refused
}

// Propose makes a proposal of the agent's draft. A draft that could never come into force, kept by an earlier version, is
// refused with ErrPolicy. Proposing the same once more while it is pending returns that proposal.
func (k *Keeper) Propose(ctx context.Context, who Who, reason string) (Proposal, error) {
	if err := errors.Join(who.check(), checkReason(reason)); err != nil {
		return Proposal{}, fmt.Errorf("propose profile: %w", err)
	}
	var draft draftRow
	err := k.deps.Store.View(ctx, who.Tenant, func(tx store.Txn) (err error) {
		draft, _, err = draftTable.Get(tx, who.Agent)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return Proposal{}, fmt.Errorf("propose profile: draft: %w", ErrNotFound)
	}
	if err != nil {
		return Proposal{}, fmt.Errorf("propose profile: read draft: %w", err)
	}
	if _, err := k.newProfile(profileRow{Policy: draft.Raw}); err != nil {
		return Proposal{}, err // in words for whoever wrote it
	}
	p, err := k.propose(ctx, who, proposalRow{Kind: KindProfile, Reason: reason}, draft.Raw)
	if err != nil {
		return Proposal{}, fmt.Errorf("propose profile: %w", err)
	}
	return p, nil
}

// ProposeServer notes for an admin that the agent asks for a server. form names the shape of raw: 1 to 32 of [a-z0-9-].
func (k *Keeper) ProposeServer(ctx context.Context, who Who, form string, raw []byte) (Proposal, error) {
	if err := errors.Join(who.check(), checkForm(form)); err != nil {
		return Proposal{}, fmt.Errorf("propose server: %w", err)
	}
	text, err := k.canonical(raw, "{")
	if err != nil {
		return Proposal{}, fmt.Errorf("propose server: %w", err)
	}
	p, err := k.propose(ctx, who, proposalRow{Kind: KindServer, Form: form}, text)
	if err != nil {
		return Proposal{}, fmt.Errorf("propose server: %w", err)
	}
	return p, nil
}

func checkForm(s string) error {
	if s == "" || len(s) > 32 {
		return fmt.Errorf("%w: form", ErrInvalid)
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("%w: form", ErrInvalid)
		}
	}
	return nil
}

// propose records, keeps and shows a new proposal.
func (k *Keeper) propose(ctx context.Context, who Who, row proposalRow, text json.RawMessage) (Proposal, error) {
	t, err := k.enter(ctx, who.Tenant)
	if err != nil {
		return Proposal{}, err
	}
	defer t.change.Unlock()
	if err := k.prune(ctx, t); err != nil {
		return Proposal{}, err
	}
	now := k.deps.Now()
	id, err := ledger.NewID(now, k.deps.Rand)
	if err != nil {
		return Proposal{}, fmt.Errorf("make an id: %w", err)
	}
	row.ID, row.State, row.Created, row.Digest = "prp_"+id[len("rec_"):], Pending, now.Unix(), sha256.Sum256(text)
	row.User, row.Agent, row.Key = who.User, who.Agent, who.Key
	same, err := k.admit(t, &row)
	if err != nil {
		return Proposal{}, err
	}
	if same != nil {
		return k.show(same, text), nil
	}
	r := &ledger.Record{Tenant: t.name, User: who.User, Agent: who.Agent, Key: who.Key, Code: codeProposal, Detail: row.Reason}
	if err := k.record(ctx, r, row.facts("proposed")); err != nil {
		return Proposal{}, err
	}
	err = k.keep(ctx, t, func(tx store.Txn) error {
		if _, err := tx.Put(contents, row.ID, text, store.AnyVersion); err != nil {
			return err
		}
		_, err := proposalTable.Put(tx, row.ID, row, store.AnyVersion)
		return err
	})
	if err != nil {
		return Proposal{}, err
	}
	k.set(t, row)
	return k.show(&row, text), nil
}

// admit holds a new proposal against the bounds, or finds the agent's pending one that says the same.
func (k *Keeper) admit(t *tenant, row *proposalRow) (same *proposalRow, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	pending := 0
	for _, have := range t.proposals {
		if have.State != Pending || have.Agent != row.Agent {
			continue
		}
		if have.Kind == row.Kind && have.Form == row.Form && have.Digest == row.Digest && have.User == row.User {
			return &have, nil
		}
		pending++
	}
	switch {
	case pending >= k.cfg.PendingPerAgent:
		return nil, fmt.Errorf("%w: the agent has %d pending proposals", ErrLimit, pending)
	case len(t.proposals) >= k.cfg.Proposals:
		return nil, fmt.Errorf("%w: the organisation has %d proposals", ErrLimit, len(t.proposals))
	case k.total.Load() >= int64(k.cfg.All):
		return nil, fmt.Errorf("%w: the gateway keeps no more proposals", ErrLimit)
	}
	return nil, nil
}

// facts is what every record of a proposal says.
func (p *proposalRow) facts(act string) facts {
	f := facts{Act: act, Kind: p.Kind, Form: p.Form, Proposal: p.ID}
	if p.Kind == KindProfile {
		f.Digest = p.Digest.String()
	}
	return f
}

// Withdraw takes back the agent's own pending proposals of a profile and returns how many there were.
func (k *Keeper) Withdraw(ctx context.Context, who Who) (int, error) {
	if err := who.check(); err != nil {
		return 0, fmt.Errorf("withdraw proposals: %w", err)
	}
	if k.of(who.Tenant) == nil {
		return 0, nil
	}
	t, err := k.enter(ctx, who.Tenant)
	if err != nil {
		return 0, fmt.Errorf("withdraw proposals: %w", err)
	}
	defer t.change.Unlock()
	n := 0
	for _, p := range k.Proposals(who.Tenant, Filter{Kind: KindProfile, State: Pending, Agent: who.Agent}) {
		row, _ := t.row(p.ID)
		row.State, row.Decided, row.By, row.ByKey = Withdrawn, k.deps.Now().Unix(), who.User, who.Key
		r := &ledger.Record{Tenant: t.name, User: who.User, Agent: who.Agent, Key: who.Key, Code: codeProposal}
		if err := k.settle(ctx, t, row, r, row.facts("withdrawn")); err != nil {
			return n, fmt.Errorf("withdraw proposals: %w", err)
		}
		n++
	}
	return n, nil
}

func (t *tenant) row(id string) (proposalRow, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	row, ok := t.proposals[id]
	return row, ok
}

// settle records and keeps a decision that changes nothing in force.
func (k *Keeper) settle(ctx context.Context, t *tenant, row proposalRow, r *ledger.Record, body facts) error {
	if err := k.record(ctx, r, body); err != nil {
		return err
	}
	err := k.keep(ctx, t, func(tx store.Txn) error {
		_, err := proposalTable.Put(tx, row.ID, row, store.AnyVersion)
		return err
	})
	if err != nil {
		return err
	}
	k.set(t, row)
	return nil
}

// Decide approves or rejects a pending proposal. Approving a profile puts it in force for the whole tenant, in place of
// the one before; an error leaves the one before in force.
func (k *Keeper) Decide(ctx context.Context, by Actor, id string, approve bool, reason string) (Proposal, error) {
	p, err := k.decide(ctx, by, id, approve, reason)
	if err != nil {
		return Proposal{}, fmt.Errorf("decide proposal: %w", err)
	}
	return p, nil
}

func (k *Keeper) decide(ctx context.Context, by Actor, id string, approve bool, reason string) (Proposal, error) {
	if err := checkReason(reason); err != nil {
		return Proposal{}, err
	}
	if k.of(by.Tenant) == nil {
		return Proposal{}, ErrNotFound
	}
	t, err := k.enter(ctx, by.Tenant)
	if err != nil {
		return Proposal{}, err
	}
	defer t.change.Unlock()
	row, ok := t.row(id)
	if !ok {
		return Proposal{}, ErrNotFound
	}
	if row.State != Pending {
		return Proposal{}, fmt.Errorf("the proposal is %s: %w", row.State, ErrDecided)
	}
	text, err := k.content(ctx, t.name, &row)
	if err != nil {
		return Proposal{}, err
	}
	row.State, row.Decided, row.By, row.ByKey, row.Note = Rejected, k.deps.Now().Unix(), by.User, by.Key, reason
	if approve {
		row.State = Approved
	}
	if approve && row.Kind == KindProfile {
		err = k.enact(ctx, t, row, text)
	} else {
		r := &ledger.Record{Tenant: t.name, User: by.User, Key: by.Key, Code: codeProposal, Detail: reason}
		err = k.settle(ctx, t, row, r, row.facts(string(row.State)))
	}
	if err != nil {
		return Proposal{}, err
	}
	return k.show(&row, text), nil
}

// enact puts an approved profile in force.
func (k *Keeper) enact(ctx context.Context, t *tenant, row proposalRow, text json.RawMessage) error {
	next, err := k.newProfile(profileRow{Version: t.version + 1, Policy: text, Proposal: row.ID, By: row.By, Since: row.Decided})
	if err != nil {
		return err
	}
	body := row.facts("approved")
	body.Policy = text
	if old := t.active.Load(); old != nil {
		body.Replaces = old.digest.String()
	}
	if err := k.record(ctx, &ledger.Record{Tenant: t.name, User: row.By, Key: row.ByKey, Code: codeProfile, Detail: row.Note}, body); err != nil {
		return err
	}
	err = k.keep(ctx, t, func(tx store.Txn) error {
		if _, err := proposalTable.Put(tx, row.ID, row, store.AnyVersion); err != nil {
			return err
		}
		_, err := profileTable.Put(tx, activeKey, next.row, store.AnyVersion)
		return err
	})
	if err != nil {
		return err
	}
	t.active.Store(next)
	k.set(t, row)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.version = next.row.Version
	return nil
}

// Proposals returns the tenant's proposals, oldest first, without their content.
func (k *Keeper) Proposals(tenant string, f Filter) []Proposal {
	out := []Proposal{}
	t := k.of(tenant)
	if t == nil {
		return out
	}
	t.mu.RLock()
	for id, row := range t.proposals {
		if id <= f.After || f.Kind != "" && row.Kind != f.Kind || f.State != "" && row.State != f.State || f.Agent != "" && row.Agent != f.Agent {
			continue
		}
		out = append(out, row.view())
	}
	t.mu.RUnlock()
	slices.SortFunc(out, func(a, b Proposal) int { return cmp.Compare(a.ID, b.ID) })
	if f.Limit <= 0 || f.Limit > maxPage {
		f.Limit = maxPage
	}
	return out[:min(len(out), f.Limit)]
}

// Proposal returns one proposal with its content, and with what a profile becomes when it is approved now.
func (k *Keeper) Proposal(ctx context.Context, tenant, id string) (Proposal, error) {
	t := k.of(tenant)
	if t == nil {
		return Proposal{}, fmt.Errorf("show proposal: %w", ErrNotFound)
	}
	row, ok := t.row(id)
	if !ok {
		return Proposal{}, fmt.Errorf("show proposal: %w", ErrNotFound)
	}
	text, err := k.content(ctx, tenant, &row)
	if err != nil {
		return Proposal{}, fmt.Errorf("show proposal: %w", err)
	}
	return k.show(&row, text), nil
}

// content reads what a proposal says and holds it against the digest that its record has.
func (k *Keeper) content(ctx context.Context, tenant string, row *proposalRow) (text json.RawMessage, err error) {
	err = k.deps.Store.View(ctx, tenant, func(tx store.Txn) error {
		v, err := tx.Get(contents, row.ID)
		text = v.Data
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read content: %w", err)
	}
	if sha256.Sum256(text) != row.Digest {
		return nil, errors.New("content does not have the recorded digest")
	}
	return text, nil
}

func (k *Keeper) show(row *proposalRow, text json.RawMessage) Proposal {
	p := row.view()
	p.Content = text
	if row.Kind != KindProfile {
		return p
	}
	made, err := k.newProfile(profileRow{Policy: text})
	p.Cedar, p.Lines = string(made.cedar), made.lines
	if err != nil {
		p.Problem = err.Error()
	}
	return p
}

func (p *proposalRow) view() Proposal {
	return Proposal{
		ID: p.ID, Kind: p.Kind, Form: p.Form, State: p.State, User: p.User, Agent: p.Agent, Key: p.Key, Digest: p.Digest, Reason: p.Reason,
		Created: unix(p.Created), Decided: moment(p.Decided), By: p.By, Note: p.Note,
	}
}
