package merkle_test

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gatewright/gatewright/merkle"
)

// pick returns the leaves at indices.
func pick(all []merkle.Hash, indices []uint64) []merkle.Hash {
	out := make([]merkle.Hash, len(indices))
	for i, at := range indices {
		out[i] = all[at]
	}
	return out
}

// members spells a bit mask as indices.
func members(mask uint64) []uint64 {
	var out []uint64
	for ; mask != 0; mask &= mask - 1 {
		out = append(out, uint64(bits.TrailingZeros64(mask)))
	}
	return out
}

// randomSet draws a set out of n: of any density, or a run.
func randomSet(r *rand.Rand, n uint64) []uint64 {
	if r.IntN(3) == 0 {
		from := r.Uint64N(n)
		to := from + 1 + r.Uint64N(n-from)
		out := make([]uint64, 0, to-from)
		for i := from; i < to; i++ {
			out = append(out, i)
		}
		return out
	}
	density := r.Float64()
	var out []uint64
	for i := range n {
		if r.Float64() < density {
			out = append(out, i)
		}
	}
	if len(out) == 0 {
		out = append(out, r.Uint64N(n))
	}
	return out
}

// least counts the largest subtrees of [lo, hi) without a leaf of the set, by the definition in RFC 6962.
func least(lo, hi uint64, set []uint64) int {
	in := 0
	for _, i := range set {
		if lo <= i && i < hi {
			in++
		}
	}
	switch {
	case in == 0:
		return 1
	case hi-lo == 1:
		return 0
	}
	half := uint64(1) << (bits.Len64(hi-lo-1) - 1)
	return least(lo, lo+half, set) + least(lo+half, hi, set)
}

func checkMultiproof(t *testing.T, tree *merkle.Tree, all []merkle.Hash, set []uint64) []merkle.Hash {
	t.Helper()
	nodes, err := merkle.AppendMultiproof(nil, tree.Size(), set, tree.Subtree)
	if err != nil {
		t.Fatalf("prove %v of %d: %v", set, tree.Size(), err)
	}
	root, err := merkle.RootFromMultiproof(tree.Size(), set, pick(all, set), nodes)
	if err != nil || root != tree.Root() {
		t.Fatalf("multiproof of %v in %d leads to %s, %v; the root is %s", set, tree.Size(), root, err, tree.Root())
	}
	if want := least(0, tree.Size(), set); len(nodes) != want {
		t.Fatalf("multiproof of %v in %d has %d hashes, the least is %d", set, tree.Size(), len(nodes), want)
	}
	return nodes
}

func TestMultiproofsOfEverySmallTreeLeadToItsRootWithTheLeastHashes(t *testing.T) {
	all := leaves(64)
	r := rand.New(rand.NewPCG(1, 2))
	for n := uint64(1); n <= 64; n++ {
		tree := merkle.NewTree(all[:n])
		for i := range n {
			checkMultiproof(t, tree, all, []uint64{i})
		}
		for range 200 {
			checkMultiproof(t, tree, all, randomSet(r, n))
		}
		if n > 10 {
			continue
		}
		for mask := uint64(1); mask < 1<<n; mask++ {
			checkMultiproof(t, tree, all, members(mask))
		}
	}
}

func TestAMultiproofOfOneLeafHasTheHashesOfItsInclusionProof(t *testing.T) {
	all := leaves(37)
	tree := merkle.NewTree(all)
	for i := range tree.Size() {
		nodes := checkMultiproof(t, tree, all, []uint64{i})
		path := tree.AppendInclusion(nil, i)
		sortHashes(nodes)
		sortHashes(path)
		if !slices.Equal(nodes, path) {
			t.Fatalf("leaf %d: the multiproof has other hashes than the inclusion proof", i)
		}
	}
}

func sortHashes(h []merkle.Hash) {
	slices.SortFunc(h, func(a, b merkle.Hash) int { return slices.Compare(a[:], b[:]) })
}

// TestAChangedMultiproofLeadsElsewhere changes one thing at a time: a leaf, an index, a hash, their number, their order,
// the size.
func TestAChangedMultiproofLeadsElsewhere(t *testing.T) {
	all := leaves(64)
	r := rand.New(rand.NewPCG(3, 4))
	for n := uint64(2); n <= 64; n++ {
		tree := merkle.NewTree(all[:n])
		for range 40 {
			set := randomSet(r, n)
			nodes := checkMultiproof(t, tree, all, set)
			mutate(t, r, tree, all, set, nodes)
		}
	}
}

func mutate(t *testing.T, r *rand.Rand, tree *merkle.Tree, all []merkle.Hash, set []uint64, nodes []merkle.Hash) {
	t.Helper()
	n, given := tree.Size(), pick(all, set)
	refused := func(what string, size uint64, set []uint64, given, nodes []merkle.Hash) {
		t.Helper()
		if root, err := merkle.RootFromMultiproof(size, set, given, nodes); err == nil && root == tree.Root() {
			t.Fatalf("%s: %v of %d still leads to the root", what, set, n)
		}
	}
	at := r.IntN(len(set))
	other := slices.Clone(given)
	other[at][r.IntN(32)] ^= 1 << r.IntN(8)
	refused("a changed leaf", n, set, other, nodes)
	refused("a leaf too few", n, slices.Delete(slices.Clone(set), at, at+1), slices.Delete(slices.Clone(given), at, at+1), nodes)
	if at > 0 {
		swapped := slices.Clone(given)
		swapped[at], swapped[at-1] = swapped[at-1], swapped[at]
		refused("two leaves exchanged", n, set, swapped, nodes)
	}
	if free := missing(n, set); len(free) > 0 {
		moved := slices.Clone(set)
		moved[at] = free[r.IntN(len(free))]
		slices.Sort(moved)
		refused("a leaf at another index", n, moved, given, nodes)
	}
	refused("a hash too many", n, set, given, append(slices.Clone(nodes), all[0]))
	for i := range nodes {
		changed := slices.Clone(nodes)
		changed[i][r.IntN(32)] ^= 1 << r.IntN(8)
		refused("a changed hash", n, set, given, changed)
		refused("a hash too few", n, set, given, slices.Delete(slices.Clone(nodes), i, i+1))
		if i > 0 {
			swapped := slices.Clone(nodes)
			swapped[i], swapped[i-1] = swapped[i-1], swapped[i]
			refused("two hashes exchanged", n, set, given, swapped)
		}
	}
}

// missing are the indices below n that are not in set.
func missing(n uint64, set []uint64) []uint64 {
	var out []uint64
	for i := range n {
		if !slices.Contains(set, i) {
			out = append(out, i)
		}
	}
	return out
}

func TestIndicesThatAreNoSetInsideTheTreeAreRefused(t *testing.T) {
	all := leaves(8)
	tree := merkle.NewTree(all)
	const top = ^uint64(0)
	for _, c := range []struct {
		name string
		size uint64
		set  []uint64
		want error
	}{
		{"none", 8, nil, merkle.ErrOrder},
		{"none of an empty tree", 0, nil, merkle.ErrOrder},
		{"one of an empty tree", 0, []uint64{0}, merkle.ErrIndex},
		{"twice the same", 8, []uint64{3, 3}, merkle.ErrOrder},
		{"descending", 8, []uint64{4, 3}, merkle.ErrOrder},
		{"the size", 8, []uint64{8}, merkle.ErrIndex},
		{"the largest number", 8, []uint64{1, top}, merkle.ErrIndex},
		{"the largest number in the largest tree", top, []uint64{top}, merkle.ErrIndex},
	} {
		if _, err := merkle.AppendMultiproof(nil, c.size, c.set, tree.Subtree); !errors.Is(err, c.want) {
			t.Errorf("prove %s: %v, want %v", c.name, err, c.want)
		}
		given := make([]merkle.Hash, len(c.set))
		if _, err := merkle.RootFromMultiproof(c.size, c.set, given, make([]merkle.Hash, 200)); !errors.Is(err, c.want) {
			t.Errorf("verify %s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := merkle.RootFromMultiproof(8, []uint64{1, 2}, all[:1], nil); !errors.Is(err, merkle.ErrProofLength) {
		t.Errorf("fewer leaves than indices: %v", err)
	}
}

// TestTheLargestTreesDoNotOverflow: both sides walk the same subtrees in trees that no machine can hold, and a proof
// there is as long as the two gaps beside the leaf demand.
func TestTheLargestTreesDoNotOverflow(t *testing.T) {
	const top = ^uint64(0)
	fake := func(level int, index uint64) (merkle.Hash, error) {
		if level < 0 || level > 63 || index >= (top>>level) {
			t.Fatalf("asked for subtree %d of level %d, which is not whole", index, level)
		}
		return merkle.LeafHash([]byte{byte(level), byte(index), byte(index >> 56)}), nil
	}
	for _, set := range [][]uint64{{0}, {top - 1}, {1 << 63}, {1<<63 - 1}, {0, top - 1}, {5, 1 << 40, 1<<63 + 1, top - 2}} {
		nodes, err := merkle.AppendMultiproof(nil, top, set, fake)
		if err != nil || len(nodes) > 64*len(set) {
			t.Fatalf("%v: %d hashes, %v", set, len(nodes), err)
		}
		given := make([]merkle.Hash, len(set))
		if _, err := merkle.RootFromMultiproof(top, set, given, nodes); err != nil {
			t.Errorf("%v: %v", set, err)
		}
		if _, err := merkle.RootFromMultiproof(top, set, given, nodes[1:]); !errors.Is(err, merkle.ErrProofLength) {
			t.Errorf("%v with a hash too few: %v", set, err)
		}
	}
}

func TestARunOfLeavesIsProvedAsItsLeavesOneByOne(t *testing.T) {
	all := leaves(53)
	tree := merkle.NewTree(all)
	for from := range uint64(53) {
		for to := from; to < 53; to++ {
			var run []merkle.Hash
			p := merkle.NewProver(53, tree.Subtree, func(h merkle.Hash) error { run = append(run, h); return nil })
			if err := errors.Join(p.Leaves(from, to), p.Close()); err != nil {
				t.Fatal(err)
			}
			var set []uint64
			for i := from; i <= to; i++ {
				set = append(set, i)
			}
			if want := checkMultiproof(t, tree, all, set); !slices.Equal(run, want) {
				t.Fatalf("leaves %d to %d: another proof than of the leaves one by one", from, to)
			}
		}
	}
}

func TestAFaultOfEitherSideEndsTheProof(t *testing.T) {
	all := leaves(21)
	tree := merkle.NewTree(all)
	fault := errors.New("no such tile")
	set := []uint64{3, 17}
	nodes := checkMultiproof(t, tree, all, set)
	for after := range nodes {
		n := 0
		_, err := merkle.AppendMultiproof(nil, 21, set, func(level int, index uint64) (merkle.Hash, error) {
			if n++; n > after {
				return merkle.Hash{}, fault
			}
			return tree.Subtree(level, index)
		})
		if !errors.Is(err, fault) {
			t.Errorf("subtree %d fails: %v", after, err)
		}
		left := nodes[:after]
		r := merkle.NewRooter(21, func() (h merkle.Hash, err error) {
			if len(left) == 0 {
				return h, fault
			}
			h, left = left[0], left[1:]
			return h, nil
		})
		for _, i := range set {
			_ = r.Leaf(i, all[i])
		}
		for range 2 { // it stays refused
			if _, err := r.Root(); !errors.Is(err, fault) {
				t.Errorf("hash %d is missing: %v", after, err)
			}
		}
	}
}

func TestSubtreesAreThoseOfTheTree(t *testing.T) {
	all := leaves(13)
	tree := merkle.NewTree(all)
	for level := range 6 {
		for index := range uint64(15) {
			h, err := tree.Subtree(level, index)
			if whole := (index+1)<<level <= 13; whole != (err == nil) {
				t.Fatalf("level %d index %d: %v", level, index, err)
			} else if whole && h != merkle.NewTree(all[index<<level:(index+1)<<level]).Root() {
				t.Fatalf("level %d index %d is another hash", level, index)
			}
		}
	}
	if _, err := tree.Subtree(-1, 0); err == nil {
		t.Error("level -1 was given")
	}
}

func TestAFrontierIsMadeOfItsNodes(t *testing.T) {
	all := leaves(29)
	var f merkle.Frontier
	for i := range all {
		f.Append(all[i])
		same, err := merkle.FrontierOf(f.Size(), f.AppendNodes(nil))
		if err != nil || same.Root() != f.Root() || same.Size() != f.Size() {
			t.Fatalf("size %d: %v", f.Size(), err)
		}
		if _, err := merkle.FrontierOf(f.Size(), append(f.AppendNodes(nil), all[0])); !errors.Is(err, merkle.ErrProofLength) {
			t.Fatalf("a hash too many: %v", err)
		}
	}
}

// FuzzMultiproof: whatever set, leaves and hashes lead to the root of a tree are the tree's own, and nothing panics.
func FuzzMultiproof(f *testing.F) {
	all := leaves(64)
	for n := uint64(1); n <= 64; n += 7 {
		tree := merkle.NewTree(all[:n])
		for _, mask := range []uint64{1, 0x5555555555555555, 1 << (n - 1), ^uint64(0)} {
			set := members(mask & (1<<n - 1))
			if nodes, err := merkle.AppendMultiproof(nil, n, set, tree.Subtree); err == nil {
				f.Add(byte(n), mask, join(pick(all, set)), join(nodes))
			}
		}
	}
	f.Fuzz(func(t *testing.T, size byte, mask uint64, rawLeaves, rawNodes []byte) {
		n := uint64(size)%64 + 1
		tree := merkle.NewTree(all[:n])
		set, given := members(mask), hashes(rawLeaves)
		root, err := merkle.RootFromMultiproof(n, set, given, hashes(rawNodes))
		if err != nil || root != tree.Root() {
			return
		}
		if want := checkMultiproof(t, tree, all, set); !slices.Equal(given, pick(all, set)) || !slices.Equal(hashes(rawNodes), want) {
			t.Fatalf("other leaves or hashes lead to the root of %d leaves with set %v", n, set)
		}
	})
}

func hashes(raw []byte) []merkle.Hash {
	out := make([]merkle.Hash, len(raw)/32)
	for i := range out {
		copy(out[i][:], raw[32*i:])
	}
	return out
}
