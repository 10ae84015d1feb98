package immunity_test

import (
	"encoding/base64"
	"strings"
)

// b64 is a header's value in the sentinel form of MCP 2026-07-28.
func b64(s string) string { return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?=" }

// envelopes are frames about the JSON-RPC message: members in another case or twice, batches, ids. encoding/json takes
// members in any case, with U+017F for s and U+212A for k, and the last of two (CVE-2026-27896): so does the recording
// server, and must not see what was not judged.
var envelopes = []frame{
	{"method twice", body(`{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"act","arguments":{"n":666}}}`), refused(400)},
	{"method twice, once escaped", body(`{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call","params":{"name":"act","arguments":{"n":666}}}`), refused(400)},
	{"params twice", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":{"n":1}},"params":{"name":"aim","arguments":{"n":666}}}`), refused(400)},
	{"tool twice", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","name":"aim","arguments":{"n":1}}}`), refused(400)},
	{"arguments twice", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":{"n":1},"arguments":{"n":666}}}`), refused(400)},
	{"id twice", body(`{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/call","params":{"name":"act","arguments":{"n":1}}}`), refused(400)},
	{"Method beside method", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","Method":"ping","params":{"name":"act","arguments":$ARGS}}`), good},
	{"Params beside params", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":$ARGS},"Params":{"name":"aim","arguments":{"smuggled":1}}}`), good},
	{"params with U+017F beside params", body("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"act\",\"arguments\":$ARGS},\"param\u017f\":{\"name\":\"aim\",\"arguments\":{\"smuggled\":1}}}"), good},
	{"NAME beside name", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","NAME":"aim","arguments":$ARGS}}`), good},
	{"argument\u017f beside arguments", body("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"act\",\"arguments\":$ARGS,\"argument\u017f\":{\"smuggled\":1}}}"), good},
	{"Arguments beside arguments", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":$ARGS,"Arguments":{"smuggled":1}}}`), good},
	{"method in capitals alone", body(`{"jsonrpc":"2.0","id":1,"METHOD":"tools/call","params":{"name":"act","arguments":{"n":1}}}`), refused(400)},
	{"params with U+017F alone", body("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"param\u017f\":{\"name\":\"act\",\"arguments\":{\"n\":1}}}"), refused(400)},
	{"name in capitals alone", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"act","arguments":{"n":1}}}`), refused(400)},
	{"jsonrpc in capitals", body(`{"JSONRPC":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":{"n":1}}}`), refused(400)},
	{"tool with U+017F or U+212A", body("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tool\u017f/call\",\"params\":{\"name\":\"act\",\"arguments\":{\"n\":1}}}"), told},
	{"method in another case", body(`{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"act","arguments":{"n":1}}}`), told},
	{"method with a blank", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call ","params":{"name":"act","arguments":{"n":1}}}`), told},
	{"method with an escape", body(`{"jsonrpc":"2.0","id":1,"method":"tools\/call","params":{"name":"act","arguments":$ARGS}}`), good},
	{"method too long", body(`{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("x", 10_000) + `"}`), refused(400)},
	{"method a number", body(`{"jsonrpc":"2.0","id":1,"method":1}`), refused(400)},
	{"tool in another case", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"Act","arguments":{"n":1}}}`), told},
	{"tool with a NUL", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act\u0000","arguments":{"n":1}}}`), told},
	{"tool with a blank", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":" act","arguments":{"n":1}}}`), told},
	{"tool with a Cyrillic a", body("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"\u0430ct\",\"arguments\":{\"n\":1}}}"), told},
	{"tool with its server before it", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rec__act","arguments":{"n":1}}}`), told},
	{"tool with an escape", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\u0061ct","arguments":$ARGS}}`), good},
	{"tool of another server by prefix", "POST /mcp HTTP/1.1\r\n$HEADContent-Length: $SIZE\r\n\r\n" + `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"demo__rec__act","arguments":{"n":1}}}`, told},
	{"tool with its server, on /mcp", "POST /mcp HTTP/1.1\r\n$HEADContent-Length: $SIZE\r\n\r\n" + `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rec__act","arguments":$ARGS}}`, good},
	{"tool with its server twice, on /mcp", "POST /mcp HTTP/1.1\r\n$HEADContent-Length: $SIZE\r\n\r\n" + `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rec__rec__act","arguments":{"n":1}}}`, told},
	{"tool a number", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":1,"arguments":{"n":1}}}`), refused(400)},
	{"tool null", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":null,"arguments":{"n":1}}}`), refused(400)},
	{"no tool", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"n":1}}}`), refused(400)},
	{"batch of one", body(`[$CALL]`), refused(400)},
	{"batch of two", body(`[$CALL,$CALL]`), refused(400)},
	{"empty batch", body(`[]`), refused(400)},
	{"a string", body(`"tools/call"`), refused(400)},
	{"null", body(`null`), refused(400)},
	{"params a list", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["act",{"n":1}]}`), refused(400)},
	{"params null", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":null}`), refused(400)},
	{"version 1.0", body(`{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{"name":"act","arguments":{"n":1}}}`), refused(400)},
	{"version a number", body(`{"jsonrpc":2.0,"id":1,"method":"tools/call","params":{"name":"act","arguments":{"n":1}}}`), refused(400)},
	{"no version", body(`{"id":1,"method":"tools/call","params":{"name":"act","arguments":{"n":1}}}`), refused(400)},
	{"a call without id", body(`{"jsonrpc":"2.0","method":"tools/call","params":{"name":"act","arguments":{"n":1}}}`), refused(400)},
	{"id null", body(`{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"act","arguments":{"n":1}}}`), refused(400)},
	{"id a fraction", body(`{"jsonrpc":"2.0","id":1.5,"method":"tools/call","params":{"name":"act","arguments":{"n":1}}}`), refused(400)},
	{"id with an exponent", body(`{"jsonrpc":"2.0","id":1e0,"method":"tools/call","params":{"name":"act","arguments":{"n":1}}}`), refused(400)},
	{"id true", body(`{"jsonrpc":"2.0","id":true,"method":"tools/call","params":{"name":"act","arguments":{"n":1}}}`), refused(400)},
	{"id a list", body(`{"jsonrpc":"2.0","id":[1],"method":"tools/call","params":{"name":"act","arguments":{"n":1}}}`), refused(400)},
	{"id beyond 2^53", body(`{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"act","arguments":{"n":1}}}`), refused(400)},
	{"id of 10,000 bytes", body(`{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 10_000) + `","method":"tools/call","params":{"name":"act","arguments":{"n":1}}}`), refused(400)},
	{"id that looks like another message", body(`{"jsonrpc":"2.0","id":"\",\"method\":\"smuggled\"","method":"tools/call","params":{"name":"act","arguments":$ARGS}}`), good},
	{"an answer to nobody's question", body(`{"jsonrpc":"2.0","id":1,"result":{"smuggled":true}}`), refused(400, 404)},
	{"an answer and a call in one", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":{"n":1}},"result":{}}`), refused(400)},
	{"unknown members", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":$ARGS,"smuggled":1},"smuggled":{"x":1}}`), good},
	{"cancel of nobody's call", body(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"smuggled"}}`), refused(202)},
}

const modernHead = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\n"

// modern is a well-framed call of the newer protocol with these header lines beside the required ones.
func modern(lines string) string {
	return post + modernHead + lines + "Content-Length: $SIZE\r\n\r\n$MODERN"
}

// aim is a call of the tool that has an argument mirrored, of the newer protocol.
func aim(lines, args string) string {
	return post + modernHead + "Mcp-Name: aim\r\n" + lines + "Content-Length: $SIZE\r\n\r\n" +
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"aim","arguments":` + args + `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
}

// aimed is the verdict on a good call of it.
func aimed(args string) verdict { return verdict{tool: "aim", sees: []string{args}} }

const eu = `{"n":$N,"region":"eu"}`

// mirrors are frames whose headers repeat what the body says, or do not (MCP 2026-07-28: whoever trusts Mcp-Method or
// Mcp-Name without holding them against the body judges another call than it forwards; zentinel 443).
var mirrors = []frame{
	{"modern call", modern("Mcp-Name: act\r\n"), good},
	{"name in base64", modern("Mcp-Name: " + b64("act") + "\r\n"), good},
	{"header names in small letters", post + "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: act\r\nContent-Length: $SIZE\r\n\r\n$MODERN", good},
	{"no name", modern(""), refused(400)},
	{"empty name header", modern("Mcp-Name:\r\n"), refused(400)},
	{"another name", modern("Mcp-Name: aim\r\n"), refused(400)},
	{"name in capitals", modern("Mcp-Name: ACT\r\n"), refused(400)},
	{"two names", modern("Mcp-Name: act\r\nMcp-Name: aim\r\n"), breaks(400)},
	{"name list", modern("Mcp-Name: act, aim\r\n"), refused(400)},
	{"another name in base64", modern("Mcp-Name: " + b64("aim") + "\r\n"), refused(400)},
	{"base64 of base64", modern("Mcp-Name: " + b64(b64("act")) + "\r\n"), refused(400)},
	{"base64 sentinel in capitals", modern("Mcp-Name: =?BASE64?YWN0?=\r\n"), refused(400)},
	{"base64 without its end", modern("Mcp-Name: =?base64?YWN0\r\n"), refused(400)},
	{"base64 that is none", modern("Mcp-Name: =?base64?!!!!?=\r\n"), refused(400)},
	{"base64 with a blank", modern("Mcp-Name: =?base64?YW N0?=\r\n"), refused(400)},
	{"base64 with bits to spare", modern("Mcp-Name: =?base64?YWN0AB==?=\r\n"), refused(400)},
	{"base64 of another alphabet", post + modernHead + "Mcp-Name: =?base64?_-8?=\r\nContent-Length: $SIZE\r\n\r\n$MODERN", refused(400)},
	{"base64 of nothing", modern("Mcp-Name: =?base64??=\r\n"), refused(400)},
	{"MIME's base64", modern("Mcp-Name: =?utf-8?b?YWN0?=\r\n"), refused(400)},
	{"percent-encoded name", modern("Mcp-Name: %61ct\r\n"), refused(400)},
	{"another method", post + "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/list\r\nMcp-Name: act\r\nContent-Length: $SIZE\r\n\r\n$MODERN", refused(400)},
	{"no method header", post + "MCP-Protocol-Version: 2026-07-28\r\nMcp-Name: act\r\nContent-Length: $SIZE\r\n\r\n$MODERN", refused(400)},
	{"two methods", post + "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Method: ping\r\nMcp-Name: act\r\nContent-Length: $SIZE\r\n\r\n$MODERN", breaks(400)},
	{"method header in base64", post + "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: " + b64("tools/call") + "\r\nMcp-Name: act\r\nContent-Length: $SIZE\r\n\r\n$MODERN", refused(400)},
	{"no version header", post + "Mcp-Method: tools/call\r\nMcp-Name: act\r\nContent-Length: $SIZE\r\n\r\n$MODERN", refused(400)},
	{"version header of the older era", post + "MCP-Protocol-Version: 2025-11-25\r\nMcp-Method: tools/call\r\nMcp-Name: act\r\nContent-Length: $SIZE\r\n\r\n$MODERN", refused(400)},
	{"two versions", modern("Mcp-Name: act\r\nMCP-Protocol-Version: 2025-11-25\r\n"), breaks(400)},
	{"modern headers and a body of the older era", post + modernHead + "Mcp-Name: act\r\nContent-Length: $SIZE\r\n\r\n$CALL", refused(400)},
	{"a version nobody speaks", post + "MCP-Protocol-Version: 2027-01-01\r\nContent-Length: $SIZE\r\n\r\n$CALL", refused(400)},
	{"older call, another name in the header", with("Mcp-Name: aim\r\n"), refused(400)},
	{"older call, another method in the header", with("Mcp-Method: ping\r\n"), refused(400)},
	{"older call, the right name in the header", with("Mcp-Method: tools/call\r\nMcp-Name: act\r\n"), good},
	{"argument mirrored", aim("Mcp-Param-Region: eu\r\n", eu), aimed(eu)},
	{"argument mirrored in base64", aim("Mcp-Param-Region: "+b64("eu")+"\r\n", eu), aimed(eu)},
	{"argument not mirrored", aim("", eu), refused(400)},
	{"argument mirrored otherwise", aim("Mcp-Param-Region: us\r\n", eu), refused(400)},
	{"argument mirrored in capitals", aim("Mcp-Param-Region: EU\r\n", eu), refused(400)},
	{"argument mirrored twice", aim("Mcp-Param-Region: eu\r\nMcp-Param-Region: us\r\n", eu), refused(400)},
	{"argument mirrored twice, equal", aim("Mcp-Param-Region: eu\r\nMCP-PARAM-REGION: eu\r\n", eu), refused(400)},
	{"argument mirrored otherwise in base64", aim("Mcp-Param-Region: "+b64("us")+"\r\n", eu), refused(400)},
	{"argument that no schema mirrors", aim("Mcp-Param-Region: eu\r\nMcp-Param-N: 666\r\n", eu), refused(400)},
	{"argument in UTF-8 mirrored in base64", aim("Mcp-Param-Region: "+b64("\u00e9u")+"\r\n", "{\"n\":$N,\"region\":\"\u00e9u\"}"), aimed("{\"n\":$N,\"region\":\"\u00e9u\"}")},
	{"argument in NFD mirrored in NFC", aim("Mcp-Param-Region: "+b64("\u00e9u")+"\r\n", "{\"n\":$N,\"region\":\"e\u0301u\"}"), refused(400)},
	{"argument that looks like a sentinel", aim("Mcp-Param-Region: "+b64(b64("eu"))+"\r\n", `{"n":$N,"region":"`+b64("eu")+`"}`), aimed(`{"n":$N,"region":"` + b64("eu") + `"}`)},
	{"argument with a line end", aim("Mcp-Param-Region: "+b64("eu\r\nX-A: b")+"\r\n", `{"n":$N,"region":"eu\r\nX-A: b"}`), aimed(`{"n":$N,"region":"eu\r\nX-A: b"}`)},
	{"token in _meta that is not the header's", post + "Content-Length: $SIZE\r\n\r\n" + `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":{"n":1},"_meta":{"gatewright/intent":"$TOKENB"}}}`, refused(400)},
	{"token in _meta and the header", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":$ARGS,"_meta":{"gatewright/intent":"$TOKEN"}}}`), good},
	{"_meta twice", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":{"n":1},"_meta":{},"_meta":{}}}`), refused(400)},
	{"_meta a list", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":{"n":1},"_meta":[]}}`), refused(400)},
}
