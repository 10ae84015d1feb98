package merkle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// ErrFrontier refuses bytes that are not a Frontier's binary form.
var ErrFrontier = errors.New("merkle: malformed frontier")

// Frontier is the right edge of an append-only tree: enough to append and to know the root, in at most 64 hashes. The zero
// value is the empty tree. It is not safe for concurrent use; a copy shares memory, so use Clone for an independent one.
type Frontier struct {
	size uint64
	// nodes are the roots of the complete subtrees the leaves fall into, largest first: one for each bit set in size.
	nodes []Hash
}

// Append adds a leaf. It hashes one node on average, and at most 64.
func (f *Frontier) Append(leaf Hash) { f.AppendUnder(leaf, len(f.nodes)+1) }

// AppendUnder is Append for those who need nodes of one level, at least 1, too: it returns the root of the complete subtree
// of 2^level leaves that this leaf closes, and whether it closes one.
func (f *Frontier) AppendUnder(leaf Hash, level int) (node Hash, closes bool) {
	h := leaf
	for rest := f.size; rest&1 == 1; rest >>= 1 {
		last := len(f.nodes) - 1
		h = NodeHash(f.nodes[last], h)
		f.nodes = f.nodes[:last]
		if level--; level == 0 {
			node, closes = h, true
		}
	}
	f.nodes = append(f.nodes, h)
	f.size++
	return node, closes
}

// Size returns the number of leaves.
func (f *Frontier) Size() uint64 { return f.size }

// Root returns the root of the tree; EmptyRoot when it has no leaves.
func (f *Frontier) Root() Hash {
	last := len(f.nodes) - 1
	if last < 0 {
		return EmptyRoot()
	}
	h := f.nodes[last]
	for i := last - 1; i >= 0; i-- {
		h = NodeHash(f.nodes[i], h)
	}
	return h
}

// Clone returns an independent copy.
func (f *Frontier) Clone() Frontier {
	return Frontier{size: f.size, nodes: append([]Hash(nil), f.nodes...)}
}

// Layout of the binary form: version byte, size in big endian, then one hash for each bit set in size.
const (
	frontierVersion = 1
	frontierHeader  = 1 + 8
)

// AppendBinary appends the binary form that ParseFrontier reads: 9 bytes and 32 for each bit set in the size.
func (f *Frontier) AppendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, frontierVersion)
	dst = binary.BigEndian.AppendUint64(dst, f.size)
	for i := range f.nodes {
		dst = append(dst, f.nodes[i][:]...)
	}
	return dst, nil
}

// ParseFrontier reads what AppendBinary wrote. It checks the form only: whether the hashes are those of a tree shows when
// the root is compared with a trusted one.
func ParseFrontier(b []byte) (Frontier, error) {
	if len(b) < frontierHeader {
		return Frontier{}, fmt.Errorf("%w: %d bytes", ErrFrontier, len(b))
	}
	if b[0] != frontierVersion {
		return Frontier{}, fmt.Errorf("%w: version %d", ErrFrontier, b[0])
	}
	size := binary.BigEndian.Uint64(b[1:])
	rest := b[frontierHeader:]
	n := bits.OnesCount64(size)
	if len(rest) != n*HashSize {
		return Frontier{}, fmt.Errorf("%w: %d bytes of hashes for size %d", ErrFrontier, len(rest), size)
	}
	f := Frontier{size: size, nodes: make([]Hash, n)}
	for i := range f.nodes {
		copy(f.nodes[i][:], rest[i*HashSize:])
	}
	return f, nil
}
