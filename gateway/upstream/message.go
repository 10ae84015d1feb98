package upstream

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Names that MCP 2026-07-28 reserves in _meta, and ours. Whatever a caller put
// there is not for the upstream.
const (
	metaReserved = "io.modelcontextprotocol/"
	metaOwn      = "gatewright/"
	metaProgress = "progressToken" // names a stream that the gateway does not carry
)

// clientMeta is what a modern upstream is told about us.
const clientMeta = `"io.modelcontextprotocol/protocolVersion":"` + modernVersion +
	`","io.modelcontextprotocol/clientInfo":` + clientInfo + `,"io.modelcontextprotocol/clientCapabilities":{}`

const clientInfo = `{"name":"gatewright","version":"1"}`

const initializeParams = `{"protocolVersion":"` + legacyVersion + `","capabilities":{},"clientInfo":` + clientInfo + `}`

// appendMessage appends one JSON-RPC message. An id of 0 makes a notification.
// The raw arguments or params are copied byte by byte: what was judged is sent.
func appendMessage(dst []byte, id uint64, r *Request, modern bool) ([]byte, *Error) {
	dst = append(dst, `{"jsonrpc":"2.0",`...)
	if id != 0 {
		dst = append(dst, `"id":`...)
		dst = strconv.AppendUint(dst, id, 10)
		dst = append(dst, ',')
	}
	dst = append(dst, `"method":`...)
	dst = canon.AppendString(dst, r.Method)
	dst, err := appendParams(dst, r, modern)
	return append(dst, '}'), err
}

// appendParams appends the params member, or nothing when there is nothing to
// say.
func appendParams(dst []byte, r *Request, modern bool) ([]byte, *Error) {
	if r.Params == nil && r.Arguments == nil && r.Name == "" && !modern {
		return dst, nil
	}
	dst = append(dst, `,"params":{`...)
	open := len(dst)
	var err *Error
	if r.Params != nil {
		dst, err = appendMembers(dst, r, open, modern)
		return append(dst, '}'), err
	}
	if r.Name != "" {
		dst = append(dst, `"name":`...)
		dst = canon.AppendString(dst, r.Name)
	}
	if r.Arguments != nil {
		if canon.KindOf(r.Arguments) != '{' {
			return dst, fault(Invalid, "the arguments are not an object")
		}
		dst = append(dst, `,"arguments":`...)
		dst = append(dst, r.Arguments...)
	}
	dst, err = appendMeta(dst, open, r.Meta, modern)
	return append(dst, '}'), err
}

// appendMembers copies the members of r.Params and merges _meta. The name that
// headers repeat must be the one the body has.
func appendMembers(dst []byte, r *Request, open int, modern bool) ([]byte, *Error) {
	meta, agrees := r.Meta, r.Name == "" || nameMember(r.Method) == ""
	err := canon.Each(r.Params, func(key, value []byte) error {
		if string(key) == "_meta" {
			if meta == nil {
				meta = value
			}
			return nil
		}
		if string(key) == nameMember(r.Method) && !agrees {
			name, err := canon.Unquote(value)
			agrees = err == nil && name == r.Name
		}
		if len(dst) > open {
			dst = append(dst, ',')
		}
		dst = canon.AppendString(dst, string(key))
		dst = append(dst, ':')
		dst = append(dst, value...)
		return nil
	})
	if err != nil {
		return dst, fault(Invalid, "the params are not an object")
	}
	if !agrees {
		return dst, fault(Invalid, "the name and the params disagree")
	}
	return appendMeta(dst, open, meta, modern)
}

// nameMember is the member of params that the Mcp-Name header repeats.
func nameMember(method string) string {
	switch method {
	case "tools/call", "prompts/get":
		return "name"
	case "resources/read":
		return "uri"
	}
	return ""
}

// appendMeta appends _meta: the caller's members but for reserved ones, and
// what a modern upstream must be told.
func appendMeta(dst []byte, open int, meta []byte, modern bool) ([]byte, *Error) {
	if meta == nil && !modern {
		return dst, nil
	}
	if len(dst) > open {
		dst = append(dst, ',')
	}
	dst = append(dst, `"_meta":{`...)
	first := true
	if modern {
		dst, first = append(dst, clientMeta...), false
	}
	if meta != nil {
		err := canon.Each(meta, func(key, value []byte) error {
			k := string(key)
			if strings.HasPrefix(k, metaReserved) || strings.HasPrefix(k, metaOwn) || k == metaProgress {
				return nil
			}
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = canon.AppendString(dst, k)
			dst = append(dst, ':')
			dst = append(dst, value...)
			return nil
		})
		if err != nil {
			return dst, fault(Invalid, "_meta is not an object")
		}
	}
	return append(dst, '}'), nil
}

// errForeign marks a message that is not the answer waited for: a notification,
// a request of the upstream, or an answer to another id.
var errForeign = errors.New("not the answer")

// parseAnswer checks one JSON-RPC message strictly and fills in reply. The
// message must answer id; Result and Error alias b.
func (c *Client) parseAnswer(b []byte, id uint64, reply *Reply) error {
	limits := canon.Limits{Bytes: c.config.MaxResponse, Depth: c.config.MaxDepth, Values: c.config.MaxValues}
	if err := canon.Check(b, limits); err != nil {
		return jsonFault(err)
	}
	var version, method, gotID, result, failure []byte
	err := canon.Each(b, func(key, value []byte) error {
		switch string(key) {
		case "jsonrpc":
			version = value
		case "method":
			method = value
		case "id":
			gotID = value
		case "result":
			result = value
		case "error":
			failure = value
		}
		return nil
	})
	if err != nil || string(version) != `"2.0"` {
		return malformed("the answer is not a JSON-RPC 2.0 message")
	}
	if method != nil {
		return errForeign
	}
	var digits [20]byte
	if !bytes.Equal(gotID, strconv.AppendUint(digits[:0], id, 10)) {
		return errForeign
	}
	if (result == nil) == (failure == nil) {
		return malformed("the answer has not exactly one of result and error")
	}
	if canon.KindOf(result) != '{' && canon.KindOf(failure) != '{' {
		return malformed("the answer's result or error is not an object")
	}
	reply.Result, reply.Error = result, failure
	return nil
}

// jsonFault names the rule an answer's JSON breaks, without its bytes.
func jsonFault(err error) *Error {
	var syntax *canon.SyntaxError
	if !errors.As(err, &syntax) {
		return malformed("the answer is not JSON")
	}
	switch syntax.Kind {
	case canon.KindSize, canon.KindDepth, canon.KindValues:
		return fault(TooLarge, "the answer's JSON is over a bound: "+string(syntax.Kind))
	}
	return malformed("the answer is not strict JSON: " + string(syntax.Kind))
}

// errorCode returns the code of a JSON-RPC error object, or 0.
func errorCode(failure []byte) int {
	if failure == nil {
		return 0
	}
	raw, ok := canon.Get(failure, "code")
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(string(raw))
	if err != nil {
		return 0
	}
	return n
}

// codeUnsupportedVersion is MCP 2026-07-28's UnsupportedProtocolVersionError.
const codeUnsupportedVersion = -32022
