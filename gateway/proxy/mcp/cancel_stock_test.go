package mcp_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// TestAStockClientOfEitherEraGivesUpCalls has go-sdk's client do so again and again over one connection.
func TestAStockClientOfEitherEraGivesUpCalls(t *testing.T) {
	for _, era := range []string{"2025-11-25", modern} {
		t.Run(era, func(t *testing.T) {
			w, _ := conversing(t)
			began, told := make(chan struct{}, 1), make(chan error, 1)
			w.during = func(ctx context.Context) {
				began <- struct{}{}
				select {
				case <-ctx.Done():
				case <-time.After(3 * time.Second):
				}
				told <- ctx.Err()
			}
			w.reply = func(*pipeline.Call) (pipeline.Reply, error) { return pipeline.Reply{}, context.Canceled }
			transport := &sdk.StreamableClientTransport{
				Endpoint: w.base + "/mcp", MaxRetries: -1,
				HTTPClient: &http.Client{Transport: static{"Authorization": "Bearer " + w.key, "Gatewright-Intent": w.anything("files")}},
			}
			s, err := sdk.NewClient(&sdk.Implementation{Name: "stock", Version: "1"}, nil).Connect(t.Context(), transport, &sdk.ClientSessionOptions{ProtocolVersion: era})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			for range 3 {
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					_, _ = s.CallTool(ctx, &sdk.CallToolParams{Name: "read", Arguments: map[string]any{"path": "/a"}})
				}()
				<-began
				cancel()
				select {
				case err := <-told:
					if err == nil {
						t.Fatal("the server was not told")
					}
				case <-time.After(5 * time.Second):
					t.Fatal("the server was not told")
				}
				time.Sleep(50 * time.Millisecond) // the notification comes after
				if _, err := s.ListTools(t.Context(), nil); err != nil {
					t.Fatalf("the connection is of no use any more: %v", err)
				}
			}
		})
	}
}
