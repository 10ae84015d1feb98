package demo

import (
	"context"
	"encoding/json"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// effect says what a tool does to the world, as MCP's annotations put it.
type effect struct{ readOnly, destructive, idempotent, openWorld bool }

// tool describes one tool. Schemas are written out, not inferred: they are
// what the gateway pins, hashes and checks, so they should be readable here.
func tool(name, title, description string, e effect, input, output string) *mcp.Tool {
	t := &mcp.Tool{
		Name: name, Title: title, Description: description,
		InputSchema: json.RawMessage(input),
		Annotations: &mcp.ToolAnnotations{
			Title: title, ReadOnlyHint: e.readOnly, IdempotentHint: e.idempotent,
			DestructiveHint: &e.destructive, OpenWorldHint: &e.openWorld,
		},
	}
	if output != "" {
		t.OutputSchema = json.RawMessage(output)
	}
	return t
}

// add registers a tool whose handler needs only its arguments; the library
// checks them against the input schema first and turns an error into a tool
// error (isError), not a protocol error.
func add[In, Out any](s *mcp.Server, t *mcp.Tool, run func(context.Context, In) (Out, error)) {
	mcp.AddTool(s, t, func(ctx context.Context, _ *mcp.CallToolRequest, in In) (*mcp.CallToolResult, Out, error) {
		out, err := run(ctx, in)
		return nil, out, err
	})
}
