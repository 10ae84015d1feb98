package retention_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/gateway/retention"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBroken = errors.New("broken")

const keep = 24 * time.Hour

// world is a ledger, its keeper, and what both stand on.
type world struct {
	t     *testing.T
	o     wal.Options
	fs    *disktest.FS
	store *storetest.Faulty
	vault *vault.Vault
	book  publish.Book
	tiles *tiles
	*retention.Keeper

	mu sync.Mutex
	at time.Time
}

// tiles notes what is given up, and looks whether it was recorded.
type tiles struct {
	w      *world
	err    error
	before func(tenant string)
	least  map[string]uint64
}

func (p *tiles) Checkpoint(tenant string) ([]byte, error) { return p.w.book.Checkpoint(tenant) }

func (p *tiles) PruneTiles(ctx context.Context, tenant string, least uint64) error {
	if len(p.w.records(tenant, ledger.Prune)) == 0 {
		p.w.t.Error("tiles are deleted and no record says so")
	}
	if p.err != nil {
		return p.err
	}
	if p.before != nil {
		p.before(tenant)
	}
	p.least[tenant] = least
	return p.w.book.PruneTiles(ctx, tenant, least)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, fs: disktest.New(), store: storetest.NewFaulty(storetest.NewMemory()), at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	w.tiles = &tiles{w: w, least: map[string]uint64{}}
	seed := sha256.Sum256([]byte("test"))
	c := wal.DefaultConfig()
	c.Sync, c.SegmentBytes, c.Deadline, c.Checkpoint = wal.SyncWrite, 64<<10, 10*time.Second, 20*time.Millisecond
	w.o = wal.Options{
		Config: c, Dir: filepath.Join(dir, "ledger"), Instance: "gw-1", Origin: "gate.example", Signer: ed25519.NewKeyFromSeed(seed[:]),
		ChainKeyFile: filepath.Join(dir, "keys", "chain"), RootKeyFile: filepath.Join(dir, "keys", "root"),
		Now: w.now, Rand: rand.Reader, FS: w.fs,
	}
	var err error
	if w.vault, err = vault.Open(t.Context(), w.store, make([]byte, 32), rand.Reader); err != nil {
		t.Fatal(err)
	}
	w.open()
	t.Cleanup(w.close)
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.book, err = publish.OpenBook(context.Background(), w.o); err != nil {
		w.t.Fatal(err)
	}
	w.Keeper = w.keeper(keep)
}

func (w *world) keeper(d time.Duration) *retention.Keeper {
	w.t.Helper()
	k, err := retention.Open(w.t.Context(), retention.Deps{
		Store: w.store, Log: w.book.Log, Tiles: w.tiles, Vault: w.vault, Now: w.now, Rand: rand.Reader, Logger: slog.New(slog.DiscardHandler),
		People: func(_ context.Context, tenant, id string) (bool, error) {
			return tenant == "acme" && (id == "usr_known" || id == "agt_owned" || id == "agt_alone"), nil
		}, Retention: d,
		Owner: func(_ context.Context, tenant, id string) (string, error) {
			if tenant == "acme" && id == "agt_owned" {
				return subject, nil
			}
			return "", nil
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

func (w *world) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_ = w.book.Log.Close(ctx)
}

// fill writes n records of a tenant, now.
func (w *world) fill(tenant string, n int) {
	w.t.Helper()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range n / 8 {
				if _, err := w.book.Append(context.Background(), &ledger.Record{Tenant: tenant, Kind: ledger.Admin, Step: -1, Op: "fill"}); err != nil {
					w.t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// published waits until all that is there is signed.
func (w *world) published() {
	w.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		all := true
		for _, t := range w.book.Tenants() {
			note, err := w.book.Checkpoint(t)
			if err != nil {
				all = false
				continue
			}
			cp, err := ledger.ReadCheckpoint(note)
			all = all && err == nil && cp.Size == w.book.Size(t)
		}
		if all {
			return
		}
	}
	w.t.Fatal("not published")
}

// records reads a tenant's records of a kind.
func (w *world) records(tenant string, kind ledger.Kind) (out []ledger.Record) {
	w.t.Helper()
	for from := w.book.First(tenant); from < w.book.Size(tenant); {
		entries, err := w.book.Scan(w.t.Context(), tenant, from, 10_000)
		if err != nil {
			w.t.Fatal(err)
		}
		for i := range entries {
			r, err := entries[i].Record()
			if err != nil {
				w.t.Fatal(err)
			}
			if r.Kind == kind {
				out = append(out, r)
			}
		}
		from += uint64(len(entries))
	}
	return out
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func want(t *testing.T, err, is error) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Fatalf("got %v, want %v", err, is)
	}
}

// old fills a ledger whose first part is older than is kept.
func (w *world) old() {
	for range 75 { // mixed, so that every segment has both
		w.fill("acme", 8)
		w.fill("other", 8)
	}
	w.later(2 * keep)
	w.fill("acme", 600)
	w.fill("other", 104)
	w.published()
}

func part(t *testing.T, r retention.Result, tenant string) retention.Part {
	t.Helper()
	for _, p := range r.Parts {
		if p.Tenant == tenant {
			return p
		}
	}
	t.Fatal("nothing is said of", tenant)
	return retention.Part{}
}

func (w *world) mustVerify() {
	w.t.Helper()
	w.close()
	if _, err := publish.Verify(context.Background(), w.o.Dir, publish.VerifyOptions{Keys: ledger.VerifierKeys{w.book.VerifierKey()}}); err != nil {
		w.t.Fatal("what is left does not verify:", err)
	}
	w.open()
}
