// Command e2eserver is an MCP server over stdio with the three tools that the end-to-end suite of ArmorIQ's TypeScript
// client calls: noop, denied and pay. What becomes of them is policy: see e2e.cedar beside it. None has an effect.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type nothing struct{}

type payment struct {
	Amount    float64 `json:"amount" jsonschema:"how much"`
	Recipient string  `json:"recipient" jsonschema:"an e-mail address"`
}

func main() {
	server := mcp.NewServer(&mcp.Implementation{Name: "e2e", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{
		Name: "noop", Description: "Does nothing.", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true, IdempotentHint: true},
	}, answer(func(nothing) string { return "nothing was done" }))
	mcp.AddTool(server, &mcp.Tool{Name: "denied", Description: "Says that it was reached, which nobody should hear."},
		answer(func(nothing) string { return "denied was reached" }))
	mcp.AddTool(server, &mcp.Tool{Name: "pay", Description: "Says that it paid."}, answer(func(p payment) string {
		return "paid " + strconv.FormatFloat(p.Amount, 'f', -1, 64) + " to " + p.Recipient
	}))
	if err := server.Run(context.Background(), &mcp.StdioTransport{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// answer makes a tool's handler of what it says.
func answer[In any](say func(In) string) mcp.ToolHandlerFor[In, any] {
	return func(_ context.Context, _ *mcp.CallToolRequest, in In) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: say(in)}}}, nil, nil
	}
}
