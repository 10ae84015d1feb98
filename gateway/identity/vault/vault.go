// Package vault keeps upstream secrets and the keys under which the ledger seals what concerns one person or agent.
//
// Everything lies in the store as an envelope: the secret under a data key of its own (AES-256-GCM), the data key under
// the key-encryption key (KEK), which is not in the store. Both seals are bound to tenant, table, name and generation, so an
// envelope moved to another place does not open. Rotation re-wraps the data keys and touches no secret.
//
// A secret leaves the vault only inside Use, and is zeroed when Use returns. No error and no log line of this package
// holds one.
package vault

import (
	"cmp"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/gatewright/gatewright/store"
)

// Errors a caller branches on.
var (
	ErrNotFound = store.ErrNotFound // no such secret or subject in this tenant
	ErrInvalid  = store.ErrInvalid
	ErrLimit    = errors.New("limit reached")
	ErrWrongKEK = errors.New("the vault was sealed under another key-encryption key")
	ErrDamaged  = errors.New("envelope does not open: damaged, or moved from another place")
)

const (
	// MaxSecret is the biggest secret in bytes: a certificate chain with its key fits, a file dump does not.
	MaxSecret = 64 << 10
	// MaxSecrets is how many a tenant may keep; upstreams are bounded at 256, each with a few.
	MaxSecrets = 1000
	// maxSubject is the longest subject in bytes: an agent's or user's id.
	maxSubject = 64
	// kept bounds each of the two caches. An entry is well under 2 KiB but for big secrets.
	kept = 4096
)

// The tables. Both lie behind the tenant's fence; the list of tenants that have rows, and which KEK is in force, with the
// instance.
const (
	secretTable  = "vault_secrets"
	subjectTable = "vault_subjects"
)

// place is where an envelope lies; both seals are bound to it.
type place struct{ tenant, table, name string }

// Vault is open. It is safe for concurrent use.
type Vault struct {
	store store.Store
	rand  io.Reader

	mu       sync.RWMutex // held for reading over each use of kek, for writing over a rotation
	kek      kek
	secrets  cache[sealed]      // saves the read and the data key, never the opening
	subjects cache[cipher.AEAD] // open
}

// Open checks the KEK, 32 bytes, against the one the vault was sealed under (ErrWrongKEK), or notes it in a new one. A
// rotation that was cut short is finished towards the KEK that is given, be it the old or the new one.
func Open(ctx context.Context, s store.Store, key []byte, rand io.Reader) (*Vault, error) {
	k, err := newKEK(key)
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	v := &Vault{store: s, rand: rand, kek: k}
	if err := v.settle(ctx); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	return v, nil
}

// Put keeps a secret, or replaces it. The caller's slice is left as it is.
func (v *Vault) Put(ctx context.Context, tenant, name string, secret []byte) error {
	if err := cmp.Or(checkSecretName(name), checkSecret(secret)); err != nil {
		return fmt.Errorf("put secret: %w", err)
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if err := v.enroll(ctx, tenant); err != nil {
		return fmt.Errorf("put secret: %w", err)
	}
	at := place{tenant, secretTable, name}
	defer v.secrets.drop(at) // also after an error: the commit may have happened
	err := v.store.Update(ctx, tenant, func(tx store.Txn) error { return v.replace(tx, at, secret) })
	if err != nil {
		return fmt.Errorf("put secret: %w", err)
	}
	return nil
}

func checkSecret(secret []byte) error {
	if len(secret) == 0 || len(secret) > MaxSecret {
		return fmt.Errorf("it must have 1 to %d bytes: %w", MaxSecret, ErrInvalid)
	}
	return nil
}

func (v *Vault) replace(tx store.Txn, at place, secret []byte) error {
	old, version, err := envelopes(at.table).Get(tx, at.name)
	if errors.Is(err, store.ErrNotFound) {
		err = checkRoom(tx, at.table)
	}
	if err != nil {
		return err
	}
	e, err := v.kek.seal(v.rand, at, old.Generation+1, secret)
	if err != nil {
		return err
	}
	_, err = envelopes(at.table).Put(tx, at.name, e, version)
	return err
}

func checkRoom(tx store.Txn, table string) error {
	n, most := 0, MaxSecrets
	if table == grantTable {
		most = MaxGrants
	}
	err := tx.Scan(table, "", func(string, store.Value) error { n++; return nil })
	if err == nil && n >= most {
		return fmt.Errorf("%d of %s: %w", n, table, ErrLimit)
	}
	return err
}

// Use opens a secret for the time fn runs. fn must not keep the slice: it is zeroed when fn returns or panics.
func (v *Vault) Use(ctx context.Context, tenant, name string, fn func(secret []byte) error) error {
	at := place{tenant, secretTable, name}
	s, round, ok := v.secrets.get(at)
	if !ok {
		var err error
		if s, err = v.find(ctx, at, round); err != nil {
			return fmt.Errorf("use secret: %w", err)
		}
	}
	secret, err := openUnder(s.aead, s.bytes, s.aad) // a buffer of its own: one that was kept would show the next secret
	if err != nil {
		return fmt.Errorf("use secret: %w", err)
	}
	defer clear(secret)
	return fn(secret)
}

// find reads a secret from the store and unwraps its data key.
func (v *Vault) find(ctx context.Context, at place, round uint64) (s sealed, err error) {
	if err := checkSecretName(at.name); err != nil {
		return s, err
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	e, err := v.read(ctx, at)
	if err != nil {
		return s, err
	}
	if s, err = v.kek.sealed(at, e); err != nil {
		return s, err
	}
	v.secrets.put(at, s, round)
	return s, nil
}

func (v *Vault) read(ctx context.Context, at place) (e envelope, err error) {
	err = v.store.View(ctx, at.tenant, func(tx store.Txn) (err error) {
		e, _, err = envelopes(at.table).Get(tx, at.name)
		return err
	})
	return e, err
}

// List names the tenant's secrets in order.
func (v *Vault) List(ctx context.Context, tenant string) (names []string, err error) {
	err = v.store.View(ctx, tenant, func(tx store.Txn) error {
		names = names[:0]
		return tx.Scan(secretTable, "", func(name string, _ store.Value) error {
			names = append(names, name)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list secrets: %w", err)
	}
	return names, nil
}

// Delete forgets a secret.
func (v *Vault) Delete(ctx context.Context, tenant, name string) error {
	if err := checkSecretName(name); err != nil {
		return fmt.Errorf("delete secret: %w", err)
	}
	at := place{tenant, secretTable, name}
	defer v.secrets.drop(at)
	if err := v.store.Update(ctx, tenant, func(tx store.Txn) error { return tx.Delete(at.table, name, store.AnyVersion) }); err != nil {
		return fmt.Errorf("delete secret: %w", err)
	}
	return nil
}

// checkSecretName wants [a-z0-9][a-z0-9._-]{0,62}.
func checkSecretName(name string) error {
	ok := name != "" && len(name) <= 63
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		alnum := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		ok = alnum || i > 0 && (c == '.' || c == '_' || c == '-')
	}
	if !ok {
		return fmt.Errorf("name must match [a-z0-9][a-z0-9._-]{0,62}: %w", ErrInvalid)
	}
	return nil
}
