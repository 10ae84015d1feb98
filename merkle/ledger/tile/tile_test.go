package tile_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
)

func TestAPathHasOneSpelling(t *testing.T) {
	for path, want := range map[string]tile.Name{
		"tile/0/000":                 {Level: 0, Index: 0, Wide: 256},
		"tile/entries/x001/x234/067": {Level: tile.Entries, Index: 1234067, Wide: 256},
		"tile/63/x001/234.p/255":     {Level: 63, Index: 1234, Wide: 255},
	} {
		got, err := tile.ParseName(path)
		if err != nil || got != want || got.Path() != path {
			t.Errorf("%s: %v, %v, %s", path, got, err, got.Path())
		}
	}
	for _, path := range []string{
		"", "tile", "tile/", "tile/0", "tile/0/", "tile/0/0", "tile/00/000", "tile/-1/000", "tile/+1/000", "tile/64/000", "tile/data/000",
		"tile/0/x000/001", "tile/0/001/000", "tile/0/x1/000", "tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/256",
		"tile/0/000.p/01", "tile/0/000.p/1/2", "tile/0/000.p/1.p/2", "tile/0/../0/000", "tile/0/000/", "/tile/0/000", "tile//000",
		"tile/0/x999/x999/x999/x999/x999/x999/x999/999", "tile/entries/00x", "checkpoint", "tile/0/000.p/+1", "tile/0/\x00",
	} {
		if n, err := tile.ParseName(path); !errors.Is(err, tile.ErrName) {
			t.Errorf("%q is taken for %v", path, n)
		}
	}
}

// TestEverySizeIsWrittenAsTheFormatHasIt grows a log one by one and compares all files with another implementation's.
func TestEverySizeIsWrittenAsTheFormatHasIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	tree := open(t, quick{}, dir)
	for n := uint64(1); n <= 2000; n++ {
		must(t, tree.Append(entries(n-1, n)))
		must(t, tree.Trim(n))
		if n%97 != 0 && n%256 > 1 && n%256 < 255 && n > 12 {
			continue // the oracle is slow
		}
		compareFiles(t, dir, n)
		again := open(t, quick{}, dir)
		if again.Size() != n || again.Root() != tree.Root() {
			t.Fatalf("size %d reads back as %d", n, again.Size())
		}
	}
}

func compareFiles(t *testing.T, dir string, n uint64) {
	t.Helper()
	got, want := files(t, dir), oracle(t, n)
	for path, b := range want {
		if !bytes.Equal(got[path], b) {
			t.Fatalf("size %d: %s has %d bytes and differs from the oracle's %d", n, path, len(got[path]), len(b))
		}
	}
	for path := range got {
		if want[path] == nil {
			t.Fatalf("size %d: %s should not be there", n, path)
		}
	}
}

// TestLargeAppendsGiveTheSameFiles goes over the boundaries of two levels in pieces of many sizes.
func TestLargeAppendsGiveTheSameFiles(t *testing.T) {
	const n = 256*256 + 300
	want := oracle(t, n)
	random := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		dir := filepath.Join(t.TempDir(), "log")
		tree := open(t, quick{}, dir)
		for tree.Size() < n {
			if random.IntN(4) == 0 {
				tree = open(t, quick{}, dir)
			}
			more := min(uint64(random.IntN(20_000)+1)>>random.IntN(12)+1, n-tree.Size())
			must(t, tree.Append(entries(tree.Size(), tree.Size()+more)))
		}
		must(t, tree.Trim(n))
		got := files(t, dir)
		for path, b := range want {
			if !bytes.Equal(got[path], b) {
				t.Fatalf("%s differs", path)
			}
		}
		must(t, tree.Verify(t.Context(), nil))
	}
}

func TestProofsAreThoseOfTheTree(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 255, 256, 257, 511, 700, 2000} {
		tree, _ := grown(t, n)
		want := leaves(n)
		if tree.Root() != want.Root() {
			t.Fatalf("root of %d", n)
		}
		for i := uint64(0); i < n; i += 1 + n/50 {
			checkInclusion(t, tree, want, i, n)
			checkConsistency(t, tree, want, i+1, n)
		}
		checkInclusion(t, tree, want, n-1, n)
	}
}

func checkInclusion(t *testing.T, tree *tile.Tree, want *merkle.Tree, i, n uint64) {
	t.Helper()
	got, err := tree.Inclusion(i, n)
	must(t, err)
	must(t, merkle.VerifyInclusion(want.Leaf(i), i, n, got, want.Root()))
}

func checkConsistency(t *testing.T, tree *tile.Tree, want *merkle.Tree, m, n uint64) {
	t.Helper()
	got, err := tree.Consistency(m, n)
	must(t, err)
	old, err := tree.RootAt(m)
	must(t, err)
	must(t, merkle.VerifyConsistency(m, n, got, old, want.Root()))
	front, err := tree.FrontierAt(m)
	must(t, err)
	if front.Root() != old || front.Size() != m {
		t.Fatal("frontier is not that of the root")
	}
}

// TestProofsOfEarlierTreesAround256Squared compares with the other implementation's proofs.
func TestProofsOfEarlierTreesAround256Squared(t *testing.T) {
	const most = 256*256 + 258
	tree, dir := grown(t, most)
	all := leaves(most)
	read := tlog.TileHashReader(tlog.Tree{N: most, Hash: tlog.Hash(tree.Root())}, tileReader{tree})
	for _, n := range []uint64{65_535, 65_536, 65_537, 65_791, 65_792, 65_793, most} {
		root, err := tree.RootAt(n)
		must(t, err)
		want, err := tlog.TreeHash(int64(n), read)
		must(t, err)
		if merkle.Hash(want) != root {
			t.Fatalf("root of %d", n)
		}
		for _, i := range []uint64{0, 1, 255, 256, 40_000, 65_279, 65_534, n - 1} {
			proof, err := tree.Inclusion(i, n)
			must(t, err)
			must(t, merkle.VerifyInclusion(all.Leaf(i), i, n, proof, root))
			other, err := tlog.ProveRecord(int64(n), int64(i), read)
			must(t, err)
			if len(other) != len(proof) {
				t.Fatal("proofs differ")
			}
			cons, err := tree.Consistency(i+1, n)
			must(t, err)
			theirs, err := tlog.ProveTree(int64(n), int64(i+1), read)
			must(t, err)
			sameProof(t, theirs, cons)
		}
	}
	if got := open(t, quick{}, dir).Root(); got != all.Root() {
		t.Fatal("root after opening")
	}
}

func sameProof(t *testing.T, want tlog.TreeProof, got []merkle.Hash) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d hashes, not %d", len(got), len(want))
	}
	for i := range want {
		if merkle.Hash(want[i]) != got[i] {
			t.Fatalf("hash %d differs", i)
		}
	}
}

// tileReader serves tiles to the other implementation, by path, as a server would.
type tileReader struct{ tree *tile.Tree }

func (r tileReader) Height() int                     { return 8 }
func (r tileReader) SaveTiles([]tlog.Tile, [][]byte) {}
func (r tileReader) ReadTiles(tiles []tlog.Tile) (out [][]byte, err error) {
	for _, x := range tiles {
		b, err := r.tree.File("tile/" + strings.TrimPrefix(x.Path(), "tile/8/"))
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

func TestWhatIsOutsideTheTreeIsRefused(t *testing.T) {
	tree, _ := grown(t, 300)
	for name, ask := range map[string]func() error{
		"index behind":      func() error { _, err := tree.Inclusion(300, 300); return err },
		"size behind":       func() error { _, err := tree.Inclusion(1, 301); return err },
		"index behind size": func() error { _, err := tree.Inclusion(20, 20); return err },
		"consistency":       func() error { _, err := tree.Consistency(3, 301); return err },
		"backwards":         func() error { _, err := tree.Consistency(30, 3); return err },
		"root":              func() error { _, err := tree.RootAt(301); return err },
		"subtree":           func() error { _, err := tree.Subtree(8, 1); return err },
		"level":             func() error { _, err := tree.Subtree(64, 0); return err },
		"below":             func() error { _, err := tree.Subtree(-1, 0); return err },
		"entries":           func() error { _, err := tree.Entries(301, 1); return err },
		"prune":             func() error { return tree.Prune(301) },
	} {
		if err := ask(); !errors.Is(err, tile.ErrSize) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, path := range []string{
		"tile/0/001", "tile/0/001.p/45", "tile/0/002", "tile/0/002.p/1", "tile/1/000", "tile/1/000.p/2", "tile/2/000.p/1", "tile/entries/001",
		"tile/63/000.p/1", "checkpoint", "../log/tile/0/000", "tile/entries/001.p/45",
	} {
		if _, err := tree.File(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := tree.Append([][]byte{make([]byte, tile.MaxEntry+1)}); !errors.Is(err, tile.ErrEntry) {
		t.Error("an entry that fits no bundle:", err)
	}
	must(t, tree.Append([][]byte{make([]byte, tile.MaxEntry), {}}))
	got, err := tree.Entries(300, 5)
	if err != nil || len(got) != 2 || len(got[0]) != tile.MaxEntry || len(got[1]) != 0 {
		t.Fatal("largest and empty entry:", err)
	}
}

// TestReplacedPartialsAreStillServed: a checkpoint that was published once may be asked for until its tiles are full.
func TestReplacedPartialsAreStillServed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	tree := open(t, quick{}, dir)
	for _, n := range []uint64{3, 40, 290, 900} {
		must(t, tree.Append(entries(tree.Size(), n)))
		must(t, tree.Trim(n))
		for size := uint64(1); size <= n; size += 1 + size/7 {
			for path, want := range oracle(t, size) {
				got, err := tree.File(path)
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("tree of %d, %s of %d: %v", n, path, size, err)
				}
			}
		}
	}
}

// TestTrimKeepsWhatIsPublished: the folder itself serves the published checkpoint, whatever was appended since.
func TestTrimKeepsWhatIsPublished(t *testing.T) {
	for _, steps := range [][]uint64{{100, 120, 130}, {250, 256, 300}, {200, 700}, {256, 300, 520}} {
		dir := filepath.Join(t.TempDir(), "log")
		tree := open(t, quick{}, dir)
		published := uint64(0)
		for _, n := range steps {
			must(t, tree.Append(entries(tree.Size(), n)))
			tree = open(t, quick{}, dir) // as after a crash
			must(t, tree.Trim(published))
			got := files(t, dir)
			for path, want := range oracle(t, max(published, 1)) {
				if published > 0 && !bytes.Equal(got[path], want) {
					t.Fatalf("%v at %d: %s of %d is gone", steps, n, path, published)
				}
			}
			published = n
		}
		must(t, tree.Trim(published))
		compareFiles(t, dir, published)
	}
}

func TestEntriesComeBack(t *testing.T) {
	tree, _ := grown(t, 1000)
	for from := uint64(0); from < 1000; {
		got, err := tree.Entries(from, 300)
		must(t, err)
		if len(got) == 0 {
			t.Fatal("nothing before the end")
		}
		for _, e := range got {
			if !bytes.Equal(e, entry(from)) {
				t.Fatalf("entry %d", from)
			}
			from++
		}
	}
	if got, err := tree.Entries(1000, 1); err != nil || len(got) != 0 {
		t.Fatal("at the end:", got, err)
	}
}

// TestEveryFlippedBitIsFound flips one bit in every file, at several places, and asks for everything.
func TestEveryFlippedBitIsFound(t *testing.T) {
	tree, dir := grown(t, 256*3+17)
	must(t, tree.Trim(tree.Size()))
	want := tree.Root()
	for path, b := range files(t, dir) {
		name := filepath.Join(dir, filepath.FromSlash(path))
		for at := 0; at < len(b); at += 1 + len(b)/23 {
			bad := bytes.Clone(b)
			bad[at] ^= 1 << (at % 8)
			must(t, os.WriteFile(name, bad, 0o600))
			foundDamage(t, dir, want, path)
		}
		must(t, os.WriteFile(name, append(bytes.Clone(b), 0), 0o600))
		foundDamage(t, dir, want, path+" longer")
		must(t, os.WriteFile(name, b[:len(b)-1], 0o600))
		foundDamage(t, dir, want, path+" shorter")
		must(t, os.Remove(name))
		foundDamage(t, dir, want, path+" missing")
		must(t, os.WriteFile(name, b, 0o600))
	}
	must(t, open(t, quick{}, dir).Verify(t.Context(), nil))
}

func foundDamage(t *testing.T, dir string, root merkle.Hash, what string) {
	t.Helper()
	tree, err := tile.Open(quick{}, dir)
	if err == nil && tree.Root() == root {
		err = tree.Verify(context.Background(), nil)
	} else if err == nil {
		err = tile.ErrDamaged // a size or root that is not the signed one
	}
	if !errors.Is(err, tile.ErrDamaged) {
		t.Fatalf("%s: damage is not found: %v", what, err)
	}
}

// TestNothingIsProvedFromADamagedTile: what does not hash up is not handed out.
func TestNothingIsProvedFromADamagedTile(t *testing.T) {
	_, dir := grown(t, 256*5)
	name := filepath.Join(dir, "tile", "0", "001")
	b, err := os.ReadFile(name)
	must(t, err)
	b[77] ^= 4
	must(t, os.WriteFile(name, b, 0o600))
	tree := open(t, quick{}, dir)
	if _, err := tree.Inclusion(300, 1280); !errors.Is(err, tile.ErrDamaged) {
		t.Fatal("a proof out of a damaged tile:", err)
	}
	if _, err := tree.Entries(300, 1); !errors.Is(err, tile.ErrDamaged) {
		t.Fatal("entries against a damaged tile:", err)
	}
	if _, err := tree.Inclusion(3, 1280); err != nil {
		t.Fatal("the others stand:", err)
	}
}

func TestPruningKeepsWhatIsLeftProvable(t *testing.T) {
	const n = 256*9 + 40
	tree, dir := grown(t, n)
	all := leaves(n)
	must(t, tree.Prune(256*4+10))
	for _, look := range []*tile.Tree{tree, open(t, quick{}, dir)} {
		if look.Minimum() != 256*4+10 || look.Root() != all.Root() {
			t.Fatal("minimum or root")
		}
		for i := uint64(256*4 + 10); i < n; i += 91 {
			checkInclusion(t, look, all, i, n)
			checkConsistency(t, look, all, i, n)
		}
		if _, err := look.Entries(256*4-1, 1); !errors.Is(err, tile.ErrPruned) {
			t.Fatal("a pruned entry:", err)
		}
		if _, err := look.File("tile/0/003"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal("a pruned tile:", err)
		}
		must(t, look.Verify(t.Context(), nil))
		must(t, look.Prune(3)) // does not go back
	}
	must(t, tree.Append(entries(n, n+1000)))
	must(t, tree.Prune(tree.Size()))
	again := open(t, quick{}, dir)
	must(t, again.Append(entries(n+1000, n+1001)))
	must(t, again.Verify(t.Context(), nil))
	if again.Root() != leaves(n+1001).Root() {
		t.Fatal("root after pruning and growing")
	}
	for path := range files(t, dir) {
		if x, err := tile.ParseName(path); err == nil && x.Level <= 0 && x.Index < 12 {
			t.Fatalf("%s is left", path)
		}
	}
}

func TestClearRemovesEverything(t *testing.T) {
	tree, dir := grown(t, 600)
	must(t, tree.Prune(300))
	must(t, os.WriteFile(filepath.Join(dir, "checkpoint"), []byte("stays"), 0o600))
	must(t, tile.Clear(quick{}, dir))
	if got := files(t, dir); len(got) != 1 {
		t.Fatalf("left: %d files", len(got))
	}
	if open(t, quick{}, dir).Size() != 0 {
		t.Fatal("not empty")
	}
}

func TestAMinimumThatIsNoNumberIsRefused(t *testing.T) {
	for _, text := range []string{"", "1", "x\n", "01\n", "-1\n", "1\n\n", "18446744073709551616\n"} {
		_, dir := grown(t, 3)
		must(t, os.WriteFile(filepath.Join(dir, "minimum"), []byte(text), 0o600))
		if _, err := tile.Open(quick{}, dir); !errors.Is(err, tile.ErrDamaged) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
