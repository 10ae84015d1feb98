package server

import (
	"errors"
	"testing"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/plugins/builtin"
	"github.com/gatewright/gatewright/plugins/connector"
)

// TestAServerBehindAProcessIsNeverReachedWithoutIt: an operator who wants a process between gets none when there is none.
func TestAServerBehindAProcessIsNeverReachedWithoutIt(t *testing.T) {
	g := &Gateway{connectors: &connectors{}}
	for _, url := range []string{"", "http://127.0.0.1:1/mcp"} {
		if _, err := g.target(t.Context(), catalogue.Server{Tenant: "t", Name: "s", URL: url, Process: true}); !errors.Is(err, catalogue.ErrUnknown) {
			t.Errorf("%q: %v", url, err)
		}
	}
	at := place{"t", "s"}
	g.connectors.unfit = map[place]error{at: errors.New("no program")}
	target, err := g.target(t.Context(), catalogue.Server{Tenant: "t", Name: "s", Process: true})
	if err != nil {
		t.Fatal(err)
	}
	fail, ok := errors.AsType[*upstream.Error](target.Carrier.Carry(t.Context(), target, nil, nil))
	if !ok || fail.Kind != upstream.Unreachable || fail.Sent {
		t.Errorf("%v", fail)
	}
}

// TestAConnectorsWordsReachNobody: only our own client's kinds of failure are passed on, and only kinds that there are.
func TestAConnectorsWordsReachNobody(t *testing.T) {
	f := &connector.Failure{Kind: connector.Internal, Detail: "password: hunter2"}
	for _, kind := range []string{"", builtin.Stdio, builtin.HTTP, builtin.OpenAPI} {
		if got := carryFault(f, kind); got.Kind != upstream.Unreachable || got.Detail != "the connector has a fault" {
			t.Errorf("%q: %v", kind, got)
		}
	}
}
