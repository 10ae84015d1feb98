package wal

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// Sealer does the CPU work of one record without a disk or a second goroutine.
type Sealer struct {
	l  *Log
	c  *chain
	it item
}

func NewSealer() *Sealer {
	s := &Sealer{l: &Log{opt: Options{Config: DefaultConfig(), Instance: "gw-1", Now: time.Now}}}
	s.l.w.size, s.l.w.off = s.l.opt.SegmentBytes, headerBytes
	s.c = &chain{name: "acme"}
	return s
}

func (s *Sealer) Seal(r *ledger.Record) error {
	if err := s.l.seal(r, &s.it); err != nil {
		return err
	}
	s.l.w.buf = s.l.w.buf[:0]
	s.l.layFrame(s.c, &s.it)
	return nil
}

// ParseFrame and AppendFrame open the frame's form to tests.
func ParseFrame(b []byte, segment uint64) (leaf, side []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errEnd
	}
	n, err := frameLen(b)
	if err != nil {
		return nil, nil, err
	}
	if n > len(b) {
		return nil, nil, errFrame
	}
	f, err := parseFrame(b[:n], frameSeed(segment))
	return f.leaf, f.side, err
}

func AppendFrame(dst []byte, segment uint64, tenant uint32, seq uint64, leaf, side []byte) []byte {
	f := frame{tenant: tenant, seq: seq, leaf: leaf, side: side, mac: make([]byte, macBytes), flags: flagBatch}
	if len(side) > 0 {
		f.flags |= flagSide
	}
	return appendFrame(dst, frameSeed(segment), &f)
}

// PublishNow publishes what changed, as the timer does.
func (l *Log) PublishNow() error { return l.publishHeads(context.Background()) }

// HeaderBytes is the size of a segment's header.
const HeaderBytes = headerBytes

// SumHeader renews the CRC of a header that a test changed.
func SumHeader(b []byte) {
	binary.BigEndian.PutUint32(b[headerCRC:], crc32.Checksum(b[:headerCRC], castagnoli))
}

// SumFrame renews the CRC of a frame that a test changed.
func SumFrame(b []byte, segment uint64) {
	binary.BigEndian.PutUint32(b[4:], frameSum(frameSeed(segment), b))
}

// NextKey is the key file of epoch 1.
func NextKey(k0 []byte) []byte { return chainKey{key: [32]byte(k0)}.next().text() }

// Tip is the end of the data in the current segment.
func Tip(l *Log) int64 {
	l.state.Lock()
	defer l.state.Unlock()
	return l.w.off
}
