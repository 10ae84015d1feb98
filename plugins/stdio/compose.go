package stdio

import (
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/plugins/connector"
)

const (
	modernVersion = "2026-07-28" // every request says who asks, in its _meta
	legacyVersion = "2025-11-25" // the newest with initialize
)

// legacyVersions are the versions with initialize that are understood. What is
// used of them here reads the same in all.
var legacyVersions = []string{legacyVersion, "2025-06-18", "2025-03-26", "2024-11-05"}

// Names in _meta that are between the gateway and its own peers, and so not for
// the server.
const (
	metaReserved = "io.modelcontextprotocol/"
	metaOwn      = "gatewright/"
	metaProgress = "progressToken"                     // of the caller; the server is given our own, the request's id
	metaCan      = metaReserved + "clientCapabilities" // what the caller can be asked, as the gateway judged it
	metaLevel    = metaReserved + "logLevel"           // which logs a caller of the newer era asks for
)

const (
	clientInfo = `{"name":"gatewright","version":"1"}`
	clientMeta = `"io.modelcontextprotocol/protocolVersion":"` + modernVersion +
		`","io.modelcontextprotocol/clientInfo":` + clientInfo + `,"io.modelcontextprotocol/clientCapabilities":`
	initializeParams = `{"protocolVersion":"` + legacyVersion + `","capabilities":{"elicitation":{},"sampling":{}},"clientInfo":` + clientInfo + `}`

	initialized = `{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n"
)

func refused(why string) *connector.Failure {
	return &connector.Failure{Kind: connector.Refused, Detail: why}
}

// appendRequest appends one request as one line. The raw JSON of r is copied as
// it is, but for line ends, which in checked JSON stand only between values and
// would end the line here.
func appendRequest(dst []byte, id uint64, r *connector.Request, modern bool) ([]byte, *connector.Failure) {
	from := len(dst)
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = strconv.AppendUint(dst, id, 10)
	dst = append(dst, `,"method":`...)
	dst = canon.AppendString(dst, r.Method)
	dst, fail := appendParams(dst, id, r, modern)
	if fail != nil {
		return dst, fail
	}
	dst = append(dst, '}')
	joinLines(dst[from:])
	return append(dst, '\n'), nil
}

// joinLines makes blanks of line ends.
func joinLines(b []byte) {
	for i, c := range b {
		if c == '\n' || c == '\r' {
			b[i] = ' '
		}
	}
}

// appendParams appends the params member, or nothing when there is nothing to
// say.
func appendParams(dst []byte, id uint64, r *connector.Request, modern bool) ([]byte, *connector.Failure) {
	if r.Params == nil && r.Arguments == nil && r.Meta == nil && r.Name == "" && !modern {
		return dst, nil
	}
	dst = append(dst, `,"params":{`...)
	open := len(dst)
	if r.Params != nil {
		return appendMembers(dst, id, r, open, modern)
	}
	if r.Name != "" {
		dst = append(append(append(dst, '"'), nameMember(r.Method)...), `":`...)
		dst = canon.AppendString(dst, r.Name)
	}
	if r.Arguments != nil {
		if canon.KindOf(r.Arguments) != '{' {
			return dst, refused("the arguments are not an object")
		}
		dst = append(comma(dst, open), `"arguments":`...)
		dst = append(dst, r.Arguments...)
	}
	return appendMeta(dst, id, r, open, r.Meta, modern)
}

// nameMember is the member of params that holds a request's Name.
func nameMember(method string) string {
	switch {
	case strings.HasPrefix(method, "resources/"):
		return "uri"
	case strings.HasPrefix(method, "tasks/"):
		return "taskId"
	}
	return "name"
}

func comma(dst []byte, open int) []byte {
	if len(dst) > open {
		return append(dst, ',')
	}
	return dst
}

// appendMembers copies the members of r.Params and merges _meta. A name that is
// said twice must be the same both times.
func appendMembers(dst []byte, id uint64, r *connector.Request, open int, modern bool) ([]byte, *connector.Failure) {
	meta, agrees, answers := r.Meta, true, false
	err := canon.Each(r.Params, func(key, value []byte) error {
		if string(key) == "_meta" {
			if meta == nil {
				meta = value
			}
			return nil
		}
		answers = answers || string(key) == "inputResponses" || string(key) == "requestState"
		if r.Name != "" && string(key) == nameMember(r.Method) {
			name, err := canon.Unquote(value)
			agrees = agrees && err == nil && name == r.Name
		}
		dst = canon.AppendString(comma(dst, open), string(key))
		dst = append(append(dst, ':'), value...)
		return nil
	})
	switch {
	case err != nil:
		return dst, refused("the params are not an object")
	case !agrees:
		return dst, refused("the name and the params disagree")
	case answers && !modern:
		return dst, refused("a server of the older era cannot have asked for input this way")
	}
	return appendMeta(dst, id, r, open, meta, modern)
}

// appendMeta appends _meta and closes the params: the caller's members but for
// reserved ones, and what a modern server must be told.
func appendMeta(dst []byte, id uint64, r *connector.Request, open int, meta []byte, modern bool) ([]byte, *connector.Failure) {
	if meta == nil && !modern {
		return append(dst, '}'), nil
	}
	bare := len(dst)
	dst = append(comma(dst, open), `"_meta":{`...)
	inner := len(dst)
	if modern {
		dst = append(dst, clientMeta...)
		can, ok := canon.Get(meta, metaCan)
		if !ok || canon.KindOf(can) != '{' {
			can = []byte("{}")
		}
		dst = append(dst, can...)
	}
	if meta != nil {
		err := canon.Each(meta, func(key, value []byte) error {
			k := string(key)
			if reserved(k) && (k != metaLevel || !modern || r.Notify == nil) || k == metaProgress && r.Notify == nil {
				return nil
			}
			dst = canon.AppendString(comma(dst, inner), k)
			if k == metaProgress {
				dst = strconv.AppendUint(append(dst, ':'), id, 10)
				return nil
			}
			dst = append(append(dst, ':'), value...)
			return nil
		})
		if err != nil {
			return dst, refused("_meta is not an object")
		}
	}
	if len(dst) == inner { // nothing of it is for the server
		return append(dst[:bare], '}'), nil
	}
	return append(dst, '}', '}'), nil
}

func reserved(key string) bool {
	return strings.HasPrefix(key, metaReserved) || strings.HasPrefix(key, metaOwn)
}

// cancelled tells the server that nobody waits for an answer any more.
func cancelled(id uint64) []byte {
	text := strconv.AppendUint([]byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`), id, 10)
	return append(text, ",\"reason\":\"the caller left\"}}\n"...)
}

// respond answers a request of the server: a ping, and nothing else that it may
// ask for. rawID is JSON that was checked.
func respond(rawID []byte, method string) []byte {
	text := append([]byte(`{"jsonrpc":"2.0","id":`), rawID...)
	if method == "ping" {
		return append(text, ",\"result\":{}}\n"...)
	}
	return append(text, ",\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}\n"...)
}
