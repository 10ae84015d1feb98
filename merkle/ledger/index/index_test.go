package index_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/index"
)

// someRows are the records of a segment: two tenants', with words that repeat, are empty, and are too long.
func someRows(n int) []index.Row {
	out := make([]index.Row, n)
	seqs := map[string]uint64{"acme": 7}
	for i := range out {
		tenant := []string{"acme", "acme", "rival"}[i%3]
		out[i] = index.Row{
			Tenant: tenant, Seq: seqs[tenant], Off: uint32(512 + 100*i), Time: int64(1000 + i), ID: fmt.Sprintf("rec_%026d", i),
			Agent: fmt.Sprint("agt_", i%5), User: []string{"", "usr_1"}[i%2], Server: "demo", Tool: fmt.Sprint("tool_", i%11),
			Op: "tools/call", Code: []string{"", strings.Repeat("x", 600)}[i%2], Verdict: "permit", Kind: []string{"admitted", "settled"}[i%2],
		}
		if i > 2 {
			out[i].Of = out[i-3].ID
		}
		seqs[tenant]++
	}
	return out
}

func build(t testing.TB, segment uint64, rows []index.Row) *index.Builder {
	t.Helper()
	b := index.NewBuilder(segment)
	for i := range rows {
		if !b.Add(&rows[i]) {
			t.Fatal("not taken:", i)
		}
	}
	return b
}

var key = index.NewKey([]byte("seed"))

var someID = index.Identity{End: 1 << 20, Stamp: [32]byte{1, 2, 3}}

func file(t testing.TB, segment uint64, n int) []byte {
	t.Helper()
	return build(t, segment, someRows(n)).Table().File(someID, &key)
}

// hits are the indexes of a tenant that a query wants, those that must be asked below zero.
func hits(p *index.Part, q index.Query) (out []int) {
	for h := range p.Scan(&q, 0, 1<<40) {
		n := int(h.Index)
		if !h.Sure {
			n = -n
		}
		out = append(out, n)
	}
	return out
}

func TestATableReadFromItsFileAnswersLikeTheBuilder(t *testing.T) {
	for _, n := range []int{1, 2, 255, 256, 257, 1000} {
		rows := someRows(n)
		b := build(t, 3, rows)
		table, head, err := index.Decode(b.Table().File(someID, &key), &key)
		if err != nil || head.Segment != 3 || head.Identity != someID || head.Last != rows[n-1].Off {
			t.Fatal(n, head, err)
		}
		for _, tenant := range []string{"acme", "rival", "nobody"} {
			x, okX := b.Part(tenant)
			y, okY := table.Part(tenant)
			if okX != okY || x.Range != y.Range {
				t.Fatal(n, tenant, okX, okY, x.Range, y.Range)
			}
			for _, q := range []index.Query{
				{}, {Agent: "agt_3"}, {Agent: "agt_3", Oldest: true}, {Tool: "tool_4", Kind: "settled"}, {From: 1100, To: 1300}, {User: "nobody"},
				{Code: strings.Repeat("x", 600)}, {Verdict: "permit", From: 1}, {Outcome: "ok"}, {Op: "tools/list"},
			} {
				if a, b := hits(&x, q), hits(&y, q); !reflect.DeepEqual(a, b) {
					t.Errorf("%d %s %+v: %v, from the file %v", n, tenant, q, a, b)
				}
			}
		}
		if !reflect.DeepEqual(head.Ranges, table.Ranges()) {
			t.Error(head.Ranges, table.Ranges())
		}
	}
}

func TestEveryByteOfAnIndexFileIsCovered(t *testing.T) {
	b := file(t, 3, 300)
	for i := range b {
		b[i] ^= 1 << (i % 8)
		if _, _, err := index.Decode(b, &key); !errors.Is(err, index.ErrDamaged) && !errors.Is(err, index.ErrVersion) {
			t.Fatalf("byte %d of %d: %v", i, len(b), err)
		}
		b[i] ^= 1 << (i % 8)
	}
	for n := range b {
		if _, _, err := index.Decode(b[:n], &key); !errors.Is(err, index.ErrDamaged) {
			t.Fatal("cut at", n, err)
		}
	}
	if _, _, err := index.Decode(append(b, 0), &key); !errors.Is(err, index.ErrDamaged) {
		t.Fatal("one byte more:", err)
	}
	b[8] = 3
	if _, _, err := index.Decode(b, &key); !errors.Is(err, index.ErrVersion) {
		t.Fatal(err)
	}
}

// A MAC is right in a file that somebody who has the key made on purpose.
func TestAFileThatLeadsOutOfItsBoundsIsRefused(t *testing.T) {
	const n = 300
	good := file(t, 3, n)
	for name, at := range map[string]int{
		"an agent's code": index.AgentsAt(good, n), "a kind's code": index.KindsAt(good, n), "a row": index.ListsAt(good, n),
	} {
		b := append([]byte(nil), good...)
		b[at], b[at+1] = 0xfe, 0xfe
		if _, _, err := index.Decode(index.Summed(b, &key), &key); !errors.Is(err, index.ErrDamaged) {
			t.Error(name, "is out of bounds:", err)
		}
	}
	b := append([]byte(nil), good...)
	copy(b[index.ListsAt(b, n)+4:], b[index.ListsAt(b, n):][:4])
	if _, _, err := index.Decode(index.Summed(b, &key), &key); !errors.Is(err, index.ErrDamaged) {
		t.Error("a row is there twice:", err)
	}
	for at := 64; at < 96; at++ { // what it says of its own sizes
		b := append([]byte(nil), good...)
		b[at] ^= 0x40
		if _, h, err := index.Decode(index.Summed(b, &key), &key); err == nil && (at < 68 || at >= 72) {
			t.Error("size at", at, "is believed:", h)
		}
	}
	if _, _, err := index.Decode(index.Summed(good, &key), &key); err != nil {
		t.Fatal(err)
	}
}

// Everything but the key can be computed by whoever can write to the disk.
func TestAFileMadeWithAnotherKeyIsRefused(t *testing.T) {
	good, other := file(t, 3, 300), index.NewKey([]byte("mine"))
	forged := index.Summed(good, &other)
	if _, _, err := index.Decode(forged, &key); !errors.Is(err, index.ErrDamaged) {
		t.Error(err)
	}
	if _, err := index.ReadHead(bytes.NewReader(forged), int64(len(forged)), &key); !errors.Is(err, index.ErrDamaged) {
		t.Error("its head:", err)
	}
	table := build(t, 3, someRows(300)).Table()
	if !table.Same(good, someID) || !table.Same(forged, someID) {
		t.Error("what they say is the same")
	}
	const head, words = 128, 2 * (1 + 64) // the fixed part, and the directory with two names
	mac := head + words + len("acme") + len("rival")
	for i := 0; i < len(good); i++ {
		if i > 500 {
			i += 96
		}
		good[min(i, len(good)-1)] ^= 1
		if got := table.Same(good, someID); got != (i >= mac && i < mac+32) {
			t.Error("byte", i, "of another file:", got)
		}
		good[min(i, len(good)-1)] ^= 1
	}
}

func TestARecordThatCannotBeNextIsNotTaken(t *testing.T) {
	rows := someRows(5)
	b := build(t, 0, rows)
	for name, change := range map[string]func(*index.Row){
		"the place of the last": func(r *index.Row) { r.Off = rows[4].Off },
		"a place before":        func(r *index.Row) { r.Off = 512 },
		"an index twice":        func(r *index.Row) { r.Seq = rows[4].Seq },
		"an index left out":     func(r *index.Row) { r.Seq += 2 },
	} {
		r := rows[4]
		r.Off, r.Seq = r.Off+100, r.Seq+1
		change(&r)
		if b.Add(&r) {
			t.Error(name)
		}
	}
	if b.Rows() != 5 {
		t.Error(b.Rows())
	}
}

func TestWordsWithoutRoomAreToldAsSuch(t *testing.T) {
	const n = 70_000 // more than a narrow code can tell
	rows := make([]index.Row, n)
	for i := range rows {
		rows[i] = index.Row{Tenant: "acme", Seq: uint64(i), Off: uint32(i + 1), ID: fmt.Sprintf("rec_%026d", i), Code: fmt.Sprint("code_", i), Agent: fmt.Sprint("agt_", i)}
	}
	table, _, err := index.Decode(build(t, 0, rows).Table().File(someID, &key), &key)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := table.Part("acme")
	if got := hits(&p, index.Query{Agent: "agt_69999"}); !reflect.DeepEqual(got, []int{69_999}) {
		t.Error("agents have room:", got)
	}
	if got := hits(&p, index.Query{Code: "code_5"}); !reflect.DeepEqual(got, []int{5}) {
		t.Error(got)
	}
	got := hits(&p, index.Query{Code: "code_69999"})
	if len(got) < 4000 || got[0] != -69_999 {
		t.Error("what found no room must be asked:", len(got))
	}
	tally := index.NewTally()
	ask, err := tally.Add(&p, &index.Query{}, 0)
	if from := index.NewTally(); err == nil {
		if _, err = from.Add(&p, &index.Query{}, 100); from.Counts().Total != tally.Counts().Total-100 {
			t.Error("counted from 100 on:", from.Counts().Total)
		}
	}
	if err != nil || len(ask) != len(got) || tally.Counts().Total != uint64(n-len(got)) {
		t.Error(len(ask), tally.Counts().Total, err)
	}
}

func TestATallyIsBounded(t *testing.T) {
	tally := index.NewTally()
	long := strings.Repeat("x", 60_000)
	var err error
	n := 0
	for ; err == nil; n++ {
		err = tally.AddRow(&index.Row{Tool: fmt.Sprint(n, long)})
	}
	if !errors.Is(err, index.ErrCount) || n > 1200 {
		t.Error(n, err)
	}
}

func TestACursorHasOneText(t *testing.T) {
	for _, c := range []index.Cursor{{}, {Next: 1}, {Next: 1 << 63}, {Oldest: true}, {Oldest: true, Next: 5, End: 9}} {
		if got, err := index.ParseCursor(c.String()); err != nil || got != c {
			t.Error(c, got, err)
		}
	}
	for _, text := range []string{"n", "n.", "n.0", "n.01", "n.+1", "n.-1", "n.1.1", "o.1", "o.1.", "o.1.2.3", "x.1", "N.1", " n.1", "n.18446744073709551616", "o.1.x"} {
		if c, err := index.ParseCursor(text); !errors.Is(err, index.ErrQuery) {
			t.Errorf("%q: %v %v", text, c, err)
		}
	}
}

func TestAQueryThatCannotBeAskedIsRefused(t *testing.T) {
	for _, q := range []index.Query{
		{From: -1}, {To: -1}, {From: 5, To: 5}, {From: 6, To: 5}, {Limit: -1}, {Limit: index.MaxPage + 1},
		{Cursor: index.Cursor{Next: 4}, Oldest: true}, {Cursor: index.Cursor{Oldest: true, Next: 4}},
	} {
		if err := q.Check(); !errors.Is(err, index.ErrQuery) {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

// segments is a log of segments with some rows each.
type segments struct {
	rows  map[uint64][]index.Row
	walks int
	broke error
}

func (s *segments) Identify(segment uint64, last uint32) (index.Identity, error) {
	rows := s.rows[segment]
	if len(rows) == 0 || rows[len(rows)-1].Off != last {
		return index.Identity{}, errors.New("no such place")
	}
	return index.Identity{End: int64(last) + 100, Stamp: [32]byte{byte(segment), byte(len(rows))}}, nil
}

func (s *segments) Walk(_ context.Context, segment uint64, fn func(*index.Row) error) error {
	s.walks++
	for i := range s.rows[segment] {
		if err := fn(&s.rows[segment][i]); err != nil {
			return err
		}
	}
	return s.broke
}

func newStore(t *testing.T, on disk.FS, most int64) (*index.Store, *segments, func(uint64) string) {
	t.Helper()
	dir := t.TempDir()
	src := &segments{rows: map[uint64][]index.Row{}}
	for n := range uint64(6) {
		src.rows[n] = someRows(300 + int(n))
	}
	name := func(segment uint64) string { return filepath.Join(dir, fmt.Sprintf("%03d.index", segment)) }
	return index.NewStore(on, key, most, src, name), src, name
}

func TestIndexesAreMadeOnceAndReadAfterThat(t *testing.T) {
	s, src, name := newStore(t, disk.OS{}, 60_000) // room for two
	for range 3 {
		for n := range uint64(6) {
			table, err := s.Table(t.Context(), n)
			if err != nil || table.Segment() != n || table.Last() != src.rows[n][299+n].Off {
				t.Fatal(n, err)
			}
			if s.Bytes() > 60_000 {
				t.Fatal(s.Bytes(), "bytes in memory")
			}
		}
	}
	if src.walks != 6 {
		t.Error("made", src.walks, "times")
	}
	for _, spoil := range []func() error{
		func() error { return os.Remove(name(2)) },
		func() error { return os.WriteFile(name(2), []byte("GWLINDEX"), 0o600) },
		func() error { return os.Rename(name(3), name(2)) }, // and 3 is missing
		func() error { src.rows[2] = someRows(310); return nil },
	} {
		fresh := index.NewStore(disk.OS{}, key, 0, src, name)
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		before := src.walks
		for range 2 {
			r, err := fresh.Ranges(t.Context(), 2)
			if err != nil || r[0].Count+r[1].Count != uint64(len(src.rows[2])) {
				t.Fatal(r, err)
			}
		}
		if src.walks != before+1 {
			t.Error("made", src.walks-before, "times")
		}
	}
}

// A walk over the segment knows better than what lies there, whoever made it.
func TestAnIndexThatIsSavedReplacesOneThatDiffers(t *testing.T) {
	s, src, name := newStore(t, disk.OS{}, 0)
	right := build(t, 1, src.rows[1]).Table()
	id, err := src.Identify(1, right.Last())
	if err != nil {
		t.Fatal(err)
	}
	rows := someRows(len(src.rows[1]))
	rows[7].Agent = "agt_nice"
	wrong := build(t, 1, rows).Table().File(id, &key)
	for _, save := range []func() error{
		func() error { s.Put(right); return s.Save() },
		func() error { _, err := s.Remake(t.Context(), 1); return err },
	} {
		if err := os.WriteFile(name(1), wrong, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := save(); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(name(1)); err != nil || !right.Same(b, id) {
			t.Error("the file still differs", err)
		}
	}
}

func TestAnIndexThatCannotBeWrittenIsMadeAgain(t *testing.T) {
	for _, op := range []string{"write", "sync", "rename"} {
		fs := disktest.New()
		s, src, _ := newStore(t, fs, 0)
		fs.Arm(&disktest.Fault{Op: op, Suffix: "", Err: errors.New("input/output error"), Always: true})
		s.Put(build(t, 1, src.rows[1]).Table())
		if err := s.Save(); err == nil {
			t.Error(op, "was not told")
		}
		for range 2 {
			if _, err := s.Table(t.Context(), 1); err != nil {
				t.Error(op, err)
			}
		}
		if src.walks != 2 {
			t.Error(op, src.walks)
		}
		fs.Arm(nil)
		if _, err := s.Table(t.Context(), 1); err != nil {
			t.Error(err)
		}
		if _, err := s.Table(t.Context(), 1); err != nil || src.walks != 3 {
			t.Error("it is not kept now:", src.walks, err)
		}
	}
}

func TestASegmentThatCannotBeReadHasNoIndex(t *testing.T) {
	s, src, name := newStore(t, disk.OS{}, 1<<20)
	src.broke = errors.New("input/output error")
	if _, err := s.Table(t.Context(), 1); !errors.Is(err, src.broke) {
		t.Error(err)
	}
	if _, err := os.Stat(name(1)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("half an index was kept:", err)
	}
	src.broke = nil
	src.rows[1][5].Seq = 99
	if _, err := s.Table(t.Context(), 1); !errors.Is(err, index.ErrDamaged) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Table(ctx, 2); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestASegmentsIndexGoesOnAfterItWasSaved(t *testing.T) {
	rows := someRows(700)
	for _, cut := range []int{1, 255, 256, 300} {
		table, _, err := index.Decode(build(t, 0, rows[:cut]).Table().File(someID, &key), &key)
		if err != nil {
			t.Fatal(err)
		}
		b := index.Resume(table)
		for i := range rows[cut:] {
			if !b.Add(&rows[cut+i]) {
				t.Fatal(cut, i)
			}
		}
		if got, want := b.Table().File(someID, &key), build(t, 0, rows).Table().File(someID, &key); !reflect.DeepEqual(got, want) {
			t.Error("differs after", cut)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, n := range []int{1, 3, 300} {
		f.Add(file(f, 3, n))
	}
	f.Add([]byte("GWLINDEX"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, index.Summed(b, &key)} {
			table, _, err := index.Decode(b, &key)
			if err != nil {
				continue
			}
			if table.Bytes() > 8*int64(len(b)) {
				t.Fatalf("%d bytes take %d", len(b), table.Bytes())
			}
			for _, r := range table.Ranges() {
				p, _ := table.Part(r.Tenant)
				hits(&p, index.Query{Agent: "agt_1", From: 5, To: 9})
				_, _ = index.NewTally().Add(&p, &index.Query{}, 0)
				for range p.Naming("rec_00000000000000000000000000", 0) {
				}
			}
		}
	})
}

// cpuTime is user and system time of the process so far, in nanoseconds: a busy machine changes it less than the clock's.
func cpuTime() int64 {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return r.Utime.Nano() + r.Stime.Nano()
}

// BenchmarkAdd is what a record costs on the path of a commit.
func BenchmarkAdd(b *testing.B) {
	rows := someRows(4096)
	for i := range rows {
		rows[i].Code = "" // as nearly all records have it
		if rows[i].Kind == "settled" {
			rows[i].Code = "ok"
		}
	}
	for _, tenants := range []int{1, 50} {
		b.Run(fmt.Sprint("tenants=", tenants), func(b *testing.B) {
			names := make([]string, tenants)
			for i := range names {
				names[i] = fmt.Sprint("tenant-", i)
			}
			const segment = 131_072 // records of a segment of 64 MiB, about
			x := index.NewBuilder(0)
			b.ReportAllocs()
			from := cpuTime()
			for i := 0; b.Loop(); i++ {
				if i%segment == 0 {
					x = index.NewBuilder(0)
				}
				r := &rows[i%len(rows)]
				r.Tenant, r.Seq, r.Off = names[i%tenants], uint64(i/tenants), uint32(i%segment)
				if !x.Add(r) && i%segment > 0 {
					b.Fatal("not taken")
				}
			}
			b.ReportMetric(float64(cpuTime()-from)/float64(b.N), "cpu-ns/op")
		})
	}
}
