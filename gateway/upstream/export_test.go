package upstream

import (
	"bufio"
	"io"
	"time"
)

// Permitted is the judgement of the dial guard.
var Permitted = permitted

// ReadAnswer reads one answer from in as a call does, with a body of at most
// limit bytes.
func ReadAnswer(in io.Reader, limit int) (status int, body []byte, err error) {
	c := &conn{in: bufio.NewReaderSize(in, readBuffer)}
	if fail := c.readHead(); fail != nil {
		return 0, nil, fail
	}
	r := c.bodyReader(limit)
	body, err = r.appendBody(nil)
	return c.answer.status, body, err
}

// Events returns the data of all message events in a body.
func Events(in io.Reader, limit int) (out []string, err error) {
	e := eventReader{body: &bodyReader{in: bufio.NewReader(in), mode: untilEnd, room: int64(limit)}}
	for {
		data, err := e.event()
		if err != nil {
			return out, err
		}
		out = append(out, string(data))
	}
}

// Hasten makes the pauses between streams short.
func Hasten(c *Client) { c.firstPause = time.Millisecond }
