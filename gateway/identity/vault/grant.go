package vault

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/store"
)

// grantTable holds what the gateway was granted at upstream servers: tokens, and its own registrations. They are apart from the
// operator's secrets, so that no server can be configured to be shown another's.
const grantTable = "vault_grants"

const (
	// MaxGrants is how many a tenant may have: one for each server and user, or agent, that uses it.
	MaxGrants = 20_000
	// maxGrantKey bounds what names one of a server's grants, in bytes.
	maxGrantKey = 128
)

// grantAt names a grant: the server, then whose it is.
func grantAt(tenant, server, key string) (place, error) {
	if checkSecretName(server) != nil || key == "" || len(key) > maxGrantKey {
		return place{}, fmt.Errorf("a grant needs a server and a key: %w", ErrInvalid)
	}
	return place{tenant, grantTable, server + "/" + key}, nil
}

// PutGrant keeps a grant, or replaces it. The caller's slice is left as it is.
func (v *Vault) PutGrant(ctx context.Context, tenant, server, key string, secret []byte) error {
	at, err := grantAt(tenant, server, key)
	if err == nil {
		err = checkSecret(secret)
	}
	if err != nil {
		return fmt.Errorf("put grant: %w", err)
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if err := v.enroll(ctx, tenant); err != nil {
		return fmt.Errorf("put grant: %w", err)
	}
	defer v.secrets.drop(at) // also after an error: the commit may have happened
	if err := v.store.Update(ctx, tenant, func(tx store.Txn) error { return v.replace(tx, at, secret) }); err != nil {
		return fmt.Errorf("put grant: %w", err)
	}
	return nil
}

// UseGrant opens a grant for the time fn runs. fn must not keep the slice: it is zeroed when fn returns or panics.
func (v *Vault) UseGrant(ctx context.Context, tenant, server, key string, fn func(secret []byte) error) error {
	at, err := grantAt(tenant, server, key)
	if err != nil {
		return fmt.Errorf("use grant: %w", err)
	}
	secret, err := v.openAt(ctx, at)
	if err != nil {
		return fmt.Errorf("use grant: %w", err)
	}
	defer clear(secret)
	return fn(secret)
}

// openAt reads and opens what lies at a place. Whoever uses grants keeps what was in them, so that no cache is needed.
func (v *Vault) openAt(ctx context.Context, at place) ([]byte, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	e, err := v.read(ctx, at)
	if err != nil {
		return nil, err
	}
	return v.kek.open(at, e)
}

// DropGrant forgets one grant; one that is not there is ErrNotFound.
func (v *Vault) DropGrant(ctx context.Context, tenant, server, key string) error {
	at, err := grantAt(tenant, server, key)
	if err == nil {
		err = v.store.Update(ctx, tenant, func(tx store.Txn) error { return tx.Delete(at.table, at.name, store.AnyVersion) })
	}
	if err != nil {
		return fmt.Errorf("drop grant: %w", err)
	}
	return nil
}

// DropGrants forgets all grants of a server, in batches; cut short, it may be repeated.
func (v *Vault) DropGrants(ctx context.Context, tenant, server string) error {
	for {
		var names []string
		err := v.store.View(ctx, tenant, func(tx store.Txn) error {
			names = names[:0]
			return tx.Scan(grantTable, server+"/", func(name string, _ store.Value) error {
				if names = append(names, name); len(names) == batch {
					return errFull
				}
				return nil
			})
		})
		if err != nil && !errors.Is(err, errFull) {
			return fmt.Errorf("drop grants: %w", err)
		}
		if len(names) == 0 {
			return nil
		}
		err = v.store.Update(ctx, tenant, func(tx store.Txn) error {
			for _, name := range names {
				if err := tx.Delete(grantTable, name, store.AnyVersion); err != nil && !errors.Is(err, store.ErrNotFound) {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("drop grants: %w", err)
		}
	}
}

// errFull ends a scan.
var errFull = errors.New("a batch is full")
