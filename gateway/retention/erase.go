package retention

import (
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/index"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store"
)

// Erasure is what was erased.
type Erasure struct {
	// Digest names the subject in the records: SHA-256(Salt || subject) in hex. The salt is the organisation's and stands in
	// no record, so the records name nobody to those who have only them.
	Digest, Salt string
	Record       string // id of the record that came first
	Outcome      string // id of the one that says it is done
	Already      bool   // it was erased before, and nothing was sealed since
	Nothing      bool   // nothing was ever sealed under a key of the subject's own: nothing was done, and no record says that it was
	// Records is how many of the records that are kept could be opened until then, and cannot any more.
	Records uint64
	// Owner is who answers for the agent, "" when nobody does: what it sends while somebody does is sealed under that
	// person, and stays readable.
	Owner string
}

// erased notes an erasure by its digest. Done is false from before the key is destroyed until the outcome is recorded.
type erased struct {
	Record  string `json:"record"`
	Outcome string `json:"outcome,omitempty"`
	Done    bool   `json:"done"`
}

type salt struct {
	Salt []byte `json:"salt"`
}

var (
	erasedTable = store.Table[erased]{Name: "ledger_erasures", Version: 1}
	saltTable   = store.Table[salt]{Name: "ledger_salt", Version: 1}
)

// Phases of an erasure's records.
const (
	phaseIntent  = "intent"
	phaseOutcome = "outcome"
)

// Erase destroys the key that everything sealed about a person or an agent lies under: from then on nobody opens it, and
// every proof over the sealed bytes still holds. A record with the subject's salted digest, and who and why, comes first
// and another says how it ended. It cannot be undone. To erase again what was erased is not an error; what is another
// organisation's is ErrUnknown. What was sealed may be exported before: afterwards nobody can.
//
// What an agent sends is sealed under the person who answers for it: to erase such an agent, which has no key of its own,
// is ErrOwned, which names that person.
func (k *Keeper) Erase(ctx context.Context, tenant, subject, reason string, by Who) (Erasure, error) {
	if checkReason(reason) != nil || subject == "" || len(subject) > 64 {
		return Erasure{}, fmt.Errorf("%w: a subject, and a reason of 1 to %d bytes, are needed", ErrInvalid, maxReason)
	}
	k.rule.Lock()
	defer k.rule.Unlock()
	e, err := k.erase(ctx, tenant, subject, reason, by)
	if err != nil {
		return Erasure{}, fmt.Errorf("erase: %w", err)
	}
	return e, nil
}

func (k *Keeper) erase(ctx context.Context, tenant, subject, reason string, by Who) (e Erasure, err error) {
	if _, held, err := k.Held(ctx, tenant); err != nil || held {
		return e, errors.Join(err, heldError(held))
	}
	if e, err = k.digest(ctx, tenant, subject); err != nil {
		return e, err
	}
	row, err := k.erasedBefore(ctx, tenant, e.Digest)
	if err != nil {
		return e, err
	}
	key, err := k.key(ctx, tenant, subject)
	if err != nil {
		return e, err
	}
	if e.Owner, err = k.deps.Owner(ctx, tenant, subject); err != nil {
		return e, err
	}
	switch {
	case key != nil:
		if e.Records, err = k.readable(ctx, tenant, subject, key); err != nil {
			return e, fmt.Errorf("count what is sealed: %w", err)
		}
	case e.Owner != "":
		return e, fmt.Errorf("%w: what %s sends is sealed under its owner, %s: erase that person, or nobody", ErrOwned, subject, e.Owner)
	case row.Done:
		e.Record, e.Outcome, e.Already = row.Record, row.Outcome, true
		return e, nil
	case row.Record == "":
		return k.nothing(ctx, tenant, subject, e)
	}
	return k.destroy(ctx, tenant, subject, reason, by, e)
}

// nothing answers for a subject without a key that never was erased.
func (k *Keeper) nothing(ctx context.Context, tenant, subject string, e Erasure) (Erasure, error) {
	known, err := k.deps.People(ctx, tenant, subject)
	if err == nil && !known {
		err = ErrUnknown
	}
	e.Nothing = err == nil
	return e, err
}

// readable counts the records that are kept and that a subject's key opens. Their sides are a nonce and what is sealed,
// bound to the record's id.
func (k *Keeper) readable(ctx context.Context, tenant, subject string, key cipher.AEAD) (n uint64, err error) {
	q := index.Query{User: subject, Oldest: true}
	if strings.HasPrefix(subject, "agt_") {
		q.User, q.Agent = "", subject
	}
	for {
		page, err := k.deps.Log.Query(ctx, tenant, q)
		if errors.Is(err, wal.ErrTenant) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		for i := range page.Entries {
			r, err := page.Entries[i].Record()
			if err != nil {
				return n, err
			}
			side := page.Entries[i].Side
			if len(side) < key.NonceSize() {
				continue
			}
			if _, err := key.Open(nil, side[:key.NonceSize()], side[key.NonceSize():], []byte(r.ID)); err == nil {
				n++
			}
		}
		if q.Cursor = page.Next; q.Cursor == (index.Cursor{}) {
			return n, nil
		}
	}
}

func heldError(held bool) error {
	if held {
		return ErrHeld
	}
	return nil
}

// destroy records, erases, looks, and records.
func (k *Keeper) destroy(ctx context.Context, tenant, subject, reason string, by Who, e Erasure) (Erasure, error) {
	intent, err := k.say(ctx, tenant, by, map[string]any{"phase": phaseIntent, "reason": reason, "records": e.Records, "subject": e.Digest}, "", "")
	if err != nil {
		return e, err
	}
	e.Record = intent
	if err := k.noteErased(ctx, tenant, e.Digest, erased{Record: intent}); err != nil {
		return e, err
	}
	err = k.deps.Vault.Erase(ctx, tenant, subject)
	if key, bad := k.key(ctx, tenant, subject); err == nil && (bad != nil || key != nil) {
		err = errors.Join(bad, errors.New("the key is there again, or still: something was sealed meanwhile"))
	}
	outcome := ledger.OutcomeOK
	if err != nil {
		outcome = ledger.OutcomeUnknown
	}
	done, bad := k.say(ctx, tenant, by, map[string]any{"phase": phaseOutcome, "subject": e.Digest}, intent, outcome)
	if err = errors.Join(err, bad); err != nil {
		return e, err
	}
	e.Outcome = done
	return e, k.noteErased(ctx, tenant, e.Digest, erased{Record: intent, Outcome: done, Done: true})
}

// say writes a record of an erasure and returns its id.
func (k *Keeper) say(ctx context.Context, tenant string, by Who, body map[string]any, of, outcome string) (string, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	r := ledger.Record{
		Tenant: tenant, Kind: ledger.Erasure, Step: -1, User: by.User, Key: by.Key, Addr: by.Addr, Of: of, Outcome: outcome, Body: text,
	}
	if _, err := k.deps.Log.Append(ctx, &r); err != nil {
		return "", fmt.Errorf("record: %w", err)
	}
	return r.ID, nil
}

// key is what is sealed about a subject lies under, nil when there is none.
func (k *Keeper) key(ctx context.Context, tenant, subject string) (cipher.AEAD, error) {
	aead, err := k.deps.Vault.Lookup(ctx, tenant, subject)
	if errors.Is(err, vault.ErrNotFound) {
		return nil, nil //nolint:nilnil // no key is no error
	}
	return aead, err
}

// digest names a subject without naming it, under a salt that is made with the organisation's first erasure.
func (k *Keeper) digest(ctx context.Context, tenant, subject string) (Erasure, error) {
	var row salt
	err := k.deps.Store.Update(ctx, tenant, func(tx store.Txn) (err error) {
		if row, _, err = saltTable.Get(tx, only); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		row.Salt = make([]byte, 32)
		if _, err := io.ReadFull(k.deps.Rand, row.Salt); err != nil {
			return fmt.Errorf("make a salt: %w", err)
		}
		_, err = saltTable.Put(tx, only, row, 0)
		return err
	})
	if err != nil {
		return Erasure{}, err
	}
	sum := sha256.Sum256(append(slices.Clip(row.Salt), subject...))
	return Erasure{Digest: hex.EncodeToString(sum[:]), Salt: hex.EncodeToString(row.Salt)}, nil
}

func (k *Keeper) erasedBefore(ctx context.Context, tenant, digest string) (row erased, err error) {
	err = k.deps.Store.View(ctx, tenant, func(tx store.Txn) (err error) {
		if row, _, err = erasedTable.Get(tx, digest); errors.Is(err, store.ErrNotFound) {
			row, err = erased{}, nil
		}
		return err
	})
	return row, err
}

func (k *Keeper) noteErased(ctx context.Context, tenant, digest string, row erased) error {
	return k.deps.Store.Update(ctx, tenant, func(tx store.Txn) error {
		_, err := erasedTable.Put(tx, digest, row, store.AnyVersion)
		return err
	})
}
