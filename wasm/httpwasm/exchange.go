// Package httpwasm is the host's side of the http-wasm handler ABI (https://http-wasm.io/http-handler-abi): the functions
// that a guest imports from http_handler, over an exchange of an HTTP request and its response that lies in memory. It knows
// nothing of who runs the guest: package wasm shows calls of tools to it in this shape, and anybody with real HTTP messages
// can show those.
//
// Every argument of a guest's is hostile. What the ABI calls a panic of the host is an error here, which ends the guest's
// call: a pointer outside its memory, a response read before there is one, a header nobody could send, more than the bounds
// allow.
package httpwasm

import (
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/wasm/abi"
)

// Features that a guest may enable. There are no trailers.
const (
	bufferRequest  = 1 << 0 // the request's body may be read after it went on
	bufferResponse = 1 << 1 // the response may be read and changed in handle_response
	supported      = bufferRequest | bufferResponse
)

// refuse says what the host does not let a guest do. Its text names no byte of an exchange.
func refuse(format string, args ...any) error {
	return &abi.Refusal{What: fmt.Sprintf(format, args...)}
}

// Bounds of what a guest may write to one exchange.
const (
	maxFields = 256      // of each header
	maxHeader = 64 << 10 // bytes of each header
	maxName   = 256      // bytes of a field's name
	maxURI    = 8 << 10  // bytes
	maxMethod = 64       // bytes
)

// Field is one line of a header. Its name is in lower case.
type Field struct{ Name, Value string }

// Header is a list of fields in the order they were sent.
type Header []Field

// Values are those of name, which has to be in lower case.
func (h Header) Values(name string) []string {
	var values []string
	for _, f := range h {
		if f.Name == name {
			values = append(values, f.Value)
		}
	}
	return values
}

// names are the header's, each once and in order.
func (h Header) names() []string {
	var names []string
	seen := make(map[string]bool, len(h))
	for _, f := range h {
		if !seen[f.Name] {
			seen[f.Name] = true
			names = append(names, f.Name)
		}
	}
	return names
}

// size counts the header's bytes.
func (h Header) size() int {
	n := 0
	for _, f := range h {
		n += len(f.Name) + len(f.Value)
	}
	return n
}

// remove returns the header without a name.
func (h Header) remove(name string) Header {
	kept := h[:0]
	for _, f := range h {
		if f.Name != name {
			kept = append(kept, f)
		}
	}
	clear(h[len(kept):])
	return kept
}

// Message is one direction of an exchange.
type Message struct {
	Header  Header
	Body    []byte // as it was shown
	Changed bool   // the guest wrote a body: New stands in place of Body
	New     []byte

	read int // bytes of the body that the guest has read
}

// Final is the body as the guest left it.
func (m *Message) Final() []byte {
	if m.Changed {
		return m.New
	}
	return m.Body
}

// Exchange is one request with its response, and what the guest may do to them. Set the exported fields, call the guest's
// handle_request, fill Response when it wants the next handler, call After and then its handle_response. An exchange is not
// for concurrent use.
type Exchange struct {
	Method, URI, Protocol, Source string
	Request, Response             Message
	Status                        uint32 // 0 stands for 200

	Config  []byte // what get_config gives
	MaxBody int    // bytes that a guest may write to each body
	Fixed   bool   // method and URI cannot be changed: a guest that tries is ended

	// Log takes a line of the guest's; level 0 is debug and 3 error. Nil drops it.
	Log func(level int32, text []byte)

	features uint32 // those that are enabled
	starting bool   // the guest is set up: there is no exchange yet
	after    bool   // handle_response runs
}

// After says that the next handler has answered: Response and Status are its answer.
func (x *Exchange) After() { x.after = true }

// Answered adds what the next handler answers to what the guest has written of a response: a status that the guest set stays,
// and headers and body come behind its own.
func (x *Exchange) Answered(status uint32, header Header, body []byte) {
	if x.Status == 0 {
		x.Status = status
	}
	r := &x.Response
	*r = Message{Header: append(r.Header, header...), Body: append(r.New, body...)}
}

// Code is the status of the response.
func (x *Exchange) Code() uint32 {
	if x.Status == 0 {
		return 200
	}
	return x.Status
}

// before refuses what only makes sense until the next handler has the request.
func (x *Exchange) before(what string) error {
	if x.after {
		return refuse("%s cannot change in handle_response", what)
	}
	return nil
}

// answering refuses to touch a response that the next handler made, unless the guest asked for that.
func (x *Exchange) answering(what string) error {
	if x.after && x.features&bufferResponse == 0 {
		return refuse("the %s cannot be used in handle_response without the feature buffer_response", what)
	}
	return nil
}

// Kinds of headers and bodies, as guests name them.
const (
	kindRequest = iota
	kindResponse
	kindRequestTrailers
	kindResponseTrailers
)

// header is what a guest means by kind.
func (x *Exchange) header(kind uint32) (*Header, error) {
	switch kind {
	case kindRequest:
		return &x.Request.Header, nil
	case kindResponse:
		return &x.Response.Header, nil
	case kindRequestTrailers, kindResponseTrailers:
		return new(Header), nil
	}
	return nil, refuse("there is no header kind %d", kind)
}

// writable is the header that a guest means by kind, if it may be changed now.
func (x *Exchange) writable(kind uint32) (*Header, error) {
	var err error
	switch kind {
	case kindRequest:
		err = x.before("request headers")
	case kindResponse:
		err = x.answering("response headers")
	case kindRequestTrailers, kindResponseTrailers:
		err = refuse("there are no trailers")
	}
	if err != nil {
		return nil, err
	}
	return x.header(kind)
}

// body is what a guest means by kind.
func (x *Exchange) body(kind uint32) (*Message, error) {
	switch kind {
	case kindRequest:
		return &x.Request, nil
	case kindResponse:
		return &x.Response, nil
	}
	return nil, refuse("there is no body kind %d", kind)
}

// readable is the body that a guest means by kind, if it may be read now.
func (x *Exchange) readable(kind uint32) (*Message, error) {
	if kind == kindRequest && x.after && x.features&bufferRequest == 0 {
		return nil, refuse("the request body cannot be read in handle_response without the feature buffer_request")
	}
	if kind == kindResponse {
		if err := x.answering("response body"); err != nil {
			return nil, err
		}
	}
	return x.body(kind)
}

// put adds a field to a header, in place of others of its name unless more is set. name is a token in lower case.
func (x *Exchange) put(h *Header, name, value string, more bool) error {
	if !isValue(value) {
		return refuse("a header value has a control character")
	}
	if !more {
		*h = h.remove(name)
	}
	if len(*h) >= maxFields || h.size()+len(name)+len(value) > maxHeader {
		return refuse("a header has at most %d fields and %d bytes", maxFields, maxHeader)
	}
	*h = append(*h, Field{name, value})
	return nil
}

// isToken reports whether s is a token of RFC 9110, 5.6.2.
func isToken[T string | []byte](s T) bool {
	for i := range len(s) {
		c := s[i]
		if c-'a' > 'z'-'a' && c-'A' > 'Z'-'A' && c-'0' > 9 && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return len(s) > 0
}

// isValue reports whether s can be sent as a value (RFC 9110, 5.5).
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
