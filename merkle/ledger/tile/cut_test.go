package tile_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger/disk/disktest"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
)

// TestATreeThatWasCutIsTheOneBefore: from any size to any other, over the edges of tiles of two levels, and what is
// appended then is not what was cut.
func TestATreeThatWasCutIsTheOneBefore(t *testing.T) {
	sizes := []uint64{0, 1, 5, 255, 256, 257, 300, 511, 512, 700, 65535, 65536, 65537, 65800}
	for _, size := range sizes {
		for _, from := range sizes {
			if from < size || from > 700 && (size != 256 && size < 65535 || testing.Short()) {
				continue
			}
			tree, dir := grown(t, from)
			must(t, tree.Cut(size))
			for range 2 {
				if tree.Size() != size || size > 0 && tree.Root() != leaves(size).Root() {
					t.Fatalf("from %d to %d: %d", from, size, tree.Size())
				}
				must(t, tree.Verify(t.Context(), nil))
				tree = open(t, quick{}, dir)
			}
			other := make([][]byte, 700)
			for i := range other {
				other[i] = fmt.Appendf(nil, "other %d", i)
			}
			for _, n := range []int{3, 255, 700} {
				must(t, tree.Append(other[tree.Size()-size:n]))
				again := open(t, quick{}, dir)
				if again.Size() != size+uint64(n) || again.Root() != tree.Root() {
					t.Fatalf("from %d to %d, %d more: %d", from, size, n, again.Size())
				}
				must(t, again.Verify(t.Context(), nil))
				tree = again
			}
		}
	}
	tree, _ := grown(t, 3)
	if err := tree.Cut(4); !errors.Is(err, tile.ErrSize) {
		t.Error(err)
	}
}

// TestAStopWhileATreeIsCutIsHarmless: there is a tree between the two then, and it can be cut again.
func TestAStopWhileATreeIsCutIsHarmless(t *testing.T) {
	for _, c := range []struct{ from, to uint64 }{{300, 290}, {300, 256}, {300, 5}, {600, 500}, {1000, 0}} {
		_, whole := grown(t, c.from)
		for _, how := range []disktest.How{disktest.Before, disktest.Half, disktest.After, disktest.PowerCut} {
			for k := 0; ; k++ {
				dir := filepath.Join(t.TempDir(), "log")
				must(t, os.CopyFS(dir, os.DirFS(whole)))
				on := disktest.StopAt(k, how)
				on.FS = quick{}
				tree, err := tile.Open(on, dir)
				if err == nil {
					_ = tree.Cut(c.to)
				}
				must(t, on.Restart())
				tree = open(t, quick{}, dir)
				if tree.Size() > c.from || tree.Size() < c.to || tree.Size() > 0 && tree.Root() != leaves(tree.Size()).Root() {
					t.Fatalf("%+v, stop %d %s: %d", c, k, on.Stopped(), tree.Size())
				}
				must(t, tree.Cut(c.to))
				must(t, tree.Append(entries(c.to, c.to+300)))
				must(t, open(t, quick{}, dir).Verify(t.Context(), nil))
				if on.Stopped() == "" {
					break
				}
			}
		}
	}
}

// TestAPartialFileIsReadOutOfAWiderOne: a published tree's own were trimmed, or the tree grew while it was checked.
func TestAPartialFileIsReadOutOfAWiderOne(t *testing.T) {
	for _, c := range []struct{ was, now uint64 }{{5, 9}, {250, 256}, {250, 700}, {257, 300}, {65500, 65537}} {
		tree, dir := grown(t, c.was)
		checker, err := tree.Checker(0)
		must(t, err)
		grows := open(t, quick{}, dir)
		must(t, grows.Append(entries(c.was, c.now)))
		must(t, grows.Trim(c.now))
		for i := range c.was {
			if err := checker.Add(entry(i), merkle.LeafHash(entry(i)), nil); err != nil {
				t.Fatalf("%+v: %v", c, err)
			}
		}
		must(t, checker.Close())
		must(t, open(t, quick{}, dir).Verify(t.Context(), nil, c.was))
	}
	tree, dir := grown(t, 300)
	name := filepath.Join(dir, "tile", "entries", "001.p", "44")
	must(t, os.WriteFile(filepath.Join(filepath.Dir(name), "50"), []byte("\x00\x03abc"), 0o600))
	must(t, os.Remove(name))
	if err := tree.Verify(t.Context(), nil); !errors.Is(err, tile.ErrDamaged) {
		t.Error(err)
	}
}
