package tile_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// BenchmarkAppend appends entries of the usual length in batches of 4,096, with the disk's waiting.
func BenchmarkAppend(b *testing.B) {
	const batch = 4096
	data := make([][]byte, batch)
	hashes := make([]merkle.Hash, batch)
	for i := range data {
		data[i] = bytes.Repeat([]byte{byte(i)}, 600)
		hashes[i] = merkle.LeafHash(data[i])
	}
	for name, on := range map[string]disk.FS{"sync": disk.OS{}, "nosync": quick{}} {
		b.Run(name, func(b *testing.B) {
			tree := open(b, on, filepath.Join(b.TempDir(), "log"))
			for i := 0; i < b.N; i += batch {
				n := min(batch, b.N-i)
				must(b, tree.AppendLeaves(data[:n], hashes[:n]))
			}
		})
	}
}

// BenchmarkTick appends three entries, as a quiet tenant's tick does.
func BenchmarkTick(b *testing.B) {
	tree := open(b, disk.OS{}, filepath.Join(b.TempDir(), "log"))
	for i := range b.N {
		must(b, tree.Append(entries(uint64(3*i), uint64(3*i+3))))
		must(b, tree.Trim(tree.Size()))
	}
}

func BenchmarkInclusion(b *testing.B) {
	tree, _ := grown(b, 70_000)
	for i := range b.N {
		if _, err := tree.Inclusion(uint64(i*7919)%70_000, 70_000); err != nil {
			b.Fatal(err)
		}
	}
}
