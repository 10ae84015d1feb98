package badger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/gatewright/gatewright/store"
)

const (
	// pageRows and pageBytes bound what a scan holds at a time. The engine allows one iterator in a writing transaction,
	// so a scan reads a page, closes the iterator, and only then hands out the rows.
	pageRows  = 256
	pageBytes = 1 << 20
	// versionLen is the head of every stored value in bytes.
	versionLen = 8
)

// txn is one attempt. Rows are stored as version (64 bit, big-endian) and data.
type txn struct {
	ctx    context.Context
	tx     *badgerdb.Txn
	tenant string
	write  bool
	next   uint64 // the version of everything this transaction writes
	writes int
	bytes  int
	marked []string // tables whose marker is written already
}

// newTxn starts an attempt. Its commit stamp will be above its read stamp and every committed version at or below that, so
// read stamp + 1 is new for every key, also for one that was deleted before.
func newTxn(ctx context.Context, tx *badgerdb.Txn, tenant string, write bool) *txn {
	return &txn{ctx: ctx, tx: tx, tenant: tenant, write: write, next: tx.ReadTs() + 1}
}

func (t *txn) Get(table, key string) (store.Value, error) {
	if err := store.CheckName(table, key); err != nil {
		return store.Value{}, fmt.Errorf("get: %w", err)
	}
	v, err := t.read(appendKey(nil, kindRow, t.tenant, table, key))
	if err != nil {
		return store.Value{}, fmt.Errorf("get from %s: %w", table, err)
	}
	return v, nil
}

func (t *txn) Put(table, key string, data []byte, at uint64) (uint64, error) {
	if err := store.CheckRow(table, key, data); err != nil {
		return 0, fmt.Errorf("put: %w", err)
	}
	k := appendKey(nil, kindRow, t.tenant, table, key)
	made, err := t.expect(k, at, true)
	if err != nil {
		return 0, fmt.Errorf("put into %s: %w", table, err)
	}
	if made {
		if err := t.mark(table); err != nil {
			return 0, fmt.Errorf("put into %s: %w", table, err)
		}
	}
	v := append(appendVersion(make([]byte, 0, versionLen+len(data)), t.next), data...)
	if err := t.set(k, v); err != nil {
		return 0, fmt.Errorf("put into %s: %w", table, err)
	}
	return t.next, nil
}

func (t *txn) Delete(table, key string, at uint64) error {
	if err := store.CheckName(table, key); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	k := appendKey(nil, kindRow, t.tenant, table, key)
	if _, err := t.expect(k, at, false); err != nil {
		return fmt.Errorf("delete from %s: %w", table, err)
	}
	if err := t.mark(table); err != nil {
		return fmt.Errorf("delete from %s: %w", table, err)
	}
	if err := t.charge(len(k)); err != nil {
		return fmt.Errorf("delete from %s: %w", table, err)
	}
	if err := t.tx.Delete(k); err != nil {
		return fmt.Errorf("delete from %s: %w", table, tooBig(err))
	}
	return nil
}

func (t *txn) Scan(table, prefix string, fn func(string, store.Value) error) error {
	if err := store.CheckTable(table); err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	if err := store.CheckPrefix(prefix); err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	if err := t.watch(table); err != nil {
		return fmt.Errorf("scan %s: %w", table, err)
	}
	head := len(appendKey(nil, kindRow, t.tenant, table, ""))
	bound := appendKey(nil, kindRow, t.tenant, table, prefix)
	for from := bound; from != nil; {
		page, next, err := t.page(bound, from, head)
		if err != nil {
			return fmt.Errorf("scan %s: %w", table, err)
		}
		for _, row := range page {
			if err := fn(row.key, row.value); errors.Is(err, store.ErrDone) {
				return nil
			} else if err != nil {
				return err
			}
		}
		from = next
	}
	return nil
}

type row struct {
	key   string
	value store.Value
}

// page reads rows under bound from the key from on; next is where the following page begins, nil at the end.
func (t *txn) page(bound, from []byte, head int) (rows []row, next []byte, err error) {
	if err := t.ctx.Err(); err != nil {
		return nil, nil, err
	}
	it := t.tx.NewIterator(badgerdb.IteratorOptions{PrefetchValues: false, Prefix: bound})
	defer it.Close()
	size := 0
	for it.Seek(from); it.ValidForPrefix(bound); it.Next() {
		item := it.Item()
		if len(rows) == pageRows || size >= pageBytes {
			return rows, item.KeyCopy(nil), nil
		}
		v, err := value(item)
		if err != nil {
			return nil, nil, err
		}
		size += len(v.Data)
		rows = append(rows, row{string(item.Key()[head:]), v})
	}
	return rows, nil, nil
}

// expect checks the row against the expected version and tells whether it would be made anew.
func (t *txn) expect(k []byte, at uint64, orMake bool) (made bool, err error) {
	if !t.write {
		return false, store.ErrReadOnly
	}
	v, err := t.read(k)
	if errors.Is(err, store.ErrNotFound) {
		switch {
		case !orMake:
			return false, store.ErrNotFound
		case at == 0 || at == store.AnyVersion:
			return true, nil
		}
		return false, store.ErrConflict
	}
	if err == nil && at != store.AnyVersion && at != v.Version {
		return false, store.ErrConflict
	}
	return false, err
}

// mark says that the table's set of keys changes; watch makes this transaction lose to one that does. Writers of marks
// do not lose to each other, since the engine compares only what was read.
func (t *txn) mark(table string) error {
	if slices.Contains(t.marked, table) {
		return nil
	}
	t.marked = append(t.marked, table)
	return tooBig(t.tx.Set(appendKey(nil, kindMarker, t.tenant, table, ""), appendVersion(nil, t.next)))
}

func (t *txn) watch(table string) error {
	if !t.write {
		return nil
	}
	_, err := t.read(appendKey(nil, kindMarker, t.tenant, table, ""))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

func (t *txn) count(key string) (uint64, error) {
	v, err := t.read(appendKey(nil, kindCount, t.tenant, "", key))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	return v.Version, err
}

func (t *txn) setCount(key string, n uint64) error {
	return t.set(appendKey(nil, kindCount, t.tenant, "", key), appendVersion(nil, n))
}

func (t *txn) read(k []byte) (store.Value, error) {
	if err := t.ctx.Err(); err != nil {
		return store.Value{}, err
	}
	item, err := t.tx.Get(k)
	if errors.Is(err, badgerdb.ErrKeyNotFound) {
		return store.Value{}, store.ErrNotFound
	}
	if err != nil {
		return store.Value{}, err
	}
	return value(item)
}

func (t *txn) set(k, v []byte) error {
	if err := t.charge(len(k) + len(v)); err != nil {
		return err
	}
	return tooBig(t.tx.Set(k, v))
}

// charge counts what the transaction writes against its bounds.
func (t *txn) charge(bytes int) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	t.writes, t.bytes = t.writes+1, t.bytes+bytes
	if t.bytes > store.MaxTxnBytes || t.writes > store.MaxTxnWrites {
		return store.ErrTooBig
	}
	return nil
}

func value(item *badgerdb.Item) (store.Value, error) {
	raw, err := item.ValueCopy(nil)
	if err != nil {
		return store.Value{}, err
	}
	if len(raw) < versionLen {
		return store.Value{}, fmt.Errorf("a row of %d bytes is damaged", len(raw))
	}
	return store.Value{Data: raw[versionLen:], Version: binary.BigEndian.Uint64(raw)}, nil
}

func tooBig(err error) error {
	if errors.Is(err, badgerdb.ErrTxnTooBig) {
		return store.ErrTooBig
	}
	return err
}
