// Package connector is what the author of a connector imports, and the wire between a connector and the gateway.
//
// A connector is a program that the gateway starts and that answers MCP requests for one server. In Go its main is
// one call:
//
//	func main() {
//		server, err := connector.Tools(connector.Tool{Name: "add", Handle: add})
//		if err != nil {
//			log.Fatal(err)
//		}
//		os.Exit(connector.Serve(connector.Info{Name: "sums", Version: "1"}, server))
//	}
//
// Package connectortest checks a connector under the gateway's own runtime, and the folder example holds one that
// is a module of its own.
//
// # The wire
//
// For connectors in other languages. The process is a go-plugin plugin (protocol version 1, type grpc, magic cookie
// GATEWRIGHT_CONNECTOR) with AutoMTLS on a unix socket. The gateway opens one stream of the bidirectional method
// /gatewright.connector.v1.Connector/Exchange for the life of the process; a second one is refused. Its gRPC
// messages are not protobuf: a message holds one or more whole frames back to back. Numbers are little endian.
//
//	frame  = length u32 (of what follows) | kind u8 | id u64 | body
//	field  = length u32 | bytes
//	hello  (1) = version u32 | max u32 | calls u32 | name field | version field   id 0
//	call   (2) = timeout u32 (ms, 0 none) | method | name | principal | params |
//	             arguments | meta | any number of (header name | header value)
//	reply  (3) = what u8 (0 result, 1 error) | JSON object to the end of the frame
//	failure(4) = kind u8 (see Kind) | sent u8 (0, 1) | text to the end of the frame
//	note   (9) = method field | params, a JSON object, to the end of the frame
//	ask   (10) = number u32 | method field | params, a JSON object or nothing, to the end of the frame
//	answer(11) = number u32 | what u8 (0 result, 1 error) | JSON object to the end of the frame
//	unask (12) = number u32
//	cancel (5), ping (6), pong (7), drain (8) = nothing
//
// Both sides begin with hello, the gateway first. max is the largest frame and the largest message that its sender
// takes, in bytes; the lower of the two holds both ways. calls is how many calls the gateway makes at once. Where a
// call's params, arguments or meta are absent the field is empty.
//
// The gateway sends call, answer, cancel, ping and drain, the connector reply, failure, note, ask, unask, pong and
// drain. Each call has an id of its own and is answered by exactly one reply or failure with that id, in any order, a
// cancelled one too. At most 2 * calls of them are unanswered at a time, cancelled ones included. An answer to an
// unknown id is dropped, a flood of them ends the stream. A note is a notification about the call with its id and
// comes before the answer; it is heard when the call's meta has a progressToken, and one that is not progress
// (notifications/message) where it has gatewright/hears. One has up to 16 KiB of params, and a call up to 10,000 of
// notes, asks and unasks.
//
// An ask is a request of an older server to the caller of the call with its id, who can be asked only what the object
// gatewright/hears in the call's meta names; where that is empty or absent the connector must not ask. Asks have up to 1 MiB of
// params and numbers of their own within the call, at most 16 of them are unanswered, and each is answered once with its
// number unless it is taken back by unask or the call is answered. Members of meta that begin with gatewright/ are for the
// connector alone, and so a gateway or a connector that knows nothing of asks never meets one.
//
// A call of the method gatewright/listen is not answered before it is cancelled or drained: its notes are what the server says
// outside of calls. It has no bound in time and counts among the calls at once; whoever has sent 10,000 notes of one answers
// it with an empty result, and is asked anew.
//
// A pong repeats its ping's id and must come whatever the calls are doing. After drain no new call is to be made or
// taken, those under way are finished; the gateway then closes its side of the stream, and the connector ends. Anything
// else (an unknown kind, a second hello, a frame that is cut or too large) ends the stream, and every call under way
// has failed.
package connector
