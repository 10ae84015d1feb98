// Package demotest serves the demo server's tools over HTTP, in both eras of
// MCP, for tests that need a real server there. It is no part of the gateway.
package demotest

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/demo"
)

// Path is where Handler answers.
const Path = "/mcp"

const (
	maxBody        = 1 << 20          // bytes of one request; the gateway's own default is the same
	sessionTimeout = 10 * time.Minute // a legacy session without requests
)

// lastLegacy is the newest protocol version that still has the initialize
// handshake; versions are dates and compare as strings.
const lastLegacy = "2025-11-25"

// Handler returns the whole server as an http.Handler with fresh state. Both
// protocol eras are served on the one URL and share that state.
func Handler() http.Handler {
	server := overHTTP()
	pick := func(*http.Request) *mcp.Server { return server }
	modern := mcp.NewStreamableHTTPHandler(pick, &mcp.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true, MaxRequestBodyBytes: maxBody, PropagateRequestCancellation: true,
	})
	legacy := mcp.NewStreamableHTTPHandler(pick, &mcp.StreamableHTTPOptions{
		JSONResponse: true, MaxRequestBodyBytes: maxBody, SessionTimeout: sessionTimeout,
	})
	mux := http.NewServeMux()
	mux.HandleFunc(Path, func(w http.ResponseWriter, r *http.Request) {
		if isLegacy(r) {
			legacy.ServeHTTP(w, r)
			return
		}
		modern.ServeHTTP(w, r)
	})
	return mux
}

// isLegacy tells which handler a request belongs to. The library serves the
// stateless era (2026-07-28) and the session era in separate handlers.
func isLegacy(r *http.Request) bool {
	if r.Method != http.MethodPost || r.Header.Get("Mcp-Session-Id") != "" {
		return true
	}
	version := r.Header.Get("Mcp-Protocol-Version")
	return version <= lastLegacy && r.Header.Get("Mcp-Method") == ""
}

// overHTTP puts the library's server in front of ours. What ours lists is
// written out in this package, so anything wrong with it is a fault of the
// program.
func overHTTP() *mcp.Server {
	ours, err := demo.New()
	if err != nil {
		panic(err)
	}
	reply, err := ours.Call(context.Background(), &connector.Request{Method: "tools/list"})
	if err != nil {
		panic(err)
	}
	var list struct {
		Tools []struct {
			Name, Title, Description  string
			InputSchema, OutputSchema json.RawMessage
			Annotations               *mcp.ToolAnnotations
		}
	}
	if err := json.Unmarshal(reply.Result, &list); err != nil {
		panic(err)
	}
	server := mcp.NewServer(
		&mcp.Implementation{Name: "gatewright-demo", Title: "Gatewright demo server", Version: "1"},
		&mcp.ServerOptions{
			Instructions: "A sandbox of harmless tools. State is kept in memory and lost when the process ends.",
			Capabilities: &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}},
		})
	for _, t := range list.Tools {
		server.AddTool(&mcp.Tool{
			Name: t.Name, Title: t.Title, Description: t.Description, Annotations: t.Annotations,
			InputSchema: t.InputSchema, OutputSchema: t.OutputSchema,
		}, forward(ours))
	}
	return server
}

// forward has a call answered by the server behind.
func forward(behind connector.Server) mcp.ToolHandler {
	return func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		reply, err := behind.Call(ctx, &connector.Request{Method: "tools/call", Name: req.Params.Name, Arguments: req.Params.Arguments})
		if err != nil {
			return nil, err
		}
		if reply.Error != nil {
			refusal := new(jsonrpc.Error)
			if err := json.Unmarshal(reply.Error, refusal); err != nil {
				return nil, err
			}
			return nil, refusal
		}
		result := new(mcp.CallToolResult)
		return result, json.Unmarshal(reply.Result, result)
	}
}
