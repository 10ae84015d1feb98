package mcp_test

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/merkle/canon"
)

// FuzzMessage sends any body with the headers a client may choose. Whatever comes, the answer is strict JSON-RPC (or an
// empty 202), under the request's own id where that could be read, and nothing goes out that was not judged: the world's
// Forward fails the test on a call without decision and grant.
func FuzzMessage(f *testing.F) {
	w := newWorld(f)
	token := w.anything("files")
	meta := `"_meta":{"io.modelcontextprotocol/protocolVersion":"` + modern + `","io.modelcontextprotocol/clientCapabilities":{}}`
	for _, body := range []string{
		callRead, `{"jsonrpc":"2.0","id":"a\"b","method":"tools/list"}`, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{` + meta + `}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + meta + `,"name":"read","arguments":{"path":"/a"}}}`, `[]`, `{`, `null`, "\xff",
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send","arguments":{"to":"x","n":1},"_meta":{"traceparent":"\u0000","gatewright/intent":"x"}}}`,
		`{"id":18446744073709551616,"jsonrpc":"2.0","method":"ping"}`, `{"jsonrpc":"2.0","id":1,"result":{}}`,
	} {
		f.Add([]byte(body), "", "", "", "", []byte(`{"content":[]}`))
		f.Add([]byte(body), modern, "tools/call", "read", "", []byte(`{"_meta":{"a":1} , "resultType":"complete"}`))
		f.Add([]byte(body), "2025-11-25", "", "=?base64?cmVhZA==?=", "x", []byte(` {} `))
	}
	f.Fuzz(func(t *testing.T, body []byte, version, method, name, param string, result []byte) {
		if result = bytes.TrimSpace(result); canon.Check(result, canon.DefaultLimits()) != nil || canon.KindOf(result) != '{' {
			result = []byte(`{}`)
		}
		w.reply = func(*pipeline.Call) (pipeline.Reply, error) { return pipeline.Reply{Status: 200, Result: result}, nil }
		w.sent, w.book.records = w.sent[:0], w.book.records[:0]
		var request fasthttp.Request
		request.Header.SetMethod("POST")
		request.SetBody(body)
		var ctx fasthttp.RequestCtx
		ctx.Init(&request, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, nil)
		x := &proxy.Exchange{RequestCtx: &ctx, Path: "/mcp"}
		h := &x.Head
		h.ContentType, h.Authorization, h.Intent = []byte("application/json"), []byte("Bearer "+w.key), []byte(token)
		for text, field := range map[string]*[]byte{version: &h.ProtocolVersion, method: &h.Method, name: &h.Name} {
			if text != "" {
				*field = []byte(text)
			}
		}
		if param != "" {
			h.Params = []proxy.Param{{Name: []byte("To"), Value: []byte(param)}}
		}
		w.dialect.Serve(x)
		a := &answer{status: ctx.Response.StatusCode(), raw: ctx.Response.Body()}
		if err := a.read(); err != nil {
			t.Fatal(err)
		}
		if id, ok := canon.Get(body, "id"); canon.Check(body, canon.DefaultLimits()) == nil && ok && a.status == 200 && string(a.id) != string(id) {
			t.Fatalf("id %s, answered under %s", id, a.id)
		}
		if canon.Check(body, canon.DefaultLimits()) != nil && len(w.sent) > 0 {
			t.Fatalf("%q was forwarded", body)
		}
		for _, c := range w.sent {
			if !strings.Contains(string(body), string(c.Args)) && string(c.Args) != "{}" {
				t.Fatalf("forwarded arguments %s that the body does not have", c.Args)
			}
		}
		if len(w.sent) > 1 {
			t.Fatalf("%d calls forwarded", len(w.sent))
		}
	})
}
