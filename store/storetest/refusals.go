package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/store"
)

func tenantsAreApart(t *testing.T, s store.Store) {
	put(t, s, "acme", "agents", "a1", "of acme")
	put(t, s, "acme2", "agents", "a1", "of acme2")
	put(t, s, store.Instance, "agents", "a1", "of the instance")
	for tenant, data := range map[string]string{"acme": "of acme", "acme2": "of acme2", store.Instance: "of the instance"} {
		v, _ := get(t, s, tenant, "agents", "a1")
		equal(t, tenant, string(v.Data), data)
		equal(t, "rows of "+tenant, len(keys(t, s, tenant, "agents", "")), 1)
	}
	if _, ok := get(t, s, "other", "agents", "a1"); ok {
		t.Fatal("another tenant reads the row")
	}
	err := s.Update(t.Context(), "other", func(tx store.Txn) error { return tx.Delete("agents", "a1", store.AnyVersion) })
	want(t, err, store.ErrNotFound)
}

// namesCannotCross spells one tenant's or table's key so that it looks like another's under naive joining.
func namesCannotCross(t *testing.T, s store.Store) {
	put(t, s, "a", "t", "b/t/k", "1")
	put(t, s, "ab", "t", "k", "2")
	put(t, s, "a", "tt", "k", "3")
	put(t, s, "a", "t", "\x01ab\x01tk", "4")
	put(t, s, "a", "t", "tk", "5")
	put(t, s, "a-b", "t", "k", "6")
	equal(t, "a/t", fmt.Sprintf("%q", keys(t, s, "a", "t", "")), `["\x01ab\x01tk" "b/t/k" "tk"]`)
	equal(t, "a/tt", fmt.Sprintf("%q", keys(t, s, "a", "tt", "")), `["k"]`)
	equal(t, "ab/t", fmt.Sprintf("%q", keys(t, s, "ab", "t", "")), `["k"]`)
	equal(t, "a-b/t", fmt.Sprintf("%q", keys(t, s, "a-b", "t", "")), `["k"]`)
	equal(t, "b/t", len(keys(t, s, "b", "t", "")), 0)
	// Without the length of the tenant both rows would be a | 0 | x | 1 | 49 times y | rest, for '0' is 48 and '1' is 49.
	put(t, s, "a", "x1"+strings.Repeat("y", 46), "yyyrest", "of a")
	put(t, s, "a0x", strings.Repeat("y", 49), "rest", "of a0x")
	v, _ := get(t, s, "a", "x1"+strings.Repeat("y", 46), "yyyrest")
	equal(t, "row of a", string(v.Data), "of a")
}

func invalidNames(t *testing.T, s store.Store) {
	ctx, nothing := t.Context(), func(store.Txn) error { return nil }
	for _, tenant := range []string{
		"", "_", "_other", "_instance2", "A", "a_b", "a/b", "a.b", "-a", "a b", "a\x00", "\x00", "é", "..", strings.Repeat("a", 64),
	} {
		want(t, s.View(ctx, tenant, nothing), store.ErrInvalid)
		want(t, s.Update(ctx, tenant, nothing), store.ErrInvalid)
		_, err := s.Consume(ctx, tenant, "k", 1)
		want(t, err, store.ErrInvalid)
	}
	must(t, s.Update(ctx, strings.Repeat("a", 63), func(tx store.Txn) error {
		for _, table := range []string{"", "A", "a/b", "a-b", "1a", "_a", "a\x00", strings.Repeat("a", 64)} {
			refused(t, tx, table, "k", nil)
			want(t, tx.Scan(table, "", nil), store.ErrInvalid)
		}
		for _, key := range []string{"", "a\x00b", "\xff", "\xc3", strings.Repeat("k", store.MaxKey+1)} {
			refused(t, tx, "t", key, nil)
		}
		want(t, tx.Scan("t", "\xff", nil), store.ErrInvalid)
		return nil
	}))
	for _, key := range []string{"", "\x00", strings.Repeat("k", store.MaxKey+1)} {
		_, err := s.Consume(ctx, "a", key, 1)
		want(t, err, store.ErrInvalid)
	}
}

func refused(t *testing.T, tx store.Txn, table, key string, data []byte) {
	t.Helper()
	_, err := tx.Get(table, key)
	want(t, err, store.ErrInvalid)
	_, err = tx.Put(table, key, data, store.AnyVersion)
	want(t, err, store.ErrInvalid)
	want(t, tx.Delete(table, key, store.AnyVersion), store.ErrInvalid)
}

func oversizedRows(t *testing.T, s store.Store) {
	err := s.Update(t.Context(), "a", func(tx store.Txn) error {
		_, err := tx.Put("t", "k", make([]byte, store.MaxValue+1), 0)
		return err
	})
	want(t, err, store.ErrInvalid)
	equal(t, "rows", len(keys(t, s, "a", "t", "")), 0)
}

func transactionBounds(t *testing.T, s store.Store) {
	many := func(n int, data []byte) error {
		return s.Update(t.Context(), "a", func(tx store.Txn) error {
			for i := range n {
				if _, err := tx.Put("t", fmt.Sprint(i), data, store.AnyVersion); err != nil {
					return err
				}
			}
			return nil
		})
	}
	want(t, many(store.MaxTxnWrites+1, nil), store.ErrTooBig)
	want(t, many(store.MaxTxnBytes/store.MaxValue+1, make([]byte, store.MaxValue)), store.ErrTooBig)
	equal(t, "rows", len(keys(t, s, "a", "t", "")), 0)
}

func largestTransaction(t *testing.T, s store.Store) {
	pad, data := strings.Repeat("k", store.MaxKey-8), make([]byte, 1024)
	must(t, s.Update(t.Context(), strings.Repeat("a", store.MaxTenant), func(tx store.Txn) error {
		for i := range store.MaxTxnWrites {
			if _, err := tx.Put("t", fmt.Sprintf("%s%08d", pad, i), data, 0); err != nil {
				return err
			}
		}
		return nil
	}))
	equal(t, "rows", len(keys(t, s, strings.Repeat("a", store.MaxTenant), "t", "")), store.MaxTxnWrites)
}

func wrongVersions(t *testing.T, s store.Store) {
	version := put(t, s, "a", "t", "k", "first")
	for _, at := range []uint64{0, version + 1, version - 1, 1 << 63} {
		err := s.Update(t.Context(), "a", func(tx store.Txn) error {
			_, err := tx.Put("t", "k", []byte("stolen"), at)
			return err
		})
		want(t, err, store.ErrConflict)
		err = s.Update(t.Context(), "a", func(tx store.Txn) error { return tx.Delete("t", "k", at) })
		want(t, err, store.ErrConflict)
	}
	err := s.Update(t.Context(), "a", func(tx store.Txn) error {
		_, err := tx.Put("t", "absent", nil, version)
		return err
	})
	want(t, err, store.ErrConflict)
	err = s.Update(t.Context(), "a", func(tx store.Txn) error { return tx.Delete("t", "absent", store.AnyVersion) })
	want(t, err, store.ErrNotFound)
	v, _ := get(t, s, "a", "t", "k")
	equal(t, "row", string(v.Data), "first")
	equal(t, "version", v.Version, version)
}

func viewCannotWrite(t *testing.T, s store.Store) {
	put(t, s, "a", "t", "k", "v")
	must(t, s.View(t.Context(), "a", func(tx store.Txn) error {
		_, err := tx.Put("t", "k", nil, store.AnyVersion)
		want(t, err, store.ErrReadOnly)
		want(t, tx.Delete("t", "k", store.AnyVersion), store.ErrReadOnly)
		return nil
	}))
}

func errorLeavesNothing(t *testing.T, s store.Store) {
	mine, runs := errors.New("mine"), 0
	err := s.Update(t.Context(), "a", func(tx store.Txn) error {
		runs++
		if _, err := tx.Put("t", "k", nil, 0); err != nil {
			return err
		}
		return mine
	})
	want(t, err, mine)
	equal(t, "runs", runs, 1)
	equal(t, "rows", len(keys(t, s, "a", "t", "")), 0)
}

func panicLeavesNothing(t *testing.T, s store.Store) {
	func() {
		defer func() { equal(t, "panic", fmt.Sprint(recover()), "mine") }()
		_ = s.Update(t.Context(), "a", func(tx store.Txn) error {
			_, err := tx.Put("t", "k", nil, 0)
			must(t, err)
			panic("mine")
		})
	}()
	equal(t, "rows", len(keys(t, s, "a", "t", "")), 0)
	put(t, s, "a", "t", "after", "") // no lock was left behind
}

func cancelledContext(t *testing.T, s store.Store) {
	put(t, s, "a", "t", "k", "v")
	ctx, cancel := context.WithCancel(t.Context())
	want(t, s.Update(ctx, "a", func(tx store.Txn) error {
		_, err := tx.Put("t", "late", nil, 0)
		cancel()
		return err
	}), context.Canceled)
	never := func(store.Txn) error { t.Error("fn ran"); return nil }
	want(t, s.View(ctx, "a", never), context.Canceled)
	want(t, s.Update(ctx, "a", never), context.Canceled)
	_, err := s.Consume(ctx, "a", "k", 1)
	want(t, err, context.Canceled)
	ctx, cancel = context.WithCancel(t.Context())
	want(t, s.View(ctx, "a", func(tx store.Txn) error {
		cancel()
		_, err := tx.Get("t", "k")
		return err
	}), context.Canceled)
	equal(t, "rows", fmt.Sprint(keys(t, s, "a", "t", "")), "[k]")
	n, err := s.Consume(t.Context(), "a", "k", 1)
	must(t, err)
	equal(t, "count", n, 1)
}

func closedStore(t *testing.T, s store.Store) {
	put(t, s, "a", "t", "k", "v")
	must(t, s.Close())
	never := func(store.Txn) error { t.Error("fn ran"); return nil }
	want(t, s.View(t.Context(), "a", never), store.ErrClosed)
	want(t, s.Update(t.Context(), "a", never), store.ErrClosed)
	_, err := s.Consume(t.Context(), "a", "k", 1)
	want(t, err, store.ErrClosed)
	must(t, s.Close())
}
