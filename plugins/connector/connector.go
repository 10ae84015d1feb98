package connector

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ProtocolVersion is the version of the wire.
const ProtocolVersion = 1

// Info names a connector.
type Info struct{ Name, Version string }

// maxName bounds the two texts of an Info, in bytes.
const maxName = 128

func (i Info) clean() Info {
	return Info{cleanText(i.Name, maxName), cleanText(i.Version, maxName)}
}

// MethodListen is a call that hears what the server says outside of calls: its params are those of MCP's subscriptions/listen
// ("notifications", an object), and its notes are notifications/.../list_changed, notifications/resources/updated and, first,
// notifications/subscriptions/acknowledged with what is agreed; its Notify may give ErrLater. It lasts until it is cancelled, the connector is drained, or the
// server has nothing more to say, and is answered with an empty result then. A connector that does not know it answers, as to any
// other method, that there is none. Servers never see it.
const MethodListen = "gatewright/listen"

// Request is one MCP request for the connector's server. Its byte fields alias a buffer that lives until Call
// returns.
type Request struct {
	// Method is MCP's: "tools/list", "tools/call", ...
	Method string
	// Name is the tool, prompt or resource; empty for lists.
	Name string
	// Principal says, opaquely, for whom. Sessions with a server must be kept apart by it.
	Principal string
	// Params is the whole params object, raw checked JSON. When it is nil, params are made of Name, Arguments and
	// Meta.
	Params []byte
	// Arguments is a raw JSON object; nil is the empty one.
	Arguments []byte
	// Meta is the raw JSON object of _meta, or nil; it stands in the place of one in Params. What the caller can be asked is
	// its io.modelcontextprotocol/clientCapabilities, which the gateway has judged; a caller cannot put it there.
	Meta []byte
	// Headers are for the connector to show its server, credentials among them. They must never be logged.
	Headers [][2]string
	// Notify, if set, tells the call's caller something before the answer: MCP's notifications/progress, whose progressToken
	// the gateway fills in, and where Meta has MemberHears notifications/message. A connector's server finds it set where the
	// caller gave a progressToken in Meta or hears more; it does not wait, and an error tells that this one was not taken. On
	// the gateway's side Session.Call calls it, in order and from its own goroutine, before it returns; the oldest of too many
	// are dropped, and an error ends the call.
	Notify func(method string, params []byte) error
	// Ask, if set, has the call's caller answer a request of an older server (elicitation/create, sampling/createMessage,
	// roots/list), and waits; what the caller can be asked stands in Meta's MemberHears. A connector's server must ask only what
	// belongs to this call. The end of ctx takes the question back; the call's own end ends it too. The error says that there
	// is no answer. On the gateway's side, where Notify must be set with it, it runs in goroutines of its own, several at once
	// and beside Notify, and must return when its ctx ends: Session.Call waits for that.
	Ask func(ctx context.Context, method string, params []byte) (Reply, error)
}

// Reply is a server's answer. Exactly one of Result and Error (a JSON-RPC error object) is set; both are raw JSON
// objects.
type Reply struct{ Result, Error []byte }

// Server answers requests. Call is used by several goroutines at once. Its context ends when the gateway cancels
// the call, at the call's deadline, and when the connector stops. An error that is a *Failure reaches the gateway
// as it is, any other as Internal with its text; a panic costs only its call.
type Server interface {
	Call(ctx context.Context, r *Request) (Reply, error)
}

// Ender is a Server that may come to an end of itself, such as one that speaks for a process. When Done is closed
// Serve finishes the calls under way, prints Err and returns 1, and the gateway starts the connector anew.
type Ender interface {
	Server
	Done() <-chan struct{}
	Err() error
}

// Kind says in one word why a call has no reply. The list is closed.
type Kind uint8

// The kinds of failure. Their numbers are the wire's.
const (
	Unreachable Kind = iota + 1 // no server, or it was lost before its answer
	Timeout                     // a time limit passed
	Malformed                   // the answer breaks the rules
	TooLarge                    // request or answer is over a bound
	Refused                     // the connector will not do it
	Canceled                    // the caller gave up first
	Busy                        // no room in time
	Internal                    // a fault of the connector
)

var kindNames = [...]string{
	Unreachable: "unreachable", Timeout: "timeout", Malformed: "malformed", TooLarge: "too large",
	Refused: "refused", Canceled: "canceled", Busy: "busy", Internal: "internal",
}

func (k Kind) known() bool { return k >= Unreachable && k <= Internal }

func (k Kind) String() string {
	if !k.known() {
		return "unknown"
	}
	return kindNames[k]
}

// Failure is why there is no reply. From a Session its Detail may hold text that the connector sent: at most 512
// bytes of printable characters and blanks, and nothing more is promised of it.
type Failure struct {
	Kind   Kind
	Detail string
	// Sent tells that the effect may have happened.
	Sent bool
	err  error // the caller's context error, for errors.Is
	told bool  // see Told
}

// Told reports whether the connector itself said so. What it says of Sent is its claim: a call may have had its effect
// all the same, and must not be made a second time on the word of whom it was made to.
func (f *Failure) Told() bool { return f.told }

func (f *Failure) Error() string { return f.Kind.String() + ": " + f.Detail }

// Unwrap returns the context's error when that is what ended the call.
func (f *Failure) Unwrap() error { return f.err }

// maxDetail bounds a failure's text on the wire, in bytes.
const maxDetail = 512

// cleanText makes text of a peer fit to be shown: printable characters and blanks alone, at most n bytes. Text that
// is fit already costs no copy.
func cleanText(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if utf8.ValidString(s) && strings.IndexFunc(s, odd) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if odd(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
