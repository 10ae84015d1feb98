package proxy

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/valyala/fasthttp"
)

// Head is what the gateway reads of a request's header, each field at most once. Everything else in the header is
// ignored and nothing of it travels upstream. The slices belong to the request and end with it.
type Head struct {
	Host, Origin, ContentType, ContentEncoding, Accept []byte
	Authorization, APIKey                              []byte
	ForwardedFor                                       []byte
	Intent, Step, Proof, Retry                         []byte // Gatewright-Intent, -Step, -Proof; Idempotency-Key
	ProtocolVersion, Method, Name, Session             []byte // MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id
	Organization                                       []byte // X-Organization-Id: may only repeat the credential's own
	Possession                                         []byte // DPoP (RFC 9449)
	CSRG                                               CSRG
	ServerAuth                                         []byte // X-Armoriq-MCP-Auth
	IfNoneMatch                                        []byte
	Params                                             []Param
}

// CSRG are the X-CSRG-* headers of ArmorIQ's clients: the step they mean to take and its proof, and for a delegated call
// the subtree it is confined to.
type CSRG struct {
	Path, Proof, Digest                            []byte // X-CSRG-Path, -Proof, -Value-Digest
	SubtreePath, SubtreeRoot, ParentRoot, Subtrees []byte // X-CSRG-Subtree-Path, -Subtree-Root, -Parent-Root, -Subtree-Proof
}

// Param is one Mcp-Param-* header.
type Param struct{ Name, Value []byte }

// maxParams bounds how many Mcp-Param-* headers a request may carry; a tool has no more parameters than that.
const maxParams = 64

// ErrFraming is under every error about a head that could be read in two ways. The connection is closed after it.
var ErrFraming = errors.New("framing")

// parseHead reads the raw header once and refuses what one parser in a chain could read differently from the next:
// lines ended by LF alone (RFC 9112 2.2), line folding (5.2), Content-Length together with Transfer-Encoding (6.1), a coding
// other than one "chunked", an expectation other than one "100-continue" (RFC 9110 10.1.1), other versions than HTTP/1.0 and
// 1.1, and any header of ours that comes twice.
func parseHead(r *fasthttp.RequestHeader, h *Head) error {
	params := h.Params[:0]
	*h = Head{Params: params}
	switch string(r.Protocol()) {
	case "HTTP/1.1", "HTTP/1.0":
	default:
		return fmt.Errorf("%w: HTTP version is not 1.0 or 1.1", ErrFraming)
	}
	var length, coding, expect bool
	for raw := r.RawHeaders(); len(raw) > 0; {
		line := raw
		if i := bytes.IndexByte(raw, '\n'); i >= 0 {
			line, raw = raw[:i], raw[i+1:]
		} else {
			raw = nil
		}
		line, whole := bytes.CutSuffix(line, []byte("\r"))
		if !whole {
			return fmt.Errorf("%w: a header line does not end with CRLF", ErrFraming)
		}
		if len(line) == 0 {
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			return fmt.Errorf("%w: a header line is folded", ErrFraming)
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || !isToken(line[:colon]) {
			return fmt.Errorf("%w: a header line has no valid name", ErrFraming)
		}
		name, value := line[:colon], bytes.Trim(line[colon+1:], " \t")
		switch {
		case equal(name, "content-length"):
			if length {
				return fmt.Errorf("%w: Content-Length comes twice", ErrFraming)
			}
			length = true
		case equal(name, "transfer-encoding"):
			if coding || !equal(value, "chunked") || string(r.Protocol()) == "HTTP/1.0" {
				return fmt.Errorf("%w: Transfer-Encoding is not one 'chunked' on HTTP/1.1", ErrFraming)
			}
			coding = true
		case equal(name, "expect"):
			if expect || !equal(value, "100-continue") {
				return fmt.Errorf("%w: Expect is not one '100-continue'", ErrFraming)
			}
			expect = true
		default:
			if err := h.set(name, value); err != nil {
				return err
			}
		}
	}
	if length && coding {
		return fmt.Errorf("%w: Content-Length and Transfer-Encoding both given", ErrFraming)
	}
	if h.Host == nil {
		return fmt.Errorf("%w: no Host", ErrFraming)
	}
	return nil
}

// set keeps one header. Names are compared without case (RFC 9110 5.1), by length first.
func (h *Head) set(name, value []byte) error {
	if len(name) > 10 && equal(name[:10], "mcp-param-") {
		if len(h.Params) == maxParams {
			return fmt.Errorf("%w: more than %d Mcp-Param headers", ErrFraming, maxParams)
		}
		h.Params = append(h.Params, Param{name[10:], value})
		return nil
	}
	f := h.field(name)
	if f == nil {
		return nil
	}
	if *f != nil {
		return fmt.Errorf("%w: header %s comes twice", ErrFraming, name)
	}
	*f = value
	if *f == nil {
		*f = []byte{}
	}
	return nil
}

func (h *Head) field(name []byte) *[]byte {
	if len(name) > 7 && equal(name[:7], "x-csrg-") {
		return h.CSRG.field(name[7:])
	}
	switch len(name) {
	case 4:
		if equal(name, "dpop") {
			return &h.Possession
		}
		return pick(name, "host", &h.Host)
	case 6:
		if equal(name, "accept") {
			return &h.Accept
		}
		return pick(name, "origin", &h.Origin)
	case 8:
		return pick(name, "mcp-name", &h.Name)
	case 9:
		return pick(name, "x-api-key", &h.APIKey)
	case 10:
		return pick(name, "mcp-method", &h.Method)
	case 12:
		return pick(name, "content-type", &h.ContentType)
	case 13:
		if equal(name, "if-none-match") {
			return &h.IfNoneMatch
		}
		return pick(name, "authorization", &h.Authorization)
	case 14:
		return pick(name, "mcp-session-id", &h.Session)
	case 15:
		if equal(name, "idempotency-key") {
			return &h.Retry
		}
		if equal(name, "gatewright-step") {
			return &h.Step
		}
		return pick(name, "x-forwarded-for", &h.ForwardedFor)
	case 16:
		if equal(name, "gatewright-proof") {
			return &h.Proof
		}
		return pick(name, "content-encoding", &h.ContentEncoding)
	case 17:
		if equal(name, "x-organization-id") {
			return &h.Organization
		}
		return pick(name, "gatewright-intent", &h.Intent)
	case 18:
		return pick(name, "x-armoriq-mcp-auth", &h.ServerAuth)
	case 20:
		return pick(name, "mcp-protocol-version", &h.ProtocolVersion)
	}
	return nil
}

func (c *CSRG) field(rest []byte) *[]byte {
	switch {
	case equal(rest, "path"):
		return &c.Path
	case equal(rest, "proof"):
		return &c.Proof
	case equal(rest, "value-digest"):
		return &c.Digest
	case equal(rest, "subtree-path"):
		return &c.SubtreePath
	case equal(rest, "subtree-root"):
		return &c.SubtreeRoot
	case equal(rest, "parent-root"):
		return &c.ParentRoot
	}
	return pick(rest, "subtree-proof", &c.Subtrees)
}

func pick(name []byte, want string, f *[]byte) *[]byte {
	if equal(name, want) {
		return f
	}
	return nil
}

// equal compares ASCII without case; want is lower case.
func equal(b []byte, want string) bool {
	if len(b) != len(want) {
		return false
	}
	for i := range b {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != want[i] {
			return false
		}
	}
	return true
}

// isToken says whether b is a field name as RFC 9110 5.6.2 has it.
func isToken(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 || !tchar[c] {
			return false
		}
	}
	return len(b) > 0
}

// tchar are the bytes of a token.
var tchar = func() (t [128]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return t
}()

// Credential gives the API key that the request shows: a bearer token or an X-API-Key header, and both only when they
// agree.
func (h *Head) Credential() []byte {
	key := h.APIKey
	if a := h.Authorization; len(a) > 7 && equal(a[:7], "bearer ") {
		bearer := bytes.TrimLeft(a[7:], " ")
		if key != nil && !bytes.Equal(key, bearer) {
			return nil
		}
		return bearer
	}
	if h.Authorization != nil {
		return nil
	}
	return key
}
