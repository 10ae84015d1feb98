package mcp_test

import (
	"net/http"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// static adds what a user of a stock client can configure: fixed headers.
type static map[string]string

func (s static) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for k, v := range s {
		r.Header.Set(k, v)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// TestAStockClientOfEitherEraListsAndCalls uses go-sdk's own client, which nobody here wrote.
func TestAStockClientOfEitherEraListsAndCalls(t *testing.T) {
	for _, era := range []string{"2024-11-05", "2025-06-18", "2025-11-25", modern, ""} {
		t.Run("era "+era, func(t *testing.T) {
			w := newWorld(t)
			w.listen()
			token := w.token(`{"steps":[{"server":"files","tool":"read","args":{"path":"/a"}},{"server":"files","tool":"send","args":{"to":"zoë","n":3}}]}`)
			client := sdk.NewClient(&sdk.Implementation{Name: "stock", Version: "1"}, nil)
			transport := &sdk.StreamableClientTransport{
				Endpoint: w.base + "/mcp", MaxRetries: -1,
				HTTPClient: &http.Client{Transport: static{"Authorization": "Bearer " + w.key, "Gatewright-Intent": token}},
			}
			s, err := client.Connect(t.Context(), transport, &sdk.ClientSessionOptions{ProtocolVersion: era})
			if err != nil {
				t.Fatal(err)
			}
			want := era
			if era == "" {
				want = modern
			}
			if got := s.InitializeResult().ProtocolVersion; got != want {
				t.Errorf("speaks %s, want %s", got, want)
			}
			tools, err := s.ListTools(t.Context(), nil)
			if err != nil || len(tools.Tools) != 2 || tools.Tools[0].Name != "read" {
				t.Fatalf("%v, %v", tools, err)
			}
			r, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "read", Arguments: map[string]any{"path": "/a"}})
			if err != nil || len(r.Content) != 1 || !strings.HasPrefix(r.Meta["gatewright/receipt"].(string), "receipt-rec_") {
				t.Fatalf("%+v, %v", r, err)
			}
			_, err = s.CallTool(t.Context(), &sdk.CallToolParams{Name: "read", Arguments: map[string]any{"path": "/b"}})
			if err == nil || !strings.Contains(err.Error(), "[args_mismatch rec_") {
				t.Errorf("another argument: %v", err)
			}
			if _, err = s.CallTool(t.Context(), &sdk.CallToolParams{Name: "send", Arguments: map[string]any{"to": "zoë", "n": 3}}); err != nil {
				t.Errorf("a call with mirrored arguments: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Logf("close: %v", err)
			}
		})
	}
}

func TestAStockClientWithoutAKeyCannotConnect(t *testing.T) {
	w := newWorld(t)
	w.listen()
	for _, era := range []string{"2025-11-25", modern} {
		client := sdk.NewClient(&sdk.Implementation{Name: "stock", Version: "1"}, nil)
		_, err := client.Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: w.base + "/mcp", MaxRetries: -1}, &sdk.ClientSessionOptions{ProtocolVersion: era})
		if err == nil {
			t.Errorf("%s: connected", era)
		}
	}
}
