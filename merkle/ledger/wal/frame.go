package wal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// A frame holds one record in a segment. Big-endian:
//
//	length u32 | crc32c u32 | tenant u32 | seq u64 | flags u16 | leaf length u32 | leaf | side | mac 32
//
// Length counts the bytes after the CRC. The CRC covers the length and everything after the CRC, and
// starts from the segment's number, so that a frame of another segment or of a recycled file's
// earlier life is not valid. Seq is the leaf's index in the tenant's tree. The MAC is
// HMAC-SHA256(k_tenant_epoch, mac_prev || leaf hash || seq || tenant), 32 zero bytes before the
// first. Side is covered by the CRC only: it is sealed by itself and may be erased.
const (
	frameHead = 26 // bytes before the leaf
	macBytes  = 32
	lenBytes  = 8 // length and CRC: what length does not count
	frameMin  = frameHead + 2 + macBytes
	frameMax  = frameHead + ledger.MaxLeaf + ledger.MaxSide + macBytes
)

// Flags of a frame. An unknown flag is a newer format.
const (
	flagSide  = 1 << 0 // side bytes are present
	flagBatch = 1 << 1 // first frame of a commit: one write, acknowledged as a whole
	flagsAll  = flagSide | flagBatch
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errEnd   = errors.New("end of data")
	errFrame = errors.New("frame is not valid")
	errFlags = errors.New("frame has a flag of a newer version")
)

type frame struct {
	tenant uint32
	seq    uint64
	flags  uint16
	leaf   []byte
	side   []byte
	mac    []byte
}

// frameSeed starts the CRC of every frame of a segment.
func frameSeed(segment uint64) uint32 {
	b := binary.BigEndian.AppendUint64([]byte("gatewright/segment"), segment)
	return crc32.Checksum(b, castagnoli)
}

func frameSum(seed uint32, b []byte) uint32 {
	return crc32.Update(crc32.Update(seed, castagnoli, b[:4]), castagnoli, b[lenBytes:])
}

func frameSize(leaf, side int) int { return frameHead + leaf + side + macBytes }

// appendFrame appends a frame with its CRC.
func appendFrame(dst []byte, seed uint32, f *frame) []byte {
	start := len(dst)
	n := frameSize(len(f.leaf), len(f.side))
	dst = binary.BigEndian.AppendUint32(dst, uint32(n-lenBytes))
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, f.tenant)
	dst = binary.BigEndian.AppendUint64(dst, f.seq)
	dst = binary.BigEndian.AppendUint16(dst, f.flags)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(f.leaf)))
	dst = append(dst, f.leaf...)
	dst = append(dst, f.side...)
	dst = append(dst, f.mac...)
	binary.BigEndian.PutUint32(dst[start+4:], frameSum(seed, dst[start:]))
	return dst
}

// frameLen reads the size of the frame that starts with these four bytes: errEnd for none, errFrame for an impossible one.
func frameLen(b []byte) (int, error) {
	n := int64(binary.BigEndian.Uint32(b))
	switch {
	case n == 0:
		return 0, errEnd
	case n+lenBytes < frameMin || n+lenBytes > frameMax:
		return 0, errFrame
	}
	return int(n + lenBytes), nil
}

// parseFrame reads a frame that fills b. What it returns points into b.
func parseFrame(b []byte, seed uint32) (f frame, err error) {
	if len(b) < frameMin || binary.BigEndian.Uint32(b[4:]) != frameSum(seed, b) {
		return f, errFrame
	}
	f.tenant = binary.BigEndian.Uint32(b[8:])
	f.seq = binary.BigEndian.Uint64(b[12:])
	f.flags = binary.BigEndian.Uint16(b[20:])
	leaf := int64(binary.BigEndian.Uint32(b[22:]))
	body := b[frameHead : len(b)-macBytes]
	if f.flags&^flagsAll != 0 {
		return f, errFlags
	}
	if leaf < 2 || leaf > ledger.MaxLeaf || leaf > int64(len(body)) {
		return f, errFrame
	}
	f.leaf, f.side, f.mac = body[:leaf], body[leaf:], b[len(b)-macBytes:]
	if (len(f.side) > 0) != (f.flags&flagSide != 0) || len(f.side) > ledger.MaxSide {
		return f, errFrame
	}
	return f, nil
}

// frameAt reads the frame at off in a window.
func frameAt(w *window, off int64, seed uint32) (f frame, size int, err error) {
	if w.size-off < 4 {
		return f, 0, errEnd
	}
	b, err := w.at(off, 4)
	if err != nil {
		return f, 0, err
	}
	n, err := frameLen(b)
	if err != nil {
		return f, 0, err
	}
	if off+int64(n) > w.size {
		return f, 0, errFrame
	}
	if b, err = w.at(off, n); err != nil {
		return f, 0, err
	}
	f, err = parseFrame(b, seed)
	return f, n, err
}
