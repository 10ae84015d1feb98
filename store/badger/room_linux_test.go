package badger_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/badger"
)

// TestAFullDiskEndsWritesAndNotTheProcess fills a small file system under the store. Where none can be mounted, the test
// of the refusal alone has to do.
func TestAFullDiskEndsWritesAndNotTheProcess(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=96m"); err != nil {
		t.Skip("no file system can be mounted here:", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	o := badger.Options{Dir: filepath.Join(dir, "store"), Key: key("right")}
	s, err := badger.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, "k", "v")
	fill(t, filepath.Join(dir, "fill"))
	for i := range 100 {
		err := s.Update(t.Context(), "a", func(tx store.Txn) error {
			_, err := tx.Put("t", "k", []byte(strings.Repeat("x", 100+i*100)), store.AnyVersion)
			return err
		})
		if !errors.Is(err, store.ErrNoRoom) {
			t.Fatal("written to a full disk:", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal("close on a full disk:", err)
	}
	fill(t, filepath.Join(dir, "fill2"))
	if _, err := badger.Open(o); !errors.Is(err, store.ErrNoRoom) {
		t.Fatal("opened on a full disk:", err)
	}
	for _, name := range []string{"fill", "fill2"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, open(t, o.Dir), "k"); got != "v" {
		t.Errorf("read %q", got)
	}
}

// fill leaves no block free.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 1<<20); len(b) > 0; {
		if _, err := f.Write(b); errors.Is(err, syscall.ENOSPC) {
			b = b[:len(b)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
