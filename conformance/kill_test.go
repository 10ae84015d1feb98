package conformance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// acknowledged is a call that a client was answered.
type acknowledged struct {
	who     agent
	token   string
	args    string
	record  string
	receipt string
}

// load has an agent take the steps of its plan, one after the other, until the gateway is gone.
func load(who agent, token string, steps int, each func(acknowledged)) {
	for i := range steps {
		args := expression(i)
		a, err := trySend("POST", who.g.URL+"/mcp/demo", bearer(who.key, token), message("calculate", args))
		if err != nil || a.Result == nil {
			return // killed in between; nothing was promised
		}
		each(acknowledged{who, token, args, a.Record, a.Receipt})
	}
}

func expression(i int) string { return fmt.Sprintf(`{"expression":"%d+1"}`, i) }

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	t.Parallel()
	const clients, steps = 4, 200
	g := start(t, Setup{})
	var draft []string
	for i := range steps {
		draft = append(draft, step("demo", "calculate", expression(i)))
	}
	type worker struct {
		who   agent
		token string
	}
	var workers []worker
	for range clients {
		who := g.newAgent(t)
		_, tok := who.planned(t, draft...)
		workers = append(workers, worker{who, tok.Token})
	}
	var mu sync.Mutex
	var acked []acknowledged
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() {
			load(w.who, w.token, steps, func(a acknowledged) {
				mu.Lock()
				defer mu.Unlock()
				acked = append(acked, a)
			})
		})
	}
	waitFor(t, "60 answers", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(acked) >= 60
	})
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	g.Restart(t)
	t.Logf("killed after %d acknowledged calls", len(acked))
	if len(acked) == clients*steps {
		t.Fatal("the gateway was killed only after all calls: no load")
	}
	allInTheLedger(t, g, acked)
	for _, a := range acked { // each step had one use
		r, err := trySend("POST", g.URL+"/mcp/demo", bearer(a.who.key, a.token), message("calculate", a.args))
		if err != nil || r.Code != "step_used" {
			t.Fatalf("a spent step after the restart: %s %v", r, err)
		}
	}
	if code := g.Stop(t); code != 0 {
		t.Errorf("exit %d after SIGTERM", code)
	}
	if v := g.verifyLedger(t); v.code != 0 || !strings.Contains(v.out, "signatures checked, chain checked") {
		t.Errorf("ledger verify: %+v", v)
	}
}

// allInTheLedger finds the record of each receipt in the ledger, byte for byte.
func allInTheLedger(t *testing.T, g *Gateway, acked []acknowledged) {
	t.Helper()
	pins, err := os.ReadFile(filepath.Join(g.Dir, "keys", "ledger.pub"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ledger.ParseVerifierKeys(pins)
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]record{}
	admitted := map[string]bool{}
	for _, r := range g.ledger(t, g.Admin()) {
		kept[r.ID] = r
		admitted[r.ID] = r.Kind == "admitted"
	}
	for _, a := range acked {
		receipt, err := ledger.ParseReceipt([]byte(a.receipt))
		if err != nil {
			t.Fatal(err)
		}
		if err := receipt.Verify(keys); err != nil {
			t.Fatalf("receipt of %s: %v", a.record, err)
		}
		r, ok := kept[a.record]
		if !ok || !sameJSON(receipt.Leaf, []byte(r.Raw)) {
			t.Fatalf("the acknowledged record %s is not in the ledger as its receipt has it", a.record)
		}
		if !admitted[r.Of] {
			t.Errorf("%s is of %s, which is not admitted in the ledger", a.record, r.Of)
		}
	}
}

// sameJSON compares compact JSON; the control port may have put other white space around a record.
func sameJSON(a, b []byte) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

func TestEveryFlippedByteOfTheLedgerIsReported(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	a := g.newAgent(t)
	_, tok := a.planned(t, step("demo", "calculate", expression(1), `"uses":0`))
	for range 20 {
		a.call(t, "demo", "calculate", expression(1), tok.Token).ok(t)
		a.call(t, "demo", "calculate", expression(2), tok.Token).refused(t, "args_mismatch")
	}
	g.Stop(t)
	ends := written(t, g.Dir)
	g.Restart(t)
	a.call(t, "demo", "calculate", expression(1), tok.Token).ok(t) // the last batch is the one after what is damaged
	g.Stop(t)
	if v := g.verifyLedger(t); v.code != 0 {
		t.Fatalf("before any damage: %+v", v)
	}
	o := offline(t, g)
	if _, err := publish.Verify(t.Context(), filepath.Join(g.Dir, "ledger"), o); err != nil {
		t.Fatalf("before any damage: %v", err)
	}
	var names []string
	for name := range ends {
		names = append(names, name)
	}
	sort.Strings(names)
	tried := 0
	for _, name := range names {
		end := ends[name]
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, at := range offsets(end) {
			damaged := bytes.Clone(whole)
			damaged[at] ^= 1 << (i % 8)
			if err := os.WriteFile(name, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			if i%24 == 0 {
				if v := g.verifyLedger(t); v.code != 1 {
					t.Errorf("%s with byte %d of %d flipped: exit %d\n%s%s", filepath.Base(name), at, end, v.code, v.out, v.err)
				}
			}
			if _, err := publish.Verify(t.Context(), filepath.Join(g.Dir, "ledger"), o); err == nil {
				t.Errorf("%s with byte %d of %d flipped is verified", filepath.Base(name), at, end)
			}
			tried++
		}
		if err := os.WriteFile(name, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d bytes flipped", tried)
	if v := g.verifyLedger(t); v.code != 0 {
		t.Errorf("after the damage was undone: %+v", v)
	}
}

// offline is how the command verifies, for many times over.
func offline(t *testing.T, g *Gateway) publish.VerifyOptions {
	t.Helper()
	pins, err := os.ReadFile(filepath.Join(g.Dir, "keys", "ledger.pub"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ledger.ParseVerifierKeys(pins)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(g.Dir, "keys", "ledger.k0"))
	if err != nil {
		t.Fatal(err)
	}
	_, k0, err := wal.ParseChainKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return publish.VerifyOptions{Keys: keys, K0: k0}
}

// written tells how far each segment is written: what follows is room allocated ahead, all zero.
func written(t *testing.T, dir string) map[string]int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "ledger", "_wal", "*.segment"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(bytes.TrimRight(b, "\x00")); n > 0 {
			out[name] = n
		}
	}
	if len(out) == 0 {
		t.Fatal("no segment is written")
	}
	return out
}

// offsets samples a file's written part: its first bytes one by one, then evenly, then its last.
func offsets(end int) []int {
	out := []int{end - 1}
	for at := range min(64, end) {
		out = append(out, at)
	}
	for at := 64; at < end; at += max(1, end/96) {
		out = append(out, at)
	}
	return out
}
