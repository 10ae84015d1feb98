package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/plugins/builtin"
	"github.com/gatewright/gatewright/plugins/connector"
)

// httpConnector is what the process of a server with via = "connector" is told.
type httpConnector struct {
	URL          string          `json:"url"`
	Era          string          `json:"era"`
	AllowPrivate bool            `json:"allow_private"`
	PublicKeys   []string        `json:"public_keys"`
	Upstream     config.Upstream `json:"upstream"`
}

// Connectors are the makers of the built-in connectors that need the gateway's own ways to servers.
func Connectors() map[string]builtin.Maker {
	return map[string]builtin.Maker{builtin.HTTP: HTTPConnector, builtin.OpenAPI: OpenAPIConnector}
}

// HTTPConnector makes the connector that reaches one HTTP MCP server with the gateway's own client, in a process of its
// own: what goes wrong in talking to that server stays there.
func HTTPConnector(conf []byte, _ io.Writer) (connector.Server, error) {
	var c httpConnector
	d := json.NewDecoder(bytes.NewReader(conf))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("read the connector's configuration: %w", err)
	}
	client, err := upstream.New(upstream.Options{Config: upstreamConfig(c.Upstream, 1), Now: time.Now})
	if err != nil {
		return nil, err
	}
	return &httpServer{client: client, conf: c}, nil
}

type httpServer struct {
	client *upstream.Client
	conf   httpConnector
}

// mirrored is how headers begin that repeat an argument; only servers of the newer era get them.
const mirrored = "Mcp-Param-"

// Call carries the request over HTTP.
func (s *httpServer) Call(ctx context.Context, r *connector.Request) (connector.Reply, error) {
	t := &upstream.Target{Tenant: "connector", Name: "server", URL: s.conf.URL, Era: s.conf.Era, AllowPrivate: s.conf.AllowPrivate, Pins: s.conf.PublicKeys}
	t.Headers = func(add func(name, value string)) { addHeaders(r.Headers, false, add) }
	req := &upstream.Request{
		Method: r.Method, Name: r.Name, Principal: r.Principal, Params: r.Params, Arguments: r.Arguments, Meta: r.Meta,
		Mirror: func(add func(name, value string)) { addHeaders(r.Headers, true, add) },
	}
	switch r.Method {
	case "server/discover":
		return s.discover(ctx, t)
	case connector.MethodListen:
		return s.listen(ctx, t, r)
	}
	takeCaller(req, r)
	var reply upstream.Reply
	if err := s.client.Call(ctx, t, req, &reply); err != nil {
		return connector.Reply{}, httpFailure(err)
	}
	return connector.Reply{Result: reply.Result, Error: reply.Error}, nil
}

// discover says what the server declares of itself, of whichever era it is.
func (s *httpServer) discover(ctx context.Context, t *upstream.Target) (connector.Reply, error) {
	declares, err := s.client.Capabilities(ctx, t)
	switch {
	case errors.Is(err, upstream.ErrNoMethod):
		return connector.Reply{Error: []byte(`{"code":-32601,"message":"Method not found"}`)}, nil
	case err != nil:
		return connector.Reply{}, httpFailure(err)
	}
	return connector.Reply{Result: append(append([]byte(`{"capabilities":`), declares...), '}')}, nil
}

// listen hears what the server says on its own, in the session of the principal's calls.
func (s *httpServer) listen(ctx context.Context, t *upstream.Target, r *connector.Request) (connector.Reply, error) {
	if r.Notify == nil {
		return connector.Reply{}, &connector.Failure{Kind: connector.Refused, Detail: "nobody hears"}
	}
	can, _ := canon.Get(r.Meta, connector.MemberHears)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	sub := &upstream.Subscription{Principal: r.Principal, Peer: &distantEar{distantPeer{r: r, can: can}, ctx, stop}}
	sub.Filter, _ = canon.Get(r.Params, "notifications")
	if list, ok := canon.Get(sub.Filter, "resourceSubscriptions"); ok {
		if err := json.Unmarshal(list, &sub.Resources); err != nil {
			return connector.Reply{}, &connector.Failure{Kind: connector.Refused, Detail: "resourceSubscriptions is no array of names"}
		}
		sub.Filter = nil
	}
	err := s.client.Listen(ctx, t, sub)
	fail, known := errors.AsType[*upstream.Error](err)
	switch {
	case ctx.Err() != nil:
		return connector.Reply{Result: []byte("{}")}, nil
	case known && fail.Kind == upstream.Status && fail.Code == http.StatusMethodNotAllowed:
		return connector.Reply{Error: []byte(`{"code":-32601,"message":"Method not found"}`)}, nil
	}
	return connector.Reply{}, httpFailure(err)
}

// distantEar is one who listens, beyond the gateway.
type distantEar struct {
	distantPeer
	ctx  context.Context //nolint:containedctx // of the listening
	stop func()
}

// Notify hands on what is said; when the call takes no more it has come to its end, and is made anew.
func (e *distantEar) Notify(method string, params []byte) error {
	if len(params) == 0 {
		params = []byte("{}")
	}
	for {
		err := e.r.Notify(method, params)
		if errors.Is(err, connector.ErrLater) && e.ctx.Err() == nil { // the server waits meanwhile
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil {
			e.stop()
		}
		return nil
	}
}

// takeCaller makes of what the gateway says in _meta and params what our client wants to know: what the caller can be asked,
// by servers of the newer era with their answers and by older ones in the middle of the call, the answers to what was asked
// before, and who hears what comes before the answer.
func takeCaller(req *upstream.Request, r *connector.Request) {
	if can, ok := canon.Get(r.Meta, "io.modelcontextprotocol/clientCapabilities"); ok && canon.KindOf(can) == '{' {
		req.Capabilities = can
	}
	if r.Notify != nil {
		can, _ := canon.Get(r.Meta, connector.MemberHears)
		req.Peer = &distantPeer{r: r, can: can}
	}
	if len(r.Params) == 0 {
		return
	}
	responses, answered := canon.Get(r.Params, "inputResponses")
	state, stated := canon.Get(r.Params, "requestState")
	if !answered && !stated {
		return
	}
	req.InputResponses, req.RequestState = responses, state
	rest := []byte{'{'}
	_ = canon.Each(r.Params, func(key, value []byte) error { // checked JSON: cannot fail
		switch string(key) {
		case "inputResponses", "requestState", "_meta":
			return nil
		}
		if len(rest) > 1 {
			rest = append(rest, ',')
		}
		rest = append(append(canon.AppendString(rest, string(key)), ':'), value...)
		return nil
	})
	req.Params = append(rest, '}')
}

// distantPeer is the caller of a call, beyond the gateway.
type distantPeer struct {
	r   *connector.Request
	can []byte // what an older server may ask; nil: nothing
}

// Capabilities are what an older server is told, and asks.
func (p *distantPeer) Capabilities() []byte {
	if p.r.Ask == nil {
		return nil
	}
	return p.can
}

// Notify hands progress and logs to the gateway; one notification that it does not take costs nothing but itself.
func (p *distantPeer) Notify(method string, params []byte) error {
	if method == "notifications/progress" || method == "notifications/message" {
		_ = p.r.Notify(method, params)
	}
	return nil
}

// Answer has the gateway's caller asked.
func (p *distantPeer) Answer(ctx context.Context, method string, params []byte) (result, failure []byte) {
	if p.r.Ask == nil {
		return nil, nil
	}
	reply, err := p.r.Ask(ctx, method, params)
	if err != nil {
		return nil, nil // our client says that there is no answer
	}
	return reply.Result, reply.Error
}

func addHeaders(list [][2]string, mirror bool, add func(name, value string)) {
	for _, h := range list {
		if strings.HasPrefix(h[0], mirrored) == mirror {
			add(h[0], h[1])
		}
	}
}

// failureKinds gives each kind of an upstream's failure its name on the connector's wire.
var failureKinds = map[upstream.Kind]connector.Kind{
	upstream.Timeout: connector.Timeout, upstream.Canceled: connector.Canceled, upstream.TooLarge: connector.TooLarge,
	upstream.Malformed: connector.Malformed, upstream.Redirect: connector.Refused, upstream.Status: connector.Refused,
	upstream.Busy: connector.Busy, upstream.Invalid: connector.Refused, upstream.Unreachable: connector.Unreachable,
	upstream.BlockedAddress: connector.Unreachable, upstream.CircuitOpen: connector.Unreachable,
}

func httpFailure(err error) error {
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return err
	}
	kind, ok := failureKinds[e.Kind]
	if !ok {
		kind = connector.Unreachable
	}
	return &connector.Failure{Kind: kind, Detail: string(e.Kind) + ": " + e.Detail, Sent: e.Sent}
}
