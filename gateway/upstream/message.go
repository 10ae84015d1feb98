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

// metaLogLevel is the reserved member by which a modern caller asks for log messages. It goes on where somebody hears
// them.
const metaLogLevel = metaReserved + "logLevel"

// clientMeta is what a modern upstream is told about us; the capabilities follow.
const clientMeta = `"io.modelcontextprotocol/protocolVersion":"` + modernVersion +
	`","io.modelcontextprotocol/clientInfo":` + clientInfo + `,"io.modelcontextprotocol/clientCapabilities":`

const clientInfo = `{"name":"gatewright","version":"1"}`

// initializeParams is what an older upstream is told about us.
func initializeParams(capabilities string) []byte {
	return []byte(`{"protocolVersion":"` + legacyVersion + `","capabilities":` + capabilities + `,"clientInfo":` + clientInfo + `}`)
}

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
	dst, err := appendParams(dst, id, r, modern)
	return append(dst, '}'), err
}

// appendParams appends the params member, or nothing when there is nothing to
// say.
func appendParams(dst []byte, id uint64, r *Request, modern bool) ([]byte, *Error) {
	if r.Params == nil && r.Arguments == nil && r.Name == "" && r.Meta == nil && !r.retries() && !modern {
		return dst, nil
	}
	dst = append(dst, `,"params":{`...)
	open := len(dst)
	var err *Error
	if r.Params != nil {
		dst, err = appendMembers(dst, open, id, r, modern)
		return append(dst, '}'), err
	}
	if r.Name != "" {
		dst = append(dst, '"')
		dst = append(dst, nameMember(r.Method)...)
		dst = append(dst, `":`...)
		dst = canon.AppendString(dst, r.Name)
	}
	if r.Arguments != nil {
		if canon.KindOf(r.Arguments) != '{' {
			return dst, fault(Invalid, "the arguments are not an object")
		}
		dst = separate(dst, open)
		dst = append(dst, `"arguments":`...)
		dst = append(dst, r.Arguments...)
	}
	dst, err = appendTail(dst, open, id, r, r.Meta, modern)
	return append(dst, '}'), err
}

func separate(dst []byte, open int) []byte {
	if len(dst) > open {
		dst = append(dst, ',')
	}
	return dst
}

// appendMembers copies the members of r.Params and merges _meta. The name that
// headers repeat must be the one the body has.
func appendMembers(dst []byte, open int, id uint64, r *Request, modern bool) ([]byte, *Error) {
	meta, agrees, twice := r.Meta, r.Name == "" || !headed(r.Method), false
	err := canon.Each(r.Params, func(key, value []byte) error {
		switch string(key) {
		case "_meta":
			if meta == nil {
				meta = value
			}
			return nil
		case "inputResponses", "requestState":
			twice = twice || r.retries()
		case nameMember(r.Method):
			if !agrees {
				name, err := canon.Unquote(value)
				agrees = err == nil && name == r.Name
			}
		}
		dst = separate(dst, open)
		dst = canon.AppendString(dst, string(key))
		dst = append(dst, ':')
		dst = append(dst, value...)
		return nil
	})
	switch {
	case err != nil:
		return dst, fault(Invalid, "the params are not an object")
	case !agrees:
		return dst, fault(Invalid, "the name and the params disagree")
	case twice:
		return dst, fault(Invalid, "the input asked for is given twice")
	}
	return appendTail(dst, open, id, r, meta, modern)
}

// nameMember is the member of params that says what a method is about.
func nameMember(method string) string {
	switch method {
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		return "uri"
	case "tasks/get", "tasks/update", "tasks/cancel", "tasks/result":
		return "taskId"
	}
	return "name"
}

// headed tells the methods for which the Mcp-Name header repeats that member: those of MCP 2026-07-28 and of its tasks
// extension.
func headed(method string) bool {
	switch method {
	case "tools/call", "prompts/get", "resources/read", "tasks/get", "tasks/update", "tasks/cancel":
		return true
	}
	return false
}

// retries tells that the request carries what the server's input_required asked for.
func (r *Request) retries() bool { return r.InputResponses != nil || r.RequestState != nil }

// appendTail appends what follows the judged members: the input that the server asked for, and _meta.
func appendTail(dst []byte, open int, id uint64, r *Request, meta []byte, modern bool) ([]byte, *Error) {
	switch {
	case !r.retries():
	case !modern:
		return dst, fault(Invalid, "a server of the older era cannot have asked for input this way")
	case r.InputResponses != nil && canon.KindOf(r.InputResponses) != '{', r.RequestState != nil && canon.KindOf(r.RequestState) != '"':
		return dst, fault(Invalid, "the input asked for is not an object, or its state not a string")
	default:
		if r.InputResponses != nil {
			dst = append(separate(dst, open), `"inputResponses":`...)
			dst = append(dst, r.InputResponses...)
		}
		if r.RequestState != nil {
			dst = append(separate(dst, open), `"requestState":`...)
			dst = append(dst, r.RequestState...)
		}
	}
	return appendMeta(dst, open, id, r, meta, modern)
}

// appendMeta appends _meta: the caller's members but for reserved ones, and
// what a modern upstream must be told. A caller's progress token is replaced by
// ours, the request's id, so that no caller chooses what another's progress is
// called.
func appendMeta(dst []byte, open int, id uint64, r *Request, meta []byte, modern bool) ([]byte, *Error) {
	if meta == nil && !modern {
		return dst, nil
	}
	dst = append(separate(dst, open), `"_meta":{`...)
	start := len(dst)
	if modern {
		dst = append(dst, clientMeta...)
		if r.Capabilities != nil {
			dst = append(dst, r.Capabilities...)
		} else {
			dst = append(dst, r.who().capabilities...)
		}
	}
	if meta != nil {
		err := canon.Each(meta, func(key, value []byte) error {
			k := string(key)
			token := k == metaProgress && r.Peer != nil && isID(value)
			if !token && (k == metaProgress || reservedMeta(k) && (k != metaLogLevel || r.Peer == nil || !modern)) {
				return nil
			}
			dst = separate(dst, start)
			dst = canon.AppendString(dst, k)
			dst = append(dst, ':')
			if token {
				dst = strconv.AppendUint(dst, id, 10)
			} else {
				dst = append(dst, value...)
			}
			return nil
		})
		if err != nil {
			return dst, fault(Invalid, "_meta is not an object")
		}
	}
	return append(dst, '}'), nil
}

func reservedMeta(key string) bool {
	return strings.HasPrefix(key, metaReserved) || strings.HasPrefix(key, metaOwn)
}

// errForeign marks a message that is not the answer waited for: a notification,
// a request of the upstream, or an answer to another id.
var errForeign = errors.New("not the answer")

// message is one JSON-RPC message taken apart. Its members are raw and share
// memory with what was read; nil means absent.
type message struct{ id, method, params, result, failure []byte }

// parse checks one JSON-RPC message strictly.
func (c *Client) parse(b []byte, m *message) error {
	limits := canon.Limits{Bytes: c.config.MaxResponse, Depth: c.config.MaxDepth, Values: c.config.MaxValues}
	if err := canon.Check(b, limits); err != nil {
		return jsonFault(err)
	}
	*m = message{}
	var version []byte
	err := canon.Each(b, func(key, value []byte) error {
		switch string(key) {
		case "jsonrpc":
			version = value
		case "method":
			m.method = value
		case "params":
			m.params = value
		case "id":
			m.id = value
		case "result":
			m.result = value
		case "error":
			m.failure = value
		}
		return nil
	})
	if err != nil || string(version) != `"2.0"` {
		return malformed("the answer is not a JSON-RPC 2.0 message")
	}
	return nil
}

// answer fills in reply when the message answers id; Result and Error alias
// what was read.
func (m *message) answer(id uint64, reply *Reply) error {
	var digits [20]byte
	if m.method != nil || !bytes.Equal(m.id, strconv.AppendUint(digits[:0], id, 10)) {
		return errForeign
	}
	if (m.result == nil) == (m.failure == nil) {
		return malformed("the answer has not exactly one of result and error")
	}
	if canon.KindOf(m.result) != '{' && canon.KindOf(m.failure) != '{' {
		return malformed("the answer's result or error is not an object")
	}
	reply.Result, reply.Error = m.result, m.failure
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
