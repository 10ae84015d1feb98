package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gatewright/gatewright/store"
)

// Memory is a store that forgets on Close: the plainest engine that passes the suite, for the tests of the packages
// above and as the oracle for the engines beside it. Writers run one at a time; a snapshot is a map nobody changes.
type Memory struct {
	writer sync.Mutex
	state  atomic.Pointer[state]
	closed atomic.Bool
}

type state struct {
	rows   map[name]store.Value
	counts map[name]uint64
	stamp  uint64 // the version of the last commit
}

type name struct{ tenant, table, key string }

var _ store.Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory {
	m := &Memory{}
	m.state.Store(&state{rows: map[name]store.Value{}, counts: map[name]uint64{}})
	return m
}

// View runs fn over the last committed state.
func (m *Memory) View(ctx context.Context, tenant string, fn func(store.Txn) error) error {
	if err := m.enter(ctx, tenant); err != nil {
		return fmt.Errorf("view: %w", err)
	}
	return fn(&memoryTxn{ctx: ctx, tenant: tenant, rows: m.state.Load().rows})
}

// Update runs fn over a copy and makes the copy the state.
func (m *Memory) Update(ctx context.Context, tenant string, fn func(store.Txn) error) error {
	m.writer.Lock()
	defer m.writer.Unlock()
	if err := m.enter(ctx, tenant); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	old := m.state.Load()
	tx := &memoryTxn{ctx: ctx, tenant: tenant, rows: maps.Clone(old.rows), next: old.stamp + 1}
	if err := fn(tx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	m.state.Store(&state{rows: tx.rows, counts: old.counts, stamp: tx.next})
	return nil
}

// Consume raises a counter.
func (m *Memory) Consume(ctx context.Context, tenant, key string, limit uint64) (uint64, error) {
	m.writer.Lock()
	defer m.writer.Unlock()
	if err := m.enter(ctx, tenant); err != nil {
		return 0, fmt.Errorf("consume: %w", err)
	}
	if err := store.CheckKey(key); err != nil {
		return 0, fmt.Errorf("consume: %w", err)
	}
	old, id := m.state.Load(), name{tenant: tenant, key: key}
	if n := old.counts[id]; n >= limit {
		return n, store.ErrExhausted
	}
	counts := maps.Clone(old.counts)
	counts[id]++
	m.state.Store(&state{rows: old.rows, counts: counts, stamp: old.stamp})
	return counts[id], nil
}

// Close makes later calls fail.
func (m *Memory) Close() error {
	m.writer.Lock()
	defer m.writer.Unlock()
	m.closed.Store(true)
	return nil
}

func (m *Memory) enter(ctx context.Context, tenant string) error {
	if err := store.CheckTenant(tenant); err != nil {
		return err
	}
	if m.closed.Load() {
		return store.ErrClosed
	}
	return ctx.Err()
}

type memoryTxn struct {
	ctx           context.Context
	tenant        string
	rows          map[name]store.Value
	next          uint64 // 0 in a View
	writes, bytes int
}

func (t *memoryTxn) Get(table, key string) (store.Value, error) {
	if err := store.CheckName(table, key); err != nil {
		return store.Value{}, err
	}
	if err := t.ctx.Err(); err != nil {
		return store.Value{}, err
	}
	v, ok := t.rows[name{t.tenant, table, key}]
	if !ok {
		return store.Value{}, store.ErrNotFound
	}
	return store.Value{Data: slices.Clone(v.Data), Version: v.Version}, nil
}

func (t *memoryTxn) Put(table, key string, data []byte, at uint64) (uint64, error) {
	if err := store.CheckRow(table, key, data); err != nil {
		return 0, err
	}
	id := name{t.tenant, table, key}
	if err := t.write(len(key) + len(data)); err != nil {
		return 0, err
	}
	if v, ok := t.rows[id]; at != store.AnyVersion && (ok && v.Version != at || !ok && at != 0) {
		return 0, store.ErrConflict
	}
	t.rows[id] = store.Value{Data: slices.Clone(data), Version: t.next}
	return t.next, nil
}

func (t *memoryTxn) Delete(table, key string, at uint64) error {
	if err := store.CheckName(table, key); err != nil {
		return err
	}
	if err := t.write(len(key)); err != nil {
		return err
	}
	id := name{t.tenant, table, key}
	v, ok := t.rows[id]
	if !ok {
		return store.ErrNotFound
	}
	if at != store.AnyVersion && v.Version != at {
		return store.ErrConflict
	}
	delete(t.rows, id)
	return nil
}

func (t *memoryTxn) Scan(table, prefix string, fn func(string, store.Value) error) error {
	if err := store.CheckTable(table); err != nil {
		return err
	}
	if err := store.CheckPrefix(prefix); err != nil {
		return err
	}
	var keys []string
	for id := range t.rows {
		if id.tenant == t.tenant && id.table == table && strings.HasPrefix(id.key, prefix) {
			keys = append(keys, id.key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		v, err := t.Get(table, key)
		if errors.Is(err, store.ErrNotFound) { // deleted by fn
			continue
		}
		if err == nil {
			err = fn(key, v)
		}
		if errors.Is(err, store.ErrDone) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return t.ctx.Err()
}

func (t *memoryTxn) write(bytes int) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	if t.next == 0 {
		return store.ErrReadOnly
	}
	t.writes, t.bytes = t.writes+1, t.bytes+bytes
	if t.writes > store.MaxTxnWrites || t.bytes > store.MaxTxnBytes {
		return store.ErrTooBig
	}
	return nil
}
