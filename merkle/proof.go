package merkle

import (
	"errors"
	"math/bits"
)

// Why a proof is refused. Callers that report a reason branch on these with errors.Is.
var (
	// ErrIndex: the index is not below the tree size (an empty tree has no index at all).
	ErrIndex = errors.New("merkle: index outside the tree")
	// ErrSizes: the sizes of a consistency proof do not fit each other, or the older tree is empty.
	ErrSizes = errors.New("merkle: sizes prove nothing")
	// ErrProofLength: the proof has not exactly as many hashes as index and size demand.
	ErrProofLength = errors.New("merkle: wrong proof length")
	// ErrRoot: the proof leads to another root.
	ErrRoot = errors.New("merkle: proof does not lead to the root")
)

// InclusionLength returns how many hashes the inclusion proof of leaf index in a tree of size leaves has; 0 when index is
// not below size. It is at most 64.
func InclusionLength(index, size uint64) int {
	if index >= size {
		return 0
	}
	inner := bits.Len64(index ^ (size - 1))
	return inner + bits.OnesCount64(index>>inner)
}

// RootFromInclusion returns the root that the proof of a leaf leads to (RFC 9162, section 2.1.3.2). The result means
// nothing until it is compared with a trusted root of a tree of the same size.
func RootFromInclusion(leaf Hash, index, size uint64, proof []Hash) (Hash, error) {
	if index >= size {
		return Hash{}, ErrIndex
	}
	// Below the level `inner` the paths of this leaf and of the last leaf differ, and every level has a sibling; above
	// it the path runs along the right edge, where only left siblings exist.
	inner := bits.Len64(index ^ (size - 1))
	if len(proof) != inner+bits.OnesCount64(index>>inner) {
		return Hash{}, ErrProofLength
	}
	h := leaf
	for i := range proof[:inner] {
		if index>>i&1 == 0 {
			h = NodeHash(h, proof[i])
		} else {
			h = NodeHash(proof[i], h)
		}
	}
	for i := range proof[inner:] {
		h = NodeHash(proof[inner+i], h)
	}
	return h, nil
}

// VerifyInclusion returns nil when leaf stands at index in the tree of size leaves with the given root. The leaf must be
// made by LeafHash from data the caller holds; index, size and root must come from what the caller trusts.
func VerifyInclusion(leaf Hash, index, size uint64, proof []Hash, root Hash) error {
	got, err := RootFromInclusion(leaf, index, size, proof)
	if err != nil {
		return err
	}
	if got != root {
		return ErrRoot
	}
	return nil
}

// VerifyConsistency returns nil when the tree of m leaves with rootM is a prefix of the tree of n leaves with rootN
// (RFC 9162, section 2.1.4.2). An empty older tree proves nothing and is refused.
func VerifyConsistency(m, n uint64, proof []Hash, rootM, rootN Hash) error {
	switch {
	case m == 0 || m > n:
		return ErrSizes
	case m == n:
		if len(proof) != 0 {
			return ErrProofLength
		}
		if rootM != rootN {
			return ErrRoot
		}
		return nil
	}
	shift := bits.TrailingZeros64(m)
	index, last := (m-1)>>shift, (n-1)>>shift
	seed := rootM
	if index != 0 {
		if len(proof) == 0 {
			return ErrProofLength
		}
		seed, proof = proof[0], proof[1:]
	}
	inner := bits.Len64(index ^ last)
	if len(proof) != inner+bits.OnesCount64(index>>inner) {
		return ErrProofLength
	}
	old, now := chain(seed, index, inner, proof)
	if old != rootM || now != rootN {
		return ErrRoot
	}
	return nil
}

// chain folds proof into the roots of the older and of the newer tree. Left siblings belong to both, right ones are new.
func chain(seed Hash, index uint64, inner int, proof []Hash) (old, now Hash) {
	old, now = seed, seed
	for i := range proof {
		if i < inner && index>>i&1 == 0 {
			now = NodeHash(now, proof[i])
			continue
		}
		old = NodeHash(proof[i], old)
		now = NodeHash(proof[i], now)
	}
	return old, now
}
