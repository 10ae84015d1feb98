package index

import "iter"

// What a tenant and a word take in memory besides their bytes, about.
const (
	holdingBytes = 160
	stringBytes  = 16
)

// Table is the index of a full segment. It is never changed.
type Table struct {
	segment uint64
	last    uint32 // offset of the last record
	rows    uint32
	bytes   int64
	blocks  [][]byte
	tenants map[string]*holding
	order   []*holding
	words   [columns][]string
	spilled [columns]bool
}

// Segment is the segment's number.
func (t *Table) Segment() uint64 { return t.segment }

// Last is the offset of the last record.
func (t *Table) Last() uint32 { return t.last }

// Bytes is about what the table takes in memory.
func (t *Table) Bytes() int64 { return t.bytes }

// Ranges lists the tenants that have records in the segment, in the order of their first.
func (t *Table) Ranges() []Range {
	out := make([]Range, len(t.order))
	for i, h := range t.order {
		out[i] = h.Range
	}
	return out
}

// Part is a tenant's part of the segment.
func (t *Table) Part(tenant string) (Part, bool) {
	h := t.tenants[tenant]
	if h == nil {
		return Part{}, false
	}
	return Part{holding: *h, blocks: t.blocks, words: t.words, spilled: t.spilled}, true
}

// Part is what one tenant has in one segment. It does not change.
type Part struct {
	holding
	blocks  [][]byte
	words   [columns][]string
	spilled [columns]bool
}

// row finds the block, and the place in it, of a record by its number in the part.
func (p *Part) row(n int) ([]byte, int) {
	r := le.Uint32(p.list[4*n:])
	return p.blocks[r/blockRows], int(r % blockRows)
}

// Off is where a record's frame starts. The index must be in the part's range.
func (p *Part) Off(index uint64) uint32 {
	k, i := p.row(int(index - p.First))
	return le.Uint32(k[offAt+4*i:])
}

// Named yields index and offset of the records that may have this id: all that do, and of others about one in 2^32.
func (p *Part) Named(id string) iter.Seq2[uint64, uint32] { return p.marked(idAt, mark(id), p.First) }

// Naming yields index and offset of the records, from an index on, that may name this id, as Named does.
func (p *Part) Naming(id string, from uint64) iter.Seq2[uint64, uint32] {
	return p.marked(ofAt, mark(id), max(from, p.First))
}

func (p *Part) marked(at int, want uint32, from uint64) iter.Seq2[uint64, uint32] {
	return func(yield func(uint64, uint32) bool) {
		for n := from - p.First; n < p.Count; n++ {
			k, i := p.row(int(n))
			if le.Uint32(k[at+4*i:]) == want && !yield(p.First+n, le.Uint32(k[offAt+4*i:])) {
				return
			}
		}
	}
}
