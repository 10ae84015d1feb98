package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// Stub is an MCP server that costs as little as can be, so that what stands before it is what is measured. It speaks
// the stateless era (2026-07-28) and answers every tool call alike with about 1 KiB.
type Stub struct {
	Tool   string          `json:"tool"`
	Schema json.RawMessage `json:"schema"` // the tool's inputSchema
}

// StubRole is the role under which a Stub runs as a child.
const StubRole = "upstream"

// ServeStub is the role's function.
func ServeStub(_ context.Context, settings json.RawMessage) (Serving, error) {
	var s Stub
	if err := json.Unmarshal(settings, &s); err != nil {
		return Serving{}, fmt.Errorf("read settings: %w", err)
	}
	answers, err := s.Answers()
	if err != nil {
		return Serving{}, err
	}
	return ServeHTTP(func(ctx *fasthttp.RequestCtx) {
		id, ok := requestID(ctx.PostBody())
		result, known := answers[string(ctx.Request.Header.Peek("Mcp-Method"))]
		if !ok || !known {
			ctx.Error("no MCP request that this stub knows", fasthttp.StatusBadRequest)
			return
		}
		ctx.SetContentType("application/json")
		ctx.Response.AppendBodyString(`{"jsonrpc":"2.0","id":`)
		ctx.Response.AppendBody(id)
		ctx.Response.AppendBodyString(`,"result":`)
		ctx.Response.AppendBodyString(result)
		ctx.Response.AppendBodyString(`}`)
	})
}

// Answers gives the result of each method it knows.
func (s Stub) Answers() (map[string]string, error) {
	tool, err := json.Marshal(map[string]any{
		"name": s.Tool, "description": "Changes an order.", "inputSchema": s.Schema,
		"annotations": map[string]any{"readOnlyHint": false, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false},
	})
	if err != nil {
		return nil, fmt.Errorf("describe the tool: %w", err)
	}
	const complete = `"resultType":"complete"`
	text := strings.Repeat("The order was changed and its new total is 1234.50 EUR. ", 16)
	return map[string]string{
		"server/discover": `{` + complete + `,"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"serverInfo":{"name":"stub","version":"1"}}`,
		"tools/list":      `{` + complete + `,"ttlMs":60000,"cacheScope":"public","tools":[` + string(tool) + `]}`,
		"tools/call":      `{` + complete + `,"content":[{"type":"text","text":"` + text + `"}],"isError":false}`,
	}, nil
}

// requestID finds the id where the clients measured here put it.
func requestID(body []byte) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(body, []byte(`{"jsonrpc":"2.0","id":`))
	if !ok {
		return nil, false
	}
	end := bytes.IndexByte(rest, ',')
	if end < 1 {
		return nil, false
	}
	return rest[:end], true
}

// ServeHTTP serves a fasthttp handler on a free loopback port until it is stopped.
func ServeHTTP(h fasthttp.RequestHandler) (Serving, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Serving{}, fmt.Errorf("open a port: %w", err)
	}
	s := &fasthttp.Server{Handler: h, NoDefaultServerHeader: true, ReadBufferSize: 16 << 10, IdleTimeout: time.Hour, CloseOnShutdown: true}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	return Serving{Addr: ln.Addr().String(), Stop: func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = s.ShutdownWithContext(ctx) // clients that keep their connections are no fault
		_ = ln.Close()
		return nil
	}}, nil
}
