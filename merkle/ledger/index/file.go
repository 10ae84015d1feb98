package index

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// The file of a table, little-endian:
//
//	"GWLINDEX" | version u16 | rows of a block u16 | columns u16 | 0 u16 | segment u64 | end u64 | stamp 32 | rows u32 | last u32 |
//	tenants u32 | bytes of the directory u32 | bytes of the words u64 | bytes of the file u64 | crc32c of the body u32 | 0 u32
//	directory: for each tenant  length u8 | name | first u64 | count u64 | times 2 x u64 | ids 2 x u64 | named ids 2 x u64
//	crc32c u32 of all before it
//	body: for each column  spilled u8 | words u32 | for each word  length u16 | bytes
//	      for each tenant  the row of each of its records, u32
//	      the blocks
//
// End is where the segment's data end, and the stamp tells these data from any other in a segment of that number.
const (
	fileMagic   = "GWLINDEX"
	fileVersion = 1
	headBytes   = 104
	sumBytes    = 4
	rangeBytes  = 8 * 8
	maxRanges   = 1 << 16              // tenants of one instance
	maxFile     = int64(2)<<30 + 1<<28 // of a segment of 1 GiB with nothing but the smallest records, and full dictionaries
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Identity tells the content of a segment: where it ends, and a digest that differs for any other content.
type Identity struct {
	End   int64
	Stamp [32]byte
}

// Head is what can be read of an index without its body.
type Head struct {
	Segment uint64
	Identity
	Last   uint32 // offset of the last record
	Ranges []Range

	rows      uint32
	directory int
	words     int64
	size      int64
	sum       uint32
}

// File is the table's file.
func (t *Table) File(id Identity) []byte {
	body := t.appendBody(nil)
	dir := t.appendDirectory(nil)
	b := make([]byte, headBytes, headBytes+len(dir)+sumBytes+len(body))
	copy(b, fileMagic)
	le.PutUint16(b[8:], fileVersion)
	le.PutUint16(b[10:], blockRows)
	le.PutUint16(b[12:], uint16(columns))
	le.PutUint64(b[16:], t.segment)
	le.PutUint64(b[24:], uint64(id.End))
	copy(b[32:64], id.Stamp[:])
	le.PutUint32(b[64:], t.rows)
	le.PutUint32(b[68:], t.last)
	le.PutUint32(b[72:], uint32(len(t.order)))
	le.PutUint32(b[76:], uint32(len(dir)))
	le.PutUint64(b[80:], uint64(len(body)-4*int(t.rows)-len(t.blocks)*blockBytes))
	le.PutUint64(b[88:], uint64(cap(b)))
	le.PutUint32(b[96:], crc32.Checksum(body, castagnoli))
	b = append(b, dir...)
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, body...)
}

func (t *Table) appendDirectory(b []byte) []byte {
	for _, h := range t.order {
		b = append(append(b, byte(len(h.Tenant))), h.Tenant...)
		for _, v := range [...]uint64{h.First, h.Count, uint64(h.MinTime), uint64(h.MaxTime), h.MinID, h.MaxID, h.MinOf, h.MaxOf} {
			b = le.AppendUint64(b, v)
		}
	}
	return b
}

func (t *Table) appendBody(b []byte) []byte {
	for c, words := range t.words {
		b = append(b, 0)
		if t.spilled[c] {
			b[len(b)-1] = 1
		}
		b = le.AppendUint32(b, uint32(len(words)))
		for _, w := range words[1:] {
			b = append(le.AppendUint16(b, uint16(len(w))), w...)
		}
	}
	for _, h := range t.order {
		b = append(b, h.list...)
	}
	for _, k := range t.blocks {
		b = append(b, k...)
	}
	return b
}

// ReadHead reads the head of an index of that size in bytes. It reports ErrDamaged or ErrVersion.
func ReadHead(r io.ReaderAt, size int64) (Head, error) {
	if size < headBytes+sumBytes || size > maxFile {
		return Head{}, fmt.Errorf("%w: %d bytes", ErrDamaged, size)
	}
	first := make([]byte, min(size, 4<<10))
	if err := readFull(r, first, 0); err != nil {
		return Head{}, err
	}
	h, tenants, err := parseHead(first[:headBytes])
	if err != nil {
		return Head{}, err
	}
	whole := headBytes + h.directory + sumBytes
	if h.size != size || int64(whole) > size {
		return Head{}, fmt.Errorf("%w: %d bytes", ErrDamaged, size)
	}
	if whole > len(first) {
		first = make([]byte, whole)
		if err := readFull(r, first, 0); err != nil {
			return Head{}, err
		}
	}
	return h, h.parseDirectory(first[:whole], tenants)
}

func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it ends early", ErrDamaged)
	}
	return fmt.Errorf("read index: %w", err)
}

// parseHead reads the fixed part. What it says is not checked by a sum yet.
func parseHead(b []byte) (h Head, tenants int, err error) {
	if string(b[:8]) != fileMagic {
		return h, 0, fmt.Errorf("%w: no index", ErrDamaged)
	}
	if le.Uint16(b[8:]) != fileVersion || le.Uint16(b[10:]) != blockRows || le.Uint16(b[12:]) != uint16(columns) {
		return h, 0, fmt.Errorf("%w: %d", ErrVersion, le.Uint16(b[8:]))
	}
	h.Segment, h.End = le.Uint64(b[16:]), int64(le.Uint64(b[24:]))
	copy(h.Stamp[:], b[32:64])
	h.rows, h.Last = le.Uint32(b[64:]), le.Uint32(b[68:])
	n, dir, words, size := le.Uint32(b[72:]), le.Uint32(b[76:]), le.Uint64(b[80:]), le.Uint64(b[88:])
	h.sum = le.Uint32(b[96:])
	if h.End < 0 || n > maxRanges || n > h.rows || dir > maxRanges*(1+255+rangeBytes) || words > uint64(maxFile) || size > uint64(maxFile) {
		return h, 0, fmt.Errorf("%w: its sizes are impossible", ErrDamaged)
	}
	h.directory, h.words, h.size = int(dir), int64(words), int64(size)
	blocks := (int64(h.rows) + blockRows - 1) / blockRows
	if h.size != headBytes+int64(h.directory)+sumBytes+h.words+4*int64(h.rows)+blocks*int64(blockBytes) {
		return h, 0, fmt.Errorf("%w: its sizes do not add up", ErrDamaged)
	}
	return h, int(n), nil
}

// parseDirectory reads the ranges behind the fixed part; b ends with the sum of all before it.
func (h *Head) parseDirectory(b []byte, tenants int) error {
	rest, sum := b[headBytes:len(b)-sumBytes], le.Uint32(b[len(b)-sumBytes:])
	if crc32.Checksum(b[:len(b)-sumBytes], castagnoli) != sum {
		return fmt.Errorf("%w: head", ErrDamaged)
	}
	rows := uint64(0)
	for range tenants {
		if len(rest) == 0 || len(rest) < 1+int(rest[0])+rangeBytes {
			return fmt.Errorf("%w: directory", ErrDamaged)
		}
		var r Range
		n := 1 + int(rest[0])
		r.Tenant = string(rest[1:n])
		v := [8]uint64{}
		for i := range v {
			v[i] = le.Uint64(rest[n+8*i:])
		}
		r.First, r.Count, r.MinTime, r.MaxTime = v[0], v[1], int64(v[2]), int64(v[3])
		r.MinID, r.MaxID, r.MinOf, r.MaxOf = v[4], v[5], v[6], v[7]
		if !ledger.ValidTenant(r.Tenant) || r.Count == 0 || r.Count > uint64(h.rows)-rows || r.First > 1<<62 {
			return fmt.Errorf("%w: directory", ErrDamaged)
		}
		rows += r.Count
		h.Ranges, rest = append(h.Ranges, r), rest[n+rangeBytes:]
	}
	if len(rest) != 0 || rows != uint64(h.rows) {
		return fmt.Errorf("%w: directory", ErrDamaged)
	}
	return nil
}
