package wal_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

func snapshotFile(o wal.Options) string { return filepath.Join(o.Dir, "_wal", "snapshot") }

// history is a closed log over several segments with uses, an open call of an earlier boot, and a stored state.
func history(t testing.TB) wal.Options {
	t.Helper()
	o := options(t.TempDir())
	o.SegmentBytes, o.CheckFirst = 8<<10, -1
	l := open(t, o)
	for i := range 40 {
		tenant := []string{"acme", "rival"}[i%2]
		id := admit(t, l, tenant, use(fmt.Sprint("p", i), int32(i%3), 2))
		if i%4 > 0 {
			settle(t, l, tenant, id, ledger.OutcomeOK)
		}
	}
	shut(t, l)
	return o
}

// whole opens a log without publishing, so that nothing but the log itself speaks for its length.
func whole(t testing.TB, o wal.Options) (*wal.Log, error) {
	t.Helper()
	l, err := wal.Open(t.Context(), o)
	if err == nil {
		t.Cleanup(func() { shut(t, l) })
	}
	return l, err
}

func stored(s wal.Stats) bool { return strings.HasPrefix(s.Started, "from the stored state") }

func TestAStartGoesOnFromTheStoredStateAndChecksTheRestBehind(t *testing.T) {
	o := history(t)
	l := open(t, o)
	if s := l.Stats(); !stored(s) || s.Err != nil || s.Plans != 40 {
		t.Fatalf("%+v", s)
	}
	if _, err := l.Admit(t.Context(), record("acme", ledger.Admitted), use("p0", 0, 1)); !errors.Is(err, wal.ErrUsed) {
		t.Fatal("a use came back:", err)
	}
	if st := l.Steps(plan("p3")); len(st) != 1 || !st[0].Done || st[0].Used != 1 {
		t.Fatal(st)
	}
	all, err := l.Scan(t.Context(), "rival", 0, 1000)
	if err != nil || uint64(len(all)) != l.Size("rival") {
		t.Fatal(len(all), err)
	}
	if got := strings.Join(l.Tenants(), " "); got != "acme rival" {
		t.Fatal(got)
	}
	l.WaitAudit()
	if s := l.Stats(); s.Verify != nil || s.Err != nil || s.Verified != s.VerifyOf || s.Verified == 0 {
		t.Fatalf("%+v", s)
	}
	admit(t, l, "acme", use("more", 0, 1))
	shut(t, l)
	mustVerify(t, o)
}

func TestTheTailBehindAStoredStateIsReplayed(t *testing.T) {
	o := history(t)
	l := open(t, o)
	for i := range 30 {
		admit(t, l, "acme", use(fmt.Sprint("tail", i), 0, 1))
	}
	dir := t.TempDir()
	copyTree(t, filepath.Dir(o.Dir), dir) // killed
	c := options(dir)
	c.SegmentBytes, c.CheckFirst = o.SegmentBytes, -1
	l = open(t, c)
	if s := l.Stats(); !stored(s) {
		t.Fatalf("%+v", s)
	}
	for i := range 30 {
		if l.Used(plan(fmt.Sprint("tail", i)), 0) != 1 {
			t.Fatal(i, "is lost")
		}
	}
	l.WaitAudit()
	shut(t, l)
	mustVerify(t, c)
}

// Whatever stands in place of the stored state, the log opens as it would without one, or not at all.
func TestAStoredStateThatIsNotTheLogsOwnIsNotBelieved(t *testing.T) {
	o := history(t)
	good, err := os.ReadFile(snapshotFile(o))
	if err != nil {
		t.Fatal(err)
	}
	other := sha256.Sum256([]byte("somebody else"))
	for name, spoiled := range map[string][]byte{
		"missing":               nil,
		"empty":                 {},
		"cut short":             good[:len(good)-100],
		"a byte more":           append(bytes.Clone(good), 0),
		"signed by another key": wal.SignState(bytes.Clone(good), ed25519.NewKeyFromSeed(other[:])),
		"signature taken off":   append(bytes.Clone(good[:len(good)-64]), make([]byte, 64)...),
		"of another instance":   wal.SignState(bytes.Replace(good, []byte("gw-1"), []byte("gw-2"), 1), signerKey()),
		"a base":                wal.SignState(at(good, 27, 2), signerKey()),
		"of another generation": wal.SignState(at(good, 27+2+4+7, 2), signerKey()),
		"of a boot to come":     wal.SignState(at(good, 27+2+4+8*4, 1), signerKey()),
		"of a newer version":    wal.SignState(bytes.Replace(good, []byte("state/v1"), []byte("state/v2"), 1), signerKey()),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(snapshotFile(o), spoiled, 0o600); err != nil {
				t.Fatal(err)
			}
			if spoiled == nil {
				remove(t, snapshotFile(o))
			}
			l, err := whole(t, o)
			if err != nil {
				t.Fatal(err)
			}
			s := l.Stats()
			if stored(s) || s.Started == "" || s.Plans != 40 {
				t.Fatalf("%+v", s)
			}
			t.Log(s.Started)
			shut(t, l)
		})
	}
}

func at(b []byte, i int, v byte) []byte {
	b = bytes.Clone(b)
	b[i] = v
	return b
}

func TestEveryFlippedBitOfAStoredStateIsFound(t *testing.T) {
	o := history(t)
	good, err := os.ReadFile(snapshotFile(o))
	if err != nil {
		t.Fatal(err)
	}
	stride := 1
	if testing.Short() {
		stride = 97
	}
	for i := 0; i < len(good)*8; i += stride {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		if wal.BelieveState(b, pinned(t)) == nil {
			t.Fatal("bit", i, "is not covered")
		}
	}
}

func TestAStateBehindTheEndOfTheLogShowsThatRecordsAreMissing(t *testing.T) {
	for name, spoil := range map[string]func(o wal.Options){
		"last segment emptied": func(o wal.Options) { damage(t, segment(o, lastSegment(o)), func(b []byte) { clear(b) }) },
		"last segment missing": func(o wal.Options) { remove(t, segment(o, lastSegment(o))) },
		"two segments missing": func(o wal.Options) {
			n := lastSegment(o)
			remove(t, segment(o, n))
			remove(t, segment(o, n-1))
		},
		"last record cut off": func(o wal.Options) {
			damage(t, segment(o, lastSegment(o)), func(b []byte) {
				end := len(bytes.TrimRight(b, "\x00"))
				start := wal.HeaderBytes
				for next := start; next < end; next += frameSize(b, next) {
					start = next
				}
				clear(b[start:])
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := history(t)
			spoil(o)
			for i := range 6 { // spares behind the data, which hold nothing
				_ = os.Remove(segment(o, lastSegment(o)+1+i))
			}
			_, err := whole(t, o)
			if !errors.Is(err, wal.ErrTruncated) || !strings.Contains(err.Error(), "gatewright ledger restore") {
				t.Fatal(err)
			}
			if _, err := verify(t, o); !errors.Is(err, wal.ErrTruncated) {
				t.Fatal(err)
			}
		})
	}
}

func frameSize(b []byte, at int) int {
	return int(b[at])<<24 + int(b[at+1])<<16 + int(b[at+2])<<8 + int(b[at+3]) + 8
}

// lastSegment is the last one with data.
func lastSegment(o wal.Options) int {
	n := 0
	for i := range 100 {
		if b, err := os.ReadFile(segment(o, i)); err == nil && !zero(b) {
			n = i
		}
	}
	return n
}

func TestAStateOfAnotherHistoryOfTheLogRefusesIt(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	o.SegmentBytes, o.CheckFirst = 8<<10, -1
	l := open(t, o)
	admit(t, l, "acme", use("shared", 0, 1))
	shut(t, l)
	clone := t.TempDir()
	copyTree(t, dir, clone)
	c := options(clone)
	c.SegmentBytes, c.CheckFirst = o.SegmentBytes, -1
	for _, o := range []wal.Options{o, c} { // two stories, as long as each other
		l, err := whole(t, o)
		if err != nil {
			t.Fatal(err)
		}
		for range 30 {
			admit(t, l, "acme", use("apart", 0, 0))
		}
		shut(t, l)
	}
	rename(t, snapshotFile(c), snapshotFile(o))
	if _, err := whole(t, o); !errors.Is(err, wal.ErrCorrupt) || !strings.Contains(err.Error(), "signed state") {
		t.Fatal(err)
	}
}

func TestAnOldStoredStateIsGoneOnFromToo(t *testing.T) {
	o := history(t)
	old, err := os.ReadFile(snapshotFile(o))
	if err != nil {
		t.Fatal(err)
	}
	l := open(t, o)
	for i := range 40 {
		admit(t, l, "acme", use(fmt.Sprint("later", i), 0, 1))
	}
	shut(t, l)
	if err := os.WriteFile(snapshotFile(o), old, 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, o)
	if s := l.Stats(); !stored(s) || s.Plans != 80 {
		t.Fatalf("%+v", s)
	}
	l.WaitAudit()
	if err := l.Stats().Err; err != nil {
		t.Fatal(err)
	}
}

func TestDamageBeforeTheStoredStatePoisonsTheLog(t *testing.T) {
	for name, spoil := range map[string]func(o wal.Options){
		"a byte":             func(o wal.Options) { damage(t, segment(o, 1), func(b []byte) { b[2000] ^= 1 }) },
		"a segment is gone":  func(o wal.Options) { remove(t, segment(o, 0)) },
		"a segment is empty": func(o wal.Options) { damage(t, segment(o, 0), func(b []byte) { clear(b) }) },
	} {
		t.Run(name, func(t *testing.T) {
			o := history(t)
			spoil(o)
			l, err := openLog(t.Context(), o)
			if err != nil {
				if !errors.Is(err, wal.ErrCorrupt) {
					t.Fatal(err)
				}
				return // found before it was ready
			}
			defer shut(t, l)
			l.WaitAudit()
			s := l.Stats()
			if s.Ready || !errors.Is(s.Err, wal.ErrCorrupt) || !strings.Contains(s.Err.Error(), "segment") {
				t.Fatalf("%+v", s)
			}
			if _, err := l.Append(t.Context(), record("acme", ledger.Admin)); !errors.Is(err, wal.ErrPoisoned) || !errors.Is(err, wal.ErrCorrupt) {
				t.Fatal("a log that is not whole takes records:", err)
			}
		})
	}
}

func TestASmallHistoryIsCheckedBeforeTheLogIsReady(t *testing.T) {
	o := history(t)
	damage(t, segment(o, 1), func(b []byte) { b[2000] ^= 1 })
	o.CheckFirst = 0
	if _, err := openLog(t.Context(), o); !errors.Is(err, wal.ErrCorrupt) {
		t.Fatal(err)
	}
}

// A stored state with fewer uses than the records have would give uses back. Only the instance's key could sign it; it is
// found all the same.
func TestAStoredStateWithFewerUsesThanTheLogIsFound(t *testing.T) {
	o := history(t)
	b, err := os.ReadFile(snapshotFile(o))
	if err != nil {
		t.Fatal(err)
	}
	h := plan("p5")
	i := bytes.Index(b, h[:])
	if i < 0 {
		t.Fatal("the plan is not in the state")
	}
	b[i+32+4+8+4+2] -= 2 // uses of its third step, shifted by one
	if err := os.WriteFile(snapshotFile(o), wal.SignState(b, signerKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := openLog(t.Context(), o)
	if err == nil { // else found before it was ready
		l.WaitAudit()
		err = l.Stats().Err
		shut(t, l)
	}
	if !errors.Is(err, wal.ErrCorrupt) || !strings.Contains(err.Error(), h.String()) {
		t.Fatal(err)
	}
}

func TestFaultsWhileTheStateIsStoredCostNoRecord(t *testing.T) {
	for _, op := range []string{"open", "write", "sync", "rename", "remove", "syncdir"} {
		for _, persists := range []bool{false, true} {
			for skip, hit := 0, true; hit; skip++ {
				fs := disktest.New()
				o := options(t.TempDir())
				o.FS, o.CheckFirst, o.SegmentBytes = fs, -1, 8<<10
				l := open(t, o)
				awaitSpares(t, l) // what is made in the background meets no fault
				admit(t, l, "acme", use("p", 0, 1))
				if err := l.SaveState(); err != nil {
					t.Fatal(err)
				}
				id := admit(t, l, "acme", use("q", 0, 1))
				suffix := "snapshot.tmp"
				switch op {
				case "rename":
					suffix = "snapshot"
				case "syncdir":
					suffix = "_wal"
				}
				fs.Arm(&disktest.Fault{Op: op, Suffix: suffix, Skip: skip, Persists: persists, Err: errDisk})
				err := l.SaveState()
				if hit = fs.Hits() > 0; hit != (err != nil) {
					t.Fatal(op, skip, err)
				}
				fs.Arm(nil)
				settle(t, l, "acme", id, ledger.OutcomeOK)
				dir := t.TempDir()
				copyTree(t, filepath.Dir(o.Dir), dir) // killed
				shut(t, l)
				c := options(dir)
				c.SegmentBytes, c.CheckFirst = o.SegmentBytes, -1
				l = open(t, c)
				if !stored(l.Stats()) || l.Used(plan("q"), 0) != 1 || l.Size("acme") != 4 { // the call that was open is settled
					t.Fatalf("%s %d: %+v", op, skip, l.Stats())
				}
				l.WaitAudit()
				shut(t, l)
				mustVerify(t, c)
			}
		}
	}
}

// The copy is of the moment it began, whatever happens to the table while it is made.
func TestTheCopyOfTheUsesIsOfOneMoment(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		table := wal.NewUsesTable()
		var calls []string
		change := func() {
			switch rnd.IntN(5) {
			case 0, 1, 2:
				id := fmt.Sprintf("rec_%026d", rnd.Uint64())
				u := wal.Use{Plan: plan(fmt.Sprint(rnd.IntN(2000))), Step: int32(rnd.IntN(4)), Expires: int64(rnd.IntN(100))}
				if rnd.IntN(10) == 0 {
					u = wal.Use{}
				}
				if table.Admit(id, u, 0) == nil {
					calls = append(calls, id)
				}
			case 3:
				if len(calls) > 0 {
					i := rnd.IntN(len(calls))
					_ = table.Settle(calls[i], []string{ledger.OutcomeOK, "tool_error"}[rnd.IntN(2)])
					calls[i] = calls[len(calls)-1]
					calls = calls[:len(calls)-1]
				}
			case 4:
				if rnd.IntN(50) == 0 {
					table.Sweep(int64(rnd.IntN(50)))
				}
			}
		}
		for range 3 {
			for range rnd.IntN(1500) {
				change()
			}
			want := table.Plain()
			table.Begin()
			for range rnd.IntN(500) {
				change()
			}
			stop, ended := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(ended)
				for {
					select {
					case <-stop:
						return
					default:
						change()
					}
				}
			}()
			got, _, err := table.Finish()
			close(stop)
			<-ended
			if err != nil {
				t.Fatal(err)
			}
			if got.Plain() != want {
				t.Fatalf("seed %d: the copy is of no single moment", seed)
			}
		}
	}
}

// BenchmarkStateOfUses is what storing the state costs at 100,000 plans: how long the longest single hold of the table is,
// beside the whole.
func BenchmarkStateOfUses(b *testing.B) {
	table := wal.NewUsesTable()
	for i := range 100_000 {
		if err := table.Admit(fmt.Sprintf("rec_%026d", i), wal.Use{Plan: plan(fmt.Sprint(i)), Step: int32(i % 8), Expires: 1 << 40}, 0); err != nil {
			b.Fatal(err)
		}
		if i > 1000 {
			if err := table.Settle(fmt.Sprintf("rec_%026d", i), ledger.OutcomeOK); err != nil {
				b.Fatal(err)
			}
		}
	}
	longest, size := time.Duration(0), 0
	for b.Loop() {
		stop, ended := make(chan struct{}), make(chan struct{})
		table.Begin()
		go func() { // a commit
			defer close(ended)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				from := time.Now()
				_ = table.Settle("rec_00000000000000000000000000", "ok")
				longest = max(longest, time.Since(from))
				time.Sleep(50 * time.Microsecond)
			}
		}()
		_, n, err := table.Finish()
		if err != nil {
			b.Fatal(err)
		}
		size = n
		close(stop)
		<-ended
	}
	b.ReportMetric(float64(longest.Microseconds()), "longest-us")
	b.ReportMetric(float64(size), "bytes")
}

// Whatever byte of the segments is changed, a start from the stored state finds it: at once, or in the background.
func TestEveryFlippedByteIsFoundByAStartFromTheStoredState(t *testing.T) {
	base := history(t)
	stride := 307
	if testing.Short() {
		stride = 2999
	}
	for n := range lastSegment(base) + 1 {
		good, err := os.ReadFile(segment(base, n))
		if err != nil {
			t.Fatal(err)
		}
		for i := n; i < len(bytes.TrimRight(good, "\x00")); i += stride {
			dir := t.TempDir()
			copyTree(t, filepath.Dir(base.Dir), dir)
			o := options(dir)
			o.SegmentBytes, o.CheckFirst, o.FS = base.SegmentBytes, -1, lazyFS{disk.OS{}}
			damage(t, segment(o, n), func(b []byte) { b[i] ^= 1 << (i % 8) })
			l, err := wal.Open(t.Context(), o)
			if err == nil {
				l.WaitAudit()
				err = l.Stats().Err
				shut(t, l)
			}
			if !errors.Is(err, wal.ErrCorrupt) && !errors.Is(err, wal.ErrTruncated) { // the last record could be cut off
				t.Fatalf("segment %d, byte %d: %v", n, i, err)
			}
		}
	}
}

func TestTheCheckInTheBackgroundEndsWithTheLog(t *testing.T) {
	o := history(t)
	l := open(t, o)
	shut(t, l) // at once: goleak sees what stays
	if s := l.Stats(); s.Verify != nil {
		t.Fatal(s.Verify)
	}
}
