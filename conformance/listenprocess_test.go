package conformance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// program, in the environment, makes of the test binary a server over stdio.
const program = "GATEWRIGHT_TEST_PROGRAM"

// overStdio is the test binary as a server.
func overStdio(t testing.TB, name, plays, era string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("server %q {\n  tenant = \"demo\"\n  command = [%q]\n  env = [\"%s=%s\"]\n  era = %q\n}\n", name, self, program, plays, era)
}

// throughProcess is a server over HTTP that is reached by a process of the gateway's.
func throughProcess(name, url string) string {
	return fmt.Sprintf("server %q {\n  tenant = \"demo\"\n  url = %q\n  via = \"connector\"\n  allow_private = true\n}\n", name, url)
}

// playChanging is a server that changes when its tool is called.
func playChanging() {
	s := mcp.NewServer(&mcp.Implementation{Name: "changing", Version: "1"}, &mcp.ServerOptions{
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	for _, uri := range []string{noteURI, noteURI + "/other"} {
		s.AddResource(&mcp.Resource{Name: "note", URI: uri}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: uri, Text: "rain"}}}, nil
		})
	}
	s.AddTool(&mcp.Tool{Name: "change", InputSchema: json.RawMessage(`{"type":"object","properties":{"what":{"type":"string"}}}`)}, func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		var in struct{ What string }
		_ = json.Unmarshal(r.Params.Arguments, &in)
		if in.What == "tools" {
			offer(s, "second")
		} else {
			_ = s.ResourceUpdated(ctx, &mcp.ResourceUpdatedNotificationParams{URI: in.What})
		}
		return &mcp.CallToolResult{}, nil
	})
	if err := s.Run(context.Background(), &mcp.StdioTransport{}); err != nil {
		os.Exit(1)
	}
}

// TestWhatALocalProgramChangesIsToldToWhoWatches: clients of both eras, a server over stdio on the Go SDK, two agents of whom one watches.
func TestWhatALocalProgramChangesIsToldToWhoWatches(t *testing.T) {
	t.Parallel()
	for _, client := range []string{olderEra, newerEra} {
		for _, server := range []string{"legacy", "modern"} {
			t.Run("client "+client+", server "+server, func(t *testing.T) {
				t.Parallel()
				g := start(t, Setup{HCL: overStdio(t, "news", "changing", server)})
				g.offers(t, "news", "change")
				change := g.changer(t, "news")
				c, hears := listening(t, g, "/mcp/news", client, g.newAgent(t).key)
				_, other := listening(t, g, "/mcp/news", client, g.newAgent(t).key)
				if err := c.Subscribe(t.Context(), &mcp.SubscribeParams{URI: noteURI}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(500 * time.Millisecond) // for the streams to stand
				change(noteURI + "/other")
				change(noteURI)
				hears.hear(t, noteURI)
				change("tools")
				hears.hear(t, "tools")
				other.hear(t, "tools")
				approveNew(t, g, "news", "second")
				hears.hear(t, "tools")
				other.hear(t, "tools")
				if r := g.run(t, "", nil, "connector", "restart", "news"); r.code != 0 { // the new process is listened to as well
					t.Fatalf("restart: %+v", r)
				}
				deadline := time.Now().Add(15 * time.Second)
				for heard := false; !heard; {
					if time.Now().After(deadline) {
						t.Fatal("an update of the new process is not heard")
					}
					change(noteURI)
					select {
					case got := <-hears:
						heard = got == noteURI
					case <-time.After(300 * time.Millisecond):
					}
				}
			})
		}
	}
}

// TestWhatAServerThroughAProcessChangesIsTold: a server over HTTP that is reached by a process of the gateway's.
func TestWhatAServerThroughAProcessChangesIsTold(t *testing.T) {
	t.Parallel()
	for _, era := range []string{olderEra, newerEra} {
		t.Run(era, func(t *testing.T) {
			t.Parallel()
			s, url := changing(t, era)
			g := start(t, Setup{HCL: throughProcess("news", url)})
			g.offers(t, "news", "first")
			c, hears := listening(t, g, "/mcp/news", newerEra, g.newAgent(t).key)
			if err := c.Subscribe(t.Context(), &mcp.SubscribeParams{URI: noteURI}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Millisecond)
			_ = s.ResourceUpdated(t.Context(), &mcp.ResourceUpdatedNotificationParams{URI: noteURI})
			hears.hear(t, noteURI)
			offer(s, "second")
			hears.hear(t, "tools")
		})
	}
}

// changer has a server's tool change something, on behalf of an agent of its own.
func (g *Gateway) changer(t testing.TB, server string) func(what string) {
	t.Helper()
	who := g.newAgent(t)
	_, tok := who.planned(t, `{"server":"`+server+`","tool":"change","args":{},"where":{"what":{"open":true}},"uses":0}`)
	h := bearer(who.key, tok.Token)
	return func(what string) {
		t.Helper()
		send(t, "POST", g.URL+"/mcp/"+server, h, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"change","arguments":{"what":"`+what+`"}}}`).ok(t)
	}
}
