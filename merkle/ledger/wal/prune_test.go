package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// keep says how many records of acme may go.
func keep(n uint64) func(string) uint64 {
	return func(tenant string) uint64 {
		if tenant == "acme" {
			return n
		}
		return 1 << 40
	}
}

// long is an open log over several segments, with a plan that is used early and late, and a call that stays open.
func long(t testing.TB, o wal.Options) *wal.Log {
	t.Helper()
	l, err := whole(t, o)
	if err != nil {
		t.Fatal(err)
	}
	admit(t, l, "acme", use("early", 1, 1))
	for i := range 40 {
		tenant := []string{"acme", "rival"}[i%2]
		settle(t, l, tenant, admit(t, l, tenant, use(fmt.Sprint("p", i), 0, 1)), ledger.OutcomeOK)
	}
	return l
}

// prunedReport verifies a log with all that an auditor can have.
func prunedReport(t testing.TB, o wal.Options) (wal.Report, error) {
	t.Helper()
	return wal.Verify(t.Context(), o.Dir, wal.VerifyOptions{Signed: o.Signed, K0: k0(t, o), Keys: pinned(t)})
}

func mustReport(t testing.TB, o wal.Options) wal.Report {
	t.Helper()
	rep, err := prunedReport(t, o)
	if err != nil || !rep.Chain {
		t.Fatalf("%+v %v", rep, err)
	}
	return rep
}

func reopen(t testing.TB, o wal.Options) *wal.Log {
	t.Helper()
	l, err := whole(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func pruneOptions(t testing.TB) wal.Options {
	o := options(t.TempDir())
	o.SegmentBytes, o.CheckFirst = 8<<10, -1
	return o
}

func TestAPrunedLogGoesOnFromItsBase(t *testing.T) {
	o := pruneOptions(t)
	l := long(t, o)
	sizes := [2]uint64{l.Size("acme"), l.Size("rival")}
	p, err := l.Prune(t.Context(), keep(20))
	if err != nil || p.Segments < 2 || p.First != uint64(p.Segments) || p.Records == 0 {
		t.Fatalf("%+v %v", p, err)
	}
	for i := range p.Segments {
		if _, err := os.Stat(segment(o, i)); !errors.Is(err, os.ErrNotExist) {
			t.Fatal("segment", i, "is there:", err)
		}
	}
	check := func(l *wal.Log) {
		t.Helper()
		if l.Size("acme") != sizes[0] || l.Size("rival") != sizes[1] {
			t.Fatal(l.Size("acme"), l.Size("rival"))
		}
		if _, err := l.Admit(t.Context(), record("acme", ledger.Admitted), use("early", 1, 1)); !errors.Is(err, wal.ErrUsed) {
			t.Fatal("a use came back with its record:", err)
		}
		if _, err := l.Scan(t.Context(), "acme", 0, 1); !errors.Is(err, wal.ErrPruned) {
			t.Fatal(err)
		}
		all, err := l.Scan(t.Context(), "acme", 20, 100)
		if err != nil || uint64(len(all)) != sizes[0]-20 {
			t.Fatal(len(all), err)
		}
	}
	check(l)
	if again, err := l.Prune(t.Context(), keep(20)); err != nil || again.Segments != 0 || again.Records != p.Records {
		t.Fatalf("%+v %v", again, err)
	}
	shut(t, l)
	rep := mustReport(t, o)
	if rep.First != p.First || rep.Pruned != p.Records || !rep.BaseSigned || rep.Records != sizes[0]+sizes[1] || rep.Open != 1 {
		t.Fatalf("%+v", rep)
	}
	sizes[0]++ // the open call of the boot before is settled
	for _, way := range []string{"from the stored state", "the whole log"} {
		l = reopen(t, o)
		if s := l.Stats(); !strings.HasPrefix(s.Started, way) {
			t.Fatal(s.Started)
		}
		check(l)
		l.WaitAudit()
		if err := l.Stats().Err; err != nil {
			t.Fatal(err)
		}
		shut(t, l)
		remove(t, snapshotFile(o))
	}
	l = reopen(t, o) // and once more, further
	q, err := l.Prune(t.Context(), keep(30))
	if err != nil || q.Segments == 0 || q.First <= p.First {
		t.Fatalf("%+v %v", q, err)
	}
	shut(t, l)
	mustReport(t, o)
}

func TestNothingIsPrunedThatMustStay(t *testing.T) {
	o := pruneOptions(t)
	l := long(t, o)
	for _, n := range []uint64{0, 1} { // the first segment has more of acme than that
		if p, err := l.Prune(t.Context(), keep(n)); err != nil || p.Segments != 0 {
			t.Fatalf("%+v %v", p, err)
		}
	}
	all := func(string) uint64 { return 1 << 40 }
	p, err := l.Prune(t.Context(), all)
	if err != nil || p.First != l.Stats().Segment {
		t.Fatalf("%+v %v: the segment that is written stays, and only it", p, err)
	}
	shut(t, l)
	mustReport(t, o)
}

func TestALogThatIsNotWholeIsNotPruned(t *testing.T) {
	o := pruneOptions(t)
	l := long(t, o)
	damage(t, segment(o, 1), func(b []byte) { b[2000] ^= 1 })
	if _, err := l.Prune(t.Context(), keep(20)); !errors.Is(err, wal.ErrCorrupt) {
		t.Fatal(err)
	}
	if s := l.Stats(); s.Ready || !errors.Is(s.Err, wal.ErrCorrupt) {
		t.Fatalf("%+v", s)
	}
	if _, err := os.Stat(segment(o, 0)); err != nil {
		t.Fatal(err)
	}
}

func TestAPrunedLogWithoutItsBaseIsRefused(t *testing.T) {
	o := pruneOptions(t)
	l := long(t, o)
	first := t.TempDir()
	copyTree(t, filepath.Dir(o.Dir), first)
	if _, err := l.Prune(t.Context(), keep(14)); err != nil {
		t.Fatal(err)
	}
	older, err := os.ReadFile(o.Dir + "/_wal/base")
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Prune(t.Context(), keep(22))
	if err != nil || p.Segments == 0 {
		t.Fatal(p, err)
	}
	signed := signedHeads(t, l)
	shut(t, l)
	snapshot, err := os.ReadFile(snapshotFile(o))
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(o.Dir + "/_wal/base")
	if err != nil {
		t.Fatal(err)
	}
	for name, spoiled := range map[string][]byte{
		"missing":               nil,
		"empty":                 {},
		"cut short":             good[:len(good)-1],
		"a byte changed":        at(good, 70, good[70]^1),
		"an older one":          older,
		"a snapshot":            snapshot,
		"of another instance":   wal.SignState(bytes.Replace(good, []byte("gw-1"), []byte("gw-2"), 1), signerKey()),
		"of a segment's middle": wal.SignState(at(good, 27+2+4+8+8+7, 1), signerKey()),
		"not signed":            append(bytes.Clone(good[:len(good)-64]), make([]byte, 64)...),
		"MAC of a chain":        wal.SignState(at(good, bytes.Index(good, []byte("acme"))+4, 77), signerKey()),
		"tree of a chain":       wal.SignState(at(good, bytes.Index(good, []byte("acme"))+4+32+2+9, good[0]), signerKey()),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			copyTree(t, filepath.Dir(o.Dir), dir)
			c := options(dir)
			c.SegmentBytes, c.Signed = o.SegmentBytes, signed
			if err := os.WriteFile(c.Dir+"/_wal/base", spoiled, 0o600); err != nil {
				t.Fatal(err)
			}
			if spoiled == nil {
				remove(t, c.Dir+"/_wal/base")
			}
			// Only k_0 can check a MAC of an epoch before the running key's.
			if l, err := wal.Open(t.Context(), c); err == nil && name == "MAC of a chain" {
				shut(t, l)
			} else if !errors.Is(err, wal.ErrCorrupt) {
				t.Fatal("it opens:", err)
			}
			if _, err := prunedReport(t, c); !errors.Is(err, wal.ErrCorrupt) {
				t.Fatal("it verifies:", err)
			}
		})
	}
}

func TestAnAuditorWithoutKeysIsToldThatNobodyVouchesForTheBase(t *testing.T) {
	o := pruneOptions(t)
	l := long(t, o)
	if _, err := l.Prune(t.Context(), keep(20)); err != nil {
		t.Fatal(err)
	}
	shut(t, l)
	rep, err := wal.Verify(t.Context(), o.Dir, wal.VerifyOptions{})
	if err != nil || rep.BaseSigned || !strings.Contains(strings.Join(rep.Notes, "\n"), "base of the pruned log") {
		t.Fatalf("%+v %v", rep, err)
	}
}

// Whatever fails while a log is pruned, and wherever the process dies, the log opens whole and the next prune ends it.
func TestPruningSurvivesEveryFaultAndEveryDeath(t *testing.T) {
	for _, op := range []string{"open", "write", "sync", "rename", "remove", "syncdir"} {
		for _, persists := range []bool{false, true} {
			for skip, hit := 0, true; hit; skip++ {
				fs := disktest.New()
				o := pruneOptions(t)
				o.FS = fs
				l := long(t, o)
				size := l.Size("acme")
				for !l.Stats().Spare { // nothing else is to meet the fault
				}
				fs.Arm(&disktest.Fault{Op: op, Suffix: "", Skip: skip, Persists: persists, Err: errDisk})
				p, err := l.Prune(t.Context(), keep(20))
				hit = fs.Hits() > 0
				fs.Arm(nil)
				if _, there := os.Stat(segment(o, 0)); err == nil && (p.Segments == 0 || there == nil) {
					t.Fatal(op, skip, "was passed over")
				}
				dir := t.TempDir()
				copyTree(t, filepath.Dir(o.Dir), dir) // killed
				finish(t, l, size)
				shut(t, l)
				mustReport(t, o)
				c := options(dir)
				c.SegmentBytes, c.CheckFirst = o.SegmentBytes, -1
				l = reopen(t, c)
				l.WaitAudit()
				finish(t, l, size+1) // the open call is settled
				shut(t, l)
				mustReport(t, c)
			}
		}
	}
}

// finish prunes once more and looks whether all is there that must be.
func finish(t *testing.T, l *wal.Log, size uint64) {
	t.Helper()
	if _, err := l.Prune(t.Context(), keep(20)); err != nil && !errors.Is(err, wal.ErrPoisoned) {
		t.Fatal(err)
	}
	all, err := l.Scan(t.Context(), "acme", 20, 100)
	if err != nil || l.Size("acme") != size || uint64(len(all)) != size-20 {
		t.Fatal(len(all), l.Size("acme"), size, err)
	}
}
