package storetest

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/gatewright/gatewright/store"
)

func countersStop(t *testing.T, s store.Store) {
	_, err := s.Consume(t.Context(), "a", "none", 0)
	want(t, err, store.ErrExhausted)
	for i := uint64(1); i <= 3; i++ {
		n, err := s.Consume(t.Context(), "a", "k", 3)
		must(t, err)
		equal(t, "count", n, i)
	}
	n, err := s.Consume(t.Context(), "a", "k", 3)
	want(t, err, store.ErrExhausted)
	equal(t, "count", n, 3)
	_, err = s.Consume(t.Context(), "a", "k", 2)
	want(t, err, store.ErrExhausted)
	n, err = s.Consume(t.Context(), "a", "k", 4)
	must(t, err)
	equal(t, "count", n, 4)
}

func countersApart(t *testing.T, s store.Store) {
	put(t, s, "a", "t", "k", "a row of the same name")
	for _, tenant := range []string{"a", "b", store.Instance} {
		for _, key := range []string{"k", "k2", "t/k"} {
			n, err := s.Consume(t.Context(), tenant, key, 1)
			must(t, err)
			equal(t, "count", n, 1)
		}
	}
	v, _ := get(t, s, "a", "t", "k")
	equal(t, "row", string(v.Data), "a row of the same name")
	equal(t, "rows", len(keys(t, s, "a", "t", "")), 1)
}

func racingConsumers(t *testing.T, s store.Store) {
	const consumers, uses = 64, 10
	var won, lost atomic.Int64
	together(consumers, func(int) {
		switch n, err := s.Consume(t.Context(), "a", "k", uses); {
		case err == nil && n >= 1 && n <= uses:
			won.Add(1)
		case errors.Is(err, store.ErrExhausted):
			lost.Add(1)
		default:
			t.Errorf("count %d, error %v", n, err)
		}
	})
	equal(t, "won", won.Load(), uses)
	equal(t, "lost", lost.Load(), consumers-uses)
}

type rowV1 struct{ Name string }

type rowV2 struct {
	Name  string
	Owner string `json:",omitempty"`
}

func typedRows(t *testing.T, s store.Store) {
	v1, v2 := store.Table[rowV1]{Name: "t", Version: 1}, store.Table[rowV2]{Name: "t", Version: 2}
	must(t, s.Update(t.Context(), "a", func(tx store.Txn) error {
		_, err := v2.Put(tx, "new", rowV2{"n", "o"}, 0)
		must(t, err)
		_, _, err = v1.Get(tx, "new")
		want(t, err, store.ErrNewer)
		want(t, v1.Scan(tx, "", nil), store.ErrNewer)
		at, err := v1.Put(tx, "old", rowV1{"n"}, 0)
		must(t, err)
		row, version, err := v2.Get(tx, "old")
		must(t, err)
		equal(t, "older row", row, rowV2{Name: "n"})
		equal(t, "version", version, at)
		for key, data := range map[string]string{
			"unknown": "\x00\x01" + `{"Name":"n","Other":1}`, "short": "\x00", "cut": "\x00\x01{", "twice": "\x00\x01{}{}", "type": "\x00\x01[]",
		} {
			_, err := tx.Put("t", key, []byte(data), 0)
			must(t, err)
			if _, _, err := v1.Get(tx, key); err == nil {
				t.Errorf("damaged row %q was read", key)
			}
		}
		_, _, err = v1.Get(tx, "absent")
		want(t, err, store.ErrNotFound)
		return v1.Delete(tx, "old", at)
	}))
}
