package terms

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/store"
)

// proposalRow is a proposal as kept; its content stands apart, because it never changes and is not kept in memory.
type proposalRow struct {
	ID      string      `json:"id"`
	Kind    Kind        `json:"kind"`
	Form    string      `json:"form,omitempty"`
	State   State       `json:"state"`
	User    string      `json:"user"`
	Agent   string      `json:"agent"`
	Key     string      `json:"key"`
	Digest  merkle.Hash `json:"digest"`
	Reason  string      `json:"reason,omitempty"`
	Created int64       `json:"created"` // unix seconds, as all times here
	Decided int64       `json:"decided,omitempty"`
	By      string      `json:"by,omitempty"`     // user that decided it
	ByKey   string      `json:"by_key,omitempty"` // and the key
	Note    string      `json:"note,omitempty"`   // the words that go with the decision
}

// profileRow is the profile in force, under the one key of its table. A removed one stays for its version.
type profileRow struct {
	Version  int    `json:"version"`
	Removed  bool   `json:"removed,omitempty"`
	Policy   []byte `json:"policy,omitempty"` // canonical JSON, byte for byte
	Proposal string `json:"proposal,omitempty"`
	By       string `json:"by"`
	Since    int64  `json:"since"`
}

// draftRow is what an agent is still writing.
type draftRow struct {
	User  string `json:"user"`
	Raw   []byte `json:"raw"` // canonical JSON
	Saved int64  `json:"saved"`
}

// tenantRow notes in the instance's own rows that a tenant has something here, so that a start finds it.
type tenantRow struct{}

// The tables. contents holds what each proposal says, as canonical JSON, by its id.
var (
	proposalTable = store.Table[proposalRow]{Name: "terms_proposals", Version: 1}
	profileTable  = store.Table[profileRow]{Name: "terms_profile", Version: 1}
	draftTable    = store.Table[draftRow]{Name: "terms_drafts", Version: 1}
	tenantTable   = store.Table[tenantRow]{Name: "terms_tenants", Version: 1}
)

const (
	contents  = "terms_contents"
	activeKey = "active"
)

// load fills the memory from the store. A row that cannot be read refuses the start; a profile that cannot be translated
// any more refuses its tenant's calls.
func (k *Keeper) load(ctx context.Context) error {
	err := k.deps.Store.View(ctx, store.Instance, func(tx store.Txn) error {
		return tenantTable.Scan(tx, "", func(name string, _ tenantRow, _ uint64) error {
			k.tenants[name] = &tenant{name: name, proposals: map[string]proposalRow{}}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("list tenants: %w", err)
	}
	for _, t := range k.tenants {
		if err := k.loadTenant(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// loadTenant makes the memory say what the rows say. t.change is held, or nobody else has t yet.
func (k *Keeper) loadTenant(ctx context.Context, t *tenant) error {
	proposals, active := map[string]proposalRow{}, profileRow{}
	err := k.deps.Store.View(ctx, t.name, func(tx store.Txn) (err error) {
		clear(proposals)
		err = proposalTable.Scan(tx, "", func(id string, row proposalRow, _ uint64) error {
			proposals[id] = row
			return nil
		})
		if err != nil {
			return err
		}
		active, _, err = profileTable.Get(tx, activeKey)
		if errors.Is(err, store.ErrNotFound) {
			active, err = profileRow{}, nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("load terms of %s: %w", t.name, err)
	}
	k.activate(t, active)
	t.mu.Lock()
	defer t.mu.Unlock()
	k.total.Add(int64(len(proposals) - len(t.proposals)))
	t.proposals, t.version = proposals, active.Version
	return nil
}

// activate puts in force what a row says.
func (k *Keeper) activate(t *tenant, row profileRow) {
	if row.Version == 0 || row.Removed {
		t.active.Store(nil)
		return
	}
	p, err := k.newProfile(row)
	p.err = err
	t.active.Store(p)
}

// enter takes the tenant's change lock and makes sure that the memory is what is kept. The caller unlocks.
func (k *Keeper) enter(ctx context.Context, name string) (*tenant, error) {
	t, err := k.note(ctx, name)
	if err != nil {
		return nil, err
	}
	t.change.Lock()
	if !t.stale {
		return t, nil
	}
	if err := k.loadTenant(ctx, t); err != nil {
		t.change.Unlock()
		return nil, err
	}
	t.stale = false
	return t, nil
}

// note finds the tenant, or keeps it among those a start loads before its first row is kept.
func (k *Keeper) note(ctx context.Context, name string) (*tenant, error) {
	if t := k.of(name); t != nil {
		return t, nil
	}
	err := k.deps.Store.Update(ctx, store.Instance, func(tx store.Txn) error {
		_, err := tenantTable.Put(tx, name, tenantRow{}, store.AnyVersion)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("note tenant: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if t := k.tenants[name]; t != nil {
		return t, nil
	}
	t := &tenant{name: name, proposals: map[string]proposalRow{}}
	k.tenants[name] = t
	return t, nil
}

// keep runs one transaction of the tenant's. After an error nobody knows whether it took effect, so the rows are read
// again before the next change. t.change is held.
func (k *Keeper) keep(ctx context.Context, t *tenant, fn func(store.Txn) error) error {
	if err := k.deps.Store.Update(ctx, t.name, fn); err != nil {
		t.stale = true
		return fmt.Errorf("keep: %w", err)
	}
	return nil
}

// set makes a row visible.
func (k *Keeper) set(t *tenant, row proposalRow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.proposals[row.ID]; !ok {
		k.total.Add(1)
	}
	t.proposals[row.ID] = row
}

// removeBatch bounds the rows one transaction removes, well below what a store allows.
const removeBatch = 256

// prune forgets proposals that were decided long ago. The ledger keeps what became of them. t.change is held.
func (k *Keeper) prune(ctx context.Context, t *tenant) error {
	then := k.deps.Now().Add(-k.cfg.Keep).Unix()
	var gone []string
	t.mu.RLock()
	for id, row := range t.proposals {
		if row.State != Pending && row.Decided <= then && len(gone) < removeBatch {
			gone = append(gone, id)
		}
	}
	t.mu.RUnlock()
	if len(gone) == 0 {
		return nil
	}
	err := k.keep(ctx, t, func(tx store.Txn) error {
		for _, id := range gone {
			if err := errors.Join(remove(tx, proposalTable.Name, id), remove(tx, contents, id)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range gone {
		delete(t.proposals, id)
	}
	k.total.Add(-int64(len(gone)))
	return nil
}

// remove deletes a row that may be gone already: the last attempt may have been kept although it failed.
func remove(tx store.Txn, table, key string) error {
	if err := tx.Delete(table, key, store.AnyVersion); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

func unix(s int64) time.Time { return time.Unix(s, 0).UTC() }

func moment(s int64) *time.Time {
	if s == 0 {
		return nil
	}
	t := unix(s)
	return &t
}
