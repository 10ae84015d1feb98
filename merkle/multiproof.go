package merkle

import (
	"errors"
	"math/bits"
	"slices"
)

// A multiproof shows in one computation that a set of leaves stands in a tree: it holds the hash of every largest
// subtree without a leaf of the set, from left to right, and nothing else. That is the least set of hashes from which,
// with those leaves, the root follows. The last hash may be that of a subtree cut short by the tree's right edge.
//
// The order is that in which a reader needs them, so both sides work in one pass: Prover makes the hashes as the
// indices come, Prover's counterpart Rooter consumes them as the leaves come, in 64 hashes of memory.

// ErrOrder refuses indices that are not strictly ascending, or a set without any: it proves nothing.
var ErrOrder = errors.New("merkle: indices do not ascend")

// Subtree returns the hash of the complete subtree over leaves [index<<level, (index+1)<<level). It is asked only for
// subtrees that lie whole inside the tree.
type Subtree func(level int, index uint64) (Hash, error)

// Prover makes the hashes of a multiproof while the indices of the leaves arrive. It keeps no hashes.
type Prover struct {
	size, next uint64
	subtree    Subtree
	emit       func(Hash) error
}

// NewProver proves leaves of the tree of size leaves; emit takes the hashes in order.
func NewProver(size uint64, subtree Subtree, emit func(Hash) error) *Prover {
	return &Prover{size: size, subtree: subtree, emit: emit}
}

// Leaf says that the leaf at index belongs to the set. Indices ascend.
func (p *Prover) Leaf(index uint64) error { return p.Leaves(index, index) }

// Leaves says that all leaves from first to last, both included, belong to the set.
func (p *Prover) Leaves(first, last uint64) error {
	if err := within(p.next, first, p.size); err != nil {
		return err
	}
	if err := within(first, last, p.size); err != nil {
		return err
	}
	for from := p.next; from < first; {
		level := inGap(from, first)
		h, err := p.subtree(level, from>>level)
		if err != nil {
			return err
		}
		if err := p.emit(h); err != nil {
			return err
		}
		from += 1 << level
	}
	p.next = last + 1
	return nil
}

// Close makes the hashes behind the last leaf.
func (p *Prover) Close() error {
	if p.next == 0 {
		return ErrOrder
	}
	for from := p.next; from < p.size; {
		level := bits.TrailingZeros64(from)
		if p.size-from < 1<<level {
			h, err := p.edge(from)
			if err != nil {
				return err
			}
			return p.emit(h)
		}
		h, err := p.subtree(level, from>>level)
		if err != nil {
			return err
		}
		if err := p.emit(h); err != nil {
			return err
		}
		from += 1 << level
	}
	return nil
}

// edge hashes the subtree over [from, size) that the right edge cuts short, out of the complete ones in it.
func (p *Prover) edge(from uint64) (Hash, error) {
	var parts [64]Hash
	n := 0
	for from < p.size {
		level := bits.Len64(p.size-from) - 1
		h, err := p.subtree(level, from>>level)
		if err != nil {
			return Hash{}, err
		}
		parts[n] = h
		n++
		from += 1 << level
	}
	h := parts[n-1]
	for i := n - 2; i >= 0; i-- {
		h = NodeHash(parts[i], h)
	}
	return h, nil
}

// within accepts an index that is inside the tree and not before the one that may come next.
func within(next, index, size uint64) error {
	switch {
	case index >= size:
		return ErrIndex
	case index < next:
		return ErrOrder
	}
	return nil
}

// inGap is the level of the largest subtree that begins at from and ends at or before to, with from below to.
func inGap(from, to uint64) int {
	return min(bits.TrailingZeros64(from), bits.Len64(to-from)-1)
}

// Rooter computes the root that a multiproof leads to while the leaves arrive. It is not safe for concurrent use, and
// after an error it gives no root.
type Rooter struct {
	size  uint64
	front Frontier
	node  func() (Hash, error)
	err   error
}

// NewRooter reads a proof about the tree of size leaves. The size must come from what the caller trusts. Node gives the
// proof's next hash; its error ends the computation. That the proof has no more hashes than were asked for is for the
// caller to see.
func NewRooter(size uint64, node func() (Hash, error)) *Rooter {
	return &Rooter{size: size, node: node}
}

// Leaf adds the leaf at index. Indices ascend.
func (r *Rooter) Leaf(index uint64, leaf Hash) error {
	if r.err != nil {
		return r.err
	}
	r.err = within(r.front.size, index, r.size)
	for r.err == nil && r.front.size < index {
		r.fill(inGap(r.front.size, index))
	}
	if r.err == nil {
		r.front.Append(leaf)
	}
	return r.err
}

// fill takes the proof's next hash as that of the complete subtree of that level behind what is there.
func (r *Rooter) fill(level int) {
	h, err := r.node()
	if err != nil {
		r.err = err
		return
	}
	r.front.appendSubtree(level, h)
}

// Root returns the root, once all leaves are there. It means nothing until it is compared with a trusted root of a tree
// of the same size.
func (r *Rooter) Root() (Hash, error) {
	if r.err == nil && r.front.size == 0 {
		r.err = ErrOrder
	}
	for r.err == nil && r.front.size < r.size {
		level := bits.TrailingZeros64(r.front.size)
		if r.size-r.front.size < 1<<level {
			return r.edge()
		}
		r.fill(level)
	}
	if r.err != nil {
		return Hash{}, r.err
	}
	return r.front.Root(), nil
}

// edge folds in the last hash, that of a subtree which the right edge cuts short.
func (r *Rooter) edge() (Hash, error) {
	h, err := r.node()
	if err != nil {
		r.err = err
		return Hash{}, err
	}
	for _, left := range slices.Backward(r.front.nodes) {
		h = NodeHash(left, h)
	}
	return h, nil
}

// AppendMultiproof appends the proof of the leaves at indices, which ascend strictly, in the tree of size leaves.
func AppendMultiproof(dst []Hash, size uint64, indices []uint64, subtree Subtree) ([]Hash, error) {
	p := NewProver(size, subtree, func(h Hash) error {
		dst = append(dst, h)
		return nil
	})
	for _, i := range indices {
		if err := p.Leaf(i); err != nil {
			return dst, err
		}
	}
	err := p.Close()
	return dst, err
}

// RootFromMultiproof returns the root that leaves at indices, strictly ascending, and the proof's nodes lead to. The
// proof has exactly one right length: any other is ErrProofLength. The result means nothing until it is compared with a
// trusted root of a tree of the same size.
func RootFromMultiproof(size uint64, indices []uint64, leaves, nodes []Hash) (Hash, error) {
	if len(indices) != len(leaves) {
		return Hash{}, ErrProofLength
	}
	r := NewRooter(size, func() (h Hash, err error) {
		if len(nodes) == 0 {
			return h, ErrProofLength
		}
		h, nodes = nodes[0], nodes[1:]
		return h, nil
	})
	for i, index := range indices {
		if err := r.Leaf(index, leaves[i]); err != nil {
			return Hash{}, err
		}
	}
	root, err := r.Root()
	if err == nil && len(nodes) > 0 {
		return Hash{}, ErrProofLength
	}
	return root, err
}

// Subtree returns the hash of a complete subtree: it is a Subtree.
func (t *Tree) Subtree(level int, index uint64) (Hash, error) {
	if level < 0 || level >= len(t.levels) || index >= t.Size()>>level {
		return Hash{}, ErrIndex
	}
	return t.levels[level][index], nil
}

// appendSubtree adds a complete subtree of 2^level leaves. The size must be a multiple of that.
func (f *Frontier) appendSubtree(level int, h Hash) {
	for rest := f.size >> level; rest&1 == 1; rest >>= 1 {
		last := len(f.nodes) - 1
		h = NodeHash(f.nodes[last], h)
		f.nodes = f.nodes[:last]
	}
	f.nodes = append(f.nodes, h)
	f.size += 1 << level
}

// FrontierOf makes the frontier of the tree of size leaves out of the hashes of its complete subtrees, largest first:
// one for each bit set in size.
func FrontierOf(size uint64, nodes []Hash) (Frontier, error) {
	if len(nodes) != bits.OnesCount64(size) {
		return Frontier{}, ErrProofLength
	}
	return Frontier{size: size, nodes: append([]Hash(nil), nodes...)}, nil
}

// AppendNodes appends the hashes of the frontier's complete subtrees, largest first.
func (f *Frontier) AppendNodes(dst []Hash) []Hash { return append(dst, f.nodes...) }
