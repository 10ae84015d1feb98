//nolint:staticcheck // logs are deprecated in the newer era, and what servers of the older one write
package conformance_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestLogsOfALocalProgramReachTheCallThatIsAlone: those that the server writes while it works on the call. It is npm's.
func TestLogsOfALocalProgramReachTheCallThatIsAlone(t *testing.T) {
	t.Parallel()
	const server, tool = "everything", "toggle-simulated-logging"
	g := start(t, Setup{HCL: everythingOverStdio(t)})
	g.offers(t, server, tool)
	who := g.newAgent(t)
	_, tok := who.planned(t, step(server, tool, `{}`, `"uses":0`))
	logs := make(chan any, 10)
	client := mcp.NewClient(&mcp.Implementation{Name: "reader", Version: "1"}, &mcp.ClientOptions{
		LoggingMessageHandler: func(_ context.Context, r *mcp.LoggingMessageRequest) { logs <- r.Params.Data },
	})
	s, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: g.URL + "/mcp/" + server, HTTPClient: &http.Client{Transport: fixedHeaders{"Authorization": "Bearer " + who.key, "Gatewright-Intent": tok.Token}},
	}, &mcp.ClientSessionOptions{ProtocolVersion: olderEra})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // on, with a first line at once, and off
		if _, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: map[string]any{}}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case got := <-logs:
		if !strings.Contains(fmt.Sprint(got), "message") {
			t.Errorf("%s: %v", server, got)
		}
	case <-time.After(5 * time.Second):
		t.Errorf("%s: no log came", server)
	}
	_ = s.Close()
}
