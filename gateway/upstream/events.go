package upstream

import (
	"bytes"
	"errors"
	"io"
)

// eventReader takes server-sent events apart (WHATWG HTML, 9.2) for one
// purpose: the data of each message event. ids, retries and comments are
// skipped; nothing is resumed.
type eventReader struct {
	body *bodyReader
	buf  []byte // read but not yet used
	next int    // where in buf the unused bytes start
	data []byte // of the event being read
	seen bool   // a data field was seen
	skip bool   // the event is of another type than message
}

// event returns the data of the next message event. It ends with io.EOF.
func (e *eventReader) event() ([]byte, error) {
	e.data, e.seen, e.skip = e.data[:0], false, false
	for {
		line, err := e.line()
		if err != nil {
			return nil, err // an unfinished event is dropped, as the format asks
		}
		if len(line) > 0 {
			e.field(line)
			continue
		}
		if e.seen && !e.skip {
			return e.data, nil
		}
		e.data, e.seen, e.skip = e.data[:0], false, false
	}
}

// field takes one "name: value" line into account.
func (e *eventReader) field(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "data":
		if e.seen {
			e.data = append(e.data, '\n')
		}
		e.data, e.seen = append(e.data, value...), true
	case "event":
		e.skip = len(value) > 0 && string(value) != "message"
	}
}

// line returns the next line without its end, which may be CR LF, LF or CR. A
// CR at the end of what was read waits for one more byte.
func (e *eventReader) line() ([]byte, error) {
	from := e.next
	for {
		i := bytes.IndexAny(e.buf[from:], "\r\n")
		if at := from + i; i >= 0 && (e.buf[at] == '\n' || at+1 < len(e.buf)) {
			line := e.buf[e.next:at]
			e.next = at + 1
			if e.buf[at] == '\r' && e.buf[e.next] == '\n' {
				e.next++
			}
			return line, nil
		} else if i >= 0 {
			from = at
		} else {
			from = len(e.buf)
		}
		moved := e.next
		if err := e.fill(); err != nil {
			return nil, err
		}
		from -= moved
	}
}

// fill drops what was used and reads more.
func (e *eventReader) fill() error {
	e.buf = append(e.buf[:0], e.buf[e.next:]...)
	e.next = 0
	if len(e.buf) == cap(e.buf) {
		e.buf = append(e.buf, make([]byte, max(2048, min(cap(e.buf), 1<<20)))...)[:len(e.buf)]
	}
	n, err := e.body.Read(e.buf[len(e.buf):cap(e.buf)])
	e.buf = e.buf[:len(e.buf)+n]
	if n > 0 && errors.Is(err, io.EOF) {
		return nil // the end shows again on the next read
	}
	return err
}

// readEvents waits for the event that answers id. Notifications and requests of
// the upstream on the same stream are ignored: nobody here could answer them.
func (c *Client) readEvents(body *bodyReader, id uint64, reply *Reply) error {
	e := eventReader{body: body, data: reply.buf[:0]}
	defer func() { reply.buf = e.data }()
	for range c.config.MaxEvents {
		data, err := e.event()
		if errors.Is(err, io.EOF) {
			return fault(Unreachable, "the stream ended before the answer")
		}
		if err != nil {
			return err
		}
		if len(data) == 0 {
			continue
		}
		if err := c.parseAnswer(data, id, reply); !errors.Is(err, errForeign) {
			return err
		}
	}
	return fault(TooLarge, "the stream has too many events before the answer")
}
