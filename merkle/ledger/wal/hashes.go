package wal

import (
	"sync"

	"github.com/gatewright/gatewright/merkle"
)

// maxHashes is how many leaf hashes are kept, of 48 bytes each: what some seconds bring. It is a power of two.
const maxHashes = 1 << 16

// hashes keeps the leaf hashes of the last records, so that who reads them soon, to make tiles of them, need not hash them
// again. Each has one place, which it may lose to another; what is not there is hashed.
type hashes struct {
	mu   sync.Mutex // guards what follows
	kept []keptHash // nil before the first
}

type keptHash struct {
	seq    uint64
	tenant uint32 // its number
	known  bool
	leaf   merkle.Hash
}

// placeOf spreads tenants over the table; a tenant's own records stand side by side.
func placeOf(tenant uint32, seq uint64) uint64 {
	return (seq + uint64(tenant)*0x9e3779b97f4a7c15>>40) & (maxHashes - 1)
}

// keep takes over the hashes of a batch that is on the disk.
func (h *hashes) keep(batch []*item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.kept == nil {
		h.kept = make([]keptHash, maxHashes)
	}
	for _, it := range batch {
		if it.fate == nil {
			h.kept[placeOf(it.tenant, it.mark.Index)] = keptHash{seq: it.mark.Index, tenant: it.tenant, known: true, leaf: it.leaf}
		}
	}
}

// of gives the hashes of a tenant's leaves, the first of which has the number from.
func (h *hashes) of(out []merkle.Hash, leaves [][]byte, tenant uint32, from uint64) []merkle.Hash {
	start := len(out)
	h.mu.Lock()
	for i := range leaves {
		var leaf merkle.Hash // zero: not kept
		if h.kept != nil {
			seq := from + uint64(i) //nolint:gosec // at most maxScan
			if k := &h.kept[placeOf(tenant, seq)]; k.known && k.tenant == tenant && k.seq == seq {
				leaf = k.leaf
			}
		}
		out = append(out, leaf)
	}
	h.mu.Unlock()
	for i, leaf := range leaves {
		if out[start+i].IsZero() {
			out[start+i] = merkle.LeafHash(leaf)
		}
	}
	return out
}
