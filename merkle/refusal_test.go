package merkle_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatewright/gatewright/merkle"
)

func TestAProofOfAnotherLengthIsRefused(t *testing.T) {
	for n := 1; n <= 40; n++ {
		all := leaves(n)
		tree := merkle.NewTree(all)
		for i := range n {
			index, size := uint64(i), uint64(n)
			good := tree.AppendInclusion(nil, index)
			bad := map[string][]merkle.Hash{
				"one hash more at the end":   append(slices.Clone(good), all[0]),
				"the root at the end":        append(slices.Clone(good), tree.Root()),
				"one hash more at the start": append([]merkle.Hash{all[i]}, good...),
				"twice":                      append(slices.Clone(good), append(good, all[0])...),
				"65 hashes":                  make([]merkle.Hash, 65),
			}
			if len(good) > 0 {
				bad["without its end"] = good[:len(good)-1]
				bad["without its start"] = good[1:]
				bad["empty"] = nil
			}
			for name, p := range bad {
				if err := merkle.VerifyInclusion(all[i], index, size, p, tree.Root()); !errors.Is(err, merkle.ErrProofLength) {
					t.Fatalf("leaf %d of %d, proof %s: %v", i, n, name, err)
				}
			}
		}
	}
}

func TestAnIndexOutsideTheTreeIsRefused(t *testing.T) {
	tree := merkle.NewTree(leaves(5))
	for _, c := range []struct{ index, size uint64 }{
		{0, 0}, {5, 5}, {6, 5}, {math.MaxUint64, 5}, {math.MaxUint64, math.MaxUint64}, {1, 1}, {1 << 32, 5}, {1, 0},
	} {
		if err := merkle.VerifyInclusion(tree.Leaf(0), c.index, c.size, nil, tree.Root()); !errors.Is(err, merkle.ErrIndex) {
			t.Errorf("index %d of %d: %v", c.index, c.size, err)
		}
		if n := merkle.InclusionLength(c.index, c.size); n != 0 {
			t.Errorf("index %d of %d: length %d", c.index, c.size, n)
		}
	}
	if p := tree.AppendInclusion(nil, 5); len(p) != 0 {
		t.Errorf("the tree proves a leaf it does not have: %v", p)
	}
	if p := new(merkle.Tree).AppendInclusion(nil, 0); len(p) != 0 {
		t.Errorf("the empty tree proves a leaf: %v", p)
	}
	// The largest size that can be said still has a length, and no shift runs over.
	if n := merkle.InclusionLength(math.MaxUint64-1, math.MaxUint64); n != 63 {
		t.Errorf("the last leaf of 2^64-1 has %d hashes, want 63", n)
	}
	if n := merkle.InclusionLength(0, math.MaxUint64); n != 64 {
		t.Errorf("the first leaf of 2^64-1 has %d hashes, want 64", n)
	}
}

func TestAProofHoldsForItsOwnIndexSizeLeafAndRootOnly(t *testing.T) {
	const n = 11
	all := leaves(n)
	tree := merkle.NewTree(all)
	for i := range uint64(n) {
		p := tree.AppendInclusion(nil, i)
		for other := range uint64(3 * n) {
			for size := range uint64(3 * n) {
				err := merkle.VerifyInclusion(all[i], other, size, p, tree.Root())
				// A lone right edge looks alike in trees whose paths have the same turns; the size comes from a
				// signature, so only the true size must tell indices apart.
				if size == n && (err == nil) != (other == i) {
					t.Errorf("proof of %d accepted at %d: %v", i, other, err)
				}
			}
			if other < n && other != i {
				if err := merkle.VerifyInclusion(all[other], i, n, p, tree.Root()); !errors.Is(err, merkle.ErrRoot) {
					t.Errorf("leaf %d accepted at %d: %v", other, i, err)
				}
			}
		}
		if err := merkle.VerifyInclusion(all[i], i, n, p, merkle.Hash{}); !errors.Is(err, merkle.ErrRoot) {
			t.Errorf("the zero root is accepted: %v", err)
		}
	}
}

func TestANodeCannotPassAsALeaf(t *testing.T) {
	all := leaves(4)
	tree := merkle.NewTree(all)
	left, right := merkle.NodeHash(all[0], all[1]), merkle.NodeHash(all[2], all[3])
	// In a tree of two leaves the inner nodes would be leaves; only a lying size makes the proof fit, and no data has such a
	// leaf hash, since the prefix differs.
	if merkle.VerifyInclusion(left, 0, 4, []merkle.Hash{right}, tree.Root()) == nil {
		t.Error("an inner node passes as a leaf of the true tree")
	}
	data := append(append([]byte(nil), all[0][:]...), all[1][:]...)
	if merkle.LeafHash(data) == left || merkle.LeafHash(append([]byte{1}, data...)) == left {
		t.Error("a leaf over two hashes equals their node")
	}
	if merkle.VerifyInclusion(merkle.LeafHash(data), 0, 2, []merkle.Hash{right}, tree.Root()) == nil {
		t.Error("a second preimage of the root is accepted")
	}
	if merkle.NewTree(all[:1]).Root() != all[0] || merkle.NodeHash(left, right) == merkle.NodeHash(right, left) {
		t.Error("shape of the tree is wrong")
	}
}

func TestConsistencyIsRefusedUnlessEverythingFits(t *testing.T) {
	const most = 20
	all := leaves(most)
	for n := uint64(1); n <= most; n++ {
		now := merkle.NewTree(all[:n])
		for m := uint64(1); m <= n; m++ {
			old := merkle.NewTree(all[:m])
			p := now.AppendConsistency(nil, m)
			if err := merkle.VerifyConsistency(m, n, append(slices.Clone(p), all[0]), old.Root(), now.Root()); !errors.Is(err, merkle.ErrProofLength) {
				t.Fatalf("%d in %d, one hash more: %v", m, n, err)
			}
			if len(p) > 0 {
				if err := merkle.VerifyConsistency(m, n, p[1:], old.Root(), now.Root()); !errors.Is(err, merkle.ErrProofLength) {
					t.Fatalf("%d in %d, one hash less: %v", m, n, err)
				}
				if err := merkle.VerifyConsistency(m, n, nil, old.Root(), now.Root()); !errors.Is(err, merkle.ErrProofLength) {
					t.Fatalf("%d in %d, no proof: %v", m, n, err)
				}
			}
			for _, wrong := range [][2]merkle.Hash{{all[0], now.Root()}, {old.Root(), {}}, {{}, now.Root()}} {
				if m > 1 && !errors.Is(merkle.VerifyConsistency(m, n, p, wrong[0], wrong[1]), merkle.ErrRoot) {
					t.Fatalf("%d in %d: a wrong root is accepted", m, n)
				}
			}
			forked := merkle.NewTree(append([]merkle.Hash{merkle.LeafHash([]byte("changed"))}, all[1:n]...))
			if merkle.VerifyConsistency(m, n, forked.AppendConsistency(nil, m), old.Root(), forked.Root()) == nil {
				t.Fatalf("%d in %d: a changed history is accepted", m, n)
			}
		}
		for _, m := range []uint64{0, n + 1, math.MaxUint64} {
			if err := merkle.VerifyConsistency(m, n, nil, merkle.EmptyRoot(), now.Root()); !errors.Is(err, merkle.ErrSizes) {
				t.Fatalf("%d in %d: %v", m, n, err)
			}
			if p := now.AppendConsistency(nil, m); len(p) != 0 {
				t.Fatalf("%d in %d: the tree proves it", m, n)
			}
		}
	}
}

func TestAnyChangedBitOfAProofIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(2, 200).Draw(t, "size")
		i := rapid.Uint64Range(0, n-1).Draw(t, "index")
		all := leaves(int(n))
		tree := merkle.NewTree(all)
		p := tree.AppendInclusion(nil, i)
		at, bit := rapid.IntRange(0, len(p)*256-1).Draw(t, "bit"), 0
		at, bit = at/256, at%256
		p[at][bit/8] ^= 1 << (bit % 8)
		if err := merkle.VerifyInclusion(all[i], i, n, p, tree.Root()); !errors.Is(err, merkle.ErrRoot) {
			t.Fatalf("changed inclusion proof: %v", err)
		}
		m := rapid.Uint64Range(1, n-1).Draw(t, "older size")
		p = tree.AppendConsistency(nil, m)
		at = rapid.IntRange(0, len(p)*256-1).Draw(t, "bit of consistency")
		at, bit = at/256, at%256
		p[at][bit/8] ^= 1 << (bit % 8)
		if err := merkle.VerifyConsistency(m, n, p, merkle.NewTree(all[:m]).Root(), tree.Root()); !errors.Is(err, merkle.ErrRoot) {
			t.Fatalf("changed consistency proof: %v", err)
		}
	})
}

func TestHashesHaveOneSpelling(t *testing.T) {
	h := merkle.LeafHash([]byte("x"))
	text := h.String()
	if back, err := merkle.ParseHash(text); err != nil || back != h || len(text) != 64 || strings.ToLower(text) != text {
		t.Errorf("%s: %v", text, err)
	}
	j, err := json.Marshal(map[merkle.Hash]merkle.Hash{h: h})
	if want := `{"` + text + `":"` + text + `"}`; err != nil || string(j) != want {
		t.Errorf("%s, %v", j, err)
	}
	for _, bad := range []string{
		"", text[1:], text + "0", text[:63] + "g", text[:63] + "A", "0x" + text[2:], " " + text[1:], text[:62] + "\x00\x00", strings.Repeat("é", 32),
	} {
		kept := h
		if err := kept.UnmarshalText([]byte(bad)); !errors.Is(err, merkle.ErrHashText) || kept != h {
			t.Errorf("%q: %v, %s", bad, err, kept)
		}
	}
	if !(merkle.Hash{}).IsZero() || h.IsZero() {
		t.Error("IsZero is wrong")
	}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if merkle.EmptyRoot().String() != empty || new(merkle.Tree).Root() != merkle.EmptyRoot() || new(merkle.Frontier).Root() != merkle.EmptyRoot() {
		t.Error("the empty tree has another root")
	}
}

func TestAFrontierSurvivesItsBinaryFormAndRefusesOthers(t *testing.T) {
	var f merkle.Frontier
	for i, leaf := range append([]merkle.Hash{{}}, leaves(70)...) {
		if i > 0 {
			f.Append(leaf)
		}
		b, err := f.AppendBinary([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		back, err := merkle.ParseFrontier(b[1:])
		if err != nil || back.Size() != uint64(i) || back.Root() != f.Root() {
			t.Fatalf("%d leaves: size %d, %v", i, back.Size(), err)
		}
		again, _ := back.AppendBinary(nil)
		if !bytes.Equal(again, b[1:]) {
			t.Fatalf("%d leaves: the binary form has changed", i)
		}
		for _, bad := range [][]byte{nil, b, b[1 : len(b)-1], append(bytes.Clone(b[1:]), 0), b[1:9], append([]byte{2}, b[2:]...), append([]byte{0}, b[2:]...)} {
			if _, err := merkle.ParseFrontier(bad); !errors.Is(err, merkle.ErrFrontier) {
				t.Fatalf("%x: %v", bad, err)
			}
		}
	}
	copied := f.Clone()
	before := f.Root()
	copied.Append(merkle.LeafHash(nil))
	copied.Append(merkle.LeafHash(nil))
	if f.Root() != before || f.Size() != 70 {
		t.Error("appending to a clone changes the original")
	}
}

func TestATreeKeepsItsLeavesApartFromTheCallers(t *testing.T) {
	all := leaves(9)
	tree := merkle.NewTree(all)
	root := tree.Root()
	all[3] = merkle.Hash{}
	if tree.Leaf(3) == all[3] || tree.Root() != root {
		t.Error("the tree changes with the caller's slice")
	}
	p := tree.AppendInclusion(nil, 3)
	p[0] = merkle.Hash{}
	if got := tree.AppendInclusion(nil, 3); got[0] == p[0] {
		t.Error("a proof shares memory with the tree")
	}
}

func TestVerifyingAllocatesNothing(t *testing.T) {
	all := leaves(64)
	tree, old := merkle.NewTree(all), merkle.NewTree(all[:37])
	in, cons := tree.AppendInclusion(nil, 20), tree.AppendConsistency(nil, 37)
	root, oldRoot, data := tree.Root(), old.Root(), make([]byte, 5000)
	if n := testing.AllocsPerRun(100, func() {
		if merkle.VerifyInclusion(all[20], 20, 64, in, root) != nil || merkle.VerifyConsistency(37, 64, cons, oldRoot, root) != nil {
			t.Fatal("refused")
		}
		merkle.LeafHash(data)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
