package wal

import (
	"context"
	"fmt"
	"slices"

	"github.com/gatewright/gatewright/merkle"
)

// Bounds of the memory that Leaves keep.
const (
	maxLeavesBytes = 4 << 20   // of records read at once, after which no more are added
	leavesBlock    = 256 << 10 // in one piece
)

// Leaves are records as the tree of a tenant has them, with the memory for them: who reads the log on and on reads it into
// the same Leaves, so that the memory stays warm and leaves nothing to collect. The zero value is ready.
type Leaves struct {
	Data   [][]byte      // without what is beside the leaf
	Hashes []merkle.Hash // of Data

	blocks [][]byte // where Data lies
	used   int      // of blocks
	window []byte
}

// ReadLeaves reads up to n records of one tenant in order, from an index on, as Scan does and with its errors. What was
// in the Leaves before is gone.
func (l *Log) ReadLeaves(ctx context.Context, into *Leaves, tenant string, from uint64, n int) error {
	into.reset()
	places, err := l.places(ctx, tenant, from, min(n, maxScan))
	if err != nil {
		return fmt.Errorf("read leaves: %w", err)
	}
	rd := reader{log: l, w: window{buf: into.window[:0]}}
	defer func() {
		rd.close()
		into.window = rd.w.buf
	}()
	bytes, number := 0, uint32(0)
	for i, at := range places {
		if bytes >= maxLeavesBytes {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := rd.frame(at, from+uint64(i)) //nolint:gosec // at most maxScan
		if err != nil {
			return fmt.Errorf("read leaves: %w", err)
		}
		into.add(f.leaf)
		bytes, number = bytes+len(f.leaf), f.tenant
	}
	into.Hashes = l.hashes.of(into.Hashes, into.Data, number, from)
	return nil
}

func (s *Leaves) reset() {
	clear(s.Data)
	s.Data, s.Hashes = s.Data[:0], s.Hashes[:0]
	for i, b := range s.blocks {
		s.blocks[i] = b[:0]
	}
	s.used = 0
}

// add copies a leaf to where there is room for it; one of another size than most lies by itself, and is not kept.
func (s *Leaves) add(leaf []byte) {
	if len(leaf) > leavesBlock/4 {
		s.Data = append(s.Data, slices.Clone(leaf))
		return
	}
	if s.used == 0 || len(s.blocks[s.used-1])+len(leaf) > leavesBlock {
		if s.used == len(s.blocks) {
			s.blocks = append(s.blocks, make([]byte, 0, leavesBlock))
		}
		s.used++
	}
	b := &s.blocks[s.used-1]
	at := len(*b)
	*b = append(*b, leaf...)
	s.Data = append(s.Data, (*b)[at:len(*b):len(*b)])
}
