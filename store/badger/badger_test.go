package badger_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/badger"
	"github.com/gatewright/gatewright/store/storetest"
)

func key(of string) []byte { k := sha256.Sum256([]byte(of)); return k[:] }

func open(t *testing.T, dir string) store.Store {
	t.Helper()
	s, err := badger.Open(badger.Options{Dir: dir, Key: key("right")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestASecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	_, err := badger.Open(badger.Options{Dir: dir, Key: key("right")})
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), "--data") {
		t.Fatalf("got %v, want a locked folder and a hint", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

// A process can be killed between making a file and giving it a size.
func TestAFileThatAKillLeftEmptyIsNoObstacle(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	write(t, s, "k", "v")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"00007.mem", "00008.mem", "000009.vlog", "000012.vlog", "000999.sst"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		s = open(t, dir)
		if got := read(t, s, "k"); got != "v" {
			t.Fatalf("got %q", got)
		}
		write(t, s, "k2", "v2")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnotherKeyIsRefusedAndHarmsNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	write(t, s, "k", "v")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wrong := key("wrong")
	_, err := badger.Open(badger.Options{Dir: dir, Key: wrong})
	if !errors.Is(err, store.ErrWrongKey) {
		t.Fatalf("got %v, want a wrong key", err)
	}
	if strings.Contains(err.Error(), string(wrong)) {
		t.Fatal("the error shows the key")
	}
	if got := read(t, open(t, dir), "k"); got != "v" {
		t.Fatalf("read %q", got)
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	for _, o := range []badger.Options{
		{Key: key("right")},
		{Dir: t.TempDir()},
		{Dir: t.TempDir(), Key: make([]byte, 16)},
		{Dir: t.TempDir(), Key: make([]byte, 33)},
	} {
		if _, err := badger.Open(o); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("got %v, want invalid", err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := badger.Open(badger.Options{Dir: file, Key: key("right")}); err == nil {
		t.Error("a file was opened as a folder")
	}
}

func TestNothingReadableLiesOnDisk(t *testing.T) {
	const canary = "canary-5f1c-in-plain-sight"
	dir := t.TempDir()
	s := open(t, dir)
	write(t, s, canary, canary)
	write(t, s, "big", strings.Repeat(canary, 1000))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 3 {
		t.Fatalf("files %v, error %v", files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("canary")) {
			t.Errorf("%s shows a row", filepath.Base(f))
		}
		if len(b) > 256<<20 {
			t.Errorf("%s has %d bytes", filepath.Base(f), len(b))
		}
	}
}

func TestBadgerKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, t.TempDir()) })
}

func TestBadgerOutlivesARestart(t *testing.T) { storetest.RunReopen(t, open) }

// A folder copied from under a running store is what a killed process leaves.
func TestAcknowledgedRowsOutliveAKill(t *testing.T) {
	dir, left := t.TempDir(), filepath.Join(t.TempDir(), "left")
	s := open(t, dir)
	for i := range 50 {
		write(t, s, fmt.Sprint("k", i), strings.Repeat("v", 40*i))
		if _, err := s.Consume(t.Context(), "a", "uses", 50); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	found := open(t, left)
	for i := range 50 {
		if got := read(t, found, fmt.Sprint("k", i)); len(got) != 40*i {
			t.Errorf("row %d has %d bytes", i, len(got))
		}
	}
	if n, err := found.Consume(t.Context(), "a", "uses", 50); !errors.Is(err, store.ErrExhausted) {
		t.Errorf("a spent use was given again: count %d, error %v", n, err)
	}
}

func TestTheEngineIsQuiet(t *testing.T) {
	var log bytes.Buffer
	s, err := badger.Open(badger.Options{Dir: t.TempDir(), Key: key("right"), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, "k", "v")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if log.Len() > 0 {
		t.Errorf("logged %s", log.String())
	}
}

func BenchmarkUpdate(b *testing.B) {
	s, err := badger.Open(badger.Options{Dir: b.TempDir(), Key: key("right")})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Update(b.Context(), "a", func(tx store.Txn) error {
			_, err := tx.Put("t", "k", make([]byte, 300), store.AnyVersion)
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
}

func write(t *testing.T, s store.Store, key, data string) {
	t.Helper()
	if err := s.Update(t.Context(), "a", func(tx store.Txn) error {
		_, err := tx.Put("t", key, []byte(data), store.AnyVersion)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s store.Store, key string) (data string) {
	t.Helper()
	if err := s.View(t.Context(), "a", func(tx store.Txn) error {
		v, err := tx.Get("t", key)
		data = string(v.Data)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return data
}
