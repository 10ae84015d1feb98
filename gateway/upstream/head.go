package upstream

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
)

// Protocol versions are dates and compare as strings.
const (
	modernVersion = "2026-07-28" // stateless: server/discover, headers mirror the body
	legacyVersion = "2025-11-25" // the newest with initialize and sessions
	// headerVersion is the first that asks for MCP-Protocol-Version after
	// initialize.
	headerVersion = "2025-06-18"
)

// maxHeaders bounds the bytes that Target.Headers and Request.Mirror may add.
const maxHeaders = 16 << 10

// requestHead builds the head of one request into a reused buffer. The first
// bad header is kept and refuses the request.
type requestHead struct {
	buf  []byte
	base int // where added headers start
	err  *Error
	add  func(name, value string) // r.addOwn, bound once
	mirr func(name, value string) // r.addMirror, bound once
}

func newRequestHead() *requestHead {
	r := &requestHead{buf: make([]byte, 0, 1024)}
	r.add, r.mirr = r.addOwn, r.addMirror
	return r
}

// staticHead is the part of the head that is the same for every request to a.
func staticHead(method string, a address) []byte {
	return []byte(method + " " + a.path + " HTTP/1.1\r\nHost: " + a.auth +
		"\r\nUser-Agent: gatewright\r\nAccept: application/json, text/event-stream" +
		"\r\nAccept-Encoding: identity\r\nContent-Type: application/json\r\n")
}

func (r *requestHead) reset(static []byte) {
	r.buf, r.err = append(r.buf[:0], static...), nil
	r.base = len(r.buf)
}

// set appends a header whose name and value this package vouches for.
func (r *requestHead) set(name, value string) {
	r.buf = append(r.buf, name...)
	r.buf = append(r.buf, ": "...)
	r.buf = append(r.buf, value...)
	r.buf = append(r.buf, "\r\n"...)
}

// addOwn appends a header from Target.Headers. It may not touch framing,
// content negotiation or what MCP defines.
func (r *requestHead) addOwn(name, value string) {
	if !isToken(name) || reserved(name) {
		r.refuse("a configured header has a name that may not be set")
		return
	}
	r.addChecked(name, value)
}

// addMirror appends an Mcp-Param-* header that repeats an argument.
func (r *requestHead) addMirror(name, value string) {
	if !isToken(name) || len(name) <= len(paramPrefix) || !strings.EqualFold(name[:len(paramPrefix)], paramPrefix) {
		r.refuse("a mirrored argument has a header name that may not be set")
		return
	}
	r.addChecked(name, headerText(value))
}

const paramPrefix = "Mcp-Param-"

func (r *requestHead) addChecked(name, value string) {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			r.refuse("a header value holds control characters")
			return
		}
	}
	if len(r.buf)-r.base+len(name)+len(value) > maxHeaders {
		r.refuse("the added headers are too large")
		return
	}
	r.set(name, value)
}

func (r *requestHead) refuse(detail string) {
	if r.err == nil {
		r.err = fault(Invalid, detail)
	}
}

// session appends what names a session of the older era.
func (r *requestHead) session(s *session) {
	if s.version >= headerVersion {
		r.set("MCP-Protocol-Version", s.version)
	}
	if s.id != "" {
		r.set("Mcp-Session-Id", s.id)
	}
}

// finish adds the target's own headers and ends the head for a body of n bytes,
// or for none when n is negative. A head that is refused is wiped.
func (r *requestHead) finish(t *Target, n int) *Error {
	if t.Headers != nil {
		t.Headers(r.add)
	}
	if r.err != nil {
		clear(r.buf)
		return r.err
	}
	if n >= 0 {
		r.buf = append(r.buf, "Content-Length: "...)
		r.buf = strconv.AppendInt(r.buf, int64(n), 10)
		r.buf = append(r.buf, "\r\n"...)
	}
	r.buf = append(r.buf, "\r\n"...)
	return nil
}

// isToken reports whether s is a header name (RFC 9110, 5.6.2).
func isToken(s string) bool {
	if s == "" || len(s) > 256 {
		return false
	}
	for i := range len(s) {
		if !tokenByte(s[i]) {
			return false
		}
	}
	return true
}

func tokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// reserved names the headers that only this package sets.
func reserved(name string) bool {
	if len(name) >= 4 && strings.EqualFold(name[:4], "mcp-") {
		return true
	}
	switch strings.ToLower(name) {
	case "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive",
		"proxy-connection", "expect", "accept", "accept-encoding", "content-type", "content-encoding", "last-event-id":
		return true
	}
	return false
}

// headerText writes a value as MCP 2026-07-28 asks: plain when it is visible
// ASCII without outer spaces, else as =?base64?...?=.
func headerText(s string) string {
	plain := s == "" || s[0] != ' ' && s[len(s)-1] != ' ' && !(strings.HasPrefix(s, "=?base64?") && strings.HasSuffix(s, "?="))
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= ' ' && s[i] < 0x7f
	}
	if plain {
		return s
	}
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}

// responseHead is what matters of an answer's head.
type responseHead struct {
	status   int
	length   int64 // of the body; chunked and untilEnd are negative
	media    media
	encoded  bool   // a content coding other than identity
	close    bool   // the connection ends with this answer
	session  []byte // Mcp-Session-Id; aliases the read buffer
	hasBody  bool
	sawMedia bool

	challenges []string // WWW-Authenticate of a 401 or 403
}

const (
	chunked  = -1
	untilEnd = -2
)

type media uint8

const (
	otherMedia media = iota
	jsonMedia
	eventMedia
)

// maxHeaderLines bounds an answer's head beside the size of the read buffer.
const maxHeaderLines = 100

// parseResponseHead reads a whole head, without its last empty line. It is
// strict where leniency is known to desynchronize peers (RFC 9112, 11): no
// folded lines, no bare LF, no space before a colon, one length and not two.
func parseResponseHead(b []byte, h *responseHead) *Error {
	*h = responseHead{length: untilEnd}
	line, rest, more := bytes.Cut(b, crlf)
	old, ok := parseStatusLine(line, &h.status)
	if !ok {
		return malformed("the status line is not HTTP/1.1")
	}
	h.close = old
	for lines := 0; more; lines++ {
		if lines == maxHeaderLines {
			return fault(TooLarge, "the answer has too many headers")
		}
		line, rest, more = bytes.Cut(rest, crlf)
		name, value, ok := splitHeader(line)
		if !ok {
			return malformed("a header line is malformed")
		}
		if err := h.take(name, value, old); err != nil {
			return err
		}
	}
	h.hasBody = h.status >= 200 && h.status != 204 && h.status != 304
	if !h.hasBody {
		h.length = 0
	}
	h.close = h.close || h.length == untilEnd
	return nil
}

var crlf = []byte("\r\n")

func malformed(detail string) *Error { return fault(Malformed, detail) }

// parseStatusLine accepts "HTTP/1.x NNN reason"; old means HTTP/1.0.
func parseStatusLine(line []byte, status *int) (old, ok bool) {
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' {
		return false, false
	}
	if len(line) > 12 && line[12] != ' ' {
		return false, false
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return false, false
		}
		*status = *status*10 + int(c-'0')
	}
	return line[7] == '0', *status >= 100 && cleanValue(line)
}

func splitHeader(line []byte) (name, value []byte, ok bool) {
	i := bytes.IndexByte(line, ':')
	if i <= 0 {
		return nil, nil, false
	}
	for _, c := range line[:i] {
		if !tokenByte(c) {
			return nil, nil, false
		}
	}
	value = bytes.Trim(line[i+1:], " \t")
	return line[:i], value, cleanValue(value)
}

// cleanValue refuses control characters; a bare CR or LF is one.
func cleanValue(value []byte) bool {
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// take interprets one header. old answers (HTTP/1.0) may not be chunked.
func (h *responseHead) take(name, value []byte, old bool) *Error {
	switch {
	case is(name, "content-length"):
		if h.length != untilEnd {
			return malformed("the length of the answer is given twice")
		}
		n, ok := parseLength(value)
		if !ok {
			return malformed("the content-length is not a number")
		}
		h.length = n
	case is(name, "transfer-encoding"):
		if h.length != untilEnd || old || !is(value, "chunked") {
			return malformed("the transfer-encoding is not chunked alone")
		}
		h.length = chunked
	case is(name, "content-type"):
		if h.sawMedia {
			return malformed("the content-type is given twice")
		}
		h.sawMedia, h.media = true, parseMedia(value)
	case is(name, "content-encoding"):
		h.encoded = h.encoded || !is(value, "identity")
	case is(name, "connection"):
		h.close = h.close || mentions(value, "close")
	case is(name, "mcp-session-id"):
		if h.session != nil {
			return malformed("the session id is given twice")
		}
		h.session = value
	case is(name, "www-authenticate"):
		if (h.status == 401 || h.status == 403) && len(h.challenges) < maxChallenges && len(value) <= maxChallenge {
			h.challenges = append(h.challenges, string(value))
		}
	}
	return nil
}

// is compares ASCII without case; want is lower case.
func is(b []byte, want string) bool {
	if len(b) != len(want) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != want[i] {
			return false
		}
	}
	return true
}

func mentions(list []byte, want string) bool {
	for len(list) > 0 {
		var item []byte
		item, list, _ = bytes.Cut(list, []byte(","))
		if is(bytes.Trim(item, " \t"), want) {
			return true
		}
	}
	return false
}

func parseLength(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

func parseMedia(value []byte) media {
	value, _, _ = bytes.Cut(value, []byte(";"))
	value = bytes.Trim(value, " \t")
	switch {
	case is(value, "application/json"):
		return jsonMedia
	case is(value, "text/event-stream"):
		return eventMedia
	}
	return otherMedia
}
