package index

import (
	"crypto/sha256"
	"fmt"
)

// bytesReader is b as a file.
type bytesReader []byte

func (b bytesReader) ReadAt(p []byte, off int64) (int, error) {
	return copy(p, b[min(off, int64(len(b))):]), nil
}

// Decode reads the file of a table. The table's columns lie in b, which must not be changed; besides them it takes a few
// times the bytes of the words at most. It reports ErrDamaged, also of what was not made with the key, or ErrVersion, and answers nothing that could lead a
// search out of the bounds of b.
func Decode(b []byte, key *Key) (*Table, Head, error) {
	h, err := ReadHead(bytesReader(b), int64(len(b)), key)
	if err != nil {
		return nil, Head{}, err
	}
	body := b[headBytes+h.directory+macBytes:]
	if sha256.Sum256(body) != h.body {
		return nil, Head{}, fmt.Errorf("%w: body", ErrDamaged)
	}
	t := &Table{segment: h.Segment, last: h.Last, rows: h.rows, bytes: int64(len(b)), tenants: make(map[string]*holding, len(h.Ranges))}
	if err := t.parseWords(body[:h.words]); err != nil {
		return nil, Head{}, err
	}
	lists, blocks := body[h.words:][:4*int64(h.rows)], body[h.words+4*int64(h.rows):]
	for ; len(blocks) > 0; blocks = blocks[blockBytes:] {
		t.blocks = append(t.blocks, blocks[:blockBytes:blockBytes])
	}
	if err := t.parseLists(lists, h.Ranges); err != nil {
		return nil, Head{}, err
	}
	if err := t.checkCodes(); err != nil {
		return nil, Head{}, err
	}
	return t, h, nil
}

func (t *Table) parseWords(b []byte) error {
	bad := fmt.Errorf("%w: words", ErrDamaged)
	for c := range columns {
		if len(b) < 5 || b[0] > 1 {
			return bad
		}
		spilled, n := b[0] == 1, le.Uint32(b[1:])
		b = b[5:]
		if n == 0 || int64(n-1) > int64(len(b))/3 || n > c.other() { // a word takes three bytes at least
			return bad
		}
		words := make([]string, 1, n)
		for range n - 1 {
			if len(b) < 2 {
				return bad
			}
			size := int(le.Uint16(b))
			if b = b[2:]; size == 0 || size > len(b) {
				return bad
			}
			words, b = append(words, string(b[:size])), b[size:]
			t.bytes += stringBytes + int64(size)
		}
		t.words[c], t.spilled[c] = words, spilled
	}
	if len(b) != 0 {
		return bad
	}
	return nil
}

// parseLists gives each tenant its rows. Each row is one tenant's, in the order of the segment.
func (t *Table) parseLists(b []byte, ranges []Range) error {
	bad := fmt.Errorf("%w: rows", ErrDamaged)
	seen := make([]bool, t.rows)
	for _, r := range ranges {
		if t.tenants[r.Tenant] != nil {
			return bad
		}
		h := &holding{Range: r, list: b[: 4*r.Count : 4*r.Count]}
		b = b[4*r.Count:]
		before := int64(-1)
		for n := range int(r.Count) {
			row := le.Uint32(h.list[4*n:])
			if row >= t.rows || int64(row) <= before || seen[row] {
				return bad
			}
			before, seen[row] = int64(row), true
		}
		t.tenants[r.Tenant] = h
		t.order = append(t.order, h)
		t.bytes += holdingBytes
	}
	return nil
}

// checkCodes sees to it that every code stands for a word, and other only where words were left out.
func (t *Table) checkCodes() error {
	for n, k := range t.blocks {
		rows := min(blockRows, int(t.rows)-n*blockRows)
		for c := range columns {
			if top := c.highest(k, rows, t.spilled[c]); top >= uint32(len(t.words[c])) {
				return fmt.Errorf("%w: codes", ErrDamaged)
			}
		}
	}
	return nil
}

// highest is the highest code of a column in a block's first rows; other does not count where it may stand.
func (c column) highest(block []byte, rows int, other bool) (top uint32) {
	b := block[c.at():]
	if int(c) < wide {
		for i := range rows {
			if code := le.Uint32(b[4*i:]); code > top && !(other && code == otherWide) {
				top = code
			}
		}
		return top
	}
	for i := range rows {
		if code := uint32(le.Uint16(b[2*i:])); code > top && !(other && code == otherNarrow) {
			top = code
		}
	}
	return top
}
