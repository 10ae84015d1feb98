package tile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
)

// quick is the disk without waiting for it: for tests of what is written, not of when.
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

// entry is the i-th of a log: of no fixed length.
func entry(i uint64) []byte { return fmt.Appendf(nil, "entry %d %0*d", i, int(i%37), 0) }

func entries(from, to uint64) [][]byte {
	out := make([][]byte, 0, to-from)
	for i := from; i < to; i++ {
		out = append(out, entry(i))
	}
	return out
}

var hashed struct {
	sync.Mutex
	leaves []merkle.Hash
}

// leaves is an oracle: the whole tree, kept in memory.
func leaves(n uint64) *merkle.Tree {
	hashed.Lock()
	defer hashed.Unlock()
	for i := uint64(len(hashed.leaves)); i < n; i++ {
		hashed.leaves = append(hashed.leaves, merkle.LeafHash(entry(i)))
	}
	return merkle.NewTree(hashed.leaves[:n])
}

func open(t testing.TB, on disk.FS, dir string) *tile.Tree {
	t.Helper()
	tree, err := tile.Open(on, dir)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// grown is a tree of n entries on the quick disk.
func grown(t testing.TB, n uint64) (*tile.Tree, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	tree := open(t, quick{}, dir)
	must(t, tree.Append(entries(0, n)))
	return tree, dir
}

// theirs is what golang.org/x/mod/sumdb/tlog stores of the log, as far as it was asked for.
var theirs struct {
	sync.Mutex
	n      int64
	stored []tlog.Hash
}

func readTheirs(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		out[i] = theirs.stored[at]
	}
	return out, nil
}

// oracle writes a log of n entries with golang.org/x/mod/sumdb/tlog and returns its files by C2SP paths.
func oracle(t testing.TB, n uint64) map[string][]byte {
	t.Helper()
	theirs.Lock()
	defer theirs.Unlock()
	read := tlog.HashReaderFunc(readTheirs)
	for ; theirs.n < int64(n); theirs.n++ {
		hashes, err := tlog.StoredHashes(theirs.n, entry(uint64(theirs.n)), read)
		must(t, err)
		theirs.stored = append(theirs.stored, hashes...)
	}
	out := map[string][]byte{}
	for _, x := range tlog.NewTiles(8, 0, int64(n)) {
		data, err := tlog.ReadTileData(x, read)
		must(t, err)
		name := tile.Name{Level: x.L, Index: uint64(x.N), Wide: x.W}
		out[name.Path()] = data
		if want := "tile/" + x.Path()[len("tile/8/"):]; name.Path() != want {
			t.Fatalf("path %s, not %s", name.Path(), want)
		}
		if x.L == 0 {
			var b []byte
			for i := range x.W {
				b = tile.AppendEntry(b, entry(uint64(x.N)*tile.Width+uint64(i)))
			}
			name.Level = tile.Entries
			out[name.Path()] = b
		}
	}
	return out
}

// files reads all files of a folder, by paths with slashes.
func files(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[filepath.ToSlash(rel)] = b
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return out
}
