// Package badger keeps a store.Store in one folder on disk, encrypted at rest with AES-256.
//
// It is the engine of a single gateway: one process owns the folder. Sizes suit a gateway's state (thousands of rows,
// tens of megabytes), not a database server's: 16 MiB tables in memory and 24 MiB of caches.
package badger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/gatewright/gatewright/store"
)

const (
	// memTable in bytes. One batch may be 15 % of it (2.4 MiB): store.MaxTxnWrites rows with the longest keys and inline values.
	memTable = 16 << 20
	// valueLog is the size of one value log file in bytes; the engine maps twice as much, sparsely.
	valueLog = 16 << 20
	// inlineValue in bytes: bigger values go to the value log and leave only a pointer in the tables and the batch.
	inlineValue = 1 << 10
	// blockCache and indexCache in bytes. Encrypted blocks and indexes must be cached, or each read decrypts anew.
	blockCache = 16 << 20
	indexCache = 8 << 20
	// optimistic is how many attempts an Update makes beside other writers before it asks for the tenant alone.
	optimistic = 3
	// lanes is how many groups of tenants can be locked apart; a power of two, far above the cores of a gateway.
	lanes = 64
)

// Options say where the store lies and how it is sealed.
type Options struct {
	Dir    string       // made when missing
	Key    []byte       // 32 bytes, AES-256; the same at every start, or the folder does not open
	Logger *slog.Logger // the engine's warnings and errors; nil drops them
	// Free tells the free bytes where a folder lies; nil asks the file system.
	Free func(dir string) (int64, error)
}

// Store is an open folder.
type Store struct {
	db      *badgerdb.DB
	dir     string
	free    func(dir string) (int64, error)
	seed    maphash.Seed
	lanes   [lanes]sync.RWMutex // optimistic writers share a tenant's lane; one that lost too often takes it alone
	retries atomic.Uint64
	stopGC  context.CancelFunc

	mu      sync.Mutex // guards closed, and that running only grows while it is false
	closed  bool
	running sync.WaitGroup // transactions and the value log's collector
}

var _ store.Store = (*Store)(nil)

// Open opens the folder, making it when it is missing. A folder held by another process is ErrLocked, one sealed with
// another key ErrWrongKey, one without room to write ErrNoRoom.
func Open(o Options) (*Store, error) {
	if o.Dir == "" {
		return nil, fmt.Errorf("open store: no folder given: %w", store.ErrInvalid)
	}
	if len(o.Key) != 32 {
		return nil, fmt.Errorf("open store: the encryption key has %d bytes, want 32: %w", len(o.Key), store.ErrInvalid)
	}
	if o.Free == nil {
		o.Free = freeIn
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := enough(o.Dir, o.Free, lying(o.Dir)); err != nil {
		return nil, err
	}
	db, err := openEngine(o)
	if err != nil {
		return nil, explain(o.Dir, err)
	}
	if err := load(o.Dir); err != nil {
		return nil, fmt.Errorf("open store: %w", errors.Join(err, db.Close()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Store{db: db, dir: o.Dir, free: o.Free, seed: maphash.MakeSeed(), stopGC: cancel}
	s.running.Add(1)
	go s.collect(ctx)
	return s, nil
}

// halfMade bounds how many files a killed process can have left empty: the engine makes few at once.
const halfMade = 8

// openEngine opens the engine, again as long as it met a file that a killed process had made and given no size. The engine
// takes that for a new file, makes it one, and ends with an error all the same; the next time it is like any other. The
// engine does not wrap this error either: TestAFileThatAKillLeftEmptyIsNoObstacle fails when its words change.
func openEngine(o Options) (db *badgerdb.DB, err error) {
	for range halfMade {
		if db, err = badgerdb.Open(engineOptions(o)); err == nil || !strings.Contains(err.Error(), "Create a new file") {
			break
		}
	}
	return db, err
}

func engineOptions(o Options) badgerdb.Options {
	key := append([]byte(nil), o.Key...) // the engine keeps it for the rotation of its data keys
	return badgerdb.DefaultOptions(o.Dir).
		WithSyncWrites(true).
		WithEncryptionKey(key).
		WithLogger(quiet{o.Logger}).
		WithMetricsEnabled(false).
		WithMemTableSize(memTable).
		WithNumMemtables(2).
		WithNumCompactors(2). // the engine's minimum
		WithNumGoroutines(2).
		WithValueLogFileSize(valueLog).
		WithValueThreshold(inlineValue).
		WithBlockCacheSize(blockCache).
		WithIndexCacheSize(indexCache).
		WithCompression(options.None) // rows are small, and lengths of compressed secrets talk
}

// explain turns the engine's opening errors into ours. The engine does not wrap the error of the lock, so its words
// are matched; TestASecondOpenIsRefused fails when they change.
func explain(dir string, err error) error {
	switch {
	case errors.Is(err, badgerdb.ErrEncryptionKeyMismatch):
		return fmt.Errorf("open store %s: %w: it was made with another key; restore the key file that belongs to this folder", dir, store.ErrWrongKey)
	case strings.Contains(err.Error(), "Cannot acquire directory lock"):
		return fmt.Errorf("open store %s: %w: another gateway is running on it; stop it, or choose another folder with --data", dir, store.ErrLocked)
	}
	return fmt.Errorf("open store %s: %w", dir, err)
}

// View runs fn over a snapshot.
func (s *Store) View(ctx context.Context, tenant string, fn func(store.Txn) error) error {
	if err := s.begin(ctx, tenant); err != nil {
		return fmt.Errorf("view: %w", err)
	}
	defer s.running.Done()
	tx := s.db.NewTransaction(false)
	defer tx.Discard()
	return fn(newTxn(ctx, tx, tenant, false))
}

// Update runs fn and commits, again when other writers got in between: first beside them, at last alone. Where room is
// short nothing is begun: store.ErrNoRoom.
func (s *Store) Update(ctx context.Context, tenant string, fn func(store.Txn) error) error {
	if err := s.begin(ctx, tenant); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	defer s.running.Done()
	if err := s.Ready(); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	lane := &s.lanes[maphash.String(s.seed, tenant)%lanes]
	for range optimistic {
		if err := s.attempt(ctx, tenant, lane.RLocker(), fn); !errors.Is(err, badgerdb.ErrConflict) {
			return err
		}
		s.retries.Add(1)
	}
	err := s.attempt(ctx, tenant, lane, fn)
	if errors.Is(err, badgerdb.ErrConflict) {
		return fmt.Errorf("update: %w", store.ErrConflict)
	}
	return err
}

// attempt runs fn once under the lock and commits. A lost race is badger's own ErrConflict, which fn cannot return.
func (s *Store) attempt(ctx context.Context, tenant string, lock sync.Locker, fn func(store.Txn) error) error {
	lock.Lock()
	defer lock.Unlock()
	tx := s.db.NewTransaction(true)
	defer tx.Discard()
	if err := fn(newTxn(ctx, tx, tenant, true)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	// From here on the caller waits for the truth, whatever becomes of ctx: a commit cannot be called back.
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	return nil
}

// Consume raises a counter in a transaction of its own.
func (s *Store) Consume(ctx context.Context, tenant, key string, limit uint64) (uint64, error) {
	if err := store.CheckKey(key); err != nil {
		return 0, fmt.Errorf("consume: %w", err)
	}
	var count uint64
	err := s.Update(ctx, tenant, func(tx store.Txn) error {
		var err error
		count, err = tx.(*txn).count(key)
		if err != nil {
			return err
		}
		if count >= limit {
			return store.ErrExhausted
		}
		count++
		return tx.(*txn).setCount(key, count)
	})
	if err != nil && !errors.Is(err, store.ErrExhausted) {
		return 0, fmt.Errorf("consume: %w", err)
	}
	return count, err
}

// Close waits for running transactions, stops the collector and releases the folder. On a disk that is so full that the
// engine could not close without being killed, it is left open until the process ends, and the error is store.ErrNoRoom:
// nothing that was acknowledged is lost.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.stopGC()
	s.running.Wait()
	if err := s.flushable(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// Stats are figures for the metrics page.
type Stats struct {
	TableBytes, ValueLogBytes int64
	Retries                   uint64 // attempts lost to another writer since the start
}

// Stats reads the figures; the sizes are the engine's own and up to a minute old.
func (s *Store) Stats() Stats {
	tables, values := s.db.Size()
	return Stats{TableBytes: tables, ValueLogBytes: values, Retries: s.retries.Load()}
}

// begin lets a transaction in; the caller owes a running.Done.
func (s *Store) begin(ctx context.Context, tenant string) error {
	if err := store.CheckTenant(tenant); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.ErrClosed
	}
	s.running.Add(1)
	return nil
}

// appendKey writes the key of a row: kind, length and name of the tenant, length and name of the table, key. The lengths
// make it the fence: no tenant, table or key can spell the beginning of another's.
func appendKey(dst []byte, kind byte, tenant, table, key string) []byte {
	dst = append(dst, kind, byte(len(tenant)))
	dst = append(dst, tenant...)
	dst = append(dst, byte(len(table)))
	dst = append(dst, table...)
	return append(dst, key...)
}

// Kinds of keys in the folder.
const (
	kindRow    = 'r'
	kindCount  = 'c' // Consume's counters: no table
	kindMarker = 'm' // one a table, written whenever its set of keys changes; a scan reads it, and so sees phantoms
)

func appendVersion(dst []byte, version uint64) []byte {
	return binary.BigEndian.AppendUint64(dst, version)
}
