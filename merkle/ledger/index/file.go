package index

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// The file of a table, little-endian:
//
//	"GWLINDEX" | version u16 | rows of a block u16 | columns u16 | 0 u16 | segment u64 | end u64 | stamp 32 | rows u32 | last u32 |
//	tenants u32 | bytes of the directory u32 | bytes of the words u64 | bytes of the file u64 | SHA-256 of the body
//	directory: for each tenant  length u8 | name | first u64 | count u64 | times 2 x u64 | ids 2 x u64 | named ids 2 x u64
//	HMAC-SHA256 of all before it
//	body: for each column  spilled u8 | words u32 | for each word  length u16 | bytes
//	      for each tenant  the row of each of its records, u32
//	      the blocks
//
// End is where the segment's data end, and the stamp tells these data from any other in a segment of that number. Version 1
// had sums that anybody could compute in place of the digest and the MAC; it is of no use.
const (
	fileMagic   = "GWLINDEX"
	fileVersion = 2
	headBytes   = bodyAt + sha256.Size
	bodyAt      = 96
	macBytes    = sha256.Size
	rangeBytes  = 8 * 8
	maxRanges   = 1 << 16 // tenants of one instance
)

// MaxFile bounds a file in bytes: that of a segment of 1 GiB with nothing but the smallest records, and full dictionaries.
const MaxFile = int64(2)<<30 + 1<<28

// Key authenticates the files of one ledger. Who has it can make an index that hides records.
type Key [32]byte

// NewKey derives the key from the seed of the ledger's signing key.
func NewKey(seed []byte) (k Key) {
	h := hmac.New(sha256.New, seed)
	h.Write([]byte("gatewright/ledger-index/v1"))
	h.Sum(k[:0])
	return k
}

func (k *Key) mac(b []byte) []byte {
	h := hmac.New(sha256.New, k[:])
	h.Write(b)
	return h.Sum(nil)
}

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
	body      [sha256.Size]byte
}

// File is the table's file.
func (t *Table) File(id Identity, key *Key) []byte {
	words, dir := t.appendWords(nil), t.appendDirectory(nil)
	b := make([]byte, headBytes, t.fileBytes(len(dir), len(words)))
	t.putHead(b, id, len(dir), len(words))
	b = append(append(b, dir...), make([]byte, macBytes)...)
	body := len(b)
	b = append(b, words...)
	for part := range t.parts() {
		b = append(b, part...)
	}
	sum := sha256.Sum256(b[body:])
	copy(b[bodyAt:], sum[:])
	copy(b[body-macBytes:], key.mac(b[:body-macBytes]))
	return b
}

// fileBytes is the length of the file.
func (t *Table) fileBytes(dir, words int) int {
	return headBytes + dir + macBytes + words + 4*int(t.rows) + len(t.blocks)*blockBytes
}

// putHead writes the fixed part but for the digest of the body.
func (t *Table) putHead(b []byte, id Identity, dir, words int) {
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
	le.PutUint32(b[76:], uint32(dir))
	le.PutUint64(b[80:], uint64(words))
	le.PutUint64(b[88:], uint64(t.fileBytes(dir, words)))
}

// Same reports whether a file says what the table's says. Whose key it was made with is not looked at: it is for those
// who have the records, and no key. It compares the file piece by piece and does not make the other one.
func (t *Table) Same(file []byte, id Identity) bool {
	words, dir := t.appendWords(nil), t.appendDirectory(nil)
	mac := headBytes + len(dir)
	if len(file) != t.fileBytes(len(dir), len(words)) {
		return false
	}
	rest, same := bytes.CutPrefix(file[mac+macBytes:], words)
	for part := range t.parts() {
		if same {
			rest, same = bytes.CutPrefix(rest, part)
		}
	}
	if !same || len(rest) > 0 {
		return false
	}
	head := make([]byte, headBytes, mac)
	t.putHead(head, id, len(dir), len(words))
	sum := sha256.Sum256(file[mac+macBytes:]) // the body, as was seen
	copy(head[bodyAt:], sum[:])
	return bytes.Equal(file[:mac], append(head, dir...))
}

// Claims reads what a file says of itself, its segment, end and last record, without believing it: no MAC is checked.
// It reports ErrDamaged or ErrVersion.
func Claims(file []byte) (Head, error) {
	if len(file) < headBytes {
		return Head{}, fmt.Errorf("%w: %d bytes", ErrDamaged, len(file))
	}
	h, _, err := parseHead(file[:headBytes])
	return h, err
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

// appendWords appends how the body begins.
func (t *Table) appendWords(b []byte) []byte {
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
	return b
}

// parts yields the rest of the body.
func (t *Table) parts() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, h := range t.order {
			if !yield(h.list) {
				return
			}
		}
		for _, k := range t.blocks {
			if !yield(k) {
				return
			}
		}
	}
}

// ReadHead reads the head of an index of that size in bytes. It reports ErrDamaged, also of what was not made with the key,
// or ErrVersion.
func ReadHead(r io.ReaderAt, size int64, key *Key) (Head, error) {
	if size < headBytes+macBytes || size > MaxFile {
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
	whole := headBytes + h.directory + macBytes
	if h.size != size || int64(whole) > size {
		return Head{}, fmt.Errorf("%w: %d bytes", ErrDamaged, size)
	}
	if whole > len(first) {
		first = make([]byte, whole)
		if err := readFull(r, first, 0); err != nil {
			return Head{}, err
		}
	}
	if b := first[:whole-macBytes]; !hmac.Equal(key.mac(b), first[len(b):whole]) {
		return Head{}, fmt.Errorf("%w: head", ErrDamaged)
	}
	return h, h.parseDirectory(first[headBytes:whole-macBytes], tenants)
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

// parseHead reads the fixed part. What it says is not authenticated yet.
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
	copy(h.body[:], b[bodyAt:])
	if h.End < 0 || n > maxRanges || n > h.rows || dir > maxRanges*(1+255+rangeBytes) || words > uint64(MaxFile) || size > uint64(MaxFile) {
		return h, 0, fmt.Errorf("%w: its sizes are impossible", ErrDamaged)
	}
	h.directory, h.words, h.size = int(dir), int64(words), int64(size)
	blocks := (int64(h.rows) + blockRows - 1) / blockRows
	if h.size != headBytes+int64(h.directory)+macBytes+h.words+4*int64(h.rows)+blocks*int64(blockBytes) {
		return h, 0, fmt.Errorf("%w: its sizes do not add up", ErrDamaged)
	}
	return h, int(n), nil
}

// parseDirectory reads the ranges behind the fixed part.
func (h *Head) parseDirectory(rest []byte, tenants int) error {
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
