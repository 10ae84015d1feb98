package intent

import (
	"math/bits"
	"strconv"

	"github.com/gatewright/gatewright/merkle"
)

// Sibling is one hash of an inclusion proof whose reader does not know index and size: it says on which
// side of the path it stands.
type Sibling struct {
	Left bool // the sibling stands left of the path
	Hash merkle.Hash
}

// LeafHash returns the RFC 6962 leaf hash of step i, zero for a step that is not there.
func (h *Held) LeafHash(i int) merkle.Hash {
	if i < 0 || i >= len(h.steps) {
		return merkle.Hash{}
	}
	return h.tree.Leaf(uint64(i))
}

// Siblings returns the inclusion proof of step i from the leaf upwards, empty for the only step of a
// plan and nil for a step that is not there.
func (h *Held) Siblings(i int) []Sibling {
	if i < 0 || i >= len(h.steps) {
		return nil
	}
	var buf [maxProof]merkle.Hash
	proof := h.AppendProof(buf[:0], i)
	out := make([]Sibling, len(proof))
	for k := range proof {
		out[k] = Sibling{Left: standsLeft(i, len(h.steps), k), Hash: proof[k]}
	}
	return out
}

// standsLeft tells the side of the k-th sibling of leaf i of n: above the level where the paths of the
// leaf and of the last leaf meet, all siblings are left ones.
func standsLeft(i, n, k int) bool {
	index := uint64(i) //nolint:gosec // callers have checked 0 <= i < n
	inner := bits.Len64(index ^ uint64(n-1))
	return k >= inner || index>>k&1 == 1
}

// VerifyPath returns nil when proof is exactly the inclusion proof of step i: its hashes in their order,
// each on its side, and none more.
func (h *Held) VerifyPath(i int, proof []Sibling) error {
	if i < 0 || i >= len(h.steps) {
		return errIndex(i)
	}
	var buf [maxProof]merkle.Hash
	want := h.AppendProof(buf[:0], i)
	if len(proof) != len(want) {
		return refuse(ProofLength, "proof has "+strconv.Itoa(len(proof))+" hashes where the plan's size demands "+strconv.Itoa(len(want)), "")
	}
	for k := range want {
		if proof[k].Hash != want[k] || proof[k].Left != standsLeft(i, len(h.steps), k) {
			return refuse(ProofMismatch, "proof does not lead to the token's plan", "")
		}
	}
	return nil
}
