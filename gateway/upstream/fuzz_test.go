package upstream_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// FuzzAnswer feeds raw bytes as an answer. What is accepted must also be
// accepted by net/http, with the same status and body, however the bytes are
// cut into reads: we may be stricter than others, never different.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\n{\r\n1\r\n}\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}",
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nx",
		"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
	} {
		f.Add([]byte(s))
	}
	const limit = 4096
	f.Fuzz(func(t *testing.T, raw []byte) {
		status, body, err := upstream.ReadAnswer(bytes.NewReader(raw), limit)
		s2, b2, err2 := upstream.ReadAnswer(iotest.OneByteReader(bytes.NewReader(raw)), limit)
		if (err == nil) != (err2 == nil) || err == nil && (status != s2 || !bytes.Equal(body, b2)) {
			t.Fatalf("%q: %d %q %v, byte by byte %d %q %v", raw, status, body, err, s2, b2, err2)
		}
		if err != nil {
			if _, ok := errors.AsType[*upstream.Error](err); !ok {
				t.Fatalf("%q: %v is no *Error", raw, err)
			}
			return
		}
		if len(body) > limit {
			t.Fatalf("%d bytes of body", len(body))
		}
		in := bufio.NewReader(bytes.NewReader(raw))
		for range 6 {
			res, err := http.ReadResponse(in, &http.Request{Method: http.MethodPost})
			if err != nil {
				t.Fatalf("%q: net/http says %v", raw, err)
			}
			if res.StatusCode < 200 {
				continue
			}
			theirs, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != status || !bytes.Equal(theirs, body) {
				t.Fatalf("%q: %d %q, net/http %d %q %v", raw, status, body, res.StatusCode, theirs, err)
			}
			return
		}
	})
}

func TestEventsAreTakenApartHoweverTheyAreCut(t *testing.T) {
	for text, want := range map[string][]string{
		"data: a\n\n":                                 {"a"},
		"data:a\r\n\r\ndata: b\r\rdata:  c\n\n":       {"a", "b", " c"},
		"data: a\ndata: b\ndata\n\n":                  {"a\nb\n"},
		": note\nid: 1\nretry: 2\n\ndata: a\n\n":      {"a"},
		"event: ping\ndata: a\n\ndata: b\n\n":         {"b"},
		"event: message\ndata: a\n\n":                 {"a"},
		"event:\ndata: a\n\n":                         {"a"},
		"data: a\n":                                   nil,
		"data: " + strings.Repeat("x", 9000) + "\n\n": {strings.Repeat("x", 9000)},
		"dataa: a\n\ndat: b\n\n":                      nil,
		"\n\n\n":                                      nil,
	} {
		for name, in := range map[string]io.Reader{"whole": strings.NewReader(text), "bytes": iotest.OneByteReader(strings.NewReader(text)), "halves": iotest.HalfReader(strings.NewReader(text))} {
			got, err := upstream.Events(in, 1<<20)
			if !errors.Is(err, io.EOF) || !slices.Equal(got, want) {
				t.Errorf("%q by %s: %q, %v", text, name, got, err)
			}
		}
	}
}

// FuzzEvents checks that a stream reads the same however it is cut.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("data: a\r\n\r\ndata: b\r\rdata: c\n\n"))
	f.Add([]byte("event: x\ndata: a\n\n: c\n\ndata\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		whole, _ := upstream.Events(bytes.NewReader(raw), 1<<16)
		bits, _ := upstream.Events(iotest.OneByteReader(bytes.NewReader(raw)), 1<<16)
		if !slices.Equal(whole, bits) {
			t.Fatalf("%q: %q and %q", raw, whole, bits)
		}
	})
}
