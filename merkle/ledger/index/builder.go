package index

import (
	"math"
	"strings"
)

// Bounds of one column's dictionary: what is beyond them has the code other, and the record is asked. They keep hostile
// words, which may be as long as a record and all different, from taking as much memory as the log.
const (
	maxWord      = 512     // bytes of one word
	maxDictBytes = 4 << 20 // of all words of a column
	maxWide      = 1 << 20 // words of a column with wide codes
	maxNarrow    = otherNarrow
)

// dict gives the words of a column their codes.
type dict struct {
	words   []string // by code; the first is empty
	spilled bool     // some word has the code other
	codes   map[string]uint32
	bytes   int
	most    int
	other   uint32
	recent  [64]recent // in place of most look-ups
}

type recent struct {
	word string
	code uint32
}

func newDict(c column) *dict {
	d := &dict{words: []string{""}, codes: map[string]uint32{}, other: c.other(), most: maxNarrow}
	if int(c) < wide {
		d.most = maxWide
	}
	return d
}

func (d *dict) code(word string) uint32 {
	if word == "" {
		return 0
	}
	n := uint(len(word))
	slot := &d.recent[(uint(word[n-1])+uint(word[n/2])*5+n*9)%uint(len(d.recent))]
	if slot.word == word {
		return slot.code
	}
	return d.look(word, slot)
}

func (d *dict) look(word string, slot *recent) uint32 {
	code, ok := d.codes[word]
	if !ok {
		if code, ok = d.add(word); !ok {
			d.spilled = true
			return d.other
		}
	}
	*slot = recent{d.words[code], code}
	return code
}

// add takes a new word up while there is room. Once a word was refused it always is: the room never grows.
func (d *dict) add(word string) (uint32, bool) {
	if len(word) > maxWord || len(d.words) >= d.most || d.bytes+len(word) > maxDictBytes {
		return 0, false
	}
	word = strings.Clone(word) // it may be a piece of something large
	code := uint32(len(d.words))
	d.words, d.codes[word] = append(d.words, word), code
	d.bytes += len(word)
	return code, true
}

// holding is one tenant's records: its range, and the row of each in the order of its tree, four bytes for one.
type holding struct {
	Range
	list []byte
}

// Builder makes the index of the segment that is being written. One goroutine adds; a Part that was taken while no Add
// ran may be read for ever.
type Builder struct {
	segment  uint64
	rows     uint32
	last     uint32 // offset of the last record
	blocks   [][]byte
	tenants  map[string]*holding
	order    []*holding
	recently *holding
	dicts    [columns]*dict
}

// NewBuilder begins the index of a segment.
func NewBuilder(segment uint64) *Builder {
	b := &Builder{segment: segment, tenants: map[string]*holding{}}
	for c := range columns {
		b.dicts[c] = newDict(c)
	}
	return b
}

// Segment is the segment's number.
func (b *Builder) Segment() uint64 { return b.segment }

// Rows is how many records there are.
func (b *Builder) Rows() int { return int(b.rows) }

// Add takes up the next record of the segment. It reports false, and takes nothing, for one that cannot be next: its
// place is not behind the last, or its index does not follow its tenant's last.
func (b *Builder) Add(r *Row) bool {
	if b.rows > 0 && r.Off <= b.last || b.rows == math.MaxUint32 {
		return false
	}
	t := b.holding(r.Tenant)
	if t.Count > 0 && r.Seq != t.End() {
		return false
	}
	i := int(b.rows % blockRows)
	if i == 0 {
		b.blocks = append(b.blocks, make([]byte, blockBytes))
	}
	k := b.blocks[len(b.blocks)-1]
	le.PutUint32(k[offAt+4*i:], r.Off)
	le.PutUint64(k[timeAt+8*i:], uint64(r.Time))
	le.PutUint32(k[idAt+4*i:], mark(r.ID))
	le.PutUint32(k[ofAt+4*i:], mark(r.Of))
	b.putWords(r, k, i)
	t.widen(r)
	t.list = le.AppendUint32(t.list, b.rows)
	b.rows, b.last = b.rows+1, r.Off
	return true
}

// putWords is a loop over the columns written out: it stands on the path of every commit.
func (b *Builder) putWords(r *Row, k []byte, i int) {
	w, n := k[wideAt+4*i:], k[narrowAt+2*i:]
	const wideNext, narrowNext = 4 * blockRows, 2 * blockRows
	le.PutUint32(w, b.dicts[colAgent].code(r.Agent))
	le.PutUint32(w[wideNext:], b.dicts[colUser].code(r.User))
	le.PutUint32(w[2*wideNext:], b.dicts[colServer].code(r.Server))
	le.PutUint32(w[3*wideNext:], b.dicts[colTool].code(r.Tool))
	le.PutUint16(n, uint16(b.dicts[colOp].code(r.Op)))
	le.PutUint16(n[narrowNext:], uint16(b.dicts[colCode].code(r.Code)))
	le.PutUint16(n[2*narrowNext:], uint16(b.dicts[colOutcome].code(r.Outcome)))
	le.PutUint16(n[3*narrowNext:], uint16(b.dicts[colVerdict].code(r.Verdict)))
	le.PutUint16(n[4*narrowNext:], uint16(b.dicts[colKind].code(r.Kind)))
}

func (b *Builder) holding(tenant string) *holding {
	if t := b.recently; t != nil && t.Tenant == tenant {
		return t
	}
	t := b.tenants[tenant]
	if t == nil {
		t = &holding{Range: Range{Tenant: strings.Clone(tenant)}}
		b.tenants[t.Tenant] = t
		b.order = append(b.order, t)
	}
	b.recently = t
	return t
}

// Part is a tenant's part of the segment as it stands now.
func (b *Builder) Part(tenant string) (Part, bool) {
	t := b.tenants[tenant]
	if t == nil || t.Count == 0 {
		return Part{}, false
	}
	p := Part{holding: *t, blocks: b.blocks}
	for c, d := range b.dicts {
		p.words[c], p.spilled[c] = d.words, d.spilled
	}
	return p, true
}

// Table is the index of the segment, which is full. The builder must not be used again.
func (b *Builder) Table() *Table {
	t := &Table{segment: b.segment, last: b.last, rows: b.rows, blocks: b.blocks, tenants: b.tenants, order: b.order}
	for c, d := range b.dicts {
		t.words[c], t.spilled[c] = d.words, d.spilled
		t.bytes += int64(len(d.words))*stringBytes + int64(d.bytes)
	}
	t.bytes += int64(len(b.blocks)*blockBytes) + 4*int64(b.rows) + int64(len(b.order))*holdingBytes
	return t
}

// Resume goes on with the index of a segment that got more records.
func Resume(t *Table) *Builder {
	b := NewBuilder(t.segment)
	b.rows, b.last, b.tenants, b.order = t.rows, t.last, t.tenants, t.order
	for _, k := range t.blocks {
		b.blocks = append(b.blocks, append([]byte(nil), k...)) // the table's lie in the bytes of a file, and may be read
	}
	for _, h := range t.order {
		h.list = append([]byte(nil), h.list...)
	}
	for c := range columns {
		d := b.dicts[c]
		d.words, d.spilled = t.words[c], t.spilled[c]
		for code, word := range d.words[1:] {
			d.codes[word] = uint32(code) + 1
			d.bytes += len(word)
		}
	}
	return b
}
