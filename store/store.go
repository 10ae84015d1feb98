// Package store says how the gateway keeps what must outlive a restart: versioned bytes behind a tenant fence.
//
// The fence is the shape of the interface. The tenant is an argument of the transaction, not of a query, so code that
// forgets a WHERE clause cannot exist: inside a Txn no name leads to another tenant. What belongs to nobody in
// particular (the list of tenants, the look-up of key hashes) lives under the tenant Instance.
//
// Append-only lines (the ledger) are not kept here; they have their own file with other guarantees.
// The contract below is a test suite in store/storetest, and every engine passes it.
package store

import (
	"context"
	"errors"
)

// Instance is the gateway's own tenant. No organisation can be given this name, since it begins with an underscore.
const Instance = "_instance"

// AnyVersion as the expected version of a Put or Delete writes whatever stands there.
const AnyVersion = ^uint64(0)

// Errors a caller branches on. Everything else is a fault of the engine.
var (
	// ErrNotFound: there is no such row in this tenant. What stands in another tenant is not found in the same words.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the row is not at the expected version, or other writers won every attempt.
	ErrConflict = errors.New("version conflict")
	// ErrExhausted: the counter already stands at its maximum.
	ErrExhausted = errors.New("uses exhausted")
	// ErrInvalid: a tenant, table, key or value outside its bounds; nothing was read or written.
	ErrInvalid = errors.New("invalid argument")
	// ErrReadOnly: a write inside View.
	ErrReadOnly = errors.New("transaction is read-only")
	// ErrTooBig: one transaction wrote more than MaxTxnBytes or MaxTxnWrites.
	ErrTooBig = errors.New("transaction too big")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
	// ErrLocked: another process holds the folder.
	ErrLocked = errors.New("data folder is locked")
	// ErrNoRoom: the disk has less room than writing safely takes. Reading goes on.
	ErrNoRoom = errors.New("no room for the store")
	// ErrWrongKey: the folder was encrypted with another key.
	ErrWrongKey = errors.New("wrong encryption key")
	// ErrDone, returned by the function given to Scan, ends the scan; Scan then returns nil.
	ErrDone = errors.New("scan done")
)

// Store is an engine. It is safe for concurrent use.
type Store interface {
	// View runs fn over one consistent snapshot of the tenant's rows.
	View(ctx context.Context, tenant string, fn func(Txn) error) error

	// Update runs fn and makes its writes durable, all or none, before it returns nil. Transactions are serializable,
	// scans included. When another writer got in between, fn is run again on fresh data, a bounded number of times;
	// so fn must be idempotent: it may touch nothing outside but variables that each run sets anew, and it must not
	// start another Update. An error of fn ends the attempt and is returned as it is, without a retry.
	// After an error of the commit itself the writes may or may not be there; only a read can tell.
	Update(ctx context.Context, tenant string, fn func(Txn) error) error

	// Consume raises the tenant's counter key by one unless it stands at limit already, and returns how often it has been
	// consumed. It is atomic and durable when it returns nil. At the maximum it returns ErrExhausted and the count;
	// limit 0 allows nothing. Counters are never released and share no names with rows. After any other error the
	// use may have been spent: callers treat it as spent.
	Consume(ctx context.Context, tenant, key string, limit uint64) (uint64, error)

	// Close waits for running transactions and releases the engine. Later calls return ErrClosed; a second Close is nil.
	Close() error
}

// Txn is one transaction of one tenant. It is for the goroutine that runs fn and dead after fn returns.
type Txn interface {
	// Get returns the row, or ErrNotFound. The transaction's own writes are seen.
	Get(table, key string) (Value, error)

	// Put writes a row and returns its new version. The row must stand at version at: 0 means it must not exist,
	// AnyVersion that it does not matter; else ErrConflict. data is copied. Versions grow and are never given twice to
	// one key, not even after it was deleted.
	Put(table, key string, data []byte, at uint64) (uint64, error)

	// Delete removes the row at version at, or returns ErrNotFound or ErrConflict.
	Delete(table, key string, at uint64) error

	// Scan calls fn for each row whose key begins with prefix, in the order of the keys' bytes. fn may use the
	// transaction; whether rows it writes ahead of the scan are visited is not defined.
	Scan(table, prefix string, fn func(key string, v Value) error) error
}

// Value is one row as kept. Data is the caller's own copy.
type Value struct {
	Data    []byte
	Version uint64
}
