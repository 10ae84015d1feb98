package upstream_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// library is an SDK server that offers everything but tools.
func library(pages int) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "library", Version: "1"}, &mcp.ServerOptions{
		PageSize: pages,
		CompletionHandler: func(_ context.Context, r *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
			return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: []string{r.Params.Argument.Value + "ris"}}}, nil
		},
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	for i := range 7 {
		s.AddPrompt(&mcp.Prompt{Name: fmt.Sprintf("p%d", i)}, func(_ context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return &mcp.GetPromptResult{Description: r.Params.Name + " for " + r.Params.Arguments["who"]}, nil
		})
		s.AddResource(&mcp.Resource{Name: fmt.Sprintf("r%d", i), URI: fmt.Sprintf("file:///r%d/a", i)}, func(_ context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, Text: "read " + r.Params.URI}}}, nil
		})
		s.AddResourceTemplate(&mcp.ResourceTemplate{Name: fmt.Sprintf("t%d", i), URITemplate: fmt.Sprintf("t%d:///{x}", i)}, nil)
	}
	return s
}

func TestEveryListIsReadToItsEnd(t *testing.T) {
	for era, stateless := range map[string]bool{"legacy": false, "modern": true} {
		_, target := serve(t, streamable(library(2), &mcp.StreamableHTTPOptions{Stateless: stateless}))
		target.Era = era
		client := newClient(t, nil)
		for _, method := range []string{"prompts/list", "resources/list", "resources/templates/list"} {
			items, err := client.List(t.Context(), target, &upstream.Request{Method: method, Principal: "agt_1"})
			if err != nil || len(items) != 7 {
				t.Errorf("%s %s: %d, %v", era, method, len(items), err)
			}
		}
		_, err := client.List(t.Context(), target, &upstream.Request{Method: "tools/call"})
		wantKind(t, err, upstream.Invalid)
		small := newClient(t, func(o *upstream.Options) { o.Config.MaxTools = 6 })
		_, err = small.List(t.Context(), target, &upstream.Request{Method: "prompts/list"})
		wantKind(t, err, upstream.TooLarge)
	}
}

func TestEveryOperationReachesServersOfBothEras(t *testing.T) {
	for era, stateless := range map[string]bool{"legacy": false, "modern": true} {
		rec, target := serve(t, streamable(library(0), &mcp.StreamableHTTPOptions{Stateless: stateless}))
		target.Era = era
		client := newClient(t, nil)
		for _, c := range []struct {
			r              upstream.Request
			header, want   string
			legacy, modern bool
		}{
			{upstream.Request{Method: "prompts/get", Name: "p3", Arguments: []byte(`{"who":"me"}`)}, "p3", "p3 for me", true, true},
			{upstream.Request{Method: "resources/read", Name: "file:///r1/a"}, "file:///r1/a", "read file:///r1/a", true, true},
			{upstream.Request{Method: "resources/read", Name: "file:///r1/a", Params: []byte(`{"uri":"file:///r1/\u0061"}`)}, "file:///r1/a", "read file:///r1/a", true, true},
			{upstream.Request{Method: "completion/complete", Params: []byte(`{"ref":{"type":"ref/prompt","name":"p1"},"argument":{"name":"who","value":"pa"}}`)}, "", "paris", true, true},
			{upstream.Request{Method: "resources/subscribe", Name: "file:///r1/a"}, "", "{}", true, false},
			{upstream.Request{Method: "resources/unsubscribe", Name: "file:///r1/a"}, "", "{}", true, false},
			{upstream.Request{Method: "logging/setLevel", Params: []byte(`{"level":"info"}`)}, "", "{}", true, false},
			{upstream.Request{Method: "ping"}, "", "{}", true, false},
		} {
			c.r.Principal, c.r.Meta = "agt_1", []byte(`{"com.example/x":[1]}`)
			var reply upstream.Reply
			err := client.Call(t.Context(), target, &c.r, &reply)
			works := era == "legacy" && c.legacy || era == "modern" && c.modern
			if err != nil || works != strings.Contains(string(reply.Result), c.want) || !works && reply.Error == nil {
				t.Errorf("%s %s: %v, %s%s", era, c.r.Method, err, reply.Result, reply.Error)
			}
			last := len(rec.heads) - 1
			if got := rec.heads[last].Get("Mcp-Name"); era == "modern" && got != c.header || era == "legacy" && got != "" {
				t.Errorf("%s %s: Mcp-Name %q", era, c.r.Method, got)
			}
			if !strings.Contains(rec.bodies[last], `"com.example/x":[1]`) {
				t.Errorf("%s %s: sent %s", era, c.r.Method, rec.bodies[last])
			}
		}
	}
}

// The tasks extension of 2026-07-28 routes by the task's id.
func TestATasksRequestNamesItsTask(t *testing.T) {
	s := serveRaw(t, answer("200 OK", `{"jsonrpc":"2.0","id":$ID,"result":{"status":"working"}}`))
	client := newClient(t, nil)
	for method, header := range map[string]string{"tasks/get": "t-1", "tasks/update": "t-1", "tasks/cancel": "t-1", "tasks/result": ""} {
		r := &upstream.Request{Method: method, Name: "t-1", Principal: "agt_1"}
		if err := client.Call(t.Context(), s.target(), r, new(upstream.Reply)); err != nil {
			t.Fatal(err)
		}
		last := len(s.heads) - 1
		if got := s.heads[last].Get("Mcp-Name"); got != header || !strings.Contains(s.bodies[last], `"params":{"taskId":"t-1",`) {
			t.Errorf("%s: %q, %s", method, got, s.bodies[last])
		}
	}
	// The SDK of the other tests does not decode this header (v1.8.0), which the protocol asks for.
	r := &upstream.Request{Method: "resources/read", Name: "file:///ä", Principal: "agt_1"}
	if err := client.Call(t.Context(), s.target(), r, new(upstream.Reply)); err != nil || s.heads[len(s.heads)-1].Get("Mcp-Name") != "=?base64?ZmlsZTovLy/DpA==?=" {
		t.Errorf("%v, sent %v", err, s.heads[len(s.heads)-1])
	}
	r = &upstream.Request{Method: "tasks/get", Name: "t-1", Params: []byte(`{"taskId":"t-2"}`), Principal: "agt_1"}
	wantKind(t, client.Call(t.Context(), s.target(), r, new(upstream.Reply)), upstream.Invalid)
}

// A session that is over is ended at its server, with the credential of then, and not at a place that is another by now.
func TestSessionsAreEndedAtTheirServer(t *testing.T) {
	var url string
	var now = time.Now()
	deleted := make(chan string, 16)
	inner := sdkServer(&mcp.StreamableHTTPOptions{JSONResponse: true}, 0)
	live := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r)
		if r.Method == http.MethodDelete {
			deleted <- r.Header.Get("Mcp-Session-Id") + " " + r.Header.Get("Authorization")
		}
	}))
	t.Cleanup(live.Close)
	url = live.URL + "/mcp"
	target := func() *upstream.Target {
		return &upstream.Target{Tenant: "demo", Name: "srv", URL: url, Era: "legacy", AllowPrivate: true, Headers: func(add func(name, value string)) { add("Authorization", "Bearer k") }}
	}
	client := newClient(t, func(o *upstream.Options) {
		o.Config.MaxSessions = 2
		o.Now = func() time.Time { return now }
		o.Reach = func(context.Context, string, string) (*upstream.Target, error) { return target(), nil }
	})
	ended := func(n int) {
		t.Helper()
		for range n {
			select {
			case got := <-deleted:
				if !strings.HasSuffix(got, " Bearer k") || len(got) < 20 {
					t.Errorf("ended %q", got)
				}
			case <-time.After(3 * time.Second):
				t.Fatal("a session was not ended")
			}
		}
	}
	call := func(principal string) {
		t.Helper()
		callText(t, client, target(), principal, "echo_01", `{"text":"x"}`)
	}
	for i := range 4 {
		call(fmt.Sprint("agt_", i))
	}
	ended(2) // for want of room
	client.Close()
	ended(2)
	if len(deleted) != 0 {
		t.Errorf("%d further ends", len(deleted))
	}
}
