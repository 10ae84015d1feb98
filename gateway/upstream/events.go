package upstream

import (
	"bytes"
	"errors"
	"io"
	"time"
)

// eventReader takes server-sent events apart (WHATWG HTML, 9.2). Only message
// events are handed out, unless all is set.
type eventReader struct {
	body *bodyReader
	buf  []byte // read but not yet used
	next int    // where in buf the unused bytes start
	data []byte // of the event being read
	seen bool   // a data field was seen
	all  bool   // events of every type are wanted

	kind  [16]byte      // the event's type, cut; its length is kinds
	kinds int           // 0 means message
	id    []byte        // of the last event that had one, from which a stream can be resumed
	retry time.Duration // how long to wait before that; 0 when the server did not say
}

// maxEventID bounds what an upstream may have us repeat when a stream is resumed.
const maxEventID = 512

// event returns the data of the next message event. It ends with io.EOF.
func (e *eventReader) event() ([]byte, error) {
	e.data, e.seen, e.kinds = e.data[:0], false, 0
	for {
		line, err := e.line()
		if err != nil {
			return nil, err // an unfinished event is dropped, as the format asks
		}
		if len(line) > 0 {
			e.field(line)
			continue
		}
		if e.seen && (e.all || e.isKind("") || e.isKind("message")) {
			return e.data, nil
		}
		e.data, e.seen, e.kinds = e.data[:0], false, 0
	}
}

func (e *eventReader) isKind(kind string) bool { return string(e.kind[:e.kinds]) == kind }

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
		e.kinds = copy(e.kind[:], value)
	case "id":
		if len(value) <= maxEventID && cleanValue(value) {
			e.id = append(e.id[:0], value...)
		}
	case "retry":
		if n, ok := parseLength(value); ok && n < 1<<32 {
			e.retry = time.Duration(n) * time.Millisecond
		}
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

// readEvents waits for the event that answers the request. What else the
// upstream says before it goes aside.
func (c *Client) readEvents(cn *conn) error {
	j, body := &cn.job, &cn.reader
	if j.r.Peer != nil {
		body.room += int64(c.config.MaxInterimBytes)
	}
	e := eventReader{body: body, data: j.reply.buf[:0]}
	defer func() { j.reply.buf = e.data }()
	for range c.config.MaxEvents {
		data, err := e.event()
		j.mark(&e)
		if errors.Is(err, io.EOF) {
			return broke("the stream ended before the answer")
		}
		if fail, ok := errors.AsType[*Error](err); ok && fail.Kind == Unreachable {
			return broke(fail.Detail)
		}
		if err != nil {
			return err
		}
		if len(data) == 0 {
			continue
		}
		var m message
		if err := c.parse(data, &m); err != nil {
			return err
		}
		err = m.answer(j.id, j.reply)
		if errors.Is(err, errForeign) && m.method != nil {
			err = c.interim(cn, &m, len(data))
		}
		if err == nil && j.reply.done() || err != nil && !errors.Is(err, errForeign) {
			return err
		}
	}
	return &Error{Kind: TooLarge, Detail: "the stream has too many events before the answer", gaveUp: true}
}
