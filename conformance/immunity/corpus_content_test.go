package immunity_test

import "strings"

// of is a good call of another content type, with further header lines.
func of(contentType, lines string) string {
	return "POST /mcp/rec HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer $KEY\r\nGatewright-Intent: $TOKEN\r\n" + contentType + lines + "Content-Length: $SIZE\r\n\r\n$CALL"
}

// args is a good call with these arguments.
func args(a string) string {
	return body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":` + a + `}}`)
}

// contents are frames about how a body is to be read: its type, coding and character set. JSON has no character set to
// choose (RFC 8259 11): it is read as UTF-8, and goes on without one, whatever the header says.
var contents = []frame{
	{"charset utf-8", of("Content-Type: application/json; charset=utf-8\r\n", ""), good},
	{"type in capitals", of("Content-Type: APPLICATION/JSON\r\n", ""), good},
	{"charset utf-16", of("Content-Type: application/json; charset=utf-16\r\n", ""), good},
	{"charset utf-7", of("Content-Type: application/json; charset=utf-7\r\n", ""), good},
	{"charset iso-8859-1", of("Content-Type: application/json; charset=iso-8859-1\r\n", ""), good},
	{"two charsets", of("Content-Type: application/json; charset=utf-8; charset=utf-16\r\n", ""), good},
	{"no type", of("", ""), refused(415)},
	{"empty type", of("Content-Type:\r\n", ""), refused(415)},
	{"plain text", of("Content-Type: text/plain\r\n", ""), refused(415)},
	{"form", of("Content-Type: application/x-www-form-urlencoded\r\n", ""), refused(415)},
	{"multipart form", of("Content-Type: multipart/form-data; boundary=x\r\n", ""), refused(415)},
	{"type list", of("Content-Type: application/json, text/plain\r\n", ""), refused(415)},
	{"type with a suffix", of("Content-Type: application/vnd.x+json\r\n", ""), refused(415)},
	{"type that begins like ours", of("Content-Type: application/jsonp\r\n", ""), refused(415)},
	{"coded as identity", with("Content-Encoding: identity\r\n"), good},
	{"coded as gzip, and is not", with("Content-Encoding: gzip\r\n"), refused(400)},
	{"coded as gzip, and is", post + "Content-Encoding: gzip\r\nContent-Length: $SIZE\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00", refused(400)},
	{"gzip without saying so", body("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"), refused(400)},
	{"coded as deflate", with("Content-Encoding: deflate\r\n"), refused(400)},
	{"coded as br", with("Content-Encoding: br\r\n"), refused(400)},
	{"coded twice", with("Content-Encoding: identity, gzip\r\n"), refused(400)},
	{"two codings", with("Content-Encoding: identity\r\nContent-Encoding: gzip\r\n"), breaks(400)},
	{"a range of a body", with("Content-Range: bytes 0-5/100\r\n"), good},
}

// documents are frames whose body is no strict JSON (RFC 8259, I-JSON): what one parser takes and another does not, or in
// another sense (agentgateway's bodies that were judged cut off; CVE-2026-27896).
var documents = []frame{
	{"empty body", body(""), refused(400)},
	{"cut off", body(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"act","arguments":{"n":1}}`), refused(400)},
	{"byte order mark", body("\xef\xbb\xbf$CALL"), refused(400)},
	{"byte order mark inside", args("{\xef\xbb\xbf\"n\":1}"), refused(400)},
	{"UTF-16", body("{\x00\"\x00n\x00\"\x00:\x001\x00}\x00"), refused(400)},
	{"NUL behind it", body("$CALL\x00"), refused(400)},
	{"a second document", body("$CALL{}"), refused(400)},
	{"a second call on a new line", body("$CALL\n$CALL"), refused(400)},
	{"text behind it", body("$CALL x"), refused(400)},
	{"blanks around it", body(" \t\r\n$CALL \t\r\n"), good},
	{"form feed around it", body("\f$CALL"), refused(400)},
	{"no-break space around it", body("\u00a0$CALL"), refused(400)},
	{"comment", args(`{"n":1/*,"n":2*/}`), refused(400)},
	{"line comment", args("{\"n\":1//\n}"), refused(400)},
	{"comma at the end", args(`{"n":1,}`), refused(400)},
	{"two commas", args(`{"n":1,,"s":"a"}`), refused(400)},
	{"single quotes", args(`{'n':1}`), refused(400)},
	{"name without quotes", args(`{n:1}`), refused(400)},
	{"name that is a number", args(`{1:1}`), refused(400)},
	{"argument twice", args(`{"n":1,"n":2}`), refused(400)},
	{"argument twice, once escaped", args(`{"n":1,"\u006e":2}`), refused(400)},
	{"argument twice, deep", args(`{"x":[{"a":{"b":1,"b":2}}]}`), refused(400)},
	{"argument twice, equal values", args(`{"n":1,"n":1}`), refused(400)},
	{"empty name twice", args(`{"":1,"":2}`), refused(400)},
	{"invalid UTF-8", args("{\"s\":\"\xff\"}"), refused(400)},
	{"invalid UTF-8 in a name", args("{\"\xff\":1}"), refused(400)},
	{"overlong UTF-8", args("{\"s\":\"\xc0\xaf\"}"), refused(400)},
	{"surrogate as UTF-8", args("{\"s\":\"\xed\xa0\x80\"}"), refused(400)},
	{"beyond Unicode", args("{\"s\":\"\xf4\x90\x80\x80\"}"), refused(400)},
	{"cut UTF-8", args("{\"s\":\"\xe2\x82\"}"), refused(400)},
	{"lone high surrogate", args(`{"s":"\ud800"}`), refused(400)},
	{"lone low surrogate", args(`{"s":"\udc00"}`), refused(400)},
	{"surrogates the wrong way round", args(`{"s":"\udc00\ud800"}`), refused(400)},
	{"control byte in a string", args("{\"s\":\"a\nb\"}"), refused(400)},
	{"NUL in a string", args("{\"s\":\"a\x00b\"}"), refused(400)},
	{"unknown escape", args(`{"s":"\x41"}`), refused(400)},
	{"capital U escape", args(`{"s":"\U0041"}`), refused(400)},
	{"leading nought", args(`{"n":01}`), refused(400)},
	{"plus", args(`{"n":+1}`), refused(400)},
	{"point first", args(`{"x":.5}`), refused(400)},
	{"point last", args(`{"x":1.}`), refused(400)},
	{"hex number", args(`{"n":0x10}`), refused(400)},
	{"NaN", args(`{"x":NaN}`), refused(400)},
	{"Infinity", args(`{"x":-Infinity}`), refused(400)},
	{"number beyond a double", args(`{"x":1e400}`), refused(400)},
	{"integer beyond 2^53", args(`{"n":9007199254740993}`), refused(400)},
	{"True in capitals", args(`{"x":True}`), refused(400)},
	{"undefined", args(`{"x":undefined}`), refused(400)},
	{"nested beyond the bound", args(strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)), refused(400)},
	{"brackets without end", body(strings.Repeat("[", 500_000)), refused(400)},
	{"more values than the bound", args(`{"x":[` + strings.Repeat("0,", 200_000) + `0]}`), refused(400)},
}

// arguments are calls whose arguments are read in one way only, and must arrive as they were spelled.
var arguments = []frame{
	{"spelled with blanks", args(`{ "n" : $N , "s":"a" }`), sees(`{ "n" : $N , "s":"a" }`)},
	{"escapes stay escapes", args(`{"n":$N,"s":"\u0041\/\ud83d\ude00"}`), sees(`{"n":$N,"s":"\u0041\/\ud83d\ude00"}`)},
	{"escaped name stays escaped", args(`{"\u006e":$N}`), sees(`{"\u006e":$N}`)},
	{"names that differ in case", args(`{"n":$N,"N":2}`), sees(`{"n":$N,"N":2}`)},
	{"names that fold to one", args("{\"n\":$N,\"s\":\"a\",\"\u017f\":2,\"k\":1,\"\u212a\":2}"), sees("{\"n\":$N,\"s\":\"a\",\"\u017f\":2,\"k\":1,\"\u212a\":2}")},
	{"names that are one in NFC", args("{\"n\":$N,\"\u00e9\":1,\"e\u0301\":2}"), sees("{\"n\":$N,\"\u00e9\":1,\"e\u0301\":2}")},
	{"integer with an exponent", args(`{"n":1e2}`), sees(`{"n":1e2}`)},
	{"argument of negative nought", args(`{"n":-0}`), sees(`{"n":-0}`)},
	{"members called like the envelope's", args(`{"n":$N,"name":"aim","arguments":{},"method":"ping","params":{}}`), sees(`{"n":$N,"name":"aim","arguments":{},"method":"ping","params":{}}`)},
	{"member __proto__", args(`{"n":$N,"__proto__":{"admin":true}}`), sees(`{"n":$N,"__proto__":{"admin":true}}`)},
	{"line ends in a string", args(`{"n":$N,"s":"\r\nAuthorization: x\r\n\r\n"}`), sees(`{"n":$N,"s":"\r\nAuthorization: x\r\n\r\n"}`)},
	{"NUL escaped in a string", args(`{"n":$N,"s":"a\u0000b"}`), sees(`{"n":$N,"s":"a\u0000b"}`)},
	{"line separators in a string", args("{\"n\":$N,\"s\":\"\u2028\u2029\"}"), sees("{\"n\":$N,\"s\":\"\u2028\u2029\"}")},
	{"a request in a string", args(`{"n":$N,"s":"POST /mcp HTTP/1.1\r\nHost: x\r\n\r\n"}`), sees(`{"n":$N,"s":"POST /mcp HTTP/1.1\r\nHost: x\r\n\r\n"}`)},
	{"argument of another type", args(`{"n":"1"}`), told},
	{"arguments a list", args(`[1]`), refused(400)},
	{"arguments a string", args(`"{\"n\":1}"`), refused(400)},
	{"arguments null", args(`null`), refused(400)},
}
