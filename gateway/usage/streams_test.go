package usage_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/usage"
	"github.com/gatewright/gatewright/store/storetest"
)

// uuid is the nth of some UUIDs.
func uuid(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// clientUUID is what the clients take for a generation.
var clientUUID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func (w *world) stream(who usage.Who) string {
	w.t.Helper()
	g, err := w.Stream(w.t.Context(), who)
	if err != nil || !clientUUID.MatchString(g) {
		w.t.Fatalf("%q %v", g, err)
	}
	return g
}

func snap(s string, revision, n int64) usage.Snapshot {
	return usage.Snapshot{Row: row(s, "2026-11-22", 9, n), Revision: revision}
}

// batch is the statuses of what was sent, in one line.
func (w *world) batch(who usage.Who, generation string, s ...usage.Snapshot) string {
	w.t.Helper()
	got, err := w.Batch(w.t.Context(), who, generation, s)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Trim(fmt.Sprint(got), "[]")
}

func TestAStreamIsTheKeysOwnAndStaysUntilItIsReset(t *testing.T) {
	w := newWorld(t, nil)
	ctx := t.Context()
	g := w.stream(alice)
	if w.stream(alice) != g {
		t.Error("resumed as another")
	}
	otherKey := alice
	otherKey.Key = "key_2"
	if w.stream(otherKey) == g || w.stream(bob) == g || w.stream(mal) == g {
		t.Error("shared between keys, agents or tenants")
	}
	reset := func(generation, id string) string {
		t.Helper()
		out, err := w.Reset(ctx, alice, generation, id)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	h := reset(g, uuid(1))
	if h == g || reset(g, uuid(1)) != h || reset(strings.ToUpper(g), uuid(2)) != h || reset(h, strings.ToUpper(uuid(1))) != h || w.stream(alice) != h {
		t.Error("a reset is taken twice, or out of its time")
	}
	if reset(h, uuid(3)) == h {
		t.Error("the second reset is lost")
	}
	for _, bad := range [][2]string{{"", uuid(1)}, {g, "x"}, {g, strings.Replace(uuid(1), "-", "0", 1)}, {g, "00000000-0000-9000-8000-000000000000"}, {g, "00000000-0000-4000-7000-000000000000"}, {g, uuid(1)[:35] + "g"}} {
		if _, err := w.Reset(ctx, alice, bad[0], bad[1]); !errors.Is(err, usage.ErrInvalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestASnapshotIsTheWholeOfItsRowAndTheLaterRevisionWins(t *testing.T) {
	w := newWorld(t, nil)
	g := w.stream(alice)
	want(t, w.batch(alice, g, snap("a", 2, 1), snap("b", 1, 10)), "applied applied")
	want(t, w.batch(alice, g, snap("a", 2, 5), snap("a", 1, 5), snap("b", 2, 20), snap("b", 3, 30)), "present superseded applied applied")
	want(t, w.sums("acme", nil), "2026-11-22 claude m 31/62/93/124 x2")
	other := snap("a", 3, 7)
	other.Entries[0].Model = "n"
	want(t, w.batch(alice, strings.ToUpper(g), other), "applied")
	want(t, w.sums("acme", nil), "2026-11-22 claude m 30/60/90/120 x1; 2026-11-22 claude n 7/14/21/28 x1")
	h, err := w.Reset(t.Context(), alice, g, uuid(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Batch(t.Context(), alice, g, []usage.Snapshot{snap("a", 9, 9)}); !errors.Is(err, usage.ErrGeneration) {
		t.Fatal(err)
	}
	want(t, w.batch(alice, h, snap("b", 1, 2)), "applied")
	want(t, w.sums("acme", nil), "2026-11-22 claude m 2/4/6/8 x1; 2026-11-22 claude n 7/14/21/28 x1")
}

func TestABatchIsKeptWholeOrNotAtAll(t *testing.T) {
	w := newWorld(t, func(c *usage.Config) { c.RowsPerAgent = 1 })
	ctx := t.Context()
	g := w.stream(alice)
	if _, err := w.Batch(ctx, alice, g, []usage.Snapshot{snap("a", 1, 1), snap("b", 1, 1)}); !errors.Is(err, usage.ErrLimit) {
		t.Fatal(err)
	}
	undated := snap("a", 1, 1)
	undated.Date, undated.Hour = "", -1
	for name, bad := range map[string][]usage.Snapshot{"empty": {}, "revision 0": {snap("a", 0, 1)}, "revision 2^53": {snap("a", 1<<53, 1)}, "undated": {undated}, "bad row": {snap("a", 1, 1), snap("", 1, 1)}} {
		if _, err := w.Batch(ctx, alice, g, bad); !errors.Is(err, usage.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, generation := range []string{"", "x", g[:35]} {
		if _, err := w.Batch(ctx, alice, generation, []usage.Snapshot{snap("a", 1, 1)}); !errors.Is(err, usage.ErrInvalid) {
			t.Error(err)
		}
	}
	if _, err := w.Batch(ctx, bob, g, []usage.Snapshot{snap("a", 1, 1)}); !errors.Is(err, usage.ErrGeneration) {
		t.Fatalf("another agent's generation: %v", err)
	}
	want(t, w.sums("acme", nil), "")
}

func TestARunsLastReportIsKept(t *testing.T) {
	w := newWorld(t, func(c *usage.Config) { c.Runs = 2 })
	ctx := t.Context()
	run := func(who usage.Who, n int, report string) string {
		t.Helper()
		kept, applied, err := w.Run(ctx, who, uuid(n), []byte(report))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s %v", kept, applied)
	}
	want(t, run(alice, 1, `{"found": 3, "done":1}`), `{"done":1,"found":3} true`)
	want(t, run(alice, 1, `{"done":1,"found":3}`), `{"done":1,"found":3} false`)
	want(t, run(bob, 1, `{"done":1,"found":3}`), `{"done":1,"found":3} true`)
	run(alice, 2, `{}`)
	run(alice, 3, `{}`)
	want(t, run(alice, 2, `{}`), `{} false`)
	want(t, run(alice, 1, `{"done":1,"found":3}`), `{"done":1,"found":3} true`) // was forgotten
	for _, bad := range []string{``, `[]`, `{"a":1,"a":2}`, `{"a":"` + strings.Repeat("x", 4<<10) + `"}`, `{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{}}}}}}}}}`} {
		if _, _, err := w.Run(ctx, alice, uuid(1), []byte(bad)); !errors.Is(err, usage.ErrInvalid) {
			t.Errorf("%.30s: %v", bad, err)
		}
	}
	if _, _, err := w.Run(ctx, alice, "run", []byte(`{}`)); !errors.Is(err, usage.ErrInvalid) {
		t.Error(err)
	}
	w.store.Next(storetest.Failed)
	if _, _, err := w.Run(ctx, alice, uuid(1), []byte(`{"x":1}`)); err == nil {
		t.Error("kept on a broken disk")
	}
}
