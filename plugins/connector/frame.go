package connector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// frameKind is the second part of a frame.
type frameKind uint8

const (
	kindHello frameKind = iota + 1
	kindCall
	kindReply
	kindFailure
	kindCancel
	kindPing
	kindPong
	kindDrain
	kindNote
	kindAsk
	kindAnswer
	kindUnask
)

const (
	lengthSize = 4
	headSize   = lengthSize + 1 + 8 // length, kind, id
	maxHeaders = 256                // headers of one call; HTTP servers take 100 to 256
)

var errCut = errors.New("a frame is cut short")

// frame is one frame as read. Its body aliases the message.
type frame struct {
	kind frameKind
	id   uint64
	body []byte
}

// nextFrame splits the first frame off a message. Whoever gets it judges the kind and the body.
func nextFrame(b []byte) (f frame, rest []byte, err error) {
	if len(b) < headSize {
		return f, nil, errCut
	}
	n := uint64(binary.LittleEndian.Uint32(b))
	if n < headSize-lengthSize || n > uint64(len(b)-lengthSize) {
		return f, nil, errCut
	}
	end := lengthSize + int(n)
	return frame{frameKind(b[4]), binary.LittleEndian.Uint64(b[5:]), b[headSize:end]}, b[end:], nil
}

// appendHead begins a frame whose body will have n bytes.
func appendHead(dst []byte, kind frameKind, id uint64, n int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n+headSize-lengthSize))
	return binary.LittleEndian.AppendUint64(append(dst, byte(kind)), id)
}

func appendField[T string | []byte](dst []byte, v T) []byte {
	return append(binary.LittleEndian.AppendUint32(dst, uint32(len(v))), v...)
}

// fields reads a body from its start. After the first field that is not there bad stays set.
type fields struct {
	b   []byte
	bad bool
}

// take returns the next n bytes.
func (f *fields) take(n uint64) []byte {
	if n > uint64(len(f.b)) {
		f.bad, f.b = true, nil
		return nil
	}
	v := f.b[:n:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) u32() uint32 {
	if v := f.take(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

// bytes returns the next field; an empty one is nil.
func (f *fields) bytes() []byte {
	if n := f.u32(); n > 0 {
		return f.take(uint64(n))
	}
	return nil
}

// done returns an error unless the body was read exactly to its end.
func (f *fields) done(what string) error {
	if f.bad || len(f.b) != 0 {
		return fmt.Errorf("the body of a %s frame is malformed", what)
	}
	return nil
}

// hello is what each side says first.
type hello struct {
	protocol uint32
	max      uint32 // bytes of a frame and of a message
	calls    uint32 // at once
	info     Info
}

func appendHello(dst []byte, h hello) []byte {
	i := h.info.clean()
	dst = appendHead(dst, kindHello, 0, 5*4+len(i.Name)+len(i.Version))
	for _, n := range []uint32{h.protocol, h.max, h.calls} {
		dst = binary.LittleEndian.AppendUint32(dst, n)
	}
	return appendField(appendField(dst, i.Name), i.Version)
}

// parseHello reads the hello that must be alone in a peer's first message.
func parseHello(message []byte) (h hello, err error) {
	f, rest, err := nextFrame(message)
	if err != nil {
		return h, err
	}
	if f.kind != kindHello || f.id != 0 || len(rest) != 0 {
		return h, errors.New("the first message is not a hello")
	}
	r := fields{b: f.body}
	h = hello{protocol: r.u32(), max: r.u32(), calls: r.u32()}
	h.info = Info{string(r.bytes()), string(r.bytes())}.clean()
	return h, r.done("hello")
}

// check refuses a peer whom we cannot speak with.
func (h hello) check() error {
	switch {
	case h.protocol != ProtocolVersion:
		return fmt.Errorf("the peer speaks protocol %d, this side %d", h.protocol, ProtocolVersion)
	case h.max < minFrame:
		return fmt.Errorf("the peer takes frames of only %d bytes, %d is the least", h.max, minFrame)
	}
	return nil
}

// callSize returns the length of a whole call frame; it may exceed what a frame can hold.
func callSize(r *Request) int {
	n := headSize + 4 + 6*lengthSize + len(r.Method) + len(r.Name) + len(r.Principal) +
		len(r.Params) + len(r.Arguments) + len(r.Meta)
	for _, h := range r.Headers {
		n += 2*lengthSize + len(h[0]) + len(h[1])
	}
	return n
}

func appendCall(dst []byte, id uint64, r *Request, timeout uint32, size int) []byte {
	dst = appendHead(dst, kindCall, id, size-headSize)
	dst = binary.LittleEndian.AppendUint32(dst, timeout)
	dst = appendField(appendField(appendField(dst, r.Method), r.Name), r.Principal)
	dst = appendField(appendField(appendField(dst, r.Params), r.Arguments), r.Meta)
	for _, h := range r.Headers {
		dst = appendField(appendField(dst, h[0]), h[1])
	}
	return dst
}

// parseCall reads a call into r, whose byte fields alias body.
func parseCall(body []byte, r *Request) (timeout time.Duration, err error) {
	f := fields{b: body}
	timeout = time.Duration(f.u32()) * time.Millisecond
	*r = Request{Headers: r.Headers[:0]}
	r.Method, r.Name, r.Principal = methodName(f.bytes()), string(f.bytes()), string(f.bytes())
	r.Params, r.Arguments, r.Meta = f.bytes(), f.bytes(), f.bytes()
	for !f.bad && len(f.b) > 0 && len(r.Headers) < maxHeaders {
		r.Headers = append(r.Headers, [2]string{string(f.bytes()), string(f.bytes())})
	}
	return timeout, f.done("call")
}

// methodName is string(b) without an allocation for the commonest method.
func methodName(b []byte) string {
	if string(b) == "tools/call" {
		return "tools/call"
	}
	return string(b)
}

// timeoutField is what a call says of its time limit: whole milliseconds rounded up, so that the caller's own clock
// ends it first.
func timeoutField(left time.Duration) uint32 {
	ms := (left + time.Millisecond - 1) / time.Millisecond
	return uint32(max(1, min(ms, math.MaxUint32)))
}

func replySize(p Reply) int { return headSize + 1 + len(p.Result) + len(p.Error) }

// appendReply appends a reply of which exactly one part is set.
func appendReply(dst []byte, id uint64, p Reply) []byte {
	dst = appendHead(dst, kindReply, id, 1+len(p.Result)+len(p.Error))
	if len(p.Error) > 0 {
		return append(append(dst, 1), p.Error...)
	}
	return append(append(dst, 0), p.Result...)
}

// parseReply returns a reply's object, and whether it is an error.
func parseReply(body []byte) (object []byte, isError bool, err error) {
	if len(body) < 2 || body[0] > 1 {
		return nil, false, errors.New("the body of a reply frame is malformed")
	}
	return body[1:], body[0] == 1, nil
}

func appendFailure(dst []byte, id uint64, f *Failure) []byte {
	kind, detail := f.Kind, cleanText(f.Detail, maxDetail)
	if !kind.known() {
		kind = Internal
	}
	dst = appendHead(dst, kindFailure, id, 2+len(detail))
	dst = append(dst, byte(kind), 0)
	if f.Sent {
		dst[len(dst)-1] = 1
	}
	return append(dst, detail...)
}

func parseFailure(body []byte) (*Failure, error) {
	if len(body) < 2 || !Kind(body[0]).known() || body[1] > 1 || len(body) > 2+maxDetail {
		return nil, errors.New("the body of a failure frame is malformed")
	}
	return &Failure{told: true, Kind: Kind(body[0]), Sent: body[1] == 1, Detail: cleanText(string(body[2:]), maxDetail)}, nil
}
