package merkle_test

import (
	"testing"

	"github.com/gatewright/gatewright/merkle"
)

// FuzzProof: on any proof the answer is that of an independent implementation.
func FuzzProof(f *testing.F) {
	for n := range 20 {
		all := leaves(n + 1)
		tree := merkle.NewTree(all)
		root := tree.Root()
		i, m := uint64(n/2), uint64(n/3+1)
		old := merkle.NewTree(all[:m]).Root()
		f.Add(i, uint64(n+1), join(tree.AppendInclusion(nil, i)), all[i][:], root[:])
		f.Add(m, uint64(n+1), join(tree.AppendConsistency(nil, m)), old[:], root[:])
	}
	f.Fuzz(func(t *testing.T, a, b uint64, raw, first, second []byte) {
		p := make([]merkle.Hash, len(raw)/32)
		for i := range p {
			copy(p[i][:], raw[32*i:])
		}
		if len(first) == 32 && len(second) == 32 {
			compare(t, a, b, p, merkle.Hash(first), merkle.Hash(second))
		}
	})
}

func join(p []merkle.Hash) []byte {
	var out []byte
	for i := range p {
		out = append(out, p[i][:]...)
	}
	return out
}
