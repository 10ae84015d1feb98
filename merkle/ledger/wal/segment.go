package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// A segment file is preallocated with zeros and holds a header and frames; after the last frame it
// is zero to its end. The header is written together with the first frames, so a file that is
// all zero is a spare. Header, big-endian, headerBytes long:
//
//	"GWLEDGER" | version u16 | header bytes u16 | 0 u32 | number u64 | epoch u64 | boot u64 | segment bytes u64 |
//	previous end u64 | created u64 (unix us) | instance length u8 | instance 63 | zeros | mac 32 | crc32c u32
//
// The MAC is HMAC(k_epoch, "segment" || bytes before it) and binds where the previous segment's data ended.
const (
	headerBytes   = 512
	headerMAC     = headerBytes - 4 - macBytes
	headerCRC     = headerBytes - 4
	segmentMagic  = "GWLEDGER"
	formatVersion = 1
	// maxInstance is the longest instance name in bytes.
	maxInstance = 63
)

// walDir holds the segments below the ledger's folder; no tenant can have its name.
const walDir = "_wal"

const segmentSuffix = ".segment"

type header struct {
	number   uint64
	epoch    uint64
	boot     uint64
	size     uint64 // of this file
	prevEnd  uint64 // end of data in the segment before
	created  uint64
	instance string
}

func (h *header) append(dst []byte, k chainKey) []byte {
	var b [headerBytes]byte
	be := binary.BigEndian
	copy(b[:], segmentMagic)
	be.PutUint16(b[8:], formatVersion)
	be.PutUint16(b[10:], headerBytes)
	for i, v := range [...]uint64{h.number, h.epoch, h.boot, h.size, h.prevEnd, h.created} {
		be.PutUint64(b[16+8*i:], v)
	}
	b[64] = byte(len(h.instance))
	copy(b[65:65+maxInstance], h.instance)
	mac := k.header(b[:headerMAC])
	copy(b[headerMAC:], mac[:])
	be.PutUint32(b[headerCRC:], crc32.Checksum(b[:headerCRC], castagnoli))
	return append(dst, b[:]...)
}

var errHeader = errors.New("segment header is not valid")

// parseHeader checks magic and CRC before the version: a damaged header is not a newer one.
func parseHeader(b []byte) (h header, err error) {
	be := binary.BigEndian
	if len(b) != headerBytes || string(b[:8]) != segmentMagic || be.Uint32(b[headerCRC:]) != crc32.Checksum(b[:headerCRC], castagnoli) {
		return h, errHeader
	}
	if v := be.Uint16(b[8:]); v != formatVersion {
		return h, fmt.Errorf("%w: segment format %d", ErrVersion, v)
	}
	for i, v := range [...]*uint64{&h.number, &h.epoch, &h.boot, &h.size, &h.prevEnd, &h.created} {
		*v = be.Uint64(b[16+8*i:])
	}
	n := int(b[64])
	if n > maxInstance || be.Uint16(b[10:]) != headerBytes {
		return h, errHeader
	}
	h.instance = string(b[65 : 65+n])
	return h, nil
}

func segmentName(dir string, number uint64) string {
	return filepath.Join(dir, walDir, fmt.Sprintf("%012d%s", number, segmentSuffix))
}

// everySegment is the last of segmentNumbers where all are asked for.
const everySegment = math.MaxUint64

// segmentNumbers lists the segments of a ledger in order, from the first that is kept on, and refuses a gap. What stands
// behind last may be made or removed meanwhile.
func segmentNumbers(on disk.FS, dir string, first, last uint64) ([]uint64, error) {
	names, err := on.List(filepath.Join(dir, walDir))
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var out []uint64
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, segmentSuffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || len(digits) != 12 {
			return nil, fmt.Errorf("%w: file name %q", ErrCorrupt, name)
		}
		if n >= first && n <= last { // else it was given up, see Prune
			out = append(out, n)
		}
	}
	slices.Sort(out)
	for i, n := range out {
		if n != first+uint64(i) {
			return nil, &CorruptError{Segment: first + uint64(i), Reason: "segment is missing"}
		}
	}
	return out, nil
}

// removeSegments removes segments that hold nothing, the newest first, durably: whatever ends it, none is missing between
// others.
func removeSegments(on disk.FS, dir string, first, newest uint64) error {
	removed := false
	for n := newest; n >= first && n <= newest; n-- { // behind 0 it would go on from the largest
		switch err := on.Remove(segmentName(dir, n)); {
		case err == nil:
			removed = true
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("remove segment %d: %w", n, err)
		}
	}
	if !removed {
		return nil
	}
	return on.SyncDir(filepath.Join(dir, walDir))
}

// makeSegment preallocates a segment with zeros and makes it durable. A leftover of an earlier try
// is replaced; the caller knows that it holds no data.
func makeSegment(on disk.FS, dir string, number uint64, size int64) (segmentFile, error) {
	name := segmentName(dir, number)
	if err := on.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return segmentFile{}, fmt.Errorf("prepare segment %d: %w", number, err)
	}
	f, err := on.Open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return segmentFile{}, fmt.Errorf("prepare segment %d: %w", number, err)
	}
	filled, err := allocate(f, size)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = on.SyncDir(filepath.Dir(name))
	}
	if err != nil {
		// What is half made must not stay: it would take the room that is missing.
		return segmentFile{}, fmt.Errorf("prepare segment %d: %w", number, errors.Join(err, f.Close(), on.Remove(name)))
	}
	return segmentFile{f, filled}, nil
}

// allocate gives the file its size in zeros: by fallocate where the disk knows it, which writes nothing, or else filled.
func allocate(f disk.File, size int64) (filled bool, err error) {
	if a, ok := f.(interface{ Allocate(size int64) error }); ok {
		// A full disk is not filled to the brim to learn the same.
		if err := a.Allocate(size); err == nil || errors.Is(err, syscall.ENOSPC) {
			return false, err
		}
	}
	return true, fillZero(f, 0, size)
}

func fillZero(f disk.File, from, to int64) error {
	for off := from; off < to; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), to-off)], off); err != nil {
			return err
		}
	}
	return nil
}
