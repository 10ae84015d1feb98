package server

import (
	"context"
	"testing"

	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/plugins/connector"
)

// TestTheHTTPConnectorTakesWhatTheGatewaySaysOfTheCaller: capabilities, and the answers to what a server asked, out of the
// params, so that they are not told to a server of the older era.
func TestTheHTTPConnectorTakesWhatTheGatewaySaysOfTheCaller(t *testing.T) {
	heard := 0
	r := &connector.Request{
		Meta:   []byte(`{"io.modelcontextprotocol/clientCapabilities":{"elicitation":{}},"progressToken":1}`),
		Params: []byte(`{"name":"t","arguments":{"a":1},"inputResponses":{"q":{}},"requestState":"s","_meta":{"x":1}}`),
		Notify: func(string, []byte) error { heard++; return nil },
	}
	req := &upstream.Request{Params: r.Params, Meta: r.Meta}
	takeCaller(req, r)
	if string(req.Capabilities) != `{"elicitation":{}}` || string(req.InputResponses) != `{"q":{}}` || string(req.RequestState) != `"s"` || string(req.Params) != `{"name":"t","arguments":{"a":1}}` {
		t.Errorf("%s %s %s %s", req.Capabilities, req.InputResponses, req.RequestState, req.Params)
	}
	for _, method := range []string{"notifications/progress", "notifications/message", "notifications/tools/list_changed"} {
		if err := req.Peer.Notify(method, []byte("{}")); err != nil {
			t.Error(err)
		}
	}
	if answer, failure := req.Peer.Answer(t.Context(), "roots/list", nil); heard != 2 || req.Peer.Capabilities() != nil || answer != nil || failure != nil {
		t.Errorf("heard %d things; asked: %s %s", heard, answer, failure)
	}
	r.Meta, r.Ask = []byte(`{"gatewright/hears":{"roots":{}}}`), func(_ context.Context, method string, _ []byte) (connector.Reply, error) {
		return connector.Reply{Result: []byte(`{"of":"` + method + `"}`)}, nil
	}
	takeCaller(req, r)
	if answer, _ := req.Peer.Answer(t.Context(), "roots/list", nil); string(req.Peer.Capabilities()) != `{"roots":{}}` || string(answer) != `{"of":"roots/list"}` {
		t.Errorf("%s can be asked, and said %s", req.Peer.Capabilities(), answer)
	}
	plain := &upstream.Request{Params: []byte(`{"name":"t"}`)}
	takeCaller(plain, &connector.Request{Params: plain.Params, Meta: []byte(`{"io.modelcontextprotocol/clientCapabilities":[]}`)})
	if plain.Peer != nil || plain.Capabilities != nil || plain.InputResponses != nil || string(plain.Params) != `{"name":"t"}` {
		t.Errorf("%+v", plain)
	}
}
