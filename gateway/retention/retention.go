// Package retention gives up what an operator's policy says is kept no longer, and holds on to what the law wants kept:
// pruning, legal holds, and the erasure of what is sealed about a person.
//
// Nothing is taken away before a record says so, durably, in the ledger of the organisation it is taken from. What is
// left stays verifiable: pruning removes entries and leaves the tree above them, erasure removes a key and leaves the
// sealed bytes, so every proof that was given still holds. None of it can be undone.
package retention

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/index"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store"
)

// Errors a caller branches on.
var (
	// ErrHeld: the organisation is under legal hold, and nothing is taken away.
	ErrHeld = errors.New("the organisation is under legal hold")
	// ErrStands: there is a hold already, of somebody else or for another reason.
	ErrStands = errors.New("a legal hold stands already")
	// ErrNotHeld: there is no hold to release.
	ErrNotHeld = errors.New("there is no legal hold")
	// ErrOwned: what the agent sends is sealed under the person who answers for it, not under a key of its own.
	ErrOwned = errors.New("the agent has an owner")
	// ErrUnknown: this organisation has no such person or agent.
	ErrUnknown = errors.New("no such subject")
	// ErrPolicy: no retention is configured, or less would be kept than it says.
	ErrPolicy = errors.New("the configured retention does not allow it")
	// ErrInvalid: a reason or a name is missing, or too long.
	ErrInvalid = errors.New("invalid")
)

// Log is the ledger that is pruned; wal.Log is one.
type Log interface {
	Append(ctx context.Context, r *ledger.Record) (wal.Mark, error)
	Settle(ctx context.Context, r *ledger.Record, receipt []byte) (wal.Mark, []byte, error)
	Prune(ctx context.Context, before func(tenant string) uint64) (wal.Pruned, error)
	History
	Records
}

// History is what the log knows of what it holds.
type History interface {
	Tenants() []string
	First(tenant string) uint64
	Size(tenant string) uint64
	Keep(tenant string, first uint64)
	OldestOpen() (time.Time, bool)
}

// Records is how the log is read.
type Records interface {
	Scan(ctx context.Context, tenant string, from uint64, n int) ([]wal.Entry, error)
	Query(ctx context.Context, tenant string, q index.Query) (index.Page, error)
}

var _ Log = (*wal.Log)(nil)

// Tiles is what is published of the log. PruneTiles gives up the entries of a tenant below an index; it can be repeated.
type Tiles interface {
	Checkpoint(tenant string) ([]byte, error)
	PruneTiles(ctx context.Context, tenant string, least uint64) error
}

// Vault holds the keys that what concerns a person is sealed under.
type Vault interface {
	Lookup(ctx context.Context, tenant, subject string) (cipher.AEAD, error)
	Erase(ctx context.Context, tenant, subject string) error
}

// People tells whether an organisation has a user or an agent of an id.
type People func(ctx context.Context, tenant, subject string) (bool, error)

// Owners tells who answers for an agent, "" for nobody, or for what is no agent of the organisation.
type Owners func(ctx context.Context, tenant, subject string) (string, error)

// Deps is what a keeper works with. All are required.
type Deps struct {
	Store  store.Store
	Log    Log
	Tiles  Tiles
	Vault  Vault
	People People
	Owner  Owners
	Now    func() time.Time
	Rand   io.Reader
	Logger *slog.Logger
	// Retention is how long records are kept, 0 for ever.
	Retention time.Duration
}

// Who asks: what stands in the record of it.
type Who struct{ User, Key, Addr string }

// Hold is a legal hold. While it stands nothing of its organisation is pruned or erased.
type Hold struct {
	Reason string `json:"reason"`
	By     string `json:"by"`    // user
	Since  int64  `json:"since"` // unix seconds
}

// kept is from where on a tenant's ledger is kept, as a record has said.
type kept struct {
	First  uint64 `json:"first"`          // what lies before was given up
	Next   uint64 `json:"next,omitempty"` // what lies before is recorded to go, and may not have yet; 0: nothing is
	Record string `json:"record"`         // id of the latest prune record
	Time   int64  `json:"time"`           // of that record, unix seconds
}

// What lies in the store, behind each tenant's fence.
var (
	holdTable = store.Table[Hold]{Name: "ledger_hold", Version: 1}
	keptTable = store.Table[kept]{Name: "ledger_kept", Version: 1}
)

// only is the key of tables with one row.
const only = "only"

// maxReason bounds what people write into a record, in bytes.
const maxReason = 1000

// Keeper looks after what is kept. It is safe for concurrent use.
type Keeper struct {
	deps Deps

	// rule is held while holds change and while a subject is erased, prune for a whole pruning. Who takes both takes rule first.
	rule, prune sync.Mutex

	kick chan struct{} // segments may be removed

	state  sync.Mutex // guards all below
	cancel context.CancelFunc
	last   Pruning
}

// Pruning is how the last one went.
type Pruning struct {
	At       time.Time
	Records  uint64 // given up by it
	Total    uint64 // given up since the start
	Segments uint64 // files of the log removed since the start
	Err      error
}

// Open tells the log what was given up before.
func Open(ctx context.Context, d Deps) (*Keeper, error) {
	if d.Store == nil || d.Log == nil || d.Tiles == nil || d.Vault == nil || d.People == nil || d.Owner == nil || d.Now == nil || d.Rand == nil || d.Logger == nil {
		return nil, errors.New("open retention: a part is missing")
	}
	k := &Keeper{deps: d, kick: make(chan struct{}, 1)}
	for _, tenant := range d.Log.Tenants() {
		row, err := k.kept(ctx, tenant)
		if err != nil {
			return nil, fmt.Errorf("open retention: %w", err)
		}
		if row.First > 0 {
			d.Log.Keep(tenant, row.First)
		}
	}
	if d.Retention > 0 {
		if _, err := k.look(ctx); err != nil && !errors.Is(err, ErrClock) {
			return nil, fmt.Errorf("open retention: %w", err)
		} else if err != nil {
			d.Logger.Warn("the ledger is not pruned", "error", err)
		}
	}
	return k, nil
}

func (k *Keeper) kept(ctx context.Context, tenant string) (row kept, err error) {
	err = k.deps.Store.View(ctx, tenant, func(tx store.Txn) error {
		row, _, err = keptTable.Get(tx, only)
		if errors.Is(err, store.ErrNotFound) {
			row, err = kept{}, nil
		}
		return err
	})
	return row, err
}

// Last tells how the last pruning went.
func (k *Keeper) Last() Pruning {
	k.state.Lock()
	defer k.state.Unlock()
	return k.last
}

// Held returns the hold on an organisation, false when there is none.
func (k *Keeper) Held(ctx context.Context, tenant string) (h Hold, held bool, err error) {
	err = k.deps.Store.View(ctx, tenant, func(tx store.Txn) error {
		var err error
		h, _, err = holdTable.Get(tx, only)
		held = err == nil
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return err
	})
	if err != nil {
		return h, false, fmt.Errorf("look up hold: %w", err)
	}
	return h, held, nil
}

// Hold puts an organisation under legal hold. When it returns nothing of the organisation is being taken away any more: a
// pruning that runs is ended first, and what it had recorded and not given up stays, which another record says. A hold
// that stands is ErrStands, unless the same person asks again for the same reason: whoever releases one must know that it
// is the only one.
func (k *Keeper) Hold(ctx context.Context, tenant, reason string, by Who) (Hold, error) {
	if err := checkReason(reason); err != nil {
		return Hold{}, err
	}
	k.rule.Lock()
	defer k.rule.Unlock()
	h := Hold{Reason: reason, By: by.User, Since: k.deps.Now().Unix()}
	err := k.deps.Store.Update(ctx, tenant, func(tx store.Txn) error {
		stands, _, err := holdTable.Get(tx, only)
		switch {
		case errors.Is(err, store.ErrNotFound):
			_, err = holdTable.Put(tx, only, h, store.AnyVersion)
		case err == nil && (stands.Reason != h.Reason || stands.By != h.By):
			return ErrStands
		case err == nil:
			h = stands
		}
		return err
	})
	if err != nil {
		return Hold{}, fmt.Errorf("hold: %w", err)
	}
	k.state.Lock()
	if k.cancel != nil {
		k.cancel()
	}
	k.state.Unlock()
	k.prune.Lock() // it has ended
	defer k.prune.Unlock()
	if err := k.callOff(ctx, tenant); err != nil {
		return h, fmt.Errorf("hold: it stands: %w", err)
	}
	return h, nil
}

func checkReason(reason string) error {
	if strings.TrimSpace(reason) == "" || len(reason) > maxReason {
		return fmt.Errorf("%w: a reason of 1 to %d bytes is needed", ErrInvalid, maxReason)
	}
	return nil
}

// Release ends a hold. It returns the hold that stood.
func (k *Keeper) Release(ctx context.Context, tenant, reason string) (h Hold, err error) {
	if err := checkReason(reason); err != nil {
		return Hold{}, err
	}
	k.rule.Lock()
	defer k.rule.Unlock()
	err = k.deps.Store.Update(ctx, tenant, func(tx store.Txn) error {
		var err error
		h, _, err = holdTable.Get(tx, only)
		if errors.Is(err, store.ErrNotFound) {
			return ErrNotHeld
		}
		if err != nil {
			return err
		}
		return holdTable.Delete(tx, only, store.AnyVersion)
	})
	if err != nil {
		return Hold{}, fmt.Errorf("release: %w", err)
	}
	return h, nil
}
