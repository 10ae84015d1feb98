package conformance_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Clients that listen, servers that change: clients and servers of either era, all of the Go SDK, which nobody here wrote.

const (
	olderEra = "2025-11-25"
	newerEra = "2026-07-28"
	noteURI  = "note:///today"
)

// changing is a server whose tools change and whose resource is updated.
func changing(t testing.TB, era string) (s *mcp.Server, url string) {
	t.Helper()
	s = mcp.NewServer(&mcp.Implementation{Name: "changing", Version: "1"}, &mcp.ServerOptions{
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	offer(s, "first")
	s.AddResource(&mcp.Resource{Name: "today", URI: noteURI}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: noteURI, Text: "rain"}}}, nil
	})
	web := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: era == newerEra}))
	t.Cleanup(func() { web.CloseClientConnections(); web.Close() })
	return s, web.URL
}

func offer(s *mcp.Server, tool string) {
	s.AddTool(&mcp.Tool{Name: tool, InputSchema: json.RawMessage(`{"type":"object"}`)}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{}, nil
	})
}

// told is what a client hears: "tools", or the URI that was updated.
type told chan string

// listening connects a client of an era that wants to hear everything.
func listening(t testing.TB, g *Gateway, path, era, key string) (*mcp.ClientSession, told) {
	t.Helper()
	hears := make(told, 100)
	client := mcp.NewClient(&mcp.Implementation{Name: "listening", Version: "1"}, &mcp.ClientOptions{
		ToolListChangedHandler: func(context.Context, *mcp.ToolListChangedRequest) { hears <- "tools" },
		ResourceUpdatedHandler: func(_ context.Context, r *mcp.ResourceUpdatedNotificationRequest) { hears <- r.Params.URI },
	})
	s, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: g.URL + path, HTTPClient: &http.Client{Transport: fixedHeaders{"Authorization": "Bearer " + key}},
	}, &mcp.ClientSessionOptions{ProtocolVersion: era})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, hears
}

type fixedHeaders map[string]string

func (f fixedHeaders) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for k, v := range f {
		r.Header.Set(k, v)
	}
	return http.DefaultTransport.RoundTrip(r)
}

func (h told) hear(t testing.TB, want string) {
	t.Helper()
	select {
	case got := <-h:
		if got != want {
			t.Fatalf("heard of %q, want %q", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("nobody was told of %q", want)
	}
}

func (h told) silent(t testing.TB) {
	t.Helper()
	select {
	case got := <-h:
		t.Fatalf("heard of %q", got)
	case <-time.After(1500 * time.Millisecond):
	}
}

func TestClientsAreToldWhatChangedAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, client := range []string{olderEra, newerEra} {
		for _, server := range []string{olderEra, newerEra} {
			t.Run("client "+client+", server "+server, func(t *testing.T) {
				t.Parallel()
				g := start(t, Setup{})
				s, url := changing(t, server)
				_, other := changing(t, newerEra)
				g.behind(t, "news", url, map[string]any{"era": "auto"})
				g.behind(t, "quiet", other, map[string]any{"era": "auto"})
				c, hears := listening(t, g, "/mcp", client, g.newAgent(t).key)
				shown := "gatewright+news:" + noteURI
				if err := c.Subscribe(t.Context(), &mcp.SubscribeParams{URI: shown}); err != nil {
					t.Fatal(err)
				}
				if err := c.Subscribe(t.Context(), &mcp.SubscribeParams{URI: "gatewright+elsewhere:" + noteURI}); err == nil && client == olderEra {
					t.Error("a resource of no server is watched") // the newer client of this SDK does not say what it was answered
				}
				time.Sleep(500 * time.Millisecond) // for the streams to stand

				if err := s.ResourceUpdated(t.Context(), &mcp.ResourceUpdatedNotificationParams{URI: noteURI}); err != nil {
					t.Fatal(err)
				}
				hears.hear(t, shown)
				offer(s, "second") // it waits for a person
				hears.hear(t, "tools")
				if list, err := c.ListTools(t.Context(), nil); err != nil || slices.Contains(toolNames(list.Tools), "news__second") {
					t.Errorf("shown before anybody approved it: %v, %v", toolNames(list.Tools), err)
				}
				approveNew(t, g, "news", "second")
				hears.hear(t, "tools")
				list, err := c.ListTools(t.Context(), nil)
				if err != nil || !slices.Contains(toolNames(list.Tools), "news__second") {
					t.Errorf("listed are %v, %v", toolNames(list.Tools), err)
				}
				if err := c.Unsubscribe(t.Context(), &mcp.UnsubscribeParams{URI: shown}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(300 * time.Millisecond)
				_ = s.ResourceUpdated(t.Context(), &mcp.ResourceUpdatedNotificationParams{URI: noteURI})
				hears.silent(t)
			})
		}
	}
}

// approveNew waits for a tool to wait for a person, and approves it as one does.
func approveNew(t testing.TB, g *Gateway, server, tool string) {
	t.Helper()
	digest := regexp.MustCompile(`(?m)^digest +([0-9a-f]{64})$`)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		found := digest.FindStringSubmatch(g.run(t, "", nil, "connector", "diff", server+"/"+tool).out)
		switch {
		case found != nil:
			if r := g.run(t, "", nil, "connector", "approve", server+"/"+tool, found[1]); r.code != 0 {
				t.Fatalf("approve: %+v", r)
			}
			return
		case time.Now().After(deadline):
			t.Fatalf("%s/%s was not listed anew", server, tool)
		}
	}
}

func toolNames(tools []*mcp.Tool) (out []string) {
	for _, t := range tools {
		out = append(out, t.Name)
	}
	return out
}
