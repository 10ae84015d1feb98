package usage_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/usage"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

var (
	alice = usage.Who{Tenant: "acme", User: "usr_a", Agent: "agt_a", Key: "key_a"}
	bob   = usage.Who{Tenant: "acme", User: "usr_b", Agent: "agt_b", Key: "key_b"}
	mal   = usage.Who{Tenant: "evil", User: "usr_a", Agent: "agt_a", Key: "key_a"}
)

// world is a register over a store that can be broken, at a time that is set by hand.
type world struct {
	*usage.Register
	t     *testing.T
	store *storetest.Faulty
	at    time.Time
}

func newWorld(t *testing.T, change func(*usage.Config)) *world {
	t.Helper()
	w := &world{t: t, store: storetest.NewFaulty(storetest.NewMemory()), at: time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC)}
	cfg := usage.DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	r, err := usage.New(cfg, w.store, func() time.Time { return w.at }, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.Register = r
	return w
}

// row is an hour of session s with counts n, 2n, 3n and 4n for model m.
func row(s, date string, hour int, n int64) usage.Row {
	return usage.Row{Product: "claude", Session: s, Date: date, Hour: hour, Device: "laptop", Entries: []usage.Entry{{Model: "m", Input: n, Output: 2 * n, CacheRead: 3 * n, CacheWrite: 4 * n}}}
}

func (w *world) put(who usage.Who, rows ...usage.Row) {
	w.t.Helper()
	if err := w.Put(w.t.Context(), who, rows); err != nil {
		w.t.Fatal(err)
	}
}

// sums is "day product model input/output/read/write xROWS" of each total of the last month.
func (w *world) sums(tenant string, change func(*usage.Filter)) string {
	w.t.Helper()
	f := usage.Filter{From: w.at.AddDate(0, -1, 0).Format("2006-01-02"), To: w.at.AddDate(0, 0, 1).Format("2006-01-02")}
	if change != nil {
		change(&f)
	}
	totals, err := w.Sum(w.t.Context(), tenant, f)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, x := range totals {
		out = append(out, fmt.Sprintf("%s %s %s %d/%d/%d/%d x%d", x.Day, x.Product, x.Model, x.Input, x.Output, x.CacheRead, x.CacheWrite, x.Rows))
	}
	return strings.Join(out, "; ")
}

func want(t *testing.T, got, wanted string) {
	t.Helper()
	if got != wanted {
		t.Errorf("got  %s\nwant %s", got, wanted)
	}
}

func TestReportsThatAreRefusedLeaveNothing(t *testing.T) {
	long := strings.Repeat("x", 257)
	many := func(n int) (out []usage.Entry) {
		for i := range n {
			out = append(out, usage.Entry{Model: fmt.Sprint(i)})
		}
		return out
	}
	for name, rows := range map[string][]usage.Row{
		"nothing":          {},
		"too many rows":    make([]usage.Row, 101),
		"no session":       {row("", "2026-11-22", 1, 1)},
		"no entries":       {{Session: "s", Date: "2026-11-22", Hour: 1}},
		"too many models":  {{Session: "s", Date: "2026-11-22", Entries: many(101)}},
		"too many entries": {{Session: "a", Date: "2026-11-22", Entries: many(100)}, {Session: "b", Date: "2026-11-22", Entries: many(100)}, {Session: "c", Date: "2026-11-22", Entries: many(100)}, {Session: "d", Date: "2026-11-22", Entries: many(100)}, {Session: "e", Date: "2026-11-22", Entries: many(100)}, {Session: "f", Date: "2026-11-22", Entries: many(1)}},
		"model twice":      {{Session: "s", Date: "2026-11-22", Entries: []usage.Entry{{Model: "m"}, {Model: "m"}}}},
		"model unnamed":    {{Session: "s", Date: "2026-11-22", Entries: []usage.Entry{{}}}},
		"no such day":      {row("s", "2026-02-30", 1, 1)},
		"short day":        {row("s", "2026-2-3", 1, 1)},
		"no day":           {row("s", "", 1, 1)},
		"day, no hour":     {row("s", "2026-11-22", -1, 1)},
		"hour 24":          {row("s", "2026-11-22", 24, 1)},
		"to come":          {row("s", "2026-11-24", 1, 1)},
		"long gone":        {row("s", "2025-10-17", 1, 1)},
		"below 0":          {row("s", "2026-11-22", 1, -1)},
		"above all":        {row("s", "2026-11-22", 1, 100_000_000_001)},
		"long session":     {row(long, "2026-11-22", 1, 1)},
		"control":          {row("a\x00b", "2026-11-22", 1, 1)},
		"not UTF-8":        {row("a\xff", "2026-11-22", 1, 1)},
		"good, then bad":   {row("s", "2026-11-22", 1, 1), row("", "2026-11-22", 1, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			if err := w.Put(t.Context(), alice, rows); !errors.Is(err, usage.ErrInvalid) {
				t.Fatal(err)
			}
			want(t, w.sums("acme", nil), "")
		})
	}
}

func TestOnlyAgentsOfAnOrganisationReport(t *testing.T) {
	w := newWorld(t, nil)
	ctx := t.Context()
	for _, who := range []usage.Who{{}, {Tenant: "acme", User: "u", Key: "k"}, {Tenant: "acme", Agent: "a"}, {Tenant: store.Instance, Agent: "a", Key: "k"}, {Tenant: "A B", Agent: "a", Key: "k"}} {
		_, err1 := w.Stream(ctx, who)
		_, err2 := w.Batch(ctx, who, uuid(1), []usage.Snapshot{{Row: row("s", "2026-11-22", 1, 1), Revision: 1}})
		_, _, err3 := w.Run(ctx, who, uuid(1), []byte(`{}`))
		for _, err := range []error{w.Put(ctx, who, []usage.Row{row("s", "2026-11-22", 1, 1)}), err1, err2, err3} {
			if !errors.Is(err, usage.ErrForbidden) {
				t.Errorf("%+v: %v", who, err)
			}
		}
	}
}

func TestARowIsReplacedPerModelAndOnlyByItsAgent(t *testing.T) {
	w := newWorld(t, nil)
	w.put(alice, row("s", "2026-11-21", 9, 1), row("s", "2026-11-21", 10, 10), row("s", "2026-11-22", 9, 100))
	w.put(bob, row("s", "2026-11-21", 9, 1000))
	w.put(mal, row("s", "2026-11-21", 9, 7))
	want(t, w.sums("acme", nil), "2026-11-21 claude m 1011/2022/3033/4044 x3; 2026-11-22 claude m 100/200/300/400 x1")
	again := row("s", "2026-11-21", 9, 2)
	again.Entries = append(again.Entries, usage.Entry{Model: "n", Input: 5})
	w.put(alice, again)
	w.put(alice, row("s", "2026-11-22", 9, 0)) // zeroed
	want(t, w.sums("acme", nil), "2026-11-21 claude m 1012/2024/3036/4048 x3; 2026-11-21 claude n 5/0/0/0 x1; 2026-11-22 claude m 0/0/0/0 x1")
	want(t, w.sums("acme", func(f *usage.Filter) { f.Agent = "agt_b" }), "2026-11-21 claude m 1000/2000/3000/4000 x1")
	want(t, w.sums("acme", func(f *usage.Filter) { f.Model = "n" }), "2026-11-21 claude n 5/0/0/0 x1")
	want(t, w.sums("acme", func(f *usage.Filter) { f.Product = "codex" }), "")
	want(t, w.sums("acme", func(f *usage.Filter) { f.From, f.To = "2026-11-22", "2026-11-22" }), "2026-11-22 claude m 0/0/0/0 x1")
	want(t, w.sums("evil", nil), "2026-11-21 claude m 7/14/21/28 x1")
}

func TestWhatTellsRowsApartIsNotConfused(t *testing.T) {
	w := newWorld(t, nil)
	rows := []usage.Row{row("a", "2026-11-22", 1, 1), row("a", "2026-11-22", 1, 1), row("b", "2026-11-22", 1, 1), row("a", "2026-11-22", 2, 1)}
	rows[1].Device = "other"
	swapped := row("laptop", "2026-11-22", 1, 1)
	swapped.Device = "a"
	product := row("a", "2026-11-22", 1, 1)
	product.Product = "codex"
	w.put(alice, append(rows, swapped, product)...)
	want(t, w.sums("acme", nil), "2026-11-22 claude m 5/10/15/20 x5; 2026-11-22 codex m 1/2/3/4 x1")
}

func TestASessionReportedAsAWholeIsOneRowHoweverLongItLasts(t *testing.T) {
	w := newWorld(t, nil)
	w.put(alice, row("s", "", -1, 1))
	w.at = w.at.Add(24 * time.Hour)
	w.put(alice, row("s", "", -1, 5))
	want(t, w.sums("acme", nil), "2026-11-22 claude m 5/10/15/20 x1")
	want(t, w.sums("acme", func(f *usage.Filter) { f.To = "2026-11-21" }), "")
	want(t, w.sums("acme", func(f *usage.Filter) { f.From = "2026-11-23" }), "")
}

func TestBoundsAreHeldAndOldDaysMakeRoom(t *testing.T) {
	w := newWorld(t, func(c *usage.Config) { c.RowsPerAgent, c.Rows, c.Keep = 2, 3, 48*time.Hour })
	ctx := t.Context()
	w.put(alice, row("s", "2026-11-21", 1, 1), row("s", "", -1, 1))
	if err := w.Put(ctx, alice, []usage.Row{row("t", "2026-11-22", 1, 1)}); !errors.Is(err, usage.ErrLimit) {
		t.Fatal(err)
	}
	w.put(alice, row("s", "2026-11-21", 1, 2)) // a row there is
	if err := w.Put(ctx, bob, []usage.Row{row("a", "2026-11-22", 1, 1), row("b", "2026-11-22", 1, 1)}); !errors.Is(err, usage.ErrLimit) {
		t.Fatal(err)
	}
	want(t, w.sums("acme", nil), "2026-11-21 claude m 2/4/6/8 x1; 2026-11-22 claude m 1/2/3/4 x1")
	w.at = w.at.Add(48 * time.Hour) // the 22nd is the oldest kept
	w.put(bob, row("a", "2026-11-24", 1, 1), row("b", "2026-11-24", 1, 1))
	want(t, w.sums("acme", nil), "2026-11-22 claude m 1/2/3/4 x1; 2026-11-24 claude m 2/4/6/8 x2")
	w.at = w.at.Add(24 * time.Hour)
	w.put(alice, row("c", "2026-11-24", 1, 1))
	want(t, w.sums("acme", nil), "2026-11-24 claude m 3/6/9/12 x3")
}

func TestManyOldRowsAreRemovedInSeveralTransactions(t *testing.T) {
	w := newWorld(t, func(c *usage.Config) { c.Keep = 24 * time.Hour })
	for i := range 9 {
		var rows []usage.Row
		for j := range 100 {
			rows = append(rows, row(fmt.Sprint(i, "/", j), []string{"2026-11-21", ""}[i%2], []int{3, -1}[i%2], 1))
		}
		w.put(alice, rows...)
	}
	w.at = w.at.AddDate(0, 0, 5)
	w.put(alice, row("s", "2026-11-27", 0, 1))
	want(t, w.sums("acme", nil), "2026-11-27 claude m 1/2/3/4 x1")
	w.RowsLeft(t, "agt_a", 1)
}

// RowsLeft reads the agent's book.
func (w *world) RowsLeft(t *testing.T, agent string, n int) {
	t.Helper()
	err := w.store.View(t.Context(), "acme", func(tx store.Txn) error {
		v, err := tx.Get("usage_books", agent)
		if err != nil {
			return err
		}
		var book struct{ Rows int }
		if err := json.Unmarshal(v.Data[2:], &book); err != nil || book.Rows != n {
			t.Errorf("book says %d rows, want %d (%v)", book.Rows, n, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestASumIsOfSoManyDaysOnly(t *testing.T) {
	w := newWorld(t, nil)
	for _, f := range []usage.Filter{{}, {From: "2026-11-22"}, {From: "2026-11-22", To: "2026-11-21"}, {From: "2025-11-21", To: "2026-11-22"}, {From: "x", To: "2026-11-22"}} {
		if _, err := w.Sum(t.Context(), "acme", f); !errors.Is(err, usage.ErrInvalid) {
			t.Errorf("%+v: %v", f, err)
		}
	}
	if _, err := w.Sum(t.Context(), "acme", usage.Filter{From: "2025-11-22", To: "2026-11-22"}); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Sum(ctx, "acme", usage.Filter{From: "2026-11-22", To: "2026-11-22"}); err == nil {
		t.Error("summed for nobody")
	}
}

func TestABrokenStoreIsNoReport(t *testing.T) {
	w := newWorld(t, nil)
	w.put(alice, row("s", "2026-11-22", 1, 1)) // prunes for today
	w.store.Next(storetest.Failed)
	if err := w.Put(t.Context(), alice, []usage.Row{row("s", "2026-11-22", 1, 2)}); err == nil {
		t.Fatal("kept on a broken disk")
	}
}

func TestAConfigWithoutBoundsIsRefused(t *testing.T) {
	for i, change := range []func(*usage.Config){
		func(c *usage.Config) { c.RowsPerAgent = 0 }, func(c *usage.Config) { c.Rows = 1 }, func(c *usage.Config) { c.Rows = 1 << 30 },
		func(c *usage.Config) { c.Keep = time.Hour }, func(c *usage.Config) { c.Runs = 0 }, func(c *usage.Config) { c.Runs = 1000 },
	} {
		cfg := usage.DefaultConfig()
		change(&cfg)
		if _, err := usage.New(cfg, storetest.NewMemory(), time.Now, rand.Reader); err == nil {
			t.Errorf("change %d is taken", i)
		}
	}
	if _, err := usage.New(usage.DefaultConfig(), nil, time.Now, rand.Reader); err == nil {
		t.Error("no store is taken")
	}
}
