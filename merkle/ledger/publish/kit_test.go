package publish_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const host, instance = "gate.example", "gw-1"

// quick is the disk without waiting for it.
type quick struct{ disk.OS }

func (q quick) Open(name string, flag int) (disk.File, error) {
	if flag&os.O_CREATE != 0 {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return nil, err
		}
	}
	f, err := q.OS.Open(name, flag)
	return quickFile{f}, err
}
func (quick) SyncDir(string) error { return nil }

type quickFile struct{ disk.File }

func (quickFile) Sync() error { return nil }

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func signer(t testing.TB, name string) ledger.Signer {
	t.Helper()
	s, err := ledger.NewSigner(ledger.Origin(host, ledger.InstanceTenant, instance), key(name))
	must(t, err)
	return s
}

func pinned(t testing.TB, names ...string) ledger.VerifierKeys {
	t.Helper()
	var out ledger.VerifierKeys
	for _, name := range append(names, "signer")[:max(len(names), 1)] {
		out = append(out, signer(t, name).Public)
	}
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// book is a log in memory: what is published is the same as of a real one.
type book struct {
	mu    sync.Mutex
	data  map[string][][]byte
	first map[string]uint64 // below it records are pruned
}

func newBook() *book { return &book{data: map[string][][]byte{}, first: map[string]uint64{}} }

func recordID(tenant string, i int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", tenant, i))
	id, err := ledger.NewID(time.UnixMilli(1_700_000_000_000+int64(i)), slow(sum[:]))
	if err != nil {
		panic(err)
	}
	return id
}

// slow is a source of given randomness.
type slow []byte

func (s slow) Read(b []byte) (int, error) { return copy(b, s), nil }

func (b *book) add(tenant string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range n {
		i := len(b.data[tenant])
		r := ledger.Record{ID: recordID(tenant, i), Time: int64(i), Tenant: tenant, Instance: instance, Boot: 1, Kind: ledger.Heartbeat, Step: -1}
		b.data[tenant] = append(b.data[tenant], r.AppendJSON(nil))
	}
}

func (b *book) heads() []wal.Head {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []wal.Head
	for tenant, data := range b.data {
		h := wal.Head{Tenant: tenant}
		for _, d := range data {
			h.Tree.Append(merkle.LeafHash(d))
		}
		out = append(out, h)
	}
	return out
}

func (b *book) Scan(_ context.Context, tenant string, from uint64, n int) ([]wal.Entry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if from < b.first[tenant] {
		return nil, wal.ErrPruned
	}
	var out []wal.Entry
	for i := from; i < uint64(len(b.data[tenant])) && len(out) < n; i++ {
		d := b.data[tenant][i]
		out = append(out, wal.Entry{Index: i, Leaf: merkle.LeafHash(d), Data: d})
	}
	return out, nil
}

func (b *book) ReadLeaves(ctx context.Context, into *wal.Leaves, tenant string, from uint64, n int) error {
	found, err := b.Scan(ctx, tenant, from, n)
	*into = wal.Leaves{}
	for _, e := range found {
		into.Data, into.Hashes = append(into.Data, e.Data), append(into.Hashes, e.Leaf)
	}
	return err
}

func (b *book) Head(_ context.Context, tenant string) (wal.Head, error) {
	for _, h := range b.heads() {
		if h.Tenant == tenant {
			return h, nil
		}
	}
	return wal.Head{}, wal.ErrTenant
}

func (b *book) Find(_ context.Context, tenant, id string) (e wal.Entry, ok bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, d := range b.data[tenant] {
		if recordID(tenant, i) == id {
			return wal.Entry{Index: uint64(i), Leaf: merkle.LeafHash(d), Data: d}, true, nil
		}
	}
	return wal.Entry{}, false, nil
}

func options(dir string) publish.Options {
	return publish.Options{FS: quick{}, Dir: dir, Instance: instance, Origin: host, Signer: key("signer"), Now: time.Now}
}

func open(t testing.TB, o publish.Options, b *book) *publish.Publisher {
	t.Helper()
	p, err := publish.Open(o)
	must(t, err)
	p.Attach(b)
	t.Cleanup(func() { shut(t, p) })
	return p
}

func shut(t testing.TB, p *publish.Publisher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	must(t, p.Close(ctx))
}

func tick(t testing.TB, p *publish.Publisher, b *book) {
	t.Helper()
	must(t, p.Publish(t.Context(), b.heads()))
}

// witness cosigns a log as C2SP tlog-witness demands: only what is consistent with what it saw.
type witness struct {
	t    testing.TB
	by   ledger.Cosigner
	mu   sync.Mutex
	seen ledger.Checkpoint
	err  error // set: it fails
	hang bool
}

func newWitness(t testing.TB, name string) *witness {
	t.Helper()
	by, err := ledger.NewCosigner(name, key(name))
	must(t, err)
	return &witness{t: t, by: by}
}

var errFork = errors.New("witness saw another history")

func (w *witness) cosign(ctx context.Context, note []byte, size uint64, proof func(old uint64) ([]merkle.Hash, error)) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hang {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if w.err != nil {
		return nil, w.err
	}
	cp, err := ledger.OpenCheckpoint(note, pinned(w.t))
	if err != nil || cp.Size != size {
		return nil, errors.Join(errFork, err)
	}
	if w.seen.Size > 0 {
		hashes, err := proof(w.seen.Size)
		if err != nil {
			return nil, errors.Join(errFork, err)
		}
		if err := merkle.VerifyConsistency(w.seen.Size, size, hashes, w.seen.Root, cp.Root); err != nil {
			return nil, errors.Join(errFork, err)
		}
	}
	w.seen = cp
	sig, err := w.by.SignNote(cp.Body(), time.Unix(1_700_000_000, 0))
	return ledger.AppendSignature(nil, w.by.KeyName(), w.by.KeyHash(), sig), err
}

func (w *witness) policy(need int) ledger.WitnessPolicy {
	return ledger.WitnessPolicy{Keys: []ledger.VerifierKey{w.by.Public()}, Need: need}
}

// proven checks the proof of a record from the outside.
func proven(t testing.TB, b *book, tenant string, index uint64, text []byte, w ledger.WitnessPolicy) (ledger.Checkpoint, error) {
	t.Helper()
	p, err := ledger.ParseProof(text)
	must(t, err)
	if p.Index != index {
		t.Fatalf("proof of %d, not of %d", p.Index, index)
	}
	cp, err := p.Verify(merkle.LeafHash(b.data[tenant][index]), pinned(t), w)
	if err == nil && cp.Origin != ledger.Origin(host, tenant, instance) {
		t.Fatal("origin", cp.Origin)
	}
	return cp, err
}

// files reads a folder.
func files(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[filepath.ToSlash(rel)] = b
		return err
	}))
	return out
}
