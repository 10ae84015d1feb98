package immunity_test

import "strings"

const chunked = post + "Transfer-Encoding: chunked\r\n\r\n"

// codings are frames about Transfer-Encoding and the form of chunks (RFC 9112 6.1 and 7.1; TE.TE smuggling, and the
// parsers that took LF, signs or spaces in chunk sizes).
var codings = []frame{
	{"chunked call", chunked + "$CALLHEX\r\n$CALL\r\n0\r\n\r\n", good},
	{"chunked, in capitals", post + "TRANSFER-ENCODING: CHUNKED\r\n\r\n$CALLHEX\r\n$CALL\r\n0\r\n\r\n", good},
	{"chunked, size with leading noughts", chunked + "0000$CALLHEX\r\n$CALL\r\n0\r\n\r\n", good},
	{"chunked, last chunk of several noughts", chunked + "$CALLHEX\r\n$CALL\r\n000\r\n\r\n", good},
	{"chunked in two pieces", chunked + "1\r\n{\r\n1\r\n \r\n50\r\n\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"act\",\"arguments\":\r\nc\r\n{\"n\":$N}\r\n2\r\n}}\r\n0\r\n\r\n", good},
	{"chunked with an extension", chunked + "$CALLHEX;a=b\r\n$CALL\r\n0\r\n\r\n", good},
	{"chunked, last chunk with an extension", chunked + "$CALLHEX\r\n$CALL\r\n0;a=b\r\n\r\n", good},
	{"chunk extension with LF", chunked + "$CALLHEX;a\nb\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"chunk extension with CR", chunked + "$CALLHEX;a\rb\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"chunk extension with NUL", chunked + "$CALLHEX;a\x00b\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"chunk extension beyond the bound", chunked + "$CALLHEX;" + strings.Repeat("a", 20000) + "\r\n$CALL\r\n0\r\n\r\n", breaks(400, 413, 431)},
	{"chunk extension that hides a request", chunked + "$CALLHEX;a=\"\r\n$CALL\r\n0\r\n\r\n$EVIL\"", sees("$ARGS", `{"n":666}`).closing()},
	{"chunk size with a plus", chunked + "+$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"chunk size with a minus", chunked + "-$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"chunk size with 0x", chunked + "0x$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"chunk size with an underscore", chunked + "0_$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"chunk size with a space before it", chunked + " $CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"chunk size with a space after it", chunked + "$CALLHEX \r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"chunk size with a tab after it", chunked + "$CALLHEX\t\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"chunk size of another letter", chunked + "g\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"chunk size empty", chunked + "\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"chunk size beyond 32 bits", chunked + "100000003\r\n$CALL\r\n0\r\n\r\n", breaks(400, 413)},
	{"chunk size beyond 64 bits", chunked + "10000000000000003\r\n$CALL\r\n0\r\n\r\n", breaks(400, 413)},
	{"chunk size of all bits", chunked + "ffffffffffffffff\r\n$CALL\r\n0\r\n\r\n", breaks(400, 413)},
	{"chunk size ended by LF", chunked + "$CALLHEX\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"chunk size ended by CR", chunked + "$CALLHEX\r$CALL\r\n0\r\n\r\n", breaks(400)},
	{"chunk data ended by LF", chunked + "$CALLHEX\r\n$CALL\n0\r\n\r\n", breaks(400)},
	{"chunk data ended by two bytes of another kind", chunked + "$CALLHEX\r\n$CALLxx0\r\n\r\n", breaks(400)},
	{"chunk longer than its size", chunked + "5\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"chunk shorter than its size", chunked + "ff\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"last chunk ended by LF", chunked + "$CALLHEX\r\n$CALL\r\n0\n\n", breaks(400)},
	{"no end after the last chunk", chunked + "$CALLHEX\r\n$CALL\r\n0\r\n$EVIL", breaks(400)},
	{"chunks that never end", chunked + "$CALLHEX\r\n$CALL\r\n", breaks(408)},
	{"chunks beyond the bound of a body", chunked + "100001\r\n" + strings.Repeat("x", 1<<20+1) + "\r\n0\r\n\r\n", breaks(413)},
	{"many chunks of one byte, and not JSON", chunked + strings.Repeat("1\r\nx\r\n", 5000) + "0\r\n\r\n", refused(400)},
	{"trailer with content-length", chunked + "$CALLHEX\r\n$CALL\r\n0\r\nContent-Length: 5\r\n\r\n", breaks(400)},
	{"trailer with transfer-encoding", chunked + "$CALLHEX\r\n$CALL\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", breaks(400)},
	{"trailer with another key", chunked + "$CALLHEX\r\n$CALL\r\n0\r\nAuthorization: Bearer $KEYB\r\n\r\n", breaks(400)},
	{"trailer with another X-API-Key", chunked + "$CALLHEX\r\n$CALL\r\n0\r\nX-API-Key: $KEYB\r\n\r\n", good},
	{"trailer with another host", chunked + "$CALLHEX\r\n$CALL\r\n0\r\nHost: evil.example\r\n\r\n", breaks(400)},
	{"trailer with another intent", chunked + "$CALLHEX\r\n$CALL\r\n0\r\nGatewright-Intent: $TOKENB\r\n\r\n", good},
	{"trailer with another tool in Mcp-Name", chunked + "$CALLHEX\r\n$CALL\r\n0\r\nMcp-Name: aim\r\nMcp-Method: ping\r\n\r\n", good},
	{"trailer with an organisation", chunked + "$CALLHEX\r\n$CALL\r\n0\r\nX-Organization-Id: other\r\n\r\n", good},
	{"trailer that is only announced", post + "Trailer: Authorization\r\nTransfer-Encoding: chunked\r\n\r\n$CALLHEX\r\n$CALL\r\n0\r\n\r\n", good},
	{"trailer that is folded", chunked + "$CALLHEX\r\n$CALL\r\n0\r\nX-A: b\r\n c\r\n\r\n", breaks(400)},
	{"trailer without a name", chunked + "$CALLHEX\r\n$CALL\r\n0\r\n: b\r\n\r\n", breaks(400)},
	{"trailer without a colon", chunked + "$CALLHEX\r\n$CALL\r\n0\r\nnonsense\r\n\r\n", breaks(400)},
	{"transfer-encoding twice", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"transfer-encoding chunked and identity", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"transfer-encoding identity", post + "Transfer-Encoding: identity\r\nContent-Length: $SIZE\r\n\r\n$CALL", breaks(400)},
	{"transfer-encoding chunked, chunked", post + "Transfer-Encoding: chunked, chunked\r\n\r\n$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"transfer-encoding gzip, chunked", post + "Transfer-Encoding: gzip, chunked\r\n\r\n$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"transfer-encoding chunked, identity", post + "Transfer-Encoding: chunked, identity\r\n\r\n$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"transfer-encoding chunked;q=1", post + "Transfer-Encoding: chunked;q=1\r\n\r\n$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"transfer-encoding xchunked", post + "Transfer-Encoding: xchunked\r\n\r\n$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"transfer-encoding chunked with a comma", post + "Transfer-Encoding: chunked,\r\n\r\n$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"transfer-encoding with a vertical tab", post + "Transfer-Encoding: \vchunked\r\n\r\n$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"transfer-encoding in quotes", post + "Transfer-Encoding: \"chunked\"\r\n\r\n$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"transfer-encoding empty", post + "Transfer-Encoding: \r\nContent-Length: $SIZE\r\n\r\n$CALL", breaks(400)},
	{"transfer-encoding with a Kelvin sign", post + "Transfer-Encoding: chun\u212aed\r\n\r\n$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"transfer-encoding on a folded line", post + "Transfer-Encoding:\r\n chunked\r\n\r\n$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"transfer-encoding with a space before the colon", post + "Transfer-Encoding : chunked\r\n\r\n$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"transfer-encoding behind a bare CR", post + "X-A: b\rTransfer-Encoding: chunked\r\nContent-Length: $SIZE\r\n\r\n$CALL", breaks(400)},
	{"transfer-encoding behind a bare LF", post + "X-A: b\nTransfer-Encoding: chunked\r\nContent-Length: $CALLSIZE\r\n\r\n$CALL", breaks(400)},
	{"transfer_encoding is another header", post + "Transfer_Encoding: chunked\r\nContent-Length: $SIZE\r\n\r\n$CALL", good},
	{"transfer-encoding on HTTP/1.0", "POST /mcp/rec HTTP/1.0\r\n$HEADTransfer-Encoding: chunked\r\n\r\n$CALLHEX\r\n$CALL\r\n0\r\n\r\n", breaks(400)},
	{"te: trailers is for the answer", with("TE: trailers, chunked\r\n"), good},
}

// closing is v of a frame behind which the connection may be closed.
func (v verdict) closing() verdict {
	v.closes = true
	return v
}
