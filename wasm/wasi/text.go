package wasi

import (
	"bytes"
	"encoding/binary"
)

// Bounds of one call of write.
const (
	mostPieces = 1024
	mostText   = 4 << 10 // bytes that are looked at; what is beyond them counts as written and is dropped
)

// longestLine is how much of a line is kept, in bytes.
const longestLine = 1 << 10

// partial is a line that has not ended yet.
type partial []byte

// write is fd_write(file, pieces, count, to). What stands before a line break becomes a line of the filter's log: standard
// output as level 1, standard error as level 2.
func write(g *guest, a []uint64) errno {
	file, count := low(a[0]), low(a[2])
	switch {
	case file != 1 && file != 2:
		return badf
	case count > mostPieces:
		return inval
	}
	g.host.Charge(int64(count)*10 + mostText/8)
	pieces, to := g.bytes(low(a[1]), count*8), g.bytes(low(a[3]), 4)
	total, left := uint64(0), mostText
	for ; len(pieces) > 0; pieces = pieces[8:] {
		text := g.bytes(uint64(binary.LittleEndian.Uint32(pieces)), uint64(binary.LittleEndian.Uint32(pieces[4:])))
		total += uint64(len(text))
		text = text[:min(len(text), left)]
		left -= len(text)
		g.take(int(file-1), text)
	}
	if total > 1<<32-1 {
		return inval
	}
	binary.LittleEndian.PutUint32(to, uint32(total))
	return success
}

// take adds text to the line of a file, and logs the lines that end.
func (g *guest) take(file int, text []byte) {
	for {
		line, rest, ended := bytes.Cut(text, []byte("\n"))
		kept := g.lines[file]
		g.lines[file] = append(kept, line[:min(len(line), longestLine-len(kept))]...)
		if !ended {
			return
		}
		g.flush(file)
		text = rest
	}
}

// flush logs the line of a file as far as it is there.
func (g *guest) flush(file int) {
	if line := g.lines[file]; len(line) > 0 {
		g.host.Log(int32(file)+1, line)
		g.lines[file] = line[:0]
	}
}
