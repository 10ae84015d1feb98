package wal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/index"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// words are what random records are made of: few, so that they meet; one is empty and one finds no room in an index.
var words = []string{"", "a", "b", "c", "another", strings.Repeat("long ", 200)}

var someTenants = []string{"acme", "rival", "third"}

// plain is a ledger that answers by looking at every record.
type plain struct {
	t    *rapid.T
	o    wal.Options
	log  *wal.Log
	rows map[string][]index.Row
}

func (p *plain) open() {
	l, err := wal.Open(context.Background(), p.o)
	if err != nil {
		p.t.Fatal(err)
	}
	p.log = l
}

func (p *plain) shut() {
	if err := p.log.Close(context.Background()); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plain) append(n int) {
	word := rapid.SampledFrom(words)
	for range n {
		r := &ledger.Record{
			Tenant: rapid.SampledFrom(someTenants).Draw(p.t, "tenant"), Step: -1,
			Kind: rapid.SampledFrom([]ledger.Kind{ledger.Admin, ledger.Refused, ledger.Plan}).Draw(p.t, "kind"),
			Time: 1 + int64(rapid.IntRange(0, 9).Draw(p.t, "hour"))*3_600_000_000 + int64(rapid.IntRange(0, 5).Draw(p.t, "micro")),
		}
		for _, w := range []*string{&r.Agent, &r.User, &r.Server, &r.Tool, &r.Op, &r.Code, &r.Outcome, &r.Verdict} {
			*w = word.Draw(p.t, "word")
		}
		m, err := p.log.Append(context.Background(), r)
		if err != nil {
			p.t.Fatal(err)
		}
		p.rows[r.Tenant] = append(p.rows[r.Tenant], index.RowOf(r, m.Index, 0))
	}
}

func drawQuery(t *rapid.T) index.Query {
	var q index.Query
	if rapid.Bool().Draw(t, "timed") {
		q.From = int64(rapid.IntRange(0, 9).Draw(t, "from")) * 3_600_000_000
		q.To = q.From + int64(rapid.IntRange(1, 4*3_600_000_000).Draw(t, "for"))
	}
	for _, w := range []*string{&q.Agent, &q.User, &q.Server, &q.Tool, &q.Op, &q.Code, &q.Outcome, &q.Verdict} {
		if rapid.IntRange(0, 5).Draw(t, "asked") == 0 {
			*w = rapid.SampledFrom(append(words, "nobody", strings.Repeat("other ", 200))).Draw(t, "word")
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "asked") == 0 {
		q.Kind = rapid.SampledFrom([]string{"admin", "refused", "plan", "settled", "nothing"}).Draw(t, "kind")
	}
	q.Oldest, q.Limit = rapid.Bool().Draw(t, "oldest"), rapid.IntRange(0, 20).Draw(t, "limit")
	return q
}

// wanted is what a query must answer, all pages together.
func (p *plain) wanted(tenant string, q *index.Query) []uint64 {
	out := []uint64{}
	for i := range p.rows[tenant] {
		if r := &p.rows[tenant][i]; naive(q, r) {
			out = append(out, r.Seq)
		}
	}
	if !q.Oldest {
		slices.Reverse(out)
	}
	return out
}

func naive(q *index.Query, r *index.Row) bool {
	same := func(asked, have string) bool { return asked == "" || asked == have }
	return r.Time >= q.From && (q.To == 0 || r.Time < q.To) && same(q.Agent, r.Agent) && same(q.User, r.User) &&
		same(q.Server, r.Server) && same(q.Tool, r.Tool) && same(q.Op, r.Op) && same(q.Code, r.Code) &&
		same(q.Outcome, r.Outcome) && same(q.Verdict, r.Verdict) && same(q.Kind, r.Kind)
}

// ask compares all pages of a query with what they must be, while records are written between them.
func (p *plain) ask() {
	tenant, q := rapid.SampledFrom(someTenants).Draw(p.t, "tenant"), drawQuery(p.t)
	if len(p.rows[tenant]) == 0 {
		if _, err := p.log.Query(context.Background(), tenant, q); !errors.Is(err, wal.ErrTenant) {
			p.t.Fatal("a tenant without records:", err)
		}
		return
	}
	want, got := p.wanted(tenant, &q), []uint64{}
	for page := 0; ; page++ {
		if page > 1000 {
			p.t.Fatal("the listing does not end")
		}
		answer, err := p.log.Query(context.Background(), tenant, q)
		if err != nil {
			p.t.Fatal(err)
		}
		if q.Limit > 0 && len(answer.Entries) > q.Limit {
			p.t.Fatalf("%d of %d", len(answer.Entries), q.Limit)
		}
		for i := range answer.Entries {
			r, err := answer.Entries[i].Record()
			if err != nil || r.Tenant != tenant || r.ID != p.rows[tenant][answer.Entries[i].Index].ID {
				p.t.Fatal("not the record:", err)
			}
			got = append(got, answer.Entries[i].Index)
		}
		if q.Cursor = answer.Next; q.Cursor == (index.Cursor{}) {
			break
		}
		p.append(rapid.IntRange(0, 2).Draw(p.t, "meanwhile"))
	}
	if !reflect.DeepEqual(got, want) {
		p.t.Fatalf("%+v of %s\nanswered %v\nwant     %v", q, tenant, got, want)
	}
}

func (p *plain) count() {
	tenant, q := rapid.SampledFrom(someTenants).Draw(p.t, "tenant"), drawQuery(p.t)
	if len(p.rows[tenant]) == 0 {
		return
	}
	tally := index.NewTally()
	for i := range p.rows[tenant] {
		if r := &p.rows[tenant][i]; naive(&q, r) {
			if err := tally.AddRow(r); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	want := tally.Counts()
	want.Size = uint64(len(p.rows[tenant]))
	got, err := p.log.Count(context.Background(), tenant, q)
	if err != nil || !reflect.DeepEqual(got, want) {
		p.t.Fatalf("%+v of %s: %v\nanswered %+v\nwant     %+v", q, tenant, err, got, want)
	}
}

// spoil deletes, cuts or changes an index.
func (p *plain) spoil() {
	names, err := filepath.Glob(filepath.Join(p.o.Dir, "_wal", "*.index"))
	if err != nil || len(names) == 0 {
		return
	}
	name := rapid.SampledFrom(names).Draw(p.t, "index")
	b, err := os.ReadFile(name)
	if err != nil || len(b) == 0 {
		return // it is being replaced, or was cut to nothing
	}
	switch rapid.IntRange(0, 3).Draw(p.t, "how") {
	case 0:
		_ = os.Remove(name)
	case 1:
		b = b[:rapid.IntRange(0, len(b)-1).Draw(p.t, "cut")]
		_ = os.WriteFile(name, b, 0o600)
	case 2:
		b[rapid.IntRange(0, len(b)-1).Draw(p.t, "byte")] ^= 4
		_ = os.WriteFile(name, b, 0o600)
	case 3: // it is a good one, of another segment
		_ = os.WriteFile(rapid.SampledFrom(names).Draw(p.t, "onto"), b, 0o600)
	}
}

// lazyFS does not wait for the disk.
type lazyFS struct{ disk.FS }

type lazyFile struct{ disk.File }

func (l lazyFS) Open(name string, flag int) (disk.File, error) {
	f, err := l.FS.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return lazyFile{f}, nil
}

func (lazyFS) SyncDir(string) error { return nil }
func (lazyFile) Sync() error        { return nil }

func TestAQueryAnswersWhatLookingAtEveryRecordAnswers(t *testing.T) {
	base := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		dir := filepath.Join(base, fmt.Sprint(n))
		p := &plain{t: rt, o: options(dir), rows: map[string][]index.Row{}}
		p.o.SegmentBytes, p.o.Sync, p.o.FS = 16<<10, wal.SyncWrite, lazyFS{disk.OS{}}
		p.o.IndexCache = rapid.SampledFrom([]int64{0, 1, 30_000}).Draw(rt, "cache")
		p.open()
		defer func() { _ = os.RemoveAll(dir) }()
		defer func() { _ = p.log.Close(context.Background()) }()
		p.append(rapid.IntRange(0, 80).Draw(rt, "records"))
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) { p.append(rapid.IntRange(1, 30).Draw(rt, "records")) },
			"ask":    func(*rapid.T) { p.ask() },
			"count":  func(*rapid.T) { p.count() },
			"spoil":  func(*rapid.T) { p.spoil() },
			"open": func(*rapid.T) {
				p.shut()
				p.open()
			},
		})
	})
}

// some writes records of three tenants by turns, a minute apart.
func some(t *testing.T, l *wal.Log, n int) {
	t.Helper()
	for i := range n {
		r := record(someTenants[i%3], ledger.Refused)
		r.Time, r.Agent = int64(i+1)*60_000_000, fmt.Sprint("agt_", i%7)
		if _, err := l.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatWasPrunedIsToldFromWhatNeverWas(t *testing.T) {
	o := options(t.TempDir())
	o.SegmentBytes, o.Sync = 16<<10, wal.SyncWrite
	l := open(t, o)
	some(t, l, 300)
	shut(t, l) // which publishes them: only then may they be pruned
	l = open(t, o)
	cursor := func(q index.Query) index.Cursor {
		q.Limit = 1
		p, err := l.Query(t.Context(), "acme", q)
		if err != nil {
			t.Fatal(err)
		}
		return p.Next
	}
	oldest := cursor(index.Query{Oldest: true})
	newest := cursor(index.Query{To: 9 * 60_000_000})
	first := wal.Forget(l, 3)
	if first == 0 || first >= 100 {
		t.Fatal("first kept is", first)
	}
	for _, c := range []index.Cursor{oldest, newest} {
		if _, err := l.Query(t.Context(), "acme", index.Query{Cursor: c, Oldest: c.Oldest}); !errors.Is(err, wal.ErrPruned) {
			t.Error(c, err)
		}
	}
	for from, want := range map[uint64]error{0: wal.ErrPruned, first - 1: wal.ErrPruned, first: nil, 99: nil, 100: nil, 5000: nil} {
		if e, err := l.Scan(t.Context(), "acme", from, 5); !errors.Is(err, want) || want == nil && from < 100 && (len(e) == 0 || e[0].Index != from) {
			t.Error(from, len(e), err)
		}
	}
	for _, old := range []bool{true, false} {
		p, err := l.Query(t.Context(), "acme", index.Query{Oldest: old})
		if err != nil || p.First != first || p.Size != 100 || uint64(len(p.Entries)) != 100-first || p.Next != (index.Cursor{}) {
			t.Error(p.First, p.Size, len(p.Entries), err)
		}
	}
	c, err := l.Count(t.Context(), "acme", index.Query{})
	if err != nil || c.Total != 100-first || c.Kept != first || c.Size != 100 {
		t.Errorf("%+v %v", c, err)
	}
	some(t, l, 3)
	if p, err := l.Query(t.Context(), "acme", index.Query{Limit: 1}); err != nil || p.Entries[0].Index != 100 {
		t.Error(err)
	}
	if names, _ := filepath.Glob(filepath.Join(o.Dir, "_wal", "00000000000[012].index")); len(names) != 0 {
		t.Error("left behind:", names)
	}
}

// Indexes may be missing for all of a log, as after an upgrade, while nothing may wait for them.
func TestALogWithoutIndexesIsOpenedAndSearched(t *testing.T) {
	o := options(t.TempDir())
	o.SegmentBytes, o.Sync = 16<<10, wal.SyncWrite
	l := open(t, o)
	some(t, l, 300)
	want, err := l.Count(t.Context(), "rival", index.Query{Agent: "agt_3"})
	if err != nil || want.Total < 10 {
		t.Fatal(want.Total, err)
	}
	shut(t, l)
	for _, spoil := range []func(name string) error{os.Remove, func(name string) error { return os.WriteFile(name, make([]byte, 200), 0o600) }} {
		names, err := filepath.Glob(filepath.Join(o.Dir, "_wal", "*.index"))
		if err != nil || len(names) < 5 {
			t.Fatal(names, err)
		}
		for _, name := range names {
			if err := spoil(name); err != nil {
				t.Fatal(err)
			}
		}
		l = open(t, o)
		if got, err := l.Count(t.Context(), "rival", index.Query{Agent: "agt_3"}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v %v", got, err)
		}
		shut(t, l)
	}
}

// A disk that takes no index takes records all the same.
func TestAnIndexThatCannotBeWrittenHoldsNothingUp(t *testing.T) {
	for _, op := range []string{"open", "write", "sync", "rename"} {
		fs := disktest.New()
		o := options(t.TempDir())
		o.SegmentBytes, o.Sync, o.FS, o.IndexCache = 16<<10, wal.SyncWrite, fs, 1
		suffix := ".index.tmp"
		if op == "rename" {
			suffix = ""
		}
		l := open(t, o)
		fs.Arm(&disktest.Fault{Op: op, Suffix: suffix, Err: errDisk, Always: true})
		some(t, l, 300)
		p, err := l.Query(t.Context(), "acme", index.Query{Agent: "agt_3"})
		if err != nil || len(p.Entries) != 15 {
			t.Error(op, len(p.Entries), err)
		}
		fs.Arm(nil)
		shut(t, l)
		l = open(t, o)
		if p, err := l.Query(t.Context(), "acme", index.Query{Agent: "agt_3"}); err != nil || len(p.Entries) != 15 {
			t.Error(op, len(p.Entries), err)
		}
	}
}
