package merkle

import "math/bits"

// Tree is a tree that keeps all its nodes, so that every proof is a walk without hashing. It is immutable and safe for
// concurrent use. The zero value is the empty tree.
type Tree struct {
	// levels[0] holds the leaves; a node of levels[k+1] covers two of levels[k]. The last node of an odd level is lifted
	// unchanged, which gives exactly the shape of RFC 6962, section 2.1.
	levels [][]Hash
}

// NewTree builds the tree over a copy of leaves. It takes about 64 bytes of memory and one node hash a leaf; bounding the
// number of leaves is the caller's business.
func NewTree(leaves []Hash) *Tree {
	n := len(leaves)
	if n == 0 {
		return &Tree{}
	}
	total, depth := n, 1
	for w := n; w > 1; depth++ {
		w = (w + 1) / 2
		total += w
	}
	nodes := make([]Hash, total)
	levels := make([][]Hash, 0, depth)
	cur := nodes[:copy(nodes, leaves):n]
	nodes = nodes[n:]
	levels = append(levels, cur)
	for len(cur) > 1 {
		w := (len(cur) + 1) / 2
		next := nodes[:w:w]
		nodes = nodes[w:]
		for i := range len(cur) / 2 {
			next[i] = NodeHash(cur[2*i], cur[2*i+1])
		}
		if len(cur)%2 == 1 {
			next[w-1] = cur[len(cur)-1]
		}
		levels = append(levels, next)
		cur = next
	}
	return &Tree{levels: levels}
}

// Size returns the number of leaves.
func (t *Tree) Size() uint64 {
	if len(t.levels) == 0 {
		return 0
	}
	return uint64(len(t.levels[0]))
}

// Root returns the tree's root; EmptyRoot for the empty tree.
func (t *Tree) Root() Hash {
	if len(t.levels) == 0 {
		return EmptyRoot()
	}
	return t.levels[len(t.levels)-1][0]
}

// Leaf returns the hash of leaf i. It panics when i is not below Size, as indexing a slice does.
func (t *Tree) Leaf(i uint64) Hash { return t.levels[0][i] }

// AppendInclusion appends the inclusion proof of leaf i, siblings from the leaf upwards (RFC 9162, section 2.1.3.1).
// Outside the tree there is nothing to prove: dst comes back unchanged, and no verifier accepts such an index.
func (t *Tree) AppendInclusion(dst []Hash, i uint64) []Hash {
	if i >= t.Size() {
		return dst
	}
	for _, level := range t.levels {
		if sibling := i ^ 1; sibling < uint64(len(level)) {
			dst = append(dst, level[sibling])
		}
		i >>= 1
	}
	return dst
}

// AppendConsistency appends the proof that the first m leaves are a prefix of this tree (RFC 9162, section 2.1.4.1).
// The proof is empty for m = Size. For m = 0 and m > Size there is no proof: dst comes back unchanged, and
// VerifyConsistency refuses such sizes.
func (t *Tree) AppendConsistency(dst []Hash, m uint64) []Hash {
	n := t.Size()
	if m == 0 || m >= n {
		return dst
	}
	// The walk starts at the largest complete subtree that ends at leaf m-1. A verifier knows its hash when it is the
	// whole old tree, that is when m is a power of two.
	k := bits.TrailingZeros64(m)
	i := (m - 1) >> k
	if i != 0 {
		dst = append(dst, t.levels[k][i])
	}
	for ; k < len(t.levels); k++ {
		if sibling := i ^ 1; sibling < uint64(len(t.levels[k])) {
			dst = append(dst, t.levels[k][sibling])
		}
		i >>= 1
	}
	return dst
}
