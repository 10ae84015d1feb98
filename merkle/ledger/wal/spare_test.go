package wal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// freed lists the segments that pruning gave up and that wait.
func freed(t testing.TB, o wal.Options) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(o.Dir, "_wal", "*.free"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// fillTo appends until a segment is written.
func fillTo(t testing.TB, l *wal.Log, segment uint64) {
	t.Helper()
	for l.Stats().Segment < segment {
		if _, err := l.Append(t.Context(), record("acme", ledger.Admin)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPrunedSegmentsAreUsedAgainWithNothingLeftInThem(t *testing.T) {
	o := pruneOptions(t)
	l := long(t, o)
	awaitSpares(t, l)
	old, err := os.Stat(segment(o, 0))
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Prune(t.Context(), func(string) uint64 { return 30 })
	if err != nil || p.Segments < 4 {
		t.Fatal(p, err)
	}
	if n := len(freed(t, o)); n != 3 {
		t.Fatal(n, "segments wait to be used again; more would hold room that pruning is to give back")
	}
	fillTo(t, l, l.Stats().Segment+2)
	awaitSpares(t, l)
	again := 0
	for n := int(l.Stats().Segment) + 1; ; n++ {
		st, err := os.Stat(segment(o, n))
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(segment(o, n))
		if err != nil || len(bytes.Trim(b, "\x00")) > 0 {
			t.Fatal("segment", n, "is not zero:", err)
		}
		if os.SameFile(st, old) {
			again++
		}
	}
	if again != 1 || len(freed(t, o)) != 1 {
		t.Fatal(again, freed(t, o))
	}
	shut(t, l)
	l = open(t, o) // what waited is taken over
	fillTo(t, l, l.Stats().Segment+2)
	awaitSpares(t, l)
	if len(freed(t, o)) != 0 {
		t.Fatal(freed(t, o))
	}
	shut(t, l)
	mustVerify(t, o)
}

func TestSparesOfAnEarlierStartAreTakenOver(t *testing.T) {
	o := options(t.TempDir())
	o.SegmentBytes = 8 << 10
	l := open(t, o)
	awaitSpares(t, l)
	var before [4]os.FileInfo
	for n := range before {
		st, err := os.Stat(segment(o, n))
		if err != nil {
			t.Fatal(n, err)
		}
		before[n] = st
	}
	shut(t, l)
	l = open(t, o)
	if s := l.Stats(); !s.Spare || !s.Ready {
		t.Fatalf("%+v", s)
	}
	for n := range before {
		if st, err := os.Stat(segment(o, n)); err != nil || !os.SameFile(st, before[n]) {
			t.Fatal(n, "was made again:", err)
		}
	}
	fillTo(t, l, 6)
	shut(t, l)
	mustVerify(t, o)
}

// A real disk, of 1 MiB, where this process may make one.
func TestAFullDiskRefusesAndRecoversByItself(t *testing.T) {
	dir := t.TempDir()
	if err := mountSmall(dir, 1<<20); err != nil {
		t.Skip("no small disk can be made here:", err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
	o := options(dir)
	o.SegmentBytes = 128 << 10
	l := open(t, o)
	t.Cleanup(func() { shut(t, l) }) // before the disk goes
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 300<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	opened, ready, err := fillUp(t, l)
	if !errors.Is(err, wal.ErrFull) || !errors.Is(err, syscall.ENOSPC) || ready {
		t.Fatal(ready, err)
	}
	if s := l.Stats(); s.Ready || !strings.Contains(s.Err.Error(), o.Dir) || !strings.Contains(s.Err.Error(), "are free") {
		t.Fatalf("%+v", s)
	}
	settle(t, l, "acme", opened[0], ledger.OutcomeOK)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		if _, err = l.Append(t.Context(), record("acme", ledger.Refused)); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		t.Fatal("it does not recover by itself:", err)
	}
	shut(t, l)
	mustVerify(t, o)
}
