package sinks_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/gateway/sinks"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir, os.Getenv(childURL))
		return
	}
	goleak.VerifyTestMain(m)
}

func openLog(ctx context.Context, dir string) (*wal.Log, error) {
	seed := sha256.Sum256([]byte("test"))
	c := wal.DefaultConfig()
	c.Sync, c.SegmentBytes, c.Deadline, c.Checkpoint = wal.SyncWrite, 256<<10, 10*time.Second, time.Hour
	return wal.Open(ctx, wal.Options{
		Config: c, Dir: filepath.Join(dir, "ledger"), Instance: "gw-1", Origin: "gate.example", Signer: ed25519.NewKeyFromSeed(seed[:]),
		ChainKeyFile: filepath.Join(dir, "keys", "chain"), RootKeyFile: filepath.Join(dir, "keys", "root"), Now: time.Now, Rand: rand.Reader,
	})
}

// cursorKey authenticates cursors.
var cursorKey = bytes.Repeat([]byte{7}, 32)

// world is a ledger with sinks.
type world struct {
	t   *testing.T
	dir string
	log *wal.Log
	set *sinks.Set
	out lockedBuffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.open()
	t.Cleanup(w.close)
	return w
}

func (w *world) open() {
	w.t.Helper()
	l, err := openLog(context.Background(), w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	w.log = l
}

func (w *world) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if w.set != nil {
		if err := w.set.Close(ctx); err != nil {
			w.t.Log("close sinks:", err)
		}
		w.set = nil
	}
	if w.log != nil {
		_ = w.log.Close(ctx)
		w.log = nil
	}
}

func (w *world) options() sinks.Options {
	return sinks.Options{
		Dir: filepath.Join(w.dir, "sinks"), Key: cursorKey, Source: w.log, Host: "gate.example", Instance: "gw-1", Version: "1.2.3",
		Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(&w.out, nil)),
	}
}

func (w *world) start(list ...sinks.Config) {
	w.t.Helper()
	set, err := sinks.Open(w.options(), list)
	if err != nil {
		w.t.Fatal(err)
	}
	w.set = set
}

func config(kind, url string) sinks.Config {
	c := sinks.Config{
		Name: "out", Type: kind, URL: url, Tenant: sinks.All, Batch: 64, Wait: 20 * time.Millisecond, Timeout: 2 * time.Second,
		RetryMin: 5 * time.Millisecond, RetryMax: 50 * time.Millisecond, Confirm: true, Enterprise: 32473,
	}
	if kind == sinks.Webhook {
		c.Secret = []byte("a secret of the operator's")
	}
	return c
}

// fill writes n records of a tenant and returns their ids.
func (w *world) fill(tenant string, n int) []string {
	w.t.Helper()
	return fill(w.t, w.log, tenant, n)
}

func fill(t testing.TB, l *wal.Log, tenant string, n int) []string {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		kind := ledger.Refused
		if i%2 == 1 {
			kind = ledger.Admin
		}
		r := ledger.Record{
			Tenant: tenant, Kind: kind, Step: -1, Agent: "agt_one", User: "usr_\"]\\\n", Op: "tools/call", Server: "files", Tool: "read",
			Verdict: "deny", Code: "not_in_plan", Status: 403, Micros: 77,
		}
		if _, err := l.Append(context.Background(), &r); err != nil {
			t.Fatal(err)
		}
		ids[i] = r.ID
	}
	return ids
}

// inbox is what a receiver got.
type inbox struct {
	mu  sync.Mutex
	ids []string
}

func (b *inbox) add(ids ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ids = append(b.ids, ids...)
}

func (b *inbox) list() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.ids...)
}

// await waits until every id is there.
func (b *inbox) await(t *testing.T, want []string) {
	t.Helper()
	eventually(t, func() bool { return len(missing(b.list(), want)) == 0 }, "%d of %d events are missing")
}

func missing(have, want []string) (out []string) {
	seen := map[string]bool{}
	for _, id := range have {
		seen[id] = true
	}
	for _, id := range want {
		if !seen[id] {
			out = append(out, id)
		}
	}
	return out
}

// inOrder fails unless the first sight of each id is in the order of the log.
func (b *inbox) inOrder(t *testing.T, want []string) {
	t.Helper()
	seen, i := map[string]bool{}, 0
	for _, id := range b.list() {
		if seen[id] {
			continue
		}
		seen[id] = true
		if i >= len(want) || want[i] != id {
			t.Fatalf("event %d is out of order, or unknown", i)
		}
		i++
	}
}

func eventually(t *testing.T, ok func() bool, what string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("it did not come about: " + what)
}

func (w *world) state() sinks.State { return w.set.States()[0] }

// caughtUp waits until nothing is left to deliver.
func (w *world) caughtUp() {
	w.t.Helper()
	eventually(w.t, func() bool { return w.state().Lag == 0 }, "no lag")
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
