package mcp_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const (
	parse, invalid, noMethod, badParams = -32700, -32600, -32601, -32602
	refusedCode, contradicts, version   = -32003, -32020, -32022
)

func TestStrangersAreToldOnlyThatWhateverTheySend(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct{ method, path, body string }{
		"good call": {"POST", "/mcp", callRead}, "broken JSON": {"POST", "/mcp", "{"}, "nothing": {"POST", "/mcp", ""}, "get": {"GET", "/mcp", ""},
		"server": {"POST", "/mcp/files", callRead}, "unknown server": {"POST", "/mcp/none", callRead}, "initialize": {"POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"initialize"}`},
	} {
		for _, key := range []string{"", "Bearer wrong", "Basic " + base64.StdEncoding.EncodeToString([]byte("a:b")), "Bearer"} {
			a := w.send(c.method, c.path, c.body, map[string]string{"Authorization": key, "MCP-Protocol-Version": "1999-01-01", "X-Organization-Id": "acme"})
			if a.status != 401 || string(a.id) != "null" || a.code != refusedCode || a.data["reason"] != "unauthenticated" || a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s with %q: %d %s", name, key, a.status, a.raw)
			}
			if a.header.Get("Gatewright-Record") != "" || a.header.Get("Gatewright-Receipt") != "" {
				t.Errorf("%s: a stranger was given a record", name)
			}
		}
	}
	a := w.old(callRead, map[string]string{"Authorization": "Bearer " + w.admin})
	if a.status != 403 || a.data["reason"] != "wrong_key_kind" {
		t.Errorf("admin key: %d %s", a.status, a.raw)
	}
	if w.forwarded() != 0 || len(w.book.records) != 0 {
		t.Errorf("%d forwarded, %d records", w.forwarded(), len(w.book.records))
	}
}

func TestBodiesThatAreNoMessageAreRefused(t *testing.T) {
	w := newWorld(t)
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	for _, c := range []struct {
		name, body string
		status     int
		code       int
		id         string
	}{
		{"empty", "", 400, parse, "null"},
		{"cut", `{"jsonrpc":"2.0","id":1,`, 400, parse, "null"},
		{"two documents", `{"jsonrpc":"2.0","id":1,"method":"ping"}{}`, 400, parse, "null"},
		{"duplicate method", `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}`, 400, parse, "null"},
		{"duplicate by escape", `{"jsonrpc":"2.0","id":1,"method":"ping","\u006dethod":"tools/call"}`, 400, parse, "null"},
		{"duplicate in arguments", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"path":"/a","path":"/b"}}}`, 400, parse, "null"},
		{"not UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", 400, parse, "null"},
		{"lone surrogate", `{"jsonrpc":"2.0","id":1,"method":"\ud800"}`, 400, parse, "null"},
		{"byte order mark", "\ufeff" + `{"jsonrpc":"2.0","id":1,"method":"ping"}`, 400, parse, "null"},
		{"deep", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":` + deep + `}}`, 400, parse, "null"},
		{"number a double does not keep", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":9007199254740993}}`, 400, parse, "null"},
		{"comment", `{"jsonrpc":"2.0",/**/"id":1,"method":"ping"}`, 400, parse, "null"},
		{"NaN", `{"jsonrpc":"2.0","id":NaN,"method":"ping"}`, 400, parse, "null"},
		{"batch", `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, 400, invalid, "null"},
		{"empty batch", `[]`, 400, invalid, "null"},
		{"string", `"ping"`, 400, invalid, "null"},
		{"null", `null`, 400, invalid, "null"},
		{"empty object", `{}`, 400, invalid, "null"},
		{"no version", `{"id":1,"method":"ping"}`, 400, invalid, "1"},
		{"version 1.0", `{"jsonrpc":"1.0","id":1,"method":"ping"}`, 400, invalid, "1"},
		{"version as number", `{"jsonrpc":2.0,"id":1,"method":"ping"}`, 400, invalid, "1"},
		{"member in capitals", `{"jsonrpc":"2.0","id":1,"Method":"ping"}`, 400, invalid, "1"},
		{"member with kelvin sign", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{}},"\u212aey":1,"result":{}}`, 400, invalid, "1"},
		{"no method", `{"jsonrpc":"2.0","id":1}`, 400, invalid, "1"},
		{"method as number", `{"jsonrpc":"2.0","id":1,"method":7}`, 400, invalid, "1"},
		{"huge method", `{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("a", 200) + `"}`, 400, invalid, "1"},
		{"null id", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, 400, invalid, "null"},
		{"float id", `{"jsonrpc":"2.0","id":1.5,"method":"ping"}`, 400, invalid, "null"},
		{"exponent id", `{"jsonrpc":"2.0","id":1e2,"method":"ping"}`, 400, invalid, "null"},
		{"object id", `{"jsonrpc":"2.0","id":{},"method":"ping"}`, 400, invalid, "null"},
		{"true id", `{"jsonrpc":"2.0","id":true,"method":"ping"}`, 400, invalid, "null"},
		{"huge id", `{"jsonrpc":"2.0","id":"` + strings.Repeat("a", 300) + `","method":"ping"}`, 400, invalid, "null"},
		{"duplicate id", `{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`, 400, parse, "null"},
		{"request without id", `{"jsonrpc":"2.0","method":"tools/call","params":{"name":"read"}}`, 400, invalid, "null"},
		{"notification with id", `{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}`, 400, invalid, "1"},
		{"response", `{"jsonrpc":"2.0","id":1,"result":{}}`, 400, badParams, "null"},
		{"error response", `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}`, 400, badParams, "null"},
		{"request that is a response too", `{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}`, 400, invalid, "1"},
		{"params as array", `{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}`, 400, invalid, "1"},
		{"params as string", `{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}`, 400, invalid, "1"},
		{"params null", `{"jsonrpc":"2.0","id":1,"method":"ping","params":null}`, 400, invalid, "1"},
		{"meta as array", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":[]}}`, 400, badParams, "1"},
		{"token as number", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"gatewright/intent":7}}}`, 400, badParams, "1"},
		{"version in meta as number", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":7}}}`, 400, badParams, "1"},
		{"no name", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}`, 400, badParams, "1"},
		{"no params", `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`, 400, badParams, "1"},
		{"name as number", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}`, 400, badParams, "1"},
		{"empty name", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":""}}`, 400, badParams, "1"},
		{"huge name", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + strings.Repeat("a", 2000) + `"}}`, 400, badParams, "1"},
		{"arguments as array", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":["/a"]}}`, 400, badParams, "1"},
		{"arguments null", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":null}}`, 400, badParams, "1"},
		{"arguments as string", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":"{\"path\":\"/a\"}"}}`, 400, badParams, "1"},
		{"forged cursor", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"page-2"}}`, 400, badParams, "1"},
		{"string id is kept", `{"jsonrpc":"2.0","id":"a\"\u0062","method":"no/such"}`, 200, noMethod, `"a\"\u0062"`},
		{"negative id is kept", `{"jsonrpc":"2.0","id":-3,"method":"no/such"}`, 200, noMethod, "-3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.old(c.body, nil)
			if a.status != c.status || a.code != c.code || string(a.id) != c.id {
				t.Errorf("answered %d, code %d, id %s, want %d, %d, %s: %s", a.status, a.code, a.id, c.status, c.code, c.id, a.raw)
			}
			if a.header.Get("Gatewright-Record") == "" || a.header.Get("Gatewright-Receipt") == "" {
				t.Error("the refusal of a known caller has no record")
			}
		})
	}
	if w.forwarded() != 0 {
		t.Errorf("%d forwarded", w.forwarded())
	}
}

func TestOnlyPostOfJSONIsTaken(t *testing.T) {
	w := newWorld(t)
	for _, method := range []string{"GET", "PUT", "PATCH", "OPTIONS"} {
		a := w.send(method, "/mcp", "", nil)
		if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "DELETE, GET, POST" {
			t.Errorf("%s: %d, Allow %q", method, a.status, a.header.Get("Allow"))
		}
	}
	for _, kind := range []string{"", "text/plain", "application/json-seq", "application/jsonx", "text/json", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"} {
		if a := w.old(callRead, map[string]string{"Content-Type": kind}); a.status != http.StatusUnsupportedMediaType || !strings.Contains(string(a.raw), "send the message as application/json") {
			t.Errorf("%q: %d %s", kind, a.status, a.raw)
		}
	}
	for _, kind := range []string{"application/json; charset=utf-8", "Application/JSON", " application/json ;x=y"} {
		if a := w.old(`{"jsonrpc":"2.0","id":1,"method":"ping"}`, map[string]string{"Content-Type": kind}); a.status != 200 {
			t.Errorf("%q: %d %s", kind, a.status, a.raw)
		}
	}
	if a := w.old(callRead, map[string]string{"Idempotency-Key": strings.Repeat("k", 256)}); a.status != 400 {
		t.Errorf("a huge Idempotency-Key: %d", a.status)
	}
}

func TestAnotherTenantCannotBeNamed(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"rival", "ACME", "acme,rival", "*", "_instance"} {
		a := w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, map[string]string{"X-Organization-Id": name})
		if a.status != 404 || w.book.last().Tenant != "acme" {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	if a := w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, map[string]string{"X-Organization-Id": "acme"}); a.status != 200 {
		t.Errorf("its own: %d %s", a.status, a.raw)
	}
	// What the body or the query says about who calls is nothing.
	a := w.send("POST", "/mcp?tenant=rival&api_key="+w.evesKey, `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"tenant":"rival","agent":"x"}}}`, nil)
	if r := w.book.last(); a.status != 200 || r.Tenant != "acme" || r.Agent != w.alice.Agent() {
		t.Errorf("recorded as %s/%s", r.Tenant, r.Agent)
	}
}

func TestServersThatAreNotTheTenantsAreUnknown(t *testing.T) {
	w := newWorld(t)
	w.addServer("rival", "mail")
	for _, path := range []string{"/mcp/mail", "/mcp/none", "/mcp/FILES", "/mcp/files/x", "/mcp/tools"} {
		a := w.send("POST", path, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, nil)
		if a.code != refusedCode || a.data["reason"] != "not_found" || string(a.id) != "1" {
			t.Errorf("%s: %d %s", path, a.status, a.raw)
		}
		a = w.send("POST", path, `{"jsonrpc":"2.0","id":1,"method":"initialize"}`, nil)
		if a.code != refusedCode {
			t.Errorf("initialize on %s: %s", path, a.raw)
		}
	}
	for _, path := range []string{"/mcp/files", "/mcp/files/", "/mcp/"} {
		if a := w.send("POST", path, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, nil); a.code != 0 {
			t.Errorf("%s: %s", path, a.raw)
		}
	}
}

func TestMethodsOfTheOtherEraAndUnknownOnesAreNotFound(t *testing.T) {
	w := newWorld(t)
	for _, m := range []string{"server/discover", "subscriptions/listen", "resources/Read", "prompts/set", "logging/setLevel", "tasks/get", "tools/Call", "tools/call ", "", "rpc.discover", "sampling/createMessage"} {
		a := w.old(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q}`, m), nil)
		if a.status != 200 || a.code != noMethod {
			t.Errorf("%q: %d %s", m, a.status, a.raw)
		}
	}
	for _, m := range []string{"initialize", "ping", "resources/subscribe", "logging/setLevel", "tasks/list", "nonsense"} {
		if a := w.new(m, "", "", nil); a.status != 404 || a.code != noMethod || string(a.id) != "7" {
			t.Errorf("modern %q: %d %s", m, a.status, a.raw)
		}
	}
	if a := w.old(`{"jsonrpc":"2.0","method":"notifications/nonsense"}`, nil); a.status != 404 || string(a.id) != "null" {
		t.Errorf("an unknown notification: %d %s", a.status, a.raw)
	}
}

func TestNotificationsAreAcceptedWithoutABody(t *testing.T) {
	w := newWorld(t)
	for _, m := range []string{"notifications/initialized", "notifications/cancelled", "notifications/progress", "notifications/roots/list_changed"} {
		a := w.old(`{"jsonrpc":"2.0","method":"`+m+`","params":{"requestId":1}}`, nil)
		if a.status != http.StatusAccepted || a.header.Get("Gatewright-Record") == "" {
			t.Errorf("%s: %d %s", m, a.status, a.raw)
		}
	}
}

func TestProtocolVersionsThatAreNotSpokenAreNamedWithThoseThatAre(t *testing.T) {
	w := newWorld(t)
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	for _, v := range []string{"1999-01-01", "2027-01-01", "banana", "2025-11-25 ", "2025-11-25,2026-07-28", "zzzz"} {
		v = strings.TrimSpace(v)
		if v == "2025-11-25" {
			continue
		}
		a := w.old(ping, map[string]string{"MCP-Protocol-Version": v})
		list, _ := a.data["supported"].([]any)
		if a.status != 400 || a.code != version || len(list) != 5 || list[0] != modern || a.data["requested"] != v {
			t.Errorf("%q: %d %s", v, a.status, a.raw)
		}
		if a := w.new("server/discover", "", "", map[string]string{"MCP-Protocol-Version": v}); a.status != 400 || a.code != contradicts {
			t.Errorf("header %q with another body: %d %s", v, a.status, a.raw)
		}
	}
	for _, v := range []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"} {
		if a := w.old(ping, map[string]string{"MCP-Protocol-Version": v}); a.status != 200 {
			t.Errorf("%q: %d %s", v, a.status, a.raw)
		}
	}
	body := `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2027-01-01","io.modelcontextprotocol/clientCapabilities":{}}}}`
	a := w.old(body, map[string]string{"MCP-Protocol-Version": "2027-01-01", "Mcp-Method": "server/discover"})
	if a.status != 400 || a.code != version {
		t.Errorf("a later version: %d %s", a.status, a.raw)
	}
}

func TestAHeaderThatContradictsTheBodyIsRefused(t *testing.T) {
	w := newWorld(t)
	token := w.anything("files")
	good := map[string]string{"Gatewright-Intent": token}
	with := func(kv ...string) map[string]string {
		out := map[string]string{"Gatewright-Intent": token}
		for i := 0; i < len(kv); i += 2 {
			out[kv[i]] = kv[i+1]
		}
		return out
	}
	b64 := func(s string) string { return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?=" }
	const read, send = `"name":"read","arguments":{"path":"/a"}`, `"name":"send","arguments":{"to":"bob","n":7}`
	for _, c := range []struct {
		name string
		a    func() *answer
		code int // 0: passes
	}{
		{"as it should be", func() *answer { return w.new("tools/call", "read", read, good) }, 0},
		{"name in base64", func() *answer { return w.new("tools/call", b64("read"), read, good) }, 0},
		{"another method", func() *answer { return w.new("tools/call", "read", read, with("Mcp-Method", "tools/list")) }, contradicts},
		{"method in capitals", func() *answer { return w.new("tools/call", "read", read, with("Mcp-Method", "Tools/Call")) }, contradicts},
		{"no method", func() *answer { return w.new("tools/call", "read", read, with("Mcp-Method", "")) }, contradicts},
		{"no version header", func() *answer { return w.new("tools/call", "read", read, with("MCP-Protocol-Version", "")) }, contradicts},
		{"older version header", func() *answer { return w.new("tools/call", "read", read, with("MCP-Protocol-Version", "2025-11-25")) }, contradicts},
		{"no name", func() *answer { return w.new("tools/call", "", read, good) }, contradicts},
		{"another name", func() *answer { return w.new("tools/call", "send", read, good) }, contradicts},
		{"another name in base64", func() *answer { return w.new("tools/call", b64("send"), read, good) }, contradicts},
		{"broken base64", func() *answer { return w.new("tools/call", "=?base64?cmVhZA?=", read, good) }, contradicts},
		{"base64 with trailing bits", func() *answer { return w.new("tools/call", "=?base64?cmVhZB==?=", read, good) }, contradicts},
		{"base64 in capitals", func() *answer { return w.new("tools/call", "=?BASE64?cmVhZA==?=", read, good) }, contradicts},
		{"base64 never ends", func() *answer { return w.new("tools/call", "=?base64?cmVhZA==", read, good) }, contradicts},
		{"older client, name too", func() *answer { return w.old(callRead, with("Mcp-Name", "read", "Mcp-Method", "tools/call")) }, 0},
		{"older client, another name", func() *answer { return w.old(callRead, with("Mcp-Name", "send")) }, contradicts},
		{"older client, another method", func() *answer { return w.old(callRead, with("Mcp-Method", "ping")) }, contradicts},
		{"modern version without _meta", func() *answer {
			return w.old(callRead, with("MCP-Protocol-Version", modern, "Mcp-Method", "tools/call", "Mcp-Name", "read"))
		}, -32602},
		{"params mirrored", func() *answer {
			return w.new("tools/call", "send", send, with("Mcp-Param-To", "bob", "Mcp-Param-Count", "7"))
		}, 0},
		{"params in base64", func() *answer {
			return w.new("tools/call", "send", send, with("Mcp-Param-To", b64("bob"), "Mcp-Param-Count", "7.0"))
		}, 0},
		{"param header in capitals", func() *answer {
			return w.new("tools/call", "send", send, with("MCP-PARAM-TO", "bob", "Mcp-Param-COUNT", "7"))
		}, 0},
		{"param missing", func() *answer { return w.new("tools/call", "send", send, with("Mcp-Param-To", "bob")) }, contradicts},
		{"param says otherwise", func() *answer {
			return w.new("tools/call", "send", send, with("Mcp-Param-To", "eve", "Mcp-Param-Count", "7"))
		}, contradicts},
		{"number says otherwise", func() *answer {
			return w.new("tools/call", "send", send, with("Mcp-Param-To", "bob", "Mcp-Param-Count", "7.1"))
		}, contradicts},
		{"number in words", func() *answer {
			return w.new("tools/call", "send", send, with("Mcp-Param-To", "bob", "Mcp-Param-Count", "0x7"))
		}, contradicts},
		{"param nobody mirrors", func() *answer {
			return w.new("tools/call", "send", send, with("Mcp-Param-To", "bob", "Mcp-Param-Count", "7", "Mcp-Param-X", "1"))
		}, contradicts},
		{"param of an argument not given", func() *answer {
			return w.new("tools/call", "send", `"name":"send","arguments":{"to":"bob"}`, with("Mcp-Param-To", "bob", "Mcp-Param-Count", "7"))
		}, contradicts},
		{"param on a tool without any", func() *answer { return w.new("tools/call", "read", read, with("Mcp-Param-Path", "/b")) }, contradicts},
		{"older client may leave params out", func() *answer {
			return w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send","arguments":{"to":"bob"}}}`, good)
		}, 0},
		{"older client, param otherwise", func() *answer {
			return w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send","arguments":{"to":"bob"}}}`, with("Mcp-Param-To", "eve"))
		}, contradicts},
		{"tokens agree", func() *answer { return w.metaToken(token, token) }, 0},
		{"token in _meta alone", func() *answer { return w.metaToken(token, "") }, 0},
		{"tokens disagree", func() *answer { return w.metaToken(token, w.anything("files")) }, contradicts},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := w.forwarded()
			a := c.a()
			if a.code != c.code {
				t.Fatalf("%d, code %d, want %d: %s", a.status, a.code, c.code, a.raw)
			}
			if c.code != 0 && (a.status != 400 || w.forwarded() != before) {
				t.Errorf("status %d, %d forwarded", a.status, w.forwarded()-before)
			}
			if c.code == 0 && w.forwarded() != before+1 {
				t.Errorf("not forwarded")
			}
		})
	}
}

// metaToken shows a token in _meta and one in the header.
func (w *world) metaToken(meta, header string) *answer {
	return w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"path":"/a"},"_meta":{"gatewright/intent":"`+meta+`"}}}`,
		map[string]string{"Gatewright-Intent": header})
}

func TestAModernClientMustSayWhatItCan(t *testing.T) {
	w := newWorld(t)
	for _, meta := range []string{
		`{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`, `{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":[]}`,
		`{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":null}`,
	} {
		a := w.old(`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":`+meta+`}}`, map[string]string{"MCP-Protocol-Version": modern, "Mcp-Method": "server/discover"})
		if a.status != 400 || a.code != badParams {
			t.Errorf("%s: %d %s", meta, a.status, a.raw)
		}
	}
}

func TestAStepOrProofWithoutItsCompanionsIsRefused(t *testing.T) {
	w := newWorld(t)
	token := w.anything("files")
	for name, h := range map[string]map[string]string{
		"proof alone":       {"Gatewright-Proof": "AAAA"},
		"step alone":        {"Gatewright-Step": "e30"},
		"proof and token":   {"Gatewright-Proof": "AAAA", "Gatewright-Intent": token},
		"proof not base64":  {"Gatewright-Step": "e30", "Gatewright-Proof": "!!!", "Gatewright-Intent": token},
		"half a hash":       {"Gatewright-Step": "e30", "Gatewright-Proof": "AAAA", "Gatewright-Intent": token},
		"padded":            {"Gatewright-Step": "e30", "Gatewright-Proof": strings.Repeat("A", 43) + "=", "Gatewright-Intent": token},
		"proof beyond size": {"Gatewright-Step": "e30", "Gatewright-Proof": strings.Repeat("A", 12000), "Gatewright-Intent": token},
	} {
		if a := w.old(callRead, h); a.status != 400 && a.data["reason"] != "leaf_malformed" || a.code == 0 {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	if w.forwarded() != 0 {
		t.Errorf("%d forwarded", w.forwarded())
	}
}
