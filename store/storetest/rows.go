package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/store"
)

func versionsGrow(t *testing.T, s store.Store) {
	seen := map[uint64]bool{}
	for range 5 {
		for range 3 {
			v := put(t, s, "a", "t", "k", "v")
			if v == 0 || v == store.AnyVersion || seen[v] {
				t.Fatalf("version %d was given before or is reserved", v)
			}
			seen[v] = true
		}
		must(t, s.Update(t.Context(), "a", func(tx store.Txn) error { return tx.Delete("t", "k", store.AnyVersion) }))
	}
}

func ownWrites(t *testing.T, s store.Store) {
	put(t, s, "a", "t", "old", "v")
	must(t, s.Update(t.Context(), "a", func(tx store.Txn) error {
		first, err := tx.Put("t", "k", []byte("1"), 0)
		must(t, err)
		second, err := tx.Put("t", "k", []byte("2"), first)
		must(t, err)
		v, err := tx.Get("t", "k")
		must(t, err)
		equal(t, "row", string(v.Data), "2")
		equal(t, "version", v.Version, second)
		must(t, tx.Delete("t", "old", store.AnyVersion))
		_, err = tx.Get("t", "old")
		want(t, err, store.ErrNotFound)
		var got []string
		must(t, tx.Scan("t", "", func(key string, v store.Value) error {
			got = append(got, key+"="+string(v.Data))
			return nil
		}))
		equal(t, "scan", fmt.Sprint(got), "[k=2]")
		return nil
	}))
	equal(t, "rows", fmt.Sprint(keys(t, s, "a", "t", "")), "[k]")
}

func viewIsSnapshot(t *testing.T, s store.Store) {
	put(t, s, "a", "t", "k", "before")
	must(t, s.View(t.Context(), "a", func(tx store.Txn) error {
		put(t, s, "a", "t", "k", "after")
		put(t, s, "a", "t", "new", "after")
		v, err := tx.Get("t", "k")
		must(t, err)
		equal(t, "row", string(v.Data), "before")
		_, err = tx.Get("t", "new")
		want(t, err, store.ErrNotFound)
		return nil
	}))
}

func scanOrder(t *testing.T, s store.Store) {
	all := []string{"a", "a!", "a/", "a/1", "a/10", "a/2", "a0", "aé", "b", "é", "日本"}
	for i := range all {
		put(t, s, "a", "t", all[(i*7)%len(all)], "v")
	}
	put(t, s, "a", "u", "a/1", "other table")
	equal(t, "all", fmt.Sprint(keys(t, s, "a", "t", "")), fmt.Sprint(all))
	equal(t, "a/", fmt.Sprint(keys(t, s, "a", "t", "a/")), "[a/ a/1 a/10 a/2]")
	equal(t, "a/1", fmt.Sprint(keys(t, s, "a", "t", "a/1")), "[a/1 a/10]")
	equal(t, "none", len(keys(t, s, "a", "t", "zz")), 0)
}

func scanEnds(t *testing.T, s store.Store) {
	put(t, s, "a", "t", "k1", "")
	put(t, s, "a", "t", "k2", "")
	mine := errors.New("mine")
	for given, expected := range map[error]error{store.ErrDone: nil, mine: mine} {
		visits := 0
		err := s.View(t.Context(), "a", func(tx store.Txn) error {
			return tx.Scan("t", "", func(string, store.Value) error { visits++; return given })
		})
		want(t, err, expected)
		equal(t, "visits", visits, 1)
	}
}

func scanWork(t *testing.T, s store.Store) {
	for i := range 5 {
		put(t, s, "a", "t", fmt.Sprint("k", i), "v")
	}
	must(t, s.Update(t.Context(), "a", func(tx store.Txn) error {
		return tx.Scan("t", "", func(key string, v store.Value) error {
			must(t, tx.Scan("t", key, func(inner string, _ store.Value) error { equal(t, "inner", inner, key); return nil }))
			_, err := tx.Put("moved", key, v.Data, 0)
			must(t, err)
			return tx.Delete("t", key, v.Version)
		})
	}))
	equal(t, "left", len(keys(t, s, "a", "t", "")), 0)
	equal(t, "moved", fmt.Sprint(keys(t, s, "a", "moved", "")), "[k0 k1 k2 k3 k4]")
}

func longScan(t *testing.T, s store.Store) {
	must(t, s.Update(t.Context(), "a", func(tx store.Txn) error {
		for i := range 900 {
			if _, err := tx.Put("t", fmt.Sprintf("%04d", i), make([]byte, 3000), 0); err != nil {
				return err
			}
		}
		return nil
	}))
	got := keys(t, s, "a", "t", "")
	equal(t, "rows", len(got), 900)
	if !slices.IsSorted(got) || got[899] != "0899" {
		t.Fatal("rows are missing or out of order")
	}
}

func bigValues(t *testing.T, s store.Store) {
	for _, size := range []int{0, 1, 1016, 1017, 1024, 64 << 10, store.MaxValue} {
		data := bytes.Repeat([]byte{0xA5}, size)
		put(t, s, "a", "t", "k", string(data))
		v, ok := get(t, s, "a", "t", "k")
		if !ok || !bytes.Equal(v.Data, data) {
			t.Fatalf("%d bytes did not come back", size)
		}
	}
}

func dataIsCopied(t *testing.T, s store.Store) {
	data := []byte("kept")
	must(t, s.Update(t.Context(), "a", func(tx store.Txn) error {
		copy(data, "kept")
		_, err := tx.Put("t", "k", data, store.AnyVersion)
		copy(data, "XXXX")
		return err
	}))
	v, _ := get(t, s, "a", "t", "k")
	copy(v.Data, "YYYY")
	v, _ = get(t, s, "a", "t", "k")
	equal(t, "row", string(v.Data), "kept")
}

func racingIncrements(t *testing.T, s store.Store) {
	put(t, s, "a", "t", "k", "")
	const writers = 32
	together(writers, func(int) {
		err := s.Update(t.Context(), "a", func(tx store.Txn) error {
			v, err := tx.Get("t", "k")
			if err != nil {
				return err
			}
			_, err = tx.Put("t", "k", append(v.Data, 'x'), v.Version)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	v, _ := get(t, s, "a", "t", "k")
	equal(t, "increments", len(v.Data), writers)
}

// scanSeesPhantoms lets many writers each add one row unless there are three: without serializable scans all of them
// would see none and add theirs.
func scanSeesPhantoms(t *testing.T, s store.Store) {
	together(24, func(i int) {
		err := s.Update(t.Context(), "a", func(tx store.Txn) error {
			n := 0
			if err := tx.Scan("t", "", func(string, store.Value) error { n++; return nil }); err != nil || n >= 3 {
				return err
			}
			_, err := tx.Put("t", fmt.Sprint(i), nil, 0)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	equal(t, "rows", len(keys(t, s, "a", "t", "")), 3)
}

// together runs fn n times at once, started as close to each other as the scheduler allows.
func together(n int, fn func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() { <-start; fn(i) })
	}
	close(start)
	wg.Wait()
}
