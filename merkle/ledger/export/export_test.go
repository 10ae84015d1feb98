package export_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/export"
	"github.com/gatewright/gatewright/merkle/ledger/export/rechain"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

func decode(t testing.TB, raw []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var out map[string]any
	if err := d.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func canonical(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err == nil {
		raw, err = canon.AppendCanonical(nil, raw, canon.DefaultLimits())
	}
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// filters choose all, some, one and none of the records that fill makes.
func filters() map[string]export.Filter {
	since, until := now.Add(-50*time.Second), now.Add(-20*time.Second)
	return map[string]export.Filter{
		"all":                {},
		"a range":            {From: 10, To: 41},
		"to the very end":    {From: 90, To: 123},
		"one":                {From: 17, To: 18},
		"an agent":           {Agent: "agt_1"},
		"a tool of an agent": {Agent: "agt_1", Server: "shop", Tool: "tool_2"},
		"refusals":           {Kind: "refused", Verdict: "deny", Code: "policy_denied"},
		"a time":             {Since: &since, Until: &until},
		"a person":           {Subject: "usr_1"},
		"nobody":             {Agent: "agt_9"},
	}
}

func TestAnExportOfEveryFormatAndFilterVerifies(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 123, nil)
	w.fill(t, "other", 31, nil)
	for name, f := range filters() {
		want := 0
		for i, e := range w.entries["acme"] {
			r, err := e.Record()
			if err != nil {
				t.Fatal(err)
			}
			if f.Matches(&r) && uint64(i) >= f.From && (f.To == 0 || uint64(i) < f.To) {
				want++
			}
		}
		for _, format := range []export.Format{export.JSONL, export.CSV, export.PDF} {
			archive, m := w.export(t, w.options(format, f))
			rep, err := w.verify(t, archive)
			if err != nil {
				t.Errorf("%s as %s: %v", name, format, err)
				continue
			}
			if rep.Records != uint64(want) || m.Count != uint64(want) || rep.SignedBy != w.key.name {
				t.Errorf("%s as %s: %d records, manifest %d, want %d; signed by %q", name, format, rep.Records, m.Count, want, rep.SignedBy)
			}
			if complete := f.Everything(); rep.Complete != complete || complete != (len(rep.Notes) == 0 || len(rep.Notes) == 1 && format == export.PDF) {
				t.Errorf("%s as %s: complete %v, notes %q", name, format, rep.Complete, rep.Notes)
			}
			if again, _ := w.export(t, w.options(format, f)); !bytes.Equal(again, archive) {
				t.Errorf("%s as %s: made twice, it has other bytes", name, format)
			}
			if !export.Is(archive[:64]) {
				t.Errorf("%s as %s is not recognized", name, format)
			}
		}
	}
}

func TestAReChainedExportIsProvedLikeAnyOther(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 60, nil)
	key, err := rechain.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o := w.options(export.AIIdentity, export.Filter{Agent: "agt_1"})
	if o.Extra, err = rechain.New(key, now, rand.Reader); err != nil {
		t.Fatal(err)
	}
	archive, m := w.export(t, o)
	if rep, err := w.verify(t, archive); err != nil || rep.Records != 20 || m.Count != 20 {
		t.Fatalf("%+v, %v", rep, err)
	}
	for _, p := range unpack(t, archive) {
		if bytes.Contains(p.body, []byte(key)) {
			t.Errorf("%s holds the key", p.name)
		}
	}
	parts := unpack(t, archive)
	onText("audit.json", "agt_1", "agt_2")(t, w, parts)
	if _, err := w.verify(t, pack(t, parts)); !errors.Is(err, export.ErrExport) {
		t.Errorf("a changed view: %v", err)
	}
	w.fill(t, "big", export.MaxRechained+1, nil)
	o.Tenant, o.Filter = "big", export.Filter{}
	if _, err := export.Prepare(t.Context(), w, o); !errors.Is(err, export.ErrLimit) {
		t.Errorf("more than their readers can hold: %v", err)
	}
}

func TestTheLinesAreTheLeavesByteForByte(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 9, func(i int, r *ledger.Record) { r.Detail = "snow ☃ \"quoted\" <&> \u2028\u0001 é" })
	archive, _ := w.export(t, w.options(export.JSONL, export.Filter{}))
	lines := bytes.Split(bytes.TrimSuffix(file(t, unpack(t, archive), "records.jsonl").body, []byte("\n")), []byte("\n"))
	for i, e := range w.entries["acme"] {
		if want := fmt.Sprintf(`{"index":%d,"leaf":%s}`, i, e.Data); string(lines[i]) != want {
			t.Errorf("line %d is %s, want %s", i, lines[i], want)
		}
		var line struct {
			Index int             `json:"index"`
			Leaf  json.RawMessage `json:"leaf"`
		}
		if err := json.Unmarshal(lines[i], &line); err != nil || line.Index != i || !bytes.Equal(line.Leaf, e.Data) {
			t.Errorf("line %d reads elsewhere as %s, %v", i, line.Leaf, err)
		}
	}
}

func TestALineHasOneSpelling(t *testing.T) {
	for _, leaf := range []string{`{"a":1}`, "{\n}", `{"a":1,"a":2}`, `[1]`, "\xff", ``, `{"a":"}"}`, "{\r}"} {
		line := export.AppendLine(nil, 7, []byte(leaf))
		if bytes.IndexByte(line, '\n') != len(line)-1 || bytes.Contains(line, []byte("\r")) {
			t.Errorf("%q became %q", leaf, line)
		}
		index, got, err := export.ParseLine(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil || index != 7 || string(got) != leaf {
			t.Errorf("%q: read back as %d %q, %v", leaf, index, got, err)
		}
	}
	for _, line := range []string{
		``, `{}`, `{"index":7}`, `{"index":07,"leaf":{}}`, `{"index":-1,"leaf":{}}`, `{"index":9007199254740992,"leaf":{}}`,
		`{"index":7,"leaf":{}} `, `{"index":7, "leaf":{}}`, ` {"index":7,"leaf":{}}`, `{"index":7,"leaf":[]}`, `{"index":7,"leaf":{}`,
		`{"index":7,"leaf":{},"x":{}}`, `{"leaf":{},"index":7}`, `{"index":7,"leaf_base64":"e30="}`, `{"index":7,"leaf_base64":"/w==","x":""}`,
		`{"index":7,"leaf_base64":"/x=="}`, "{\"index\":7,\"leaf_base64\":\"/w\r==\"}", `{"index":7,"leaf":{"a":1,"a":1}}`, `{"index":7e0,"leaf":{}}`,
	} {
		if index, leaf, err := export.ParseLine([]byte(line)); !errors.Is(err, export.ErrExport) {
			t.Errorf("%q is read as %d %q, %v", line, index, leaf, err)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte(`{"index":7,"leaf":{"a":1}}`))
	f.Add([]byte(`{"index":7,"leaf_base64":"/w=="}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		index, leaf, err := export.ParseLine(line)
		if err != nil {
			return
		}
		if again := export.AppendLine(nil, index, leaf); !bytes.Equal(again, append(bytes.Clone(line), '\n')) {
			t.Fatalf("%q and %q are one record", line, again)
		}
	})
}

func TestTheBoundOnRecordsIsToldBeforeAnythingIsWritten(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 50, nil)
	o := w.options(export.JSONL, export.Filter{})
	o.Limit = 49
	if _, err := export.Prepare(t.Context(), w, o); !errors.Is(err, export.ErrLimit) {
		t.Errorf("50 records of 49: %v", err)
	}
	o.Limit = 50
	if _, err := export.Prepare(t.Context(), w, o); err != nil {
		t.Errorf("50 records of 50: %v", err)
	}
}

func TestOptionsThatMakeNoExportAreRefused(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 3, nil)
	later := now.Add(time.Hour)
	for name, change := range map[string]func(o *export.Options){
		"no tenant":          func(o *export.Options) { o.Tenant = "" },
		"a path as tenant":   func(o *export.Options) { o.Tenant = "../x" },
		"no format":          func(o *export.Options) { o.Format = "" },
		"nobody signs":       func(o *export.Options) { o.Signers = nil },
		"no time":            func(o *export.Options) { o.Now = time.Time{} },
		"a limit too high":   func(o *export.Options) { o.Limit = export.MaxLimit + 1 },
		"a limit below zero": func(o *export.Options) { o.Limit = -1 },
		"no report":          func(o *export.Options) { o.Format = export.PDF },
		"no extra":           func(o *export.Options) { o.Format = export.AIIdentity },
		"an unknown kind":    func(o *export.Options) { o.Filter.Kind = "nonsense" },
		"to before from":     func(o *export.Options) { o.Filter.From, o.Filter.To = 7, 7 },
		"until before since": func(o *export.Options) { o.Filter.Since, o.Filter.Until = &later, &now },
		"a long name":        func(o *export.Options) { o.Filter.Tool = strings.Repeat("x", 257) },
	} {
		o := w.options(export.JSONL, export.Filter{})
		change(&o)
		if _, err := export.Prepare(t.Context(), w, o); !errors.Is(err, export.ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWithoutTheLedgersConsentThereIsNoSignature(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 30, nil)
	o := w.options(export.JSONL, export.Filter{})
	refused := errors.New("the ledger is full")
	var told []byte
	o.Commit = func(_ context.Context, manifest []byte) error {
		told = bytes.Clone(manifest)
		return refused
	}
	e, err := export.Prepare(t.Context(), w, o)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := e.Write(t.Context(), &out); !errors.Is(err, refused) {
		t.Fatalf("written all the same: %v", err)
	}
	if bytes.Contains(out.Bytes(), []byte("manifest.sig")) {
		t.Error("the archive holds a signature")
	}
	if _, err := w.verify(t, out.Bytes()); !errors.Is(err, export.ErrExport) {
		t.Errorf("half an archive verifies: %v", err)
	}
	o.Commit = func(context.Context, []byte) error { return nil }
	archive, _ := w.export(t, o)
	if !bytes.Equal(told, file(t, unpack(t, archive), "manifest.json").body) {
		t.Error("the ledger was told another manifest")
	}
}

// gone is a reader who leaves after some bytes.
type gone struct {
	left   int
	cancel context.CancelFunc
}

func (g *gone) Write(b []byte) (int, error) {
	if g.left -= len(b); g.left < 0 {
		g.cancel()
	}
	return len(b), nil
}

func TestAReaderWhoLeavesEndsTheWork(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 4000, func(i int, r *ledger.Record) { r.Detail = strings.Repeat(fmt.Sprint(i), 50) })
	e, err := export.Prepare(t.Context(), w, w.options(export.CSV, export.Filter{}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.scans = 0
	if _, err := e.Write(ctx, &gone{20_000, cancel}); !errors.Is(err, context.Canceled) {
		t.Fatalf("written for nobody: %v", err)
	}
	if w.scans > 100 {
		t.Errorf("%d pages were read after the reader had left", w.scans)
	}
	fault := errors.New("broken pipe")
	if _, err := e.Write(t.Context(), broken{fault}); !errors.Is(err, fault) {
		t.Errorf("a broken writer: %v", err)
	}
	w.fail = errors.New("broken disk")
	if _, err := e.Write(t.Context(), io.Discard); !errors.Is(err, w.fail) {
		t.Errorf("a broken ledger: %v", err)
	}
}

type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

// finder answers like an index.
type finder struct {
	*world
	asked int
	lost  bool // goes on before where it was
}

func (f *finder) Find(_ context.Context, tenant string, q *export.Filter, from, to uint64, n int) ([]wal.Entry, uint64, error) {
	f.asked++
	if f.lost {
		return nil, from, nil
	}
	var out []wal.Entry
	for i := from; i < to; i++ {
		e := f.entries[tenant][i]
		r, err := e.Record()
		if err != nil {
			return nil, 0, err
		}
		if q.Matches(&r) {
			if out = append(out, e); len(out) == min(n, 5) {
				return out, i + 1, nil
			}
		}
	}
	return out, to, nil
}

func TestAnIndexFindsTheSameRecords(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 123, nil)
	for name, f := range filters() {
		want, _ := w.export(t, w.options(export.CSV, f))
		src := &finder{world: w}
		e, err := export.Prepare(t.Context(), src, w.options(export.CSV, f))
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if _, err := e.Write(t.Context(), &got); err != nil || !bytes.Equal(got.Bytes(), want) || src.asked == 0 {
			t.Errorf("%s: another export with an index (asked %d times), %v", name, src.asked, err)
		}
	}
	if _, err := export.Prepare(t.Context(), &finder{world: w, lost: true}, w.options(export.CSV, export.Filter{})); err == nil {
		t.Error("an index that goes nowhere is believed")
	}
}

// keeper has pruned some records.
type keeper struct {
	*world
	first uint64
}

func (k keeper) First(context.Context, string) (uint64, error) { return k.first, nil }

func (k keeper) Scan(ctx context.Context, tenant string, from uint64, n int) ([]wal.Entry, error) {
	if from < k.first {
		return nil, wal.ErrPruned
	}
	return k.world.Scan(ctx, tenant, from, n)
}

func TestRecordsThatAreNotKeptAreNamedAndNotMissed(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 123, nil)
	for _, c := range []struct {
		filter export.Filter
		count  uint64
		notes  int
	}{{export.Filter{}, 23, 1}, {export.Filter{From: 50}, 23, 1}, {export.Filter{From: 100}, 23, 0}, {export.Filter{From: 110}, 13, 0}} {
		e, err := export.Prepare(t.Context(), keeper{w, 100}, w.options(export.PDF, c.filter))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := e.Write(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		rep, err := w.verify(t, out.Bytes())
		if err != nil || rep.Records != c.count || !rep.Unbroken || rep.Complete == (c.notes > 0) || len(rep.Notes) != c.notes+1 {
			t.Errorf("%+v: %+v, %v", c.filter, rep, err)
		}
	}
}

func TestAboutCountsWhatIsExported(t *testing.T) {
	w := newWorld(t)
	w.fill(t, "acme", 100, nil)
	e, err := export.Prepare(t.Context(), w, w.options(export.JSONL, export.Filter{From: 20}))
	if err != nil {
		t.Fatal(err)
	}
	a := e.About()
	if a.Count != 80 || a.First != 20 || a.Last != 99 || a.Kinds.Names["refused"] != 20 || a.Verdicts.Names["allow"] != 60 {
		t.Errorf("counted %+v", a)
	}
	top, rest := a.Tools.Top(2)
	if len(top) != 2 || top[0] != (export.Count{Name: "shop/tool_0", N: 16}) || rest != 48 {
		t.Errorf("top %v, rest %d", top, rest)
	}
	if a.Later-a.Earliest != (79 * time.Second).Microseconds() {
		t.Errorf("from %d to %d", a.Earliest, a.Later)
	}
}
