package immunity_test

import "strings"

// to is a good call at another target.
func to(target string) string {
	return "POST " + target + " HTTP/1.1\r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL"
}

// targets are frames about where a request leads. A gateway that judges one spelling of a path and forwards another, or
// normalises it after it was judged, lets calls past its rules (double decoding, dot segments, absolute form).
var targets = []frame{
	{"a query is not part of the path", to("/mcp/rec?x=/mcp/other"), good},
	{"a slash at the end", to("/mcp/rec/"), good},
	{"a server that is not there", to("/mcp/other"), told},
	{"no server, of a tool that one server alone has", to("/mcp"), good},
	{"two servers", to("/mcp/rec/other"), told},
	{"dot segment", to("/mcp/./rec"), refused(404)},
	{"two dots to the same", to("/mcp/../mcp/rec"), refused(404)},
	{"two dots beyond the root", to("/../../mcp/rec"), refused(404)},
	{"escaped dots", to("/mcp/%2e%2e/mcp/rec"), refused(404)},
	{"escaped letter", to("/mcp/%72ec"), refused(404)},
	{"escaped twice", to("/mcp/%2572ec"), refused(404)},
	{"escaped slash", to("/mcp%2frec"), refused(404)},
	{"escaped NUL", to("/mcp/rec%00"), refused(404)},
	{"escaped line end", to("/mcp/rec%0d%0aX:y"), refused(404)},
	{"broken escape", to("/mcp/rec%zz"), refused(400, 404)},
	{"two slashes", to("/mcp//rec"), refused(404)},
	{"two slashes first", to("//mcp/rec"), refused(404)},
	{"backslash", to("/mcp\\rec"), refused(404)},
	{"semicolon", to("/mcp/rec;x=y"), refused(404)},
	{"fragment", to("/mcp/rec#x"), refused(400, 404)},
	{"capitals", to("/MCP/rec"), refused(404)},
	{"server in capitals", to("/mcp/REC"), told},
	{"full-width slash", to("/mcp\uff0frec"), refused(400, 404)},
	{"high byte", to("/mcp/rec\xff"), refused(400, 404)},
	{"overlong slash", to("/mcp\xc0\xafrec"), refused(400, 404)},
	{"NUL", to("/mcp/rec\x00"), breaks(400, 404)},
	{"tab", to("/mcp/rec\tx"), breaks(400, 404)},
	{"space", to("/mcp/rec x"), breaks(400)},
	{"CR", to("/mcp/rec\rx"), breaks(400, 404)},
	{"no slash", to("mcp/rec"), refused(400, 404)},
	{"nothing", to(""), breaks(400)},
	{"a star", to("*"), refused(400, 404)},
	{"a host and a port", to("localhost:80"), refused(400, 404)},
	{"absolute, our host", to("http://localhost/mcp/rec"), refused(400, 404)},
	{"absolute, another host", to("http://evil.example/mcp/rec"), refused(400, 404)},
	{"absolute, our address", to("http://$ADDR/mcp/rec"), refused(400, 404)},
	{"absolute, of an inner address", to("http://169.254.169.254/latest/meta-data/"), refused(400, 404)},
	{"absolute, file", to("file:///mcp/rec"), refused(400, 404)},
	{"absolute, no host", to("http:///mcp/rec"), refused(400, 404)},
	{"absolute, a user in it", to("http://localhost@evil.example/mcp/rec"), refused(400, 404)},
	{"a path beyond its bound", to("/mcp/" + strings.Repeat("a", 1000)), refused(404)},
	{"a target beyond the head's bound", to("/mcp/" + strings.Repeat("a", 100_000)), breaks(431)},
	{"the control port's path", to("/api/v1/keys"), refused(404)},
	{"an inner endpoint", to("/debug/pprof/heap"), refused(404)},
}

// protocols are frames of other versions and protocols, and requests to change to one. The data port speaks HTTP/1.1 and
// HTTP/1.0 alone, so that rapid resets, CONTINUATION floods and h2c smuggling have nothing to work on.
var protocols = []frame{
	{"HTTP/1.0", "POST /mcp/rec HTTP/1.0\r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL", good.closing()},
	{"HTTP/1.0 that is kept alive", "POST /mcp/rec HTTP/1.0\r\nConnection: keep-alive\r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL", good.closing()},
	{"HTTP/0.9", "GET /mcp/rec\r\n\r\n", breaks(400)},
	{"HTTP/1.2", "POST /mcp/rec HTTP/1.2\r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL", breaks(400, 505)},
	{"HTTP/2.0", "POST /mcp/rec HTTP/2.0\r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL", breaks(400, 505)},
	{"HTTP/3", "POST /mcp/rec HTTP/3\r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL", breaks(400, 505)},
	{"HTTP/01.1", "POST /mcp/rec HTTP/01.1\r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL", breaks(400, 505)},
	{"HTTP/1.10", "POST /mcp/rec HTTP/1.10\r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL", breaks(400, 505)},
	{"version in small letters", "POST /mcp/rec http/1.1\r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL", breaks(400)},
	{"version of another protocol", "POST /mcp/rec ICAP/1.0\r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL", breaks(400)},
	{"version with a space behind it", "POST /mcp/rec HTTP/1.1 \r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL", breaks(400)},
	{"two spaces in the request line", "POST  /mcp/rec HTTP/1.1\r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL", breaks(400)},
	{"a tab in the request line", "POST\t/mcp/rec HTTP/1.1\r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL", breaks(400)},
	{"a space before the method", " POST /mcp/rec HTTP/1.1\r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL", breaks(400)},
	{"method in small letters", "post /mcp/rec HTTP/1.1\r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL", refused(400, 405)},
	{"method of another protocol", "TRACE /mcp/rec HTTP/1.1\r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL", refused(400, 405)},
	{"method with a control byte", "PO\x01ST /mcp/rec HTTP/1.1\r\n$HEADContent-Length: $SIZE\r\n\r\n$CALL", breaks(400, 405)},
	{"method overridden", "GET /mcp/rec HTTP/1.1\r\n$HEADX-HTTP-Method-Override: POST\r\nContent-Length: $SIZE\r\n\r\n$CALL", refused(405)},
	{"CONNECT", "CONNECT 127.0.0.1:22 HTTP/1.1\r\n$HEAD\r\n", refused(400, 404, 405)},
	{"h2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", breaks(400, 505)},
	{"h2c upgrade", with("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"), good.closing()},
	{"websocket upgrade", with("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), good.closing()},
	{"TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", breaks(400)},
	{"SSH", "SSH-2.0-OpenSSH_9.6\r\n\r\n", breaks(400)},
	{"PROXY protocol", "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + with(""), breaks(400)},
	{"nothing but NULs", strings.Repeat("\x00", 100) + "\r\n\r\n", breaks(400)},
	{"100-continue with its body", with("Expect: 100-continue\r\n"), good},
	{"100-continue in capitals", with("Expect: 100-CONTINUE\r\n"), good},
	{"another expectation", with("Expect: 200-ok\r\n"), breaks(400)},
	{"100-continue hidden behind a word", with("Expect: y 100-continue\r\n"), breaks(400)},
	{"two expectations", with("Expect: 100-continue\r\nExpect: 100-continue\r\n"), breaks(400)},
	{"100-continue without a key", "POST /mcp/rec HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: $SIZE\r\n\r\n$CALL", refused(401)},
}
