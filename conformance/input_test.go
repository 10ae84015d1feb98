package conformance_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Bad input through the real data port: what cannot be read in one way only is refused, and the refusal is recorded.

func rpc(method, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params)
}

// unreadable are bodies that a caller with a valid credential and token may not get past.
var unreadable = map[string]string{
	"empty":                            "",
	"cut off":                          `{"jsonrpc":"2.0","id":1`,
	"trailing comma":                   `{"jsonrpc":"2.0","id":1,"method":"tools/list",}`,
	"trailing text":                    `{"jsonrpc":"2.0","id":1,"method":"tools/list"} {}`,
	"comment":                          `{"jsonrpc":"2.0","id":1,/**/"method":"tools/list"}`,
	"single quotes":                    `{'jsonrpc':'2.0','id':1,'method':'tools/list'}`,
	"byte order mark":                  "\xef\xbb\xbf" + `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`,
	"method twice":                     `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}`,
	"method twice, once escaped":       `{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/list"}`,
	"params twice":                     `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{},"params":{}}`,
	"tool name twice":                  rpc("tools/call", `{"name":"wait","name":"calculate","arguments":{}}`),
	"argument twice":                   message("calculate", `{"expression":"1","expression":"2"}`),
	"argument twice, deep":             message("calculate", `{"expression":"1","x":{"a":[{"b":1,"b":2}]}}`),
	"nested too deep":                  message("calculate", strings.Repeat(`{"a":`, 40)+"1"+strings.Repeat("}", 40)),
	"nested far too deep":              strings.Repeat("[", 200_000),
	"too many values":                  message("calculate", `{"a":[`+strings.Repeat("0,", 150_000)+`0]}`),
	"not UTF-8":                        message("calculate", "{\"expression\":\"\xff\xfe\"}"),
	"overlong UTF-8":                   message("calculate", "{\"expression\":\"\xc0\xaf\"}"),
	"UTF-8 surrogate":                  message("calculate", "{\"expression\":\"\xed\xa0\x80\"}"),
	"UTF-16":                           "\xff\xfe{\x00}\x00",
	"lone surrogate escape":            message("calculate", `{"expression":"\ud800"}`),
	"lone surrogate in a name":         message("calculate", `{"\udc00":1}`),
	"control character":                message("calculate", "{\"expression\":\"a\x00b\"}"),
	"number beyond double":             message("calculate", `{"a":1e400}`),
	"integer beyond 2^53":              message("calculate", `{"a":9007199254740993}`),
	"number that a double cannot hold": message("calculate", `{"a":0.1000000000000000055511151231257827}`),
	"NaN":                              message("calculate", `{"a":NaN}`),
	"leading zero":                     message("calculate", `{"a":01}`),
	"batch":                            `[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]`,
	"empty batch":                      `[]`,
	"a string":                         `"tools/list"`,
	"null":                             `null`,
	"version as number":                `{"jsonrpc":2.0,"id":1,"method":"tools/list"}`,
	"version 1.0":                      `{"jsonrpc":"1.0","id":1,"method":"tools/list"}`,
	"no version":                       `{"id":1,"method":"tools/list"}`,
	"version in capitals":              `{"JSONRPC":"2.0","id":1,"method":"tools/list"}`,
	"method in capitals":               `{"jsonrpc":"2.0","id":1,"Method":"tools/list"}`,
	"no method":                        `{"jsonrpc":"2.0","id":1}`, "method a number": `{"jsonrpc":"2.0","id":1,"method":7}`,
	"method null":               `{"jsonrpc":"2.0","id":1,"method":null}`,
	"method too long":           `{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("x", 200) + `"}`,
	"id null":                   `{"jsonrpc":"2.0","id":null,"method":"tools/list"}`,
	"id a fraction":             `{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}`,
	"id with an exponent":       `{"jsonrpc":"2.0","id":1e3,"method":"tools/list"}`,
	"id an object":              `{"jsonrpc":"2.0","id":{},"method":"tools/list"}`,
	"id a list":                 `{"jsonrpc":"2.0","id":[1],"method":"tools/list"}`,
	"id true":                   `{"jsonrpc":"2.0","id":true,"method":"tools/list"}`,
	"id too long":               `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 300) + `","method":"tools/list"}`,
	"id beyond 2^53":            `{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/list"}`,
	"request without id":        `{"jsonrpc":"2.0","method":"tools/list"}`,
	"call without id":           `{"jsonrpc":"2.0","method":"tools/call","params":{"name":"calculate","arguments":{"expression":"1"}}}`,
	"notification with id":      `{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}`,
	"an answer":                 `{"jsonrpc":"2.0","id":1,"result":{}}`,
	"answer and request in one": `{"jsonrpc":"2.0","id":1,"method":"tools/list","result":{}}`,
	"an error":                  `{"jsonrpc":"2.0","id":1,"method":"tools/list","error":{"code":1,"message":""}}`,
	"params a list":             rpc("tools/call", `["calculate"]`),
	"params a string":           rpc("tools/list", `"x"`),
	"params null":               rpc("tools/call", `null`),
	"no params":                 `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`,
	"no tool name":              rpc("tools/call", `{"arguments":{}}`),
	"tool name a number":        rpc("tools/call", `{"name":7}`),
	"tool name null":            rpc("tools/call", `{"name":null}`),
	"tool name empty":           rpc("tools/call", `{"name":""}`),
	"tool name too long":        rpc("tools/call", `{"name":"`+strings.Repeat("x", 2000)+`"}`),
	"tool name in capitals":     rpc("tools/call", `{"Name":"calculate","arguments":{"expression":"1"}}`),
	"arguments a list":          rpc("tools/call", `{"name":"calculate","arguments":["1"]}`),
	"arguments a string":        rpc("tools/call", `{"name":"calculate","arguments":"{\"expression\":\"1\"}"}`),
	"arguments null":            rpc("tools/call", `{"name":"calculate","arguments":null}`),
	"meta a list":               rpc("tools/list", `{"_meta":[]}`),
	"meta null":                 rpc("tools/list", `{"_meta":null}`),
	"intent in meta a number":   rpc("tools/list", `{"_meta":{"gatewright/intent":7}}`),
	"version in meta a number":  rpc("tools/list", `{"_meta":{"io.modelcontextprotocol/protocolVersion":20260728}}`),
}

func TestBodiesThatCannotBeReadInOneWayOnlyAreRefused(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a := g.newAgent(t)
	_, tok := a.planned(t, step("demo", "calculate", `{"expression":"1"}`, `"uses":0`))
	var ids []string
	for name, body := range unreadable {
		ans := send(t, "POST", g.URL+"/mcp/demo", bearer(a.key, tok.Token), body)
		if ans.Code != "malformed" || ans.Status != http.StatusBadRequest || ans.RPC == 0 || ans.Result != nil {
			t.Errorf("%s: %.300s", name, ans)
			continue
		}
		if ans.ID != "1" && ans.ID != "null" {
			t.Errorf("%s: answered under id %s", name, ans.ID)
		}
		ids = append(ids, ans.Record)
	}
	a.call(t, "demo", "calculate", `{"expression":"1"}`, tok.Token).ok(t)
	kept := map[string]record{}
	for _, r := range g.ledger(t, g.Admin()) {
		kept[r.ID] = r
	}
	for _, id := range ids {
		if r := kept[id]; r.Kind != "refused" || r.Agent != a.id || r.Code != "malformed" {
			t.Errorf("record %q: %s", id, r.Raw)
		}
	}
}

func TestABodyBeyondTheBoundIsRefused(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a := g.newAgent(t)
	for _, size := range []int{1<<20 + 1, 3 << 20} {
		ans, err := trySend("POST", g.URL+"/mcp/demo", bearer(a.key, ""), message("calculate", `{"expression":"`+strings.Repeat("1", size)+`"}`))
		if err == nil && (ans.Status != http.StatusRequestEntityTooLarge || ans.Code != "too_large") {
			t.Errorf("%d bytes: %.300s", size, ans)
		}
	}
	var ans answer
	for range 10 { // the gateway ends the connection before it has read the rest, and a client may find only that
		var err error
		ans, err = trySend("POST", g.URL+"/mcp/demo", bearer(a.key, "").with(head{"X-Long": strings.Repeat("x", 40<<10)}), message("calculate", "{}"))
		if err == nil {
			break
		}
	}
	if ans.Status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a long header: %.300s", ans)
	}
}

func TestOtherMethodsAndContentTypesAreRefused(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a := g.newAgent(t)
	for _, method := range []string{"GET", "PUT", "PATCH", "OPTIONS"} {
		if ans := send(t, method, g.URL+"/mcp/demo", bearer(a.key, ""), ""); ans.Status != http.StatusMethodNotAllowed || ans.Header.Get("Allow") == "" || ans.Record == "" {
			t.Errorf("%s: %s", method, ans)
		}
	}
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "application/json-rpc", "multipart/form-data; boundary=x", ""} {
		ans := send(t, "POST", g.URL+"/mcp/demo", bearer(a.key, "").with(head{"Content-Type": kind}), rpc("tools/list", "{}"))
		if ans.Code != "unsupported" || ans.Status != http.StatusUnsupportedMediaType {
			t.Errorf("Content-Type %q: %s", kind, ans)
		}
	}
	if ans := send(t, "POST", g.URL+"/mcp/demo", bearer(a.key, "").with(head{"Content-Encoding": "gzip"}), rpc("tools/list", "{}")); ans.Code != "unsupported" {
		t.Errorf("a compressed body: %s", ans)
	}
	for _, method := range []string{"resources/write", "sampling/createMessage", "tools/Call", "x", "tools/call "} {
		if ans := send(t, "POST", g.URL+"/mcp/demo", bearer(a.key, ""), rpc(method, "{}")); ans.RPC != -32601 || ans.Record == "" {
			t.Errorf("method %q: %s", method, ans)
		}
	}
	for _, path := range []string{"/mcp/demo/x", "/mcp//demo", "/mcp/../mcp/demo", "/mcp/%64emo", "/mcp/demo;x", "/MCP/demo", "/mcp/demo%2f"} {
		if ans := send(t, "POST", g.URL+path, bearer(a.key, ""), rpc("tools/list", "{}")); ans.Result != nil || ans.Status < 400 && ans.RPC == 0 {
			t.Errorf("path %s: %s", path, ans)
		}
	}
}

func TestHostAndOriginAreChecked(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a := g.newAgent(t)
	for _, host := range []string{"evil.example", "169.254.169.254", "localhost.evil.example", "127.0.0.1.evil.example"} {
		req, err := http.NewRequest("POST", g.URL+"/mcp/demo", strings.NewReader(rpc("tools/list", "{}")))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("Authorization", "Bearer "+a.key)
		req.Header.Set("Content-Type", "application/json")
		resp, err := web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("Host %s: %d", host, resp.StatusCode)
		}
	}
	for _, origin := range []string{"https://evil.example", "null", "http://localhost:3000"} {
		if ans := send(t, "POST", g.URL+"/mcp/demo", bearer(a.key, "").with(head{"Origin": origin}), rpc("tools/list", "{}")); ans.Code != "origin_refused" || ans.Status != http.StatusForbidden {
			t.Errorf("Origin %s: %s", origin, ans)
		}
	}
}

func TestATargetThatNamesAnotherHostIsRefused(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a := g.newAgent(t)
	body := rpc("tools/list", "{}")
	for _, target := range []string{"http://evil.example/mcp", "https://evil.example:443/mcp", "http://169.254.169.254/mcp", "//evil.example/mcp"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", target, a.key, len(body), body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			if text := readAll(resp); resp.StatusCode < 400 || strings.Contains(text, `"result"`) {
				t.Errorf("%s was answered %d %.200s", target, resp.StatusCode, text)
			}
			_ = resp.Body.Close()
		}
		_ = conn.Close()
	}
}

func TestArgumentsThatBreakTheToolsSchemaAreRefused(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a := g.newAgent(t)
	open := `{"server":"demo","tool":"mail_send","uses":0,"additional":true,"where":{"to":{"open":true},"subject":{"open":true},"body":{"open":true,"optional":true}}}`
	_, tok := a.planned(t, open)
	for _, args := range []string{
		`{"to":7,"subject":"s","body":"b"}`, `{"to":"nobody","subject":"s","body":"b"}`, `{"to":"a@b.example","subject":"","body":"b"}`,
		`{"to":"a@b.example","subject":"s"}`, `{"to":"a@b.example","subject":"s","body":"b","bcc":"x@y.example"}`, `{"to":["a@b.example"],"subject":"s","body":"b"}`,
		`{"to":"a@b.example","subject":"s","body":null}`,
	} {
		ans := a.call(t, "demo", "mail_send", args, tok.Token).refused(t, "invalid_arguments")
		if ans.RPC != -32602 {
			t.Errorf("%s: %s", args, ans)
		}
	}
	if r := send(t, "POST", g.URL+"/api/v1/plans", bearer(a.key, ""), `{"steps":[`+step("demo", "mail_send", `{"to":7}`)+`]}`); r.Code != "invalid_plan" {
		t.Errorf("a plan whose arguments break the schema: %s", r)
	}
}

// contradictions are modern calls whose headers do not say what the body says. They start from a call that is right.
func TestHeadersThatContradictTheBodyAreRefused(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a := g.newAgent(t)
	const args = `{"expression":"1"}`
	_, tok := a.planned(t, step("demo", "calculate", args, `"uses":0`))
	base := bearer(a.key, tok.Token).with(modern("calculate"))
	in := func(s string) string { return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?=" }
	post := func(h head, body string) answer { return send(t, "POST", g.URL+"/mcp/demo", h, body) }
	post(base, modernMessage("calculate", args)).ok(t)
	post(base.with(head{"Mcp-Name": in("calculate")}), modernMessage("calculate", args)).ok(t)
	for name, h := range map[string]head{
		"another method":                 {"Mcp-Method": "tools/list"},
		"method in capitals":             {"Mcp-Method": "TOOLS/CALL"},
		"no method":                      {"Mcp-Method": ""},
		"another name":                   {"Mcp-Name": "wait"},
		"name in capitals":               {"Mcp-Name": "Calculate"},
		"no name":                        {"Mcp-Name": ""},
		"another name in base64":         {"Mcp-Name": in("wait")},
		"base64 that is none":            {"Mcp-Name": "=?base64?!!!?="},
		"base64 without an end":          {"Mcp-Name": "=?base64?Y2FsY3VsYXRl"},
		"base64 of base64":               {"Mcp-Name": in(in("calculate"))},
		"base64 in capitals":             {"Mcp-Name": "=?BASE64?Y2FsY3VsYXRl?="},
		"version of the other era":       {"MCP-Protocol-Version": "2025-11-25"},
		"no version":                     {"MCP-Protocol-Version": ""},
		"a parameter no schema mirrors":  {"Mcp-Param-Expression": "2"},
		"a parameter the body has not":   {"Mcp-Param-Other": "1"},
		"a token in meta that is not in": {"Gatewright-Intent": tok.Token + "x"},
	} {
		body := modernMessage("calculate", args)
		if strings.HasPrefix(name, "a token") {
			body = strings.Replace(body, `"_meta":{`, `"_meta":{"gatewright/intent":"`+tok.Token+`",`, 1)
		}
		if ans := post(base.with(h), body); ans.Code != "header_mismatch" || ans.RPC != -32020 || ans.Status != http.StatusBadRequest || ans.Record == "" {
			t.Errorf("%s: %s", name, ans)
		}
	}
	noMeta := message("calculate", args)
	if ans := post(base, noMeta); ans.RPC != -32602 || ans.Status != http.StatusBadRequest {
		t.Errorf("modern headers and a body without _meta: %s", ans)
	}
	for _, v := range []string{"2026-07-29", "2027-01-01", "1999-01-01", "x"} {
		body := strings.ReplaceAll(modernMessage("calculate", args), "2026-07-28", v)
		if ans := post(base.with(head{"MCP-Protocol-Version": v}), body); ans.RPC != -32022 || ans.Status != http.StatusBadRequest || !strings.Contains(string(ans.Data), `"2026-07-28"`) {
			t.Errorf("version %s: %s", v, ans)
		}
		if ans := post(bearer(a.key, tok.Token).with(head{"MCP-Protocol-Version": v}), noMeta); ans.Result != nil || ans.Status != http.StatusBadRequest {
			t.Errorf("version %s in the header alone: %s", v, ans)
		}
	}
	for name, h := range map[string]head{"method": {"Mcp-Method": "ping"}, "name": {"Mcp-Name": "wait"}} {
		if ans := post(bearer(a.key, tok.Token).with(h), noMeta); ans.Code != "header_mismatch" {
			t.Errorf("a legacy call with another %s in the header: %s", name, ans)
		}
	}
	if ans := post(bearer(a.key, tok.Token).with(head{"X-Organization-Id": "other"}), noMeta); ans.Result != nil || ans.Code == "" {
		t.Errorf("another organisation in the header: %s", ans)
	}
	post(bearer(a.key, tok.Token).with(head{"X-Organization-Id": "demo"}), noMeta).ok(t)
}

func TestMirroredParametersMustAgreeWithTheArguments(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{HCL: fmt.Sprintf("server \"gosdk\" {\n  tenant = \"demo\"\n  url = %q\n  allow_private = true\n}\n", modernServer(t))})
	a := g.newAgent(t)
	const tool, args = "test_x_mcp_header", `{"region":"eu","level":3}`
	_, tok := a.planned(t, step("gosdk", tool, args, `"uses":0`))
	base := bearer(a.key, tok.Token).with(modern(tool))
	post := func(h head, body string) answer { return send(t, "POST", g.URL+"/mcp/gosdk", h, body) }
	post(base.with(head{"Mcp-Param-Region": "eu"}), modernMessage(tool, args)).ok(t)
	post(base.with(head{"mcp-param-region": "=?base64?ZXU=?="}), modernMessage(tool, args)).ok(t)
	post(bearer(a.key, tok.Token), message(tool, args)).ok(t) // a legacy client mirrors nothing
	for name, h := range map[string]head{
		"missing": {}, "another value": {"Mcp-Param-Region": "us"}, "empty": {"Mcp-Param-Region": " "}, "another value in base64": {"Mcp-Param-Region": "=?base64?dXM=?="},
		"one that the schema does not mirror": {"Mcp-Param-Region": "eu", "Mcp-Param-Level": "3"}, "in capitals": {"Mcp-Param-Region": "EU"},
	} {
		if ans := post(base.with(h), modernMessage(tool, args)); ans.Code != "header_mismatch" || ans.RPC != -32020 {
			t.Errorf("%s: %s", name, ans)
		}
	}
	if ans := post(bearer(a.key, tok.Token).with(head{"Mcp-Param-Region": "us"}), message(tool, args)); ans.Code != "header_mismatch" {
		t.Errorf("a legacy client with another value: %s", ans)
	}
}
