package vault

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/store"
)

// state says with the instance which KEK is in force. During a rotation it names the other one too and holds each key
// wrapped under the other, so that either is enough to finish.
type state struct {
	KEK      []byte // id
	Next     []byte // id; empty outside a rotation
	ToNext   []byte // the KEK under the next one
	FromNext []byte // the next one under the KEK
}

var (
	stateTable  = store.Table[state]{Name: "vault_state", Version: 1}
	tenantTable = store.Table[struct{}]{Name: "vault_tenants", Version: 1}
	statePlace  = place{store.Instance, "vault_state", "kek"}
)

// batch is how many envelopes one transaction re-wraps: at MaxSecret each they stay far below a transaction's bounds.
const batch = 50

// Rotate re-wraps every data key under another KEK; uses wait meanwhile. When it fails or is cut short the vault stays
// open under the old KEK, and the next Rotate or Open finishes. Write the new key to disk beside the old one first, and
// remove the old one only after Rotate returned nil.
func (v *Vault) Rotate(ctx context.Context, newKey []byte) error {
	next, err := newKEK(newKey)
	if err != nil {
		return fmt.Errorf("rotate vault: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if next.id == v.kek.id {
		return fmt.Errorf("rotate vault: the new key is the old one: %w", ErrInvalid)
	}
	if err := v.settle(ctx); err != nil { // an earlier rotation that could not be taken back
		return fmt.Errorf("rotate vault: finish the one before: %w", err)
	}
	old := v.kek
	if err := v.announce(ctx, old, next); err != nil {
		return fmt.Errorf("rotate vault: %w", err)
	}
	if err := v.move(ctx, old, next); err != nil {
		// Some envelopes may lie under the next key already. Taking them back keeps the vault usable; if that fails as
		// well, they refuse with ErrWrongKEK until Open or Rotate is repeated.
		back := v.move(context.WithoutCancel(ctx), next, old)
		return fmt.Errorf("rotate vault: %w", errors.Join(err, back))
	}
	v.kek = next
	clear(old.key)
	return nil
}

// announce writes both keys down before anything moves.
func (v *Vault) announce(ctx context.Context, old, next kek) error {
	toNext, err := sealUnder(next.aead, v.rand, old.key, bound("rotation", statePlace, 0))
	if err != nil {
		return err
	}
	fromNext, err := sealUnder(old.aead, v.rand, next.key, bound("rotation", statePlace, 0))
	if err != nil {
		return err
	}
	return v.setState(ctx, state{KEK: []byte(old.id), Next: []byte(next.id), ToNext: toNext, FromNext: fromNext})
}

// move re-wraps what lies under from, then says that to alone is in force.
func (v *Vault) move(ctx context.Context, from, to kek) error {
	defer v.secrets.clear()
	var tenants []string
	err := v.store.View(ctx, store.Instance, func(tx store.Txn) error {
		tenants = tenants[:0]
		return tenantTable.Scan(tx, "", func(name string, _ struct{}, _ uint64) error {
			tenants = append(tenants, name)
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, tenant := range tenants {
		for _, table := range []string{secretTable, subjectTable, grantTable} {
			if err := v.moveTable(ctx, from, to, tenant, table); err != nil {
				return fmt.Errorf("%s of %s: %w", table, tenant, err)
			}
		}
	}
	return v.setState(ctx, state{KEK: []byte(to.id)})
}

// moveTable works through one table in batches. Envelopes that lie under to already are passed over.
func (v *Vault) moveTable(ctx context.Context, from, to kek, tenant, table string) error {
	var names []string
	err := v.store.View(ctx, tenant, func(tx store.Txn) error {
		names = names[:0]
		return envelopes(table).Scan(tx, "", func(name string, e envelope, _ uint64) error {
			if string(e.KEK) != to.id {
				names = append(names, name)
			}
			return nil
		})
	})
	for err == nil && len(names) > 0 {
		some := names[:min(batch, len(names))]
		err = v.store.Update(ctx, tenant, func(tx store.Txn) error { return v.moveSome(tx, from, to, tenant, table, some) })
		names = names[len(some):]
	}
	return err
}

func (v *Vault) moveSome(tx store.Txn, from, to kek, tenant, table string, names []string) error {
	for _, name := range names {
		e, version, err := envelopes(table).Get(tx, name)
		if errors.Is(err, store.ErrNotFound) || err == nil && string(e.KEK) == to.id {
			continue // deleted meanwhile, or moved by a commit that was thought to have failed
		}
		if err == nil {
			e, err = from.rewrap(v.rand, to, place{tenant, table, name}, e)
		}
		if err == nil {
			_, err = envelopes(table).Put(tx, name, e, version)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	return nil
}

// settle compares the KEK with the state, and finishes a rotation towards the KEK that we were given.
func (v *Vault) settle(ctx context.Context) error {
	var s state
	err := v.store.Update(ctx, store.Instance, func(tx store.Txn) (err error) {
		if s, _, err = stateTable.Get(tx, statePlace.name); errors.Is(err, store.ErrNotFound) {
			s = state{KEK: []byte(v.kek.id)}
			_, err = stateTable.Put(tx, statePlace.name, s, 0)
		}
		return err
	})
	if err != nil {
		return err
	}
	sealed := s.ToNext
	switch {
	case string(s.KEK) == v.kek.id && len(s.Next) == 0:
		return nil
	case string(s.KEK) == v.kek.id:
		sealed = s.FromNext
	case string(s.Next) != v.kek.id:
		return ErrWrongKEK
	}
	key, err := openUnder(v.kek.aead, sealed, bound("rotation", statePlace, 0))
	if err != nil {
		return err
	}
	defer clear(key)
	other, err := newKEK(key)
	if err != nil {
		return err
	}
	return v.move(ctx, other, v.kek)
}

func (v *Vault) setState(ctx context.Context, s state) error {
	return v.store.Update(ctx, store.Instance, func(tx store.Txn) error {
		_, err := stateTable.Put(tx, statePlace.name, s, store.AnyVersion)
		return err
	})
}

// enroll notes that a tenant has envelopes, before it has its first.
func (v *Vault) enroll(ctx context.Context, tenant string) error {
	if err := store.CheckTenant(tenant); err != nil {
		return err
	}
	return v.store.Update(ctx, store.Instance, func(tx store.Txn) error {
		_, _, err := tenantTable.Get(tx, tenant)
		if errors.Is(err, store.ErrNotFound) {
			_, err = tenantTable.Put(tx, tenant, struct{}{}, 0)
		}
		return err
	})
}
