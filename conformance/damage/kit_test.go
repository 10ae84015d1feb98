package damage_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/index"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// The ledger's folder, damaged in every way that a disk, an operator or a thief can think of. Each damage must be reported
// by the offline verification; and a start must refuse it, find it soon, or have repaired what was derived.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a disk in memory, so that every bit of it can be flipped in turn.
type memory struct {
	mu    sync.Mutex // guards all below
	files map[string]*[]byte
}

func (m *memory) clone() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := &memory{files: map[string]*[]byte{}}
	for name, b := range m.files {
		c := bytes.Clone(*b)
		out.files[name] = &c
	}
	return out
}

func (m *memory) Open(name string, flag int) (disk.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.files[name]
	switch {
	case b == nil && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case b != nil && flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case b == nil || flag&os.O_TRUNC != 0:
		b = new([]byte)
		m.files[name] = b
	}
	return &memoryFile{m, b}, nil
}

func (m *memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[from] == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	m.files[to] = m.files[from]
	delete(m.files, from)
	return nil
}

// Remove removes a file, or a folder that is empty: folders are there as long as files are in them.
func (m *memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	delete(m.files, name)
	return nil
}

func (m *memory) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for name := range m.files {
		if rest, ok := strings.CutPrefix(name, dir+"/"); ok {
			first, _, _ := strings.Cut(rest, "/")
			out = append(out, first)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func (m *memory) SyncDir(string) error { return nil }

type memoryFile struct {
	m *memory
	b *[]byte
}

func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if off >= int64(len(*f.b)) {
		return 0, io.EOF
	}
	n := copy(p, (*f.b)[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if grow := off + int64(len(p)) - int64(len(*f.b)); grow > 0 {
		*f.b = append(*f.b, make([]byte, grow)...)
	}
	return copy((*f.b)[off:], p), nil
}

func (f *memoryFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(*f.b)), nil
}

func (f *memoryFile) Sync() error  { return nil }
func (f *memoryFile) Close() error { return nil }

const (
	folder  = "ledger" // of the ledger, on a disk in memory
	keyFile = "keys/chain"
	k0File  = "keys/root"
)

func signer() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("damage"))
	return ed25519.NewKeyFromSeed(seed[:])
}

func pinned(t testing.TB, instance string) ledger.VerifierKeys {
	t.Helper()
	k, err := ledger.NewVerifierKey("gate.example/ledger/_instance/"+instance, signer().Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return ledger.VerifierKeys{k}
}

// options is a small ledger on a disk in memory.
func options(on *memory) wal.Options {
	c := wal.DefaultConfig()
	c.SegmentBytes, c.Checkpoint, c.Deadline = 4<<10, time.Hour, time.Minute
	return wal.Options{
		Config: c, Dir: folder, Instance: "gw-1", Origin: "gate.example", Signer: signer(), ChainKeyFile: keyFile, RootKeyFile: k0File,
		Now: time.Now, Rand: rand.Reader, FS: on,
	}
}

func open(t testing.TB, o wal.Options) publish.Book {
	t.Helper()
	b, err := publish.OpenBook(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func shut(t testing.TB, b publish.Book) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Error("close:", err)
	}
}

func plan(n int) merkle.Hash { return merkle.LeafHash(fmt.Append(nil, n)) }

// call writes a call of two records.
func call(t testing.TB, b publish.Book, n int) {
	t.Helper()
	tenant := []string{"acme", "rival"}[n%2]
	r := &ledger.Record{Tenant: tenant, Kind: ledger.Admitted, Agent: "agt_one", Server: "demo", Tool: fmt.Sprint("tool", n%3)}
	if n%5 == 4 {
		r.Side = []byte("sealed bytes that no leaf covers")
	}
	u := wal.Use{Plan: plan(n), Max: 1, Expires: time.Now().Add(time.Hour).Unix()}
	if _, err := b.Admit(t.Context(), r, u); err != nil {
		t.Fatal(err)
	}
	s := &ledger.Record{Tenant: tenant, Kind: ledger.Settled, Step: -1, Of: r.ID, Outcome: ledger.OutcomeOK, Agent: "agt_one"}
	if _, _, err := b.Settle(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
}

// small is a ledger of two lives: several segments, two tenants, checkpoints, and whatever is derived of them.
func small(t testing.TB, calls int) *memory {
	t.Helper()
	m := &memory{files: map[string]*[]byte{}}
	live(t, options(m), 0, calls)
	live(t, options(m), calls, 2)
	if err := verify(t, m); err != nil {
		t.Fatal("before any damage:", err)
	}
	return m
}

// live is one life of a ledger: calls, and a clean end.
func live(t testing.TB, o wal.Options, from, calls int) {
	t.Helper()
	b := open(t, o)
	defer shut(t, b)
	for n := range calls {
		call(t, b, from+n)
	}
}

func k0(t testing.TB, m *memory) []byte {
	t.Helper()
	_, key, err := wal.ParseChainKey(*m.files[k0File])
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func verify(t testing.TB, m *memory) error {
	t.Helper()
	_, err := publish.Verify(t.Context(), folder, publish.VerifyOptions{Keys: pinned(t, "gw-1"), K0: k0(t, m), FS: m})
	return err
}

// kindOf sorts the files of a ledger.
func kindOf(name string) string {
	switch base := path.Base(name); {
	case strings.HasSuffix(base, ".segment"):
		return "segment"
	case strings.HasSuffix(base, ".index"):
		return "index"
	case base == "snapshot", base == "checkpoint", base == "boot":
		return base
	case strings.Contains(name, "/tile/entries/"):
		return "bundle"
	case strings.Contains(name, "/tile/"):
		return "tile"
	default:
		return base
	}
}

// derived files may be wrong without being reported, if nobody believes them.
func derived(name string) bool { return kindOf(name) == "index" || kindOf(name) == "snapshot" }

// ledgerFiles are the names of a ledger's files, sorted; keys are none of them.
func ledgerFiles(m *memory) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for name := range m.files {
		if strings.HasPrefix(name, folder+"/") {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// said is everything that a ledger tells of its records.
func said(ctx context.Context, b publish.Book) (map[string][]string, error) {
	out := map[string][]string{}
	for _, tenant := range b.Tenants() {
		all, err := b.Scan(ctx, tenant, 0, 10_000)
		if err != nil {
			return nil, err
		}
		for i := range all {
			out[tenant] = append(out[tenant], string(all[i].Data)+string(all[i].Side))
		}
	}
	return out, nil
}

// searches asks the indexes for what the log says: a damaged one must not hide a record.
func searches(t testing.TB, b publish.Book, log map[string][]string) error {
	t.Helper()
	for tenant, all := range log {
		page, err := b.Query(t.Context(), tenant, index.Query{Oldest: true})
		if err != nil {
			return fmt.Errorf("search: %w", err)
		}
		var got []string
		for i := range page.Entries {
			got = append(got, string(page.Entries[i].Data)+string(page.Entries[i].Side))
			r, err := page.Entries[i].Record()
			if err != nil {
				return err
			}
			if e, ok, err := b.Find(t.Context(), tenant, r.ID); err != nil || !ok || e.Index != page.Entries[i].Index {
				return fmt.Errorf("record %d of %s is not found by its id: %w", i, tenant, err)
			}
		}
		if !slices.Equal(got, all) {
			return fmt.Errorf("a search finds %d records of %s, %d are there", len(got), tenant, len(all))
		}
		page, err = b.Query(t.Context(), tenant, index.Query{Kind: "admitted", Tool: "tool1", Oldest: true})
		want := slices.DeleteFunc(slices.Clone(all), func(s string) bool {
			return !strings.Contains(s, `"kind":"admitted"`) || !strings.Contains(s, `"tool":"tool1"`)
		})
		if err != nil || len(page.Entries) != len(want) {
			return fmt.Errorf("a search for a tool finds %d records of %s, %d are there: %w", len(page.Entries), tenant, len(want), err)
		}
	}
	return nil
}

// truth is what a ledger says before it is damaged.
type truth struct {
	records map[string][]string // by tenant
	files   map[string]string   // tiles and bundles, by tenant and path
}

func truthOf(t testing.TB, m *memory) truth {
	t.Helper()
	b := open(t, options(m.clone()))
	defer shut(t, b)
	records, err := said(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return truth{records, served(m)}
}

// holds tells whether a ledger begins with what another one said.
func holds(have, want map[string][]string) error {
	for tenant, all := range want {
		if len(have[tenant]) < len(all) || !slices.Equal(have[tenant][:len(all)], all) {
			return fmt.Errorf("%s: %d records that differ from the %d before", tenant, len(have[tenant]), len(all))
		}
	}
	return nil
}

// starting opens a damaged ledger and gives what is checked in the background its time. nil: it was refused; or it turned
// not ready; or it says what it said before, serves nothing that is wrong, and when every tenant has grown it verifies.
func starting(t testing.TB, m *memory, want truth, checkFirst int64) error {
	t.Helper()
	o := options(m)
	o.CheckFirst = checkFirst
	b, err := publish.OpenBook(t.Context(), o)
	if err != nil {
		return nil
	}
	bad := checked(b)
	_, appended := b.Append(t.Context(), &ledger.Record{Tenant: "acme", Kind: ledger.Admin, Step: -1})
	if bad != nil {
		closeAnyway(b)
		if appended == nil {
			return fmt.Errorf("not ready (%w), and takes records", bad)
		}
		return nil
	}
	err = appended
	if err == nil {
		err = grow(t, b, want)
	}
	shut(t, b)
	if err != nil {
		return err
	}
	if err := verify(t, m); err != nil {
		return fmt.Errorf("it opens, and does not verify afterwards: %w", err)
	}
	return nil
}

// checked waits for the check in the background and returns why the log is not ready then.
func checked(b publish.Book) error {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Microsecond) {
		if s := b.Stats(); s.Err != nil || s.Verify == nil && s.VerifyOf > 0 && s.Verified >= s.VerifyOf {
			return s.Err
		}
	}
	return nil
}

// grow reads a ledger in every way that there is, and adds a record to each tenant's.
func grow(t testing.TB, b publish.Book, want truth) error {
	t.Helper()
	got, err := said(t.Context(), b)
	if err != nil {
		return err
	}
	if err := holds(got, want.records); err != nil {
		return err
	}
	if err := searches(t, b, got); err != nil {
		return err
	}
	for name, right := range want.files {
		tenant, path, _ := strings.Cut(name, "/")
		if text, err := b.File(tenant, path); err == nil && string(text) != right {
			return fmt.Errorf("it serves a damaged %s", name)
		}
	}
	_, err = b.Append(t.Context(), &ledger.Record{Tenant: "rival", Kind: ledger.Admin, Step: -1})
	return err
}

// served are the tiles and bundles of the tenants as they were before the damage.
func served(m *memory) map[string]string {
	out := map[string]string{}
	for _, name := range ledgerFiles(m) {
		rest := strings.TrimPrefix(name, folder+"/")
		if kind := kindOf(name); (kind == "tile" || kind == "bundle") && !strings.HasPrefix(rest, "_") {
			out[rest] = string(*m.files[name])
		}
	}
	return out
}

func closeAnyway(b publish.Book) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = b.Close(ctx) // it is poisoned
}

// workers do jobs on two cores.
func workers(t *testing.T, jobs int, do func(worker, job int)) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for j := w; j < jobs; j += 2 {
				do(w, j)
			}
		})
	}
	wg.Wait()
}

// stride leaves most cases of a sweep out where tests are to be short; GATEWRIGHT_TEST_LONG has none left out.
func stride(full, usual, short int) int {
	switch {
	case testing.Short():
		return short
	case os.Getenv("GATEWRIGHT_TEST_LONG") != "":
		return full
	}
	return usual
}

var errNone = errors.New("nothing was found")
