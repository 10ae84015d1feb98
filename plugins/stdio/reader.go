package stdio

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

const (
	readBuffer = 64 << 10 // bytes; a pipe of Linux holds as many
	keepLine   = 256 << 10
	// skipFactor times the longest line is how much of a longer one is read past
	// before the server is given up.
	skipFactor = 16
)

var errEndless = errors.New("the server writes a line without an end")

// lines cuts a stream into lines of bounded length.
type lines struct {
	in   *bufio.Reader
	max  int
	long []byte // a line that does not fit in's buffer
}

func newLines(r io.Reader, longest int) *lines {
	return &lines{in: bufio.NewReaderSize(r, readBuffer), max: longest}
}

// next returns the next line without its end; it is good until the call after.
// cut tells that the line was longer than allowed and only its two ends are
// here. What follows the last line end is no line: it is dropped.
func (l *lines) next() (line []byte, cut bool, err error) {
	part, err := l.in.ReadSlice('\n')
	if err == nil && len(part)-1 <= l.max {
		return part[:len(part)-1], false, nil
	}
	if cap(l.long) > keepLine {
		l.long = nil
	}
	l.long = l.long[:0]
	for total := 0; ; {
		l.long = append(l.long, part...)
		if total += len(part); total-1 > l.max {
			l.long = ends(l.long)
		}
		switch {
		case err == nil:
			return l.long[:len(l.long)-1], total-1 > l.max, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, false, fmt.Errorf("read the server's output: %w", err)
		case total/skipFactor > l.max:
			return nil, false, errEndless
		}
		part, err = l.in.ReadSlice('\n')
	}
}

// ends cuts b to its first and last bytes, as many as guessID looks at and the
// line end.
func ends(b []byte) []byte {
	if len(b) <= 2*excerpt+1 {
		return b
	}
	return append(b[:excerpt], b[len(b)-excerpt-1:]...)
}
