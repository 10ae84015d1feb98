package upstream_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// benchServer answers every request alike; the id is found by the shape of the
// body, so that the server costs as little as can be.
func benchServer(b *testing.B) string {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	result := `,"result":{"content":[{"type":"text","text":"` + strings.Repeat("x", 1400) + `"}]}}`
	s := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		body := ctx.PostBody()
		id := body[len(`{"jsonrpc":"2.0","id":`):]
		for i, c := range id {
			if c == ',' {
				id = id[:i]
				break
			}
		}
		ctx.SetContentType("application/json")
		ctx.Response.AppendBodyString(`{"jsonrpc":"2.0","id":`)
		ctx.Response.AppendBody(id)
		ctx.Response.AppendBodyString(result)
	}}
	go func() { _ = s.Serve(ln) }()
	b.Cleanup(func() { _ = s.Shutdown(); ln.Close() })
	return "http://" + ln.Addr().String() + "/mcp"
}

var benchArguments = []byte(`{"text":"` + strings.Repeat("y", 1400) + `"}`)

func BenchmarkCall(b *testing.B) {
	c := newClient(b, nil)
	target := &upstream.Target{Tenant: "demo", Name: "bench", URL: benchServer(b), Era: "modern", AllowPrivate: true}
	for _, n := range []int{1, 32} {
		b.Run(fmt.Sprintf("conns=%d", n*2), func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(n)
			b.RunParallel(func(pb *testing.PB) {
				var reply upstream.Reply
				r := upstream.Request{Method: "tools/call", Name: "echo", Arguments: benchArguments, Principal: "agt_1"}
				for pb.Next() {
					if err := c.Call(b.Context(), target, &r, &reply); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkBareClient is the same exchange by fasthttp's own client, which
// neither checks the answer nor can be cancelled.
func BenchmarkBareClient(b *testing.B) {
	url := benchServer(b)
	host := &fasthttp.HostClient{Addr: strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/mcp"), MaxConns: 256}
	body := append([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":`), benchArguments...)
	body = append(body, "}}"...)
	for _, n := range []int{1, 32} {
		b.Run(fmt.Sprintf("conns=%d", n*2), func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(n)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
					req.SetRequestURI(url)
					req.Header.SetMethod("POST")
					req.Header.SetContentType("application/json")
					req.Header.Set("Accept", "application/json, text/event-stream")
					req.Header.Set("Mcp-Method", "tools/call")
					req.SetBodyRaw(body)
					if err := host.DoTimeout(req, res, time.Minute); err != nil {
						b.Fatal(err)
					}
					fasthttp.ReleaseRequest(req)
					fasthttp.ReleaseResponse(res)
				}
			})
		})
	}
}
