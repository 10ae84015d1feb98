package tile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// Width is how many hashes a full tile has, and entries a full bundle.
const Width = 1 << height

const (
	// height is the number of levels of the tree that one level of tiles spans.
	height = 8
	// maxLevel is the highest level of tiles that a path can name (C2SP tlog-tiles).
	maxLevel = 63
	// levels is how many levels of tiles a tree of 2^64 leaves has.
	levels = 8
)

// Entries is the level of entry bundles in a Name.
const Entries = -1

// Name is a resource of C2SP tlog-tiles: a tile of hashes, or a bundle of entries.
type Name struct {
	Level int    // 0 to 63, or Entries
	Index uint64 // from the left
	Wide  int    // 1 to 256; below 256 it is a partial one
}

// ErrName refuses a path that is not the one spelling of a resource.
var ErrName = errors.New("not the path of a tile")

// Path returns the path under the log's prefix, with slashes.
func (n Name) Path() string {
	kind := "entries"
	if n.Level != Entries {
		kind = strconv.Itoa(n.Level)
	}
	index := fmt.Sprintf("%03d", n.Index%1000)
	for rest := n.Index / 1000; rest > 0; rest /= 1000 {
		index = fmt.Sprintf("x%03d/%s", rest%1000, index)
	}
	if n.Wide < Width {
		return "tile/" + kind + "/" + index + ".p/" + strconv.Itoa(n.Wide)
	}
	return "tile/" + kind + "/" + index
}

// ParseName reads a path such as tile/0/x001/234.p/5. Anything but the spelling that Path gives is ErrName.
func ParseName(path string) (Name, error) {
	bad := fmt.Errorf("%w: %.64q", ErrName, path)
	rest, ok := strings.CutPrefix(path, "tile/")
	kind, rest, more := strings.Cut(rest, "/")
	if !ok || !more {
		return Name{}, bad
	}
	n := Name{Level: Entries, Wide: Width}
	if kind != "entries" {
		level, err := strconv.Atoi(kind)
		if err != nil || level < 0 || level > maxLevel {
			return Name{}, bad
		}
		n.Level = level
	}
	if whole, wide, partial := strings.Cut(rest, ".p/"); partial {
		w, err := strconv.Atoi(wide)
		if err != nil || w < 1 || w >= Width {
			return Name{}, bad
		}
		rest, n.Wide = whole, w
	}
	digits := strings.ReplaceAll(strings.ReplaceAll(rest, "x", ""), "/", "")
	index, err := strconv.ParseUint(digits, 10, 64)
	n.Index = index
	if err != nil || n.Path() != path {
		return Name{}, bad
	}
	return n, nil
}

// tiled is the level of tiles whose indices and widths the resource shares.
func (n Name) tiled() int { return max(n.Level, 0) }

// end is the index of the entry behind the last that a full one spans; it saturates.
func (n Name) end() uint64 {
	shift := height * (n.tiled() + 1)
	if shift >= 64 || n.Index+1 > 1<<(64-shift)-1 {
		return 1<<64 - 1
	}
	return (n.Index + 1) << shift
}

// edgeOf is the partial resource of a level in a tree of that size; its Wide is 0 when there is none.
func edgeOf(level int, size uint64) Name {
	n := size >> (height * max(level, 0))
	return Name{Level: level, Index: n >> height, Wide: int(n & (Width - 1))}
}

// file is where a resource lies in a tree's folder.
func file(dir string, n Name) string { return filepath.Join(dir, filepath.FromSlash(n.Path())) }

// widths lists the partial resources that lie beside a full one's place, narrowest first.
func widths(on disk.FS, dir string, level int, index uint64) ([]int, error) {
	names, err := on.List(filepath.Dir(file(dir, Name{level, index, 1})))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []int
	for _, name := range names {
		if w, err := strconv.Atoi(name); err == nil && w > 0 && w < Width && strconv.Itoa(w) == name {
			out = append(out, w)
		}
	}
	slices.Sort(out)
	return out, nil
}
