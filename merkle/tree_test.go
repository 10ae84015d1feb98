package merkle_test

import (
	"fmt"
	"testing"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/gatewright/gatewright/merkle"
)

// largest is the largest tree of the exhaustive comparison: past two powers of two, with every shape below them.
const largest = 130

func leaves(n int) []merkle.Hash {
	out := make([]merkle.Hash, n)
	for i := range out {
		out[i] = merkle.LeafHash(fmt.Appendf(nil, "leaf %d", i))
	}
	return out
}

// byteSlices shows a proof in the shape of the independent implementation.
func byteSlices(hashes []merkle.Hash) [][]byte {
	out := make([][]byte, len(hashes))
	for i := range hashes {
		out[i] = hashes[i][:]
	}
	return out
}

// oracleRoot computes a root with the independent implementation.
func oracleRoot(t *testing.T, all []merkle.Hash) merkle.Hash {
	t.Helper()
	r := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for i := range all {
		if err := r.Append(all[i][:], nil); err != nil {
			t.Fatal(err)
		}
	}
	root, err := r.GetRootHash(nil)
	if err != nil {
		t.Fatal(err)
	}
	return merkle.Hash(root)
}

func TestTreesAndProofsAgreeWithAnotherImplementation(t *testing.T) {
	all := leaves(largest)
	roots := make([]merkle.Hash, largest+1)
	var f merkle.Frontier
	for n := 1; n <= largest; n++ {
		tree := merkle.NewTree(all[:n])
		roots[n] = tree.Root()
		f.Append(all[n-1])
		if want := oracleRoot(t, all[:n]); roots[n] != want || f.Root() != want {
			t.Fatalf("root of %d leaves: tree %s, frontier %s, want %s", n, roots[n], f.Root(), want)
		}
		checkInclusions(t, tree, all[:n])
		checkConsistencies(t, tree, roots)
	}
}

func checkInclusions(t *testing.T, tree *merkle.Tree, all []merkle.Hash) {
	t.Helper()
	n, root := tree.Size(), tree.Root()
	for i := range n {
		p := tree.AppendInclusion(nil, i)
		if err := merkle.VerifyInclusion(all[i], i, n, p, root); err != nil {
			t.Fatalf("inclusion of %d in %d: %v", i, n, err)
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, i, n, all[i][:], byteSlices(p), root[:]); err != nil {
			t.Fatalf("inclusion of %d in %d: the other implementation says %v", i, n, err)
		}
		if len(p) != merkle.InclusionLength(i, n) {
			t.Fatalf("inclusion of %d in %d has %d hashes, InclusionLength says %d", i, n, len(p), merkle.InclusionLength(i, n))
		}
	}
}

func checkConsistencies(t *testing.T, tree *merkle.Tree, roots []merkle.Hash) {
	t.Helper()
	n, root := tree.Size(), tree.Root()
	for m := uint64(1); m <= n; m++ {
		p := tree.AppendConsistency(nil, m)
		if err := merkle.VerifyConsistency(m, n, p, roots[m], root); err != nil {
			t.Fatalf("consistency of %d with %d: %v", m, n, err)
		}
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, m, n, byteSlices(p), roots[m][:], root[:]); err != nil {
			t.Fatalf("consistency of %d with %d: the other implementation says %v", m, n, err)
		}
	}
}

// compare asks both implementations both questions about the same numbers and hashes.
func compare(t *testing.T, a, b uint64, p []merkle.Hash, h1, h2 merkle.Hash) {
	t.Helper()
	hasher := rfc6962.DefaultHasher
	got := merkle.VerifyInclusion(h1, a, b, p, h2)
	want := proof.VerifyInclusion(hasher, a, b, h1[:], byteSlices(p), h2[:])
	if (got == nil) != (want == nil) {
		t.Fatalf("inclusion of %d in %d: %v, the other implementation says %v", a, b, got, want)
	}
	if a == 0 {
		return // this version of the other implementation still accepts an empty older tree; its newer vectors refuse it
	}
	got = merkle.VerifyConsistency(a, b, p, h1, h2)
	want = proof.VerifyConsistency(hasher, a, b, byteSlices(p), h1[:], h2[:])
	if (got == nil) != (want == nil) {
		t.Fatalf("consistency of %d with %d: %v, the other implementation says %v", a, b, got, want)
	}
}
