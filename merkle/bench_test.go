package merkle_test

import (
	"fmt"
	"testing"

	"github.com/gatewright/gatewright/merkle"
)

func BenchmarkVerifyInclusion(b *testing.B) {
	for _, n := range []int{8, 64, 1024, 65536} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			all := leaves(n)
			tree := merkle.NewTree(all)
			i := uint64(n / 3)
			p, root := tree.AppendInclusion(nil, i), tree.Root()
			b.ReportAllocs()
			for b.Loop() {
				if err := merkle.VerifyInclusion(all[i], i, uint64(n), p, root); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerifyConsistency(b *testing.B) {
	all := leaves(65536)
	tree, old := merkle.NewTree(all), merkle.NewTree(all[:40_001])
	p, rootM, rootN := tree.AppendConsistency(nil, 40_001), old.Root(), tree.Root()
	b.ReportAllocs()
	for b.Loop() {
		if err := merkle.VerifyConsistency(40_001, 65536, p, rootM, rootN); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewTree64(b *testing.B) {
	all := leaves(64)
	b.ReportAllocs()
	for b.Loop() {
		merkle.NewTree(all)
	}
}

func BenchmarkLeafHash(b *testing.B) {
	for _, n := range []int{64, 400, 4096} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			data := make([]byte, n)
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				merkle.LeafHash(data)
			}
		})
	}
}

func BenchmarkNodeHash(b *testing.B) {
	l, r := merkle.LeafHash(nil), merkle.EmptyRoot()
	b.ReportAllocs()
	for b.Loop() {
		merkle.NodeHash(l, r)
	}
}

func BenchmarkFrontierAppend(b *testing.B) {
	leaf := merkle.LeafHash(nil)
	var f merkle.Frontier
	b.ReportAllocs()
	for b.Loop() {
		f.Append(leaf)
	}
}
