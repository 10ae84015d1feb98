package publish_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// intruded is a ledger, a log and a publisher, that somebody who can write to the disk and holds no key gets between two
// starts of.
type intruded struct {
	t *testing.T
	o wal.Options
	w *witness
	publish.Book
}

func newIntruded(t *testing.T) *intruded {
	t.Helper()
	dir := t.TempDir()
	o := wal.Options{
		Config: wal.DefaultConfig(), Dir: filepath.Join(dir, "ledger"), Instance: instance, Origin: host, Signer: key("signer"),
		ChainKeyFile: filepath.Join(dir, "chain"), RootKeyFile: filepath.Join(dir, "k0"), Now: time.Now, Rand: rand.Reader,
	}
	o.Sync, o.SegmentBytes, o.Checkpoint, o.Deadline = wal.SyncWrite, 1<<20, time.Hour, time.Minute
	in := &intruded{t: t, o: o, w: newWitness(t, "w.example")}
	in.start()
	return in
}

func (in *intruded) start() {
	in.t.Helper()
	b, err := publish.OpenBook(in.t.Context(), in.o, func(po *publish.Options) { po.Cosign = in.w.cosign })
	must(in.t, err)
	in.Book = b
}

func (in *intruded) stop() {
	in.t.Helper()
	must(in.t, in.Close(context.Background()))
}

// put writes records and has them published.
func (in *intruded) put(tenant string, n int) {
	in.t.Helper()
	for range n {
		_, err := in.Append(in.t.Context(), &ledger.Record{Tenant: tenant, Kind: ledger.Admin, Step: -1, Op: "honest", Agent: "agt_one"})
		must(in.t, err)
	}
	heads, err := in.Heads(in.t.Context())
	must(in.t, err)
	for i := range heads {
		if heads[i].Tenant == tenant { // as the log does: idle ones come in no tick
			must(in.t, in.Publish(in.t.Context(), heads[i:i+1]))
		}
	}
}

// forge makes a tenant's tiles again with one record changed, and returns that and the checkpoint.
func (in *intruded) forge(tenant string, index int) ([]byte, ledger.Checkpoint) {
	in.t.Helper()
	folder := filepath.Join(in.o.Dir, tenant)
	tree, err := tile.Open(quick{}, folder)
	must(in.t, err)
	entries, err := tree.Entries(0, int(tree.Size()))
	must(in.t, err)
	r, err := ledger.ParseRecord(entries[index])
	must(in.t, err)
	r.Agent, r.Op, r.Tool, r.Verdict = "agt_victim", "tools/call", "wire_money", "permit"
	entries[index] = r.AppendJSON(nil)
	must(in.t, tile.Clear(quick{}, folder))
	tree, err = tile.Open(quick{}, folder)
	must(in.t, err)
	must(in.t, tree.Append(entries))
	return entries[index], ledger.Checkpoint{Origin: ledger.Origin(host, tenant, instance), Size: tree.Size(), Root: tree.Root()}
}

// slip adds entries to the log of checkpoints.
func slip(t *testing.T, dir string, entries ...[]byte) {
	t.Helper()
	tree, err := tile.Open(quick{}, filepath.Join(dir, ledger.CheckpointsLog))
	must(t, err)
	must(t, tree.Append(entries))
}

func unsalted(cp ledger.Checkpoint) []byte {
	return append(make([]byte, ledger.SaltSize), cp.Body()...)
}

// proved checks that a record is proved as the log has it.
func (in *intruded) proved(tenant string, index uint64) {
	in.t.Helper()
	honest, err := in.Scan(in.t.Context(), tenant, index, 1)
	must(in.t, err)
	text, err := in.Prove(in.t.Context(), tenant, index)
	must(in.t, err)
	p, err := ledger.ParseProof(text)
	must(in.t, err)
	if _, err := p.Verify(honest[0].Leaf, pinned(in.t), in.w.policy(1)); err != nil {
		in.t.Errorf("%s %d is not proved as the log has it: %v", tenant, index, err)
	}
}

func (in *intruded) sound() {
	in.t.Helper()
	in.stop()
	if _, err := verify(in.t, in.o.Dir); err != nil {
		in.t.Error(err)
	}
	in.start()
	in.stop()
}

// TestWhatAnIntruderLeftOnTheDiskIsNotSigned: a record of an idle tenant is changed in its tiles, and the log of
// checkpoints says so, without a salt that the instance made.
func TestWhatAnIntruderLeftOnTheDiskIsNotSigned(t *testing.T) {
	for _, more := range []int{0, 1, 300, 1500} { // leaves behind the forged one, which go over the edges of tiles
		in := newIntruded(t)
		in.put("acme", 5)
		in.put("other", 3)
		in.stop()
		seen := in.w.seen.Size
		forged, cp := in.forge("acme", 2)
		lies := [][]byte{unsalted(cp)}
		for range more {
			lies = append(lies, unsalted(cp))
		}
		slip(t, in.o.Dir, lies...)
		in.start()
		if _, size, _, _ := in.Held(); size != seen {
			t.Fatalf("%d leaves are held, not %d", size, seen)
		}
		in.put("other", 1)
		in.proved("acme", 2)
		in.proved("other", 3)
		text, err := in.Prove(t.Context(), "acme", 2)
		must(t, err)
		p, err := ledger.ParseProof(text)
		must(t, err)
		if _, err := p.Verify(merkle.LeafHash(forged), pinned(t), ledger.WitnessPolicy{}); err == nil {
			t.Error("a forged record is proved")
		}
		if s := in.Publishing(); s.Size != seen+1 || s.Cosigned != seen+1 || s.CosignErr != nil || s.Cut != uint64(more)+1 || s.Rebuilt != 1 {
			t.Errorf("%d lies: %+v", more+1, s)
		}
		in.sound()
	}
}

// TestALeafAboutMoreRecordsThanThereAreIsNotSigned: signed, it would keep every later start from opening the log.
func TestALeafAboutMoreRecordsThanThereAreIsNotSigned(t *testing.T) {
	in := newIntruded(t)
	in.put("acme", 2)
	in.stop()
	slip(t, in.o.Dir, unsalted(ledger.Checkpoint{Origin: ledger.Origin(host, "acme", instance), Size: 1 << 40}))
	in.start()
	in.put("other", 1)
	in.proved("other", 0)
	in.sound()
}

// TestLeavesOfOtherKindsAreNotSigned: what is no entry at all, and what one moves from its salt to another.
func TestLeavesOfOtherKindsAreNotSigned(t *testing.T) {
	in := newIntruded(t)
	in.put("acme", 2)
	in.put("acme", 2)
	in.stop()
	tree, err := tile.Open(quick{}, filepath.Join(in.o.Dir, ledger.CheckpointsLog))
	must(t, err)
	ours, err := tree.Entries(0, 2)
	must(t, err)
	swapped := append(append([]byte(nil), ours[0][:ledger.SaltSize]...), ours[1][ledger.SaltSize:]...)
	for _, lie := range [][]byte{nil, []byte("x"), ours[0][:ledger.SaltSize], ours[0][:len(ours[0])-1], swapped} {
		slip(t, in.o.Dir, lie, ours[0])
		in.start()
		if s := in.Publishing(); s.Cut != 2 {
			t.Errorf("%q: %+v", lie, s)
		}
		in.put("other", 1)
		in.sound()
	}
}

// TestATailThatTheInstanceWroteStays: it stopped before it signed; witnesses may have seen it, and a key may have
// followed another since.
func TestATailThatTheInstanceWroteStays(t *testing.T) {
	b, w := newBook(), newWitness(t, "w.example")
	o := options(t.TempDir())
	o.Cosign = w.cosign
	p := open(t, o, b)
	b.add("acme", 3)
	tick(t, p, b)
	name := filepath.Join(o.Dir, ledger.CheckpointsLog, "checkpoint")
	first := map[string][]byte{}
	for _, n := range []string{name, filepath.Join(o.Dir, ledger.CheckpointsLog, "cosigned")} {
		first[n], _ = os.ReadFile(n)
	}
	b.add("acme", 3)
	tick(t, p, b)
	shut(t, p)
	for n, text := range first {
		must(t, os.WriteFile(n, text, 0o600))
	}
	for _, retire := range []bool{false, true} {
		again := o
		again.Dir = t.TempDir()
		must(t, os.CopyFS(again.Dir, os.DirFS(o.Dir)))
		if retire {
			again.Signer, again.Retiring = key("next"), o.Signer
		}
		p = open(t, again, b)
		if _, size, _, _ := p.Held(); size != 2 || p.Publishing().Cut != 0 {
			t.Errorf("retiring %v: %d leaves, %+v", retire, size, p.Publishing())
		}
		shut(t, p)
	}
	stranger := o
	stranger.Dir, stranger.SaltKey = t.TempDir(), []byte("of somebody else")
	must(t, os.CopyFS(stranger.Dir, os.DirFS(o.Dir)))
	p = open(t, stranger, b)
	if _, size, _, _ := p.Held(); size != 1 || p.Publishing().Cut != 1 {
		t.Errorf("another salt key: %d leaves, %+v", size, p.Publishing())
	}
}

// TestAForgedLeafThatWasSignedProvesNothing: an earlier version may have signed one. The log knows better.
func TestAForgedLeafThatWasSignedProvesNothing(t *testing.T) {
	in := newIntruded(t)
	in.put("acme", 5)
	in.stop()
	_, cp := in.forge("acme", 2)
	slip(t, in.o.Dir, unsalted(cp))
	folder := filepath.Join(in.o.Dir, ledger.CheckpointsLog)
	tree, err := tile.Open(quick{}, folder)
	must(t, err)
	all := ledger.Checkpoint{Origin: ledger.Origin(host, ledger.CheckpointsLog, instance), Size: tree.Size(), Root: tree.Root()}
	text, err := all.Sign(signer(t, "signer"))
	must(t, err)
	for _, name := range []string{"checkpoint", "cosigned"} {
		must(t, os.WriteFile(filepath.Join(folder, name), text, 0o600))
	}
	in.start()
	if text, err := in.Prove(t.Context(), "acme", 2); !errors.Is(err, wal.ErrCorrupt) {
		t.Errorf("%v\n%s", err, text)
	}
	in.stop()
}

// TestTilesOfIdleTenantsAreComparedBeforeTheyAreUsed: after a start, whoever asks first, and for what.
func TestTilesOfIdleTenantsAreComparedBeforeTheyAreUsed(t *testing.T) {
	in := newIntruded(t)
	in.put("acme", 300)
	in.stop()
	want := files(t, filepath.Join(in.o.Dir, "acme"))
	for what, ask := range map[string]func() error{
		"proof":   func() error { _, err := in.Prove(t.Context(), "acme", 7); return err },
		"bundle":  func() error { _, err := in.File("acme", "tile/entries/000"); return err },
		"exports": func() error { _, _, err := in.Subtrees("acme"); return err },
		"trees":   func() error { _, err := in.Consistency(t.Context(), "acme", 3, 9); return err },
		"pruning": func() error { return in.PruneTiles(t.Context(), "acme", 3) },
	} {
		in.forge("acme", 7)
		in.start()
		if err := ask(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if s := in.Publishing(); s.Rebuilt != 1 {
			t.Errorf("%s: %+v", what, s)
		}
		in.proved("acme", 7)
		c, err := in.Consistency(t.Context(), "acme", 290, 0)
		must(t, err)
		must(t, merkle.VerifyConsistency(c.From, c.To, c.Hashes, c.FromRoot, c.ToRoot))
		in.stop()
		for name, b := range files(t, filepath.Join(in.o.Dir, "acme")) {
			if strings.HasPrefix(name, "tile/") && string(b) != string(want[name]) {
				t.Errorf("%s: %s is not back", what, name)
			}
		}
	}
}

// TestFilesThatWereChangedAreNotServed: of a running publisher, whose trees were compared.
func TestFilesThatWereChangedAreNotServed(t *testing.T) {
	b := newBook()
	o := options(t.TempDir())
	p := open(t, o, b)
	b.add("acme", 300)
	tick(t, p, b)
	for _, path := range []string{"tile/0/000", "tile/entries/000", "tile/entries/001.p/44"} {
		name := filepath.Join(o.Dir, "acme", filepath.FromSlash(path))
		was, err := os.ReadFile(name)
		must(t, err)
		bad := append([]byte(nil), was...)
		bad[len(bad)-3] ^= 1
		must(t, os.WriteFile(name, bad, 0o600))
		if _, err := p.File("acme", path); !errors.Is(err, tile.ErrDamaged) {
			t.Errorf("%s: %v", path, err)
		}
		tick(t, p, b)
		if got, err := p.File("acme", path); err != nil || string(got) != string(was) {
			t.Errorf("%s is not mended: %v", path, err)
		}
	}
}
