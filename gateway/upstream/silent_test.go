package upstream_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// TestWhatASessionSaysIsHeardWithoutResources: its logs, say. A server of the newer era is not asked for a stream of nothing.
func TestWhatASessionSaysIsHeardWithoutResources(t *testing.T) {
	s := library(0)
	rec, target := serve(t, streamable(s, &mcp.StreamableHTTPOptions{}))
	target.Era = "legacy"
	client, l := newClient(t, nil), hearing()
	r := &upstream.Request{Method: "logging/setLevel", Params: []byte(`{"level":"info"}`), Principal: "agt_1", Peer: l}
	var reply upstream.Reply
	if err := client.Call(t.Context(), target, r, &reply); err != nil || reply.Error != nil {
		t.Fatal(err, string(reply.Error))
	}
	stop := listening(t, client, target, &upstream.Subscription{Principal: "agt_1", Peer: l, Resources: []string{}})
	l.hears(t, "notifications/subscriptions/acknowledged")
	for ss := range s.Sessions() {
		if err := ss.Log(t.Context(), &mcp.LoggingMessageParams{Level: "error", Data: "out of the blue"}); err != nil { //nolint:staticcheck // as older servers do
			t.Fatal(err)
		}
	}
	l.hears(t, "out of the blue")
	_ = stop()
	target.Era = "modern"
	before := len(rec.bodies)
	err := newClient(t, nil).Listen(t.Context(), target, &upstream.Subscription{Principal: "agt_1", Peer: l, Resources: []string{}})
	if fail, ok := errors.AsType[*upstream.Error](err); !ok || fail.Code != 405 || strings.Contains(strings.Join(rec.bodies[before:], ""), "subscriptions/listen") {
		t.Errorf("modern: %v", err)
	}
}
