package vault

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"

	"github.com/gatewright/gatewright/store"
)

// Subject returns the sealing key of one person or agent (AES-256-GCM, nonces of 96 bit, drawn at random by the caller),
// making it durable on first use. After Erase it makes a new one: what was sealed before stays sealed for ever.
func (v *Vault) Subject(ctx context.Context, tenant, subject string) (cipher.AEAD, error) {
	aead, err := v.subject(ctx, place{tenant, subjectTable, subject}, true)
	if err != nil {
		return nil, fmt.Errorf("subject key: %w", err)
	}
	return aead, nil
}

// Lookup is Subject for opening what was sealed: it makes no key, and returns ErrNotFound after Erase.
func (v *Vault) Lookup(ctx context.Context, tenant, subject string) (cipher.AEAD, error) {
	aead, err := v.subject(ctx, place{tenant, subjectTable, subject}, false)
	if err != nil {
		return nil, fmt.Errorf("subject key: %w", err)
	}
	return aead, nil
}

func (v *Vault) subject(ctx context.Context, at place, create bool) (cipher.AEAD, error) {
	aead, round, ok := v.subjects.get(at)
	if ok {
		return aead, nil
	}
	if at.name == "" || len(at.name) > maxSubject {
		return nil, fmt.Errorf("subject must have 1 to %d bytes: %w", maxSubject, ErrInvalid)
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	e, err := v.read(ctx, at)
	if create && errors.Is(err, store.ErrNotFound) {
		e, err = v.makeSubject(ctx, at)
	}
	if err != nil {
		return nil, err
	}
	key, err := v.kek.open(at, e)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	if aead, err = newAEAD(key); err != nil {
		return nil, err
	}
	v.subjects.put(at, aead, round)
	return aead, nil
}

// makeSubject returns the envelope that is in the store in the end, be it ours or one that another call made first.
func (v *Vault) makeSubject(ctx context.Context, at place) (e envelope, err error) {
	if err := v.enroll(ctx, at.tenant); err != nil {
		return e, err
	}
	var key [keyLen]byte
	defer clear(key[:])
	if _, err := io.ReadFull(v.rand, key[:]); err != nil {
		return e, fmt.Errorf("make a subject key: %w", err)
	}
	err = v.store.Update(ctx, at.tenant, func(tx store.Txn) (err error) {
		if e, _, err = envelopes(at.table).Get(tx, at.name); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if e, err = v.kek.seal(v.rand, at, 1, key[:]); err != nil {
			return err
		}
		_, err = envelopes(at.table).Put(tx, at.name, e, 0)
		return err
	})
	return e, err
}

// Erase destroys a subject's key: whatever was sealed under it cannot be opened by anybody, while the ledger's proofs over
// the sealed bytes stay valid. Erasing what is not there is nil. The engine lets go of the key's old bytes, themselves
// wrapped under the KEK, when it next compacts; backups keep theirs.
func (v *Vault) Erase(ctx context.Context, tenant, subject string) error {
	at := place{tenant, subjectTable, subject}
	defer v.subjects.drop(at)
	err := v.store.Update(ctx, tenant, func(tx store.Txn) error { return tx.Delete(at.table, subject, store.AnyVersion) })
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("erase subject key: %w", err)
	}
	return nil
}
