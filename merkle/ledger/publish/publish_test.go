package publish_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
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

func TestEveryPublishedRecordIsProved(t *testing.T) {
	b, w := newBook(), newWitness(t, "w.example")
	o := options(t.TempDir())
	o.Cosign = w.cosign
	p := open(t, o, b)
	for round := range 4 {
		b.add("acme", 130)
		b.add("rival", 1)
		tick(t, p, b)
		for tenant, data := range b.data {
			for i := 0; i < len(data); i += 1 + len(data)/7 {
				text, err := p.Prove(t.Context(), tenant, uint64(i))
				must(t, err)
				cp, err := proven(t, b, tenant, uint64(i), text, w.policy(1))
				if err != nil || cp.Size != uint64(len(data)) {
					t.Fatalf("round %d, %s %d: size %d, %v", round, tenant, i, cp.Size, err)
				}
			}
		}
	}
	s := p.Publishing()
	if s.Tenants != 2 || s.Behind != 0 || s.Err != nil || s.Size != 8 || s.Cosigned != 8 || s.Cosignatures != 4 || s.Rebuilt != 0 {
		t.Errorf("%+v", s)
	}
	if _, err := p.Prove(t.Context(), "acme", 520); !errors.Is(err, publish.ErrNotYet) {
		t.Error("a record that is not published:", err)
	}
	if _, err := p.Prove(t.Context(), "nobody", 0); !errors.Is(err, wal.ErrTenant) {
		t.Error("a tenant that is not there:", err)
	}
}

func TestAReceiptIsUpgraded(t *testing.T) {
	b := newBook()
	p := open(t, options(t.TempDir()), b)
	b.add("acme", 5)
	tick(t, p, b)
	b.add("acme", 1)
	leaf := b.data["acme"][3]
	for what, prove := range map[string]func() ([]byte, error){
		"id":   func() ([]byte, error) { return p.ProveRecord(t.Context(), "acme", recordID("acme", 3)) },
		"leaf": func() ([]byte, error) { return p.ProveLeaf(t.Context(), "acme", leaf) },
	} {
		text, err := prove()
		must(t, err)
		if _, err := proven(t, b, "acme", 3, text, ledger.WitnessPolicy{}); err != nil {
			t.Error(what, err)
		}
	}
	other := bytes.Replace(leaf, []byte(`"boot":1`), []byte(`"boot":2`), 1)
	for what, c := range map[string]struct {
		err  error
		want error
	}{
		"not published":        {second(p.ProveRecord(t.Context(), "acme", recordID("acme", 5))), publish.ErrNotYet},
		"never written":        {second(p.ProveRecord(t.Context(), "acme", recordID("acme", 6))), publish.ErrNoRecord},
		"another tenant's":     {second(p.ProveRecord(t.Context(), "rival", recordID("acme", 3))), publish.ErrNoRecord},
		"other bytes":          {second(p.ProveLeaf(t.Context(), "acme", other)), publish.ErrNoRecord},
		"no record":            {second(p.ProveLeaf(t.Context(), "acme", []byte("x"))), ledger.ErrRecord},
		"another tenant's own": {second(p.ProveLeaf(t.Context(), "rival", leaf)), publish.ErrNoRecord},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v", what, c.err)
		}
	}
}

func second(_ []byte, err error) error { return err }

func TestTreesOfTwoSizesAreShownConsistent(t *testing.T) {
	b := newBook()
	p := open(t, options(t.TempDir()), b)
	b.add("acme", 700)
	tick(t, p, b)
	b.add("acme", 10)
	for from := uint64(1); from <= 700; from += 93 {
		c, err := p.Consistency(t.Context(), "acme", from, 0)
		must(t, err)
		must(t, merkle.VerifyConsistency(c.From, c.To, c.Hashes, c.FromRoot, c.ToRoot))
		if c.To != 700 {
			t.Fatal(c.To)
		}
	}
	for _, c := range []struct {
		from, to uint64
		want     error
	}{{0, 5, merkle.ErrSizes}, {6, 5, merkle.ErrSizes}, {701, 0, publish.ErrNotYet}, {5, 701, publish.ErrNotYet}, {701, 705, publish.ErrNotYet}} {
		if _, err := p.Consistency(t.Context(), "acme", c.from, c.to); !errors.Is(err, c.want) {
			t.Error(c.from, c.to, err)
		}
	}
	if _, err := p.Consistency(t.Context(), "nobody", 1, 1); !errors.Is(err, wal.ErrTenant) {
		t.Error(err)
	}
}

func TestALogIsServedAsTheFormatHasIt(t *testing.T) {
	b := newBook()
	p := open(t, options(t.TempDir()), b)
	if _, err := p.File("acme", "checkpoint"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("before the first checkpoint:", err)
	}
	b.add("acme", 300)
	tick(t, p, b)
	note, err := p.File("acme", "checkpoint")
	must(t, err)
	if cp, err := ledger.OpenCheckpoint(note, pinned(t)); err != nil || cp.Size != 300 {
		t.Fatal(cp, err)
	}
	raw, err := p.File("acme", "tile/entries/001.p/44")
	must(t, err)
	entries, err := tile.ParseBundle(raw, 44)
	if err != nil || !bytes.Equal(entries[43], b.data["acme"][299]) {
		t.Fatal("last entry", err)
	}
	for _, name := range []string{"tile/0/001.p/45", "tile/0/002.p/1", "../rival/checkpoint", "checkpoints", "", "minimum"} {
		if _, err := p.File("acme", name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", name, err)
		}
	}
	all, err := p.File(ledger.CheckpointsLog, "checkpoint")
	must(t, err)
	if cp, err := ledger.OpenCheckpoint(all, pinned(t)); err != nil || cp.Size != 1 || cp.Origin != "gate.example/ledger/_checkpoints/gw-1" {
		t.Fatal(cp, err)
	}
	_, err = p.File(ledger.CheckpointsLog, "tile/0/000.p/1")
	must(t, err)
	for _, name := range []string{"tile/entries/000.p/1", "cosigned", "tile/entries/000"} {
		if _, err := p.File(ledger.CheckpointsLog, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q of the log of checkpoints is served: %v", name, err)
		}
	}
}

// TestATenantLearnsNothingOfAnother: what a proof shows of the log of checkpoints is hashes that a salt hides.
func TestATenantLearnsNothingOfAnother(t *testing.T) {
	b, w := newBook(), newWitness(t, "w.example")
	o := options(t.TempDir())
	o.Cosign = w.cosign
	p := open(t, o, b)
	b.add("acme", 2)
	b.add("rival", 2)
	tick(t, p, b)
	text, err := p.Prove(t.Context(), "acme", 0)
	must(t, err)
	proof, err := ledger.ParseProof(text)
	must(t, err)
	salt, inner, err := proof.Cosigned()
	must(t, err)
	theirs, err := p.Checkpoint("rival")
	must(t, err)
	cp, err := ledger.ReadCheckpoint(theirs)
	must(t, err)
	for _, guess := range [][]byte{salt, nil, make([]byte, ledger.SaltSize)} {
		leaf := ledger.CheckpointLeaf(guess, cp.Body())
		if len(inner.Hashes) != 1 || inner.Hashes[0] == leaf {
			t.Fatal("a guess of the other's checkpoint is confirmed")
		}
	}
}

func TestMissingAndDamagedTilesAreMadeAgain(t *testing.T) {
	for what, spoil := range map[string]func(dir string){
		"all gone":          func(dir string) { must(t, os.RemoveAll(filepath.Join(dir, "tile"))) },
		"hashes gone":       func(dir string) { must(t, os.RemoveAll(filepath.Join(dir, "tile", "0"))) },
		"upper hashes gone": func(dir string) { must(t, os.RemoveAll(filepath.Join(dir, "tile", "1"))) },
		"entries gone":      func(dir string) { must(t, os.RemoveAll(filepath.Join(dir, "tile", "entries"))) },
		"edge cut":          func(dir string) { must(t, os.Truncate(filepath.Join(dir, "tile", "0", "002.p", "88"), 31)) },
		"edge empty":        func(dir string) { must(t, os.Truncate(filepath.Join(dir, "tile", "1", "000.p", "2"), 0)) },
		"bundle of zeros": func(dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "tile", "entries", "002.p", "88"), make([]byte, 900), 0o600))
		},
		"longer than it was": func(dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "tile", "0", "002.p", "90"), make([]byte, 90*32), 0o600))
		},
	} {
		b := newBook()
		o := options(t.TempDir())
		p := open(t, o, b)
		b.add("acme", 600)
		tick(t, p, b)
		want := files(t, filepath.Join(o.Dir, "acme"))
		shut(t, p)
		spoil(filepath.Join(o.Dir, "acme"))
		p = open(t, o, b)
		tick(t, p, b)
		got := files(t, filepath.Join(o.Dir, "acme"))
		for name := range want {
			if !bytes.Equal(got[name], want[name]) {
				t.Errorf("%s: %s is not back", what, name)
			}
		}
		if _, err := p.Prove(t.Context(), "acme", 300); err != nil {
			t.Error(what, err)
		}
		if s := p.Publishing(); s.Err != nil || strings.HasPrefix(what, "edge") && s.Rebuilt != 1 {
			t.Errorf("%s: %+v", what, s)
		}
	}
}

// TestDamageThatAReaderMeetsIsMended: in the middle of a tree, where nobody looks at a start.
func TestDamageThatAReaderMeetsIsMended(t *testing.T) {
	b := newBook()
	o := options(t.TempDir())
	p := open(t, o, b)
	b.add("acme", 700)
	tick(t, p, b)
	shut(t, p)
	name := filepath.Join(o.Dir, "acme", "tile", "0", "000")
	raw, err := os.ReadFile(name)
	must(t, err)
	raw[5] ^= 1
	must(t, os.WriteFile(name, raw, 0o600))
	p = open(t, o, b)
	tick(t, p, b)
	if _, err := p.Prove(t.Context(), "acme", 3); !errors.Is(err, tile.ErrDamaged) {
		t.Fatal("a proof out of a damaged tile:", err)
	}
	tick(t, p, b)
	if _, err := p.Prove(t.Context(), "acme", 3); err != nil || p.Publishing().Rebuilt != 1 {
		t.Fatal("not mended:", err, p.Publishing())
	}
}

func TestTilesThatCannotBeMadeAgainStay(t *testing.T) {
	b := newBook()
	o := options(t.TempDir())
	p := open(t, o, b)
	b.add("acme", 600)
	tick(t, p, b)
	shut(t, p)
	b.first["acme"] = 400
	must(t, os.Truncate(filepath.Join(o.Dir, "acme", "tile", "0", "002.p", "88"), 31))
	before := files(t, o.Dir)
	p = open(t, o, b)
	b.add("acme", 1)
	b.add("rival", 1)
	if err := p.Publish(t.Context(), b.heads()); !errors.Is(err, wal.ErrPruned) || !errors.Is(err, tile.ErrDamaged) {
		t.Fatal(err)
	}
	after := files(t, o.Dir)
	for name := range before {
		if strings.HasPrefix(name, "acme/") && !bytes.Equal(before[name], after[name]) {
			t.Error(name, "changed")
		}
	}
	if _, err := p.Checkpoint("rival"); err != nil {
		t.Error("one tenant's damage keeps another's checkpoint:", err)
	}
	if s := p.Publishing(); s.Behind != 1 || s.Err == nil {
		t.Errorf("%+v", s)
	}
}

func TestWitnessesThatDoNotAnswerHoldNothingUp(t *testing.T) {
	b, w := newBook(), newWitness(t, "w.example")
	o := options(t.TempDir())
	o.Cosign, o.CosignDeadline = w.cosign, time.Second
	p := open(t, o, b)
	w.hang = true
	b.add("acme", 1)
	began := time.Now()
	tick(t, p, b)
	if took := time.Since(began); took > 900*time.Millisecond {
		t.Errorf("the tick waited %v", took)
	}
	b.add("acme", 1)
	tick(t, p, b)
	if text, err := p.Prove(t.Context(), "acme", 1); err != nil {
		t.Error(err)
	} else if _, err := proven(t, b, "acme", 1, text, w.policy(1)); !errors.Is(err, ledger.ErrProof) {
		t.Error("nobody cosigned:", err)
	}
	until(t, func() bool { return p.Publishing().CosignErr != nil })
	w.mu.Lock()
	w.hang = false
	w.mu.Unlock()
	b.add("acme", 1)
	tick(t, p, b)
	text, err := p.Prove(t.Context(), "acme", 1)
	must(t, err)
	if _, err := proven(t, b, "acme", 1, text, w.policy(1)); err != nil {
		t.Error("the witness is back:", err)
	}
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited too long")
		}
	}
}

func TestWhatIsNoSignatureLineIsNotMerged(t *testing.T) {
	b := newBook()
	for _, lines := range []string{"x", "— w.example AAAA\n", "\n— w.example AAAAAAA=\n", strings.Repeat("— w.example AAAAAAAA\n", 6000), "— w.example AAAAAAAA"} {
		o := options(t.TempDir())
		o.Cosign = func(context.Context, []byte, uint64, func(uint64) ([]merkle.Hash, error)) ([]byte, error) {
			return []byte(lines), nil
		}
		p := open(t, o, b)
		b.add("acme", 1)
		tick(t, p, b)
		shut(t, p)
		if p.Publishing().CosignErr == nil {
			t.Errorf("%.20q is taken", lines)
		}
		note, err := p.File(ledger.CheckpointsLog, "checkpoint")
		must(t, err)
		if _, err := ledger.OpenCheckpoint(note, pinned(t)); err != nil {
			t.Errorf("%.20q: %v", lines, err)
		}
	}
}

func TestWitnessesAreNotAskedTooOften(t *testing.T) {
	b, asked := newBook(), 0
	now := time.Unix(1_700_000_000, 0)
	o := options(t.TempDir())
	o.Now, o.CosignEvery = func() time.Time { return now }, 10*time.Second
	o.Cosign = func(context.Context, []byte, uint64, func(uint64) ([]merkle.Hash, error)) ([]byte, error) {
		asked++
		return nil, nil
	}
	p := open(t, o, b)
	for range 25 {
		b.add("acme", 1)
		tick(t, p, b)
		now = now.Add(time.Second)
	}
	shut(t, p)
	if asked != 3 {
		t.Errorf("asked %d times in 25 s", asked)
	}
}

// TestAnOlderCheckpointIsProvedThatWitnessesSaw: also after a start, when it has to be looked for.
func TestAnOlderCheckpointIsProvedThatWitnessesSaw(t *testing.T) {
	b, w := newBook(), newWitness(t, "w.example")
	o := options(t.TempDir())
	o.Cosign = w.cosign
	p := open(t, o, b)
	b.add("idle", 2)
	b.add("acme", 2)
	tick(t, p, b)
	for range 1200 { // idle's leaf sinks below what is read at a start
		b.add("acme", 1)
		must(t, p.Publish(t.Context(), headsOf(b, "acme")))
	}
	seen := len(b.data["acme"])
	shut(t, p)
	o.Cosign = nil
	p = open(t, o, b)
	b.add("acme", 3)
	tick(t, p, b)
	for tenant, want := range map[string]int{"idle": 2, "acme": seen} {
		text, err := p.Prove(t.Context(), tenant, 1)
		must(t, err)
		cp, err := proven(t, b, tenant, 1, text, w.policy(1))
		if err != nil || cp.Size != uint64(want) {
			t.Error(tenant, cp.Size, err)
		}
	}
	text, err := p.Prove(t.Context(), "acme", uint64(seen))
	must(t, err)
	if cp, err := proven(t, b, "acme", uint64(seen), text, ledger.WitnessPolicy{}); err != nil || cp.Size != uint64(seen)+3 {
		t.Error("what no witness saw is proved without:", err)
	}
}

func headsOf(b *book, tenant string) []wal.Head {
	var out []wal.Head
	for _, h := range b.heads() {
		if h.Tenant == tenant {
			out = append(out, h)
		}
	}
	return out
}

// memory is a second place.
type memory struct {
	note []byte
	err  error
}

func (m *memory) Get(context.Context) ([]byte, error)      { return m.note, m.err }
func (m *memory) Put(_ context.Context, note []byte) error { m.note = bytes.Clone(note); return m.err }

func TestAFolderThatWasPutBackIsNoticed(t *testing.T) {
	b := newBook()
	m := &memory{}
	o := options(filepath.Join(t.TempDir(), "now"))
	o.Kept = m
	p := open(t, o, b)
	b.add("acme", 3)
	tick(t, p, b)
	old := filepath.Join(t.TempDir(), "old")
	must(t, os.CopyFS(old, os.DirFS(o.Dir)))
	b.add("acme", 3)
	tick(t, p, b)
	shut(t, p)
	open(t, o, b)

	back := o
	back.Dir = old
	if _, err := publish.Open(back); !errors.Is(err, publish.ErrRolledBack) {
		t.Error("an older folder:", err)
	}
	back.Dir = t.TempDir()
	if _, err := publish.Open(back); !errors.Is(err, publish.ErrRolledBack) {
		t.Error("an empty folder:", err)
	}
	fork := newBook()
	fork.add("acme", 4)
	other := options(t.TempDir())
	p = open(t, other, fork)
	tick(t, p, fork)
	fork.add("acme", 4)
	tick(t, p, fork)
	other.Kept = m
	if _, err := publish.Open(other); !errors.Is(err, publish.ErrRolledBack) {
		t.Error("another history:", err)
	}
	o.Kept = &memory{note: []byte("x")}
	if _, err := publish.Open(o); !errors.Is(err, wal.ErrCorrupt) {
		t.Error("a kept note that is none:", err)
	}
	o.Kept = &memory{err: errors.New("store is away")}
	if _, err := publish.Open(o); err == nil {
		t.Error("a second place that does not answer is passed over")
	}
}

func TestALogOfCheckpointsThatWasCutIsNoticed(t *testing.T) {
	b := newBook()
	o := options(t.TempDir())
	p := open(t, o, b)
	for range 300 {
		b.add("acme", 1)
		tick(t, p, b)
	}
	shut(t, p)
	for _, gone := range []string{"tile/0", "tile/1", "tile/entries", "tile", "tile/0/001.p/44", "tile/entries/001.p/44"} {
		dir := t.TempDir()
		must(t, os.CopyFS(dir, os.DirFS(o.Dir)))
		must(t, os.RemoveAll(filepath.Join(dir, ledger.CheckpointsLog, filepath.FromSlash(gone))))
		cut := o
		cut.Dir = dir
		if _, err := publish.Open(cut); !errors.Is(err, publish.ErrRolledBack) && !errors.Is(err, tile.ErrDamaged) {
			t.Errorf("without %s: %v", gone, err)
		}
	}
}

func TestCheckpointsOfOthersAreRefused(t *testing.T) {
	b := newBook()
	o := options(t.TempDir())
	p := open(t, o, b)
	b.add("acme", 3)
	tick(t, p, b)
	shut(t, p)
	for what, change := range map[string]func(o *publish.Options){
		"another key":      func(o *publish.Options) { o.Signer = key("stranger") },
		"another host":     func(o *publish.Options) { o.Origin = "other.example" },
		"another instance": func(o *publish.Options) { o.Instance = "gw-2" },
	} {
		bad := o
		change(&bad)
		if _, err := publish.Open(bad); !errors.Is(err, wal.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	dir := filepath.Join(o.Dir, "acme")
	must(t, os.CopyFS(filepath.Join(o.Dir, "rival"), os.DirFS(dir)))
	if _, err := publish.Open(o); !errors.Is(err, wal.ErrCorrupt) {
		t.Error("one tenant's checkpoint in another's folder:", err)
	}
}

// TestALaterGenerationGoesOn: a ledger that was restored has logs of new names, and what was signed of the old ones is
// no promise of theirs.
func TestALaterGenerationGoesOn(t *testing.T) {
	b, w := newBook(), newWitness(t, "w.example")
	m := &memory{}
	o := options(t.TempDir())
	o.Kept = m
	p := open(t, o, b)
	b.add("acme", 5)
	tick(t, p, b)
	shut(t, p)
	restored := newBook()
	restored.add("acme", 2)
	o.Instance, o.Cosign = instance+".2", w.cosign
	p = open(t, o, restored)
	if len(p.Signed()) != 0 {
		t.Fatal("the old generation binds the new one", p.Signed())
	}
	tick(t, p, restored)
	text, err := p.Prove(t.Context(), "acme", 1)
	must(t, err)
	proof, err := ledger.ParseProof(text)
	must(t, err)
	cp, err := proof.Verify(merkle.LeafHash(restored.data["acme"][1]), pinned(t), w.policy(1))
	if err != nil || cp.Origin != "gate.example/ledger/acme/gw-1.2" || cp.Size != 2 {
		t.Fatal(cp, err)
	}
	shut(t, p)
	o.Instance = instance
	if _, err := publish.Open(o); err == nil {
		t.Error("an earlier generation opens the folder of a later one")
	}
}

func TestTwoKeysSignWhileOneRetires(t *testing.T) {
	b := newBook()
	o := options(t.TempDir())
	p := open(t, o, b)
	b.add("acme", 3)
	tick(t, p, b)
	shut(t, p)
	o.Signer, o.Retiring = key("next"), key("signer")
	p = open(t, o, b)
	b.add("acme", 1)
	tick(t, p, b)
	for _, log := range []string{"acme", ledger.CheckpointsLog} {
		note, err := p.File(log, "checkpoint")
		must(t, err)
		for _, name := range []string{"next", "signer"} {
			if _, err := ledger.OpenCheckpoint(note, pinned(t, name)); err != nil {
				t.Errorf("%s, %s: %v", log, name, err)
			}
		}
	}
	shut(t, p)
	o.Retiring, o.Retired = nil, nil
	p = open(t, o, b)
	b.add("acme", 1)
	tick(t, p, b)
	note, err := p.Checkpoint("acme")
	must(t, err)
	if _, err := ledger.OpenCheckpoint(note, pinned(t, "signer")); err == nil {
		t.Error("the old key still signs")
	}
}

// TestATenantFarBehindDoesNotHoldTheOthersUp: its tiles are made over several ticks.
func TestATenantFarBehindDoesNotHoldTheOthersUp(t *testing.T) {
	b := newBook()
	p := open(t, options(t.TempDir()), b)
	b.add("big", 300_000)
	b.add("small", 1)
	heads := b.heads()
	ticks := 0
	for ; ; ticks++ {
		err := p.Publish(t.Context(), heads)
		if _, small := p.Checkpoint("small"); small != nil {
			t.Fatal("small is not published:", small)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, publish.ErrBehind) || p.Publishing().Behind != 1 {
			t.Fatal(err, p.Publishing())
		}
		if _, big := p.Checkpoint("big"); big == nil {
			t.Fatal("signed before its tiles are there")
		}
	}
	t.Log("ticks:", ticks)
	text, err := p.Prove(t.Context(), "big", 299_999)
	must(t, err)
	if _, err := proven(t, b, "big", 299_999, text, ledger.WitnessPolicy{}); err != nil {
		t.Fatal(err)
	}
}

func TestAThousandTenantsInOneTick(t *testing.T) {
	b := newBook()
	p := open(t, options(t.TempDir()), b)
	for i := range 1000 {
		b.add(fmt.Sprint("t", i), 3)
	}
	began := time.Now()
	tick(t, p, b)
	t.Log("first tick, without waiting for the disk:", time.Since(began))
	for i := range 1000 {
		b.add(fmt.Sprint("t", i), 1)
	}
	began = time.Now()
	tick(t, p, b)
	t.Log("second tick:", time.Since(began))
	if s := p.Publishing(); s.Tenants != 1000 || s.Size != 2000 {
		t.Errorf("%+v", s)
	}
	text, err := p.Prove(t.Context(), "t77", 3)
	must(t, err)
	if _, err := proven(t, b, "t77", 3, text, ledger.WitnessPolicy{}); err != nil {
		t.Error(err)
	}
}

func TestNothingIsPublishedWithoutALog(t *testing.T) {
	p, err := publish.Open(options(t.TempDir()))
	must(t, err)
	defer shut(t, p)
	b := newBook()
	b.add("acme", 1)
	if err := p.Publish(t.Context(), b.heads()); err == nil {
		t.Error("published")
	}
}
