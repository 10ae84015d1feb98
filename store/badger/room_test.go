package badger_test

import (
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/badger"
)

func TestNothingIsWrittenWhereRoomIsShort(t *testing.T) {
	var room atomic.Int64
	room.Store(1 << 30)
	o := badger.Options{Dir: t.TempDir(), Key: key("right"), Free: func(string) (int64, error) { return room.Load(), nil }}
	s, err := badger.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, "k", "v")
	room.Store(20 << 20)
	ran := false
	err = s.Update(t.Context(), "a", func(store.Txn) error { ran = true; return nil })
	if !errors.Is(err, store.ErrNoRoom) || ran || s.Ready() == nil {
		t.Errorf("update with a full disk: %v, its function ran: %v, ready: %v", err, ran, s.Ready())
	}
	if _, err := s.Consume(t.Context(), "a", "uses", 2); !errors.Is(err, store.ErrNoRoom) {
		t.Error("consume with a full disk:", err)
	}
	if got := read(t, s, "k"); got != "v" {
		t.Errorf("read %q", got)
	}
	room.Store(1 << 30)
	if err := s.Ready(); err != nil {
		t.Error("with room again:", err)
	}
	write(t, s, "k", "w")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	room.Store(0)
	before, _ := os.ReadDir(o.Dir)
	_, err = badger.Open(o)
	if !errors.Is(err, store.ErrNoRoom) || !strings.HasPrefix(err.Error(), "data folder: 0 MiB free in "+o.Dir+", ") || strings.Contains(err.Error(), "\n") {
		t.Error("open on a full disk:", err)
	}
	if after, _ := os.ReadDir(o.Dir); len(after) != len(before) {
		t.Error("a refused start left files")
	}
	room.Store(1 << 30)
	if s, err = badger.Open(o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := read(t, s, "k"); got != "w" {
		t.Errorf("read %q", got)
	}
}

func TestADiskThatCannotBeMeasuredIsWrittenTo(t *testing.T) {
	s, err := badger.Open(badger.Options{Dir: t.TempDir(), Key: key("right"), Free: func(string) (int64, error) { return 0, errors.ErrUnsupported }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	write(t, s, "k", "v")
}
