package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"time"
)

// readBuffer is also the largest head of an answer.
const readBuffer = 16 << 10

// conn is one connection and everything a request needs, reused from call to
// call so that a warm call allocates nothing.
type conn struct {
	net    net.Conn
	in     *bufio.Reader
	head   *requestHead
	out    []byte // the request as sent
	body   []byte // the JSON-RPC message as sent
	used   time.Time
	probe  probe // looks for bytes or an end without reading
	answer responseHead
	reader bodyReader

	watch watched // what the watcher needs
	job   job     // the exchange that runs
}

func newConn(c net.Conn) *conn {
	return &conn{net: c, in: bufio.NewReaderSize(c, readBuffer), head: newRequestHead(), probe: newProbe(c)}
}

// keepBuffer is the largest request buffer kept with an idle connection.
const keepBuffer = 64 << 10

// send writes head and body in one go and wipes the head, which may hold a
// credential.
func (c *conn) send() error {
	c.out = append(append(c.out[:0], c.head.buf...), c.body...)
	_, err := c.net.Write(c.out)
	clear(c.head.buf)
	clear(c.out[:len(c.head.buf)])
	if cap(c.out) > keepBuffer {
		c.out, c.body = nil, nil
	}
	return err
}

// readHead reads one final answer's head into c.answer. Up to four interim
// answers (1xx) are skipped.
func (c *conn) readHead() *Error {
	for range 5 {
		n, err := c.findHeadEnd()
		if err != nil {
			return err
		}
		head, _ := c.in.Peek(n)
		fail := parseResponseHead(head[:n-4], &c.answer)
		if fail != nil {
			return fail
		}
		if c.answer.session != nil {
			// The buffer is read over next; ids are short and rare.
			c.answer.session = bytes.Clone(c.answer.session)
		}
		_, _ = c.in.Discard(n)
		if c.answer.status >= 200 {
			return nil
		}
		if c.answer.status == 101 {
			return malformed("the upstream switched protocols")
		}
	}
	return malformed("the upstream sent too many interim answers")
}

var headEnd = []byte("\r\n\r\n")

// findHeadEnd returns the length of the head that is buffered, its empty line
// included.
func (c *conn) findHeadEnd() (int, *Error) {
	for seen := 0; ; {
		b, err := c.in.Peek(max(c.in.Buffered(), seen+1))
		if i := bytes.Index(b[max(0, seen-3):], headEnd); i >= 0 {
			return max(0, seen-3) + i + 4, nil
		}
		if errors.Is(err, bufio.ErrBufferFull) || len(b) == readBuffer {
			return 0, fault(TooLarge, "the head of the answer is too large")
		}
		if err != nil {
			return 0, fault(Unreachable, "the connection ended before the answer")
		}
		seen = len(b)
	}
}

// bodyReader reads one answer's body, however it is framed, up to a limit.
type bodyReader struct {
	in   *bufio.Reader
	mode int64 // chunked, untilEnd, or 0 for a known length
	left int64 // bytes of the body, or of the current chunk
	room int64 // bytes still allowed in all
	done bool
	// first is set until the first chunk header was read.
	first bool
	// overhead counts the bytes of chunk lines in excess of what their data excuses.
	overhead int64
}

func (c *conn) bodyReader(limit int) bodyReader {
	r := bodyReader{in: c.in, room: int64(limit), first: true}
	switch n := c.answer.length; {
	case n >= 0:
		r.left, r.done = n, n == 0
	default:
		r.mode = n
	}
	return r
}

// Read fills p with body bytes. It returns io.EOF at the proper end, and an
// *Error for anything else.
func (r *bodyReader) Read(p []byte) (int, error) {
	if r.done {
		return 0, io.EOF
	}
	if r.mode == chunked && r.left == 0 {
		if err := r.nextChunk(); err != nil {
			return 0, err
		}
		if r.done {
			return 0, io.EOF
		}
	}
	if r.mode != untilEnd && r.left > r.room {
		return 0, fault(TooLarge, "the answer is larger than allowed")
	}
	if r.mode != untilEnd && int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.in.Read(p)
	if r.mode == untilEnd && errors.Is(err, io.EOF) {
		r.done = true
		return n, io.EOF
	}
	if err != nil {
		return n, fault(Unreachable, "the connection ended within the answer")
	}
	if r.room -= int64(n); r.room < 0 {
		return n, fault(TooLarge, "the answer is larger than allowed")
	}
	if r.mode != untilEnd {
		r.left -= int64(n)
		r.done = r.mode != chunked && r.left == 0
	}
	return n, nil
}

const (
	maxLine     = 256      // bytes of a chunk's size line or a trailer
	maxOverhead = 16 << 10 // bytes of chunk lines an answer may spend beyond its data
)

// nextChunk reads the line between two chunks. Trailers are read and dropped.
func (r *bodyReader) nextChunk() error {
	if !r.first {
		if line, err := r.line(); err != nil || len(line) != 0 {
			return brokenChunk(err)
		}
	}
	r.first = false
	line, err := r.line()
	if err != nil {
		return err
	}
	overhead := len(line) + 2
	size, _, _ := bytes.Cut(line, []byte(";"))
	n, ok := parseHex(bytes.TrimRight(size, " \t"))
	if !ok {
		return malformed("a chunk has no proper size")
	}
	// What a chunk costs beyond its data is bounded over the whole answer, as net/http bounds it: 16 bytes and twice
	// the data of each chunk are free.
	if r.overhead = max(0, r.overhead+int64(overhead)-16-2*n); r.overhead > maxOverhead {
		return malformed("the chunks hold more extensions than data")
	}
	r.left = n
	if n > 0 {
		return nil
	}
	for range 16 {
		line, err := r.line()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			r.done = true
			return nil
		}
		if _, _, ok := splitHeader(line); !ok {
			return malformed("a trailer is malformed")
		}
	}
	return malformed("the answer has too many trailers")
}

func brokenChunk(err error) error {
	if err != nil {
		return err
	}
	return malformed("a chunk does not end where it said")
}

// line reads up to CRLF and returns what is before it.
func (r *bodyReader) line() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull) || len(line) > maxLine:
		return nil, malformed("a chunk's line is too long")
	case err != nil:
		return nil, fault(Unreachable, "the connection ended within the answer")
	case len(line) < 2 || line[len(line)-2] != '\r':
		return nil, malformed("a chunk's line does not end with CR LF")
	}
	line = line[:len(line)-2]
	if bytes.IndexByte(line, '\r') >= 0 {
		return nil, malformed("a chunk's line holds a CR that ends nothing")
	}
	return line, nil
}

func parseHex(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 8 { // 4 GiB: far over any limit already
		return 0, false
	}
	var n int64
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | int64(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			n = n<<4 | int64(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

// appendBody reads the rest of the body onto dst, growing it only as bytes
// really arrive: a length that lies costs no memory.
func (r *bodyReader) appendBody(dst []byte) ([]byte, error) {
	for !r.done {
		if len(dst) == cap(dst) {
			dst = append(dst, make([]byte, max(2048, min(cap(dst), 1<<20)))...)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// drain reads what is left of a small body so that the connection can be used
// again. It reports whether the end was reached.
func (r *bodyReader) drain(limit int64) bool {
	r.room = min(r.room, limit)
	var scratch [512]byte
	for !r.done {
		if _, err := r.Read(scratch[:]); err != nil {
			return errors.Is(err, io.EOF) && r.mode != untilEnd
		}
	}
	return r.mode != untilEnd
}

// reusable says whether the connection can carry another exchange: the answer
// was read to its end, nothing follows it, and neither side asked to close.
func (c *conn) reusable() bool {
	return c.reader.done && !c.answer.close && c.in.Buffered() == 0
}
