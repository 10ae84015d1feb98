package mcp

import (
	"context"
	"net/http"
	"sync"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/merkle/canon"
)

// listener is one stream on which a client is told what has changed: the answer to subscriptions/listen, or the GET stream of a
// session.
type listener struct {
	key    audienceKey
	tenant string
	wants  [len(changes)]bool
	tag    []byte // raw id of the request, which each message of it carries; nil for a session's

	session *session // of an older client
	can     []byte   // capabilities of a newer one that are carried
	stream  *proxy.Stream

	mu    sync.Mutex // guards what follows
	ended bool
}

// newListener is one of the caller at the exchange's path.
func (e *exchange) newListener(c *pipeline.Call) *listener {
	return &listener{
		key:    e.audience(c),
		tenant: c.Caller.Tenant(), stream: e.stream, session: e.session,
	}
}

// audience is the one that the caller is of.
func (e *exchange) audience(c *pipeline.Call) audienceKey {
	return audienceKey{string(c.Credential), c.Certificate, c.Remote, c.TLS, c.Path, e.server}
}

// readListen reads subscriptions/listen.
func (e *exchange) readListen(c *pipeline.Call) error {
	c.Action, c.Server, c.Answer = "subscribe", e.server, e.answer
	if e.d.Hub == nil || !e.x.MayStream() {
		return deny(pipeline.Unsupported, "subscriptions/listen is answered with a stream: list text/event-stream in Accept").WithReason("no_stream")
	}
	wishes, ok := canon.Get(e.params, "notifications")
	if !ok || canon.KindOf(wishes) != '{' {
		return deny(pipeline.Malformed, `"params.notifications" must be an object`)
	}
	l := e.newListener(c)
	l.tag = append([]byte(nil), e.id...)
	caps, _ := canon.Get(e.metaRaw, "io.modelcontextprotocol/clientCapabilities")
	l.can = capabilitiesOf(caps)
	err := canon.Each(wishes, func(key, value []byte) error {
		for i := range changes {
			if string(key) == changes[i].wish {
				if k := canon.KindOf(value); k != 't' && k != 'f' {
					return deny(pipeline.Malformed, `"params.notifications.`+changes[i].wish+`" must be true or false`)
				}
				l.wants[i] = string(value) == "true"
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if e.watching, err = e.wishedURIs(c, wishes); err != nil {
		return err
	}
	e.listener = l
	return e.knownServer(c)
}

// readStream reads the GET that opens the stream of an older client's session.
func (e *exchange) readStream(c *pipeline.Call) error {
	c.Op, c.Action, c.Server, c.Answer = "GET", "subscribe", e.server, e.answer
	e.method = c.Op
	if e.x.Head.Session == nil || e.d.Hub == nil || !e.x.MayStream() {
		e.x.Response.Header.Set("Allow", "DELETE, GET, POST")
		return deny(pipeline.MethodNotAllowed, "MCP messages are sent with POST; GET opens the stream of a session: it needs Mcp-Session-Id, and text/event-stream in Accept")
	}
	if err := e.inSession(c); err != nil {
		return err
	}
	e.listener = e.newListener(c)
	for i := range changes {
		e.listener.wants[i] = true
	}
	return e.knownServer(c)
}

// beginListening opens the stream, as part of the answer: what cannot be opened is refused and not on record as done.
func (e *exchange) beginListening(ctx context.Context, c *pipeline.Call) error {
	e.shownNow = e.view(c).lists
	if len(e.watching) > 0 {
		agreed, err := e.d.Hub.watch(ctx, c, e.listener.watcher(), e.watching)
		if len(agreed) == 0 && e.listener.wants == [len(changes)]bool{} {
			return err // nothing of what it wishes for is done
		}
		e.watching = agreed
	}
	e.x.SetRecord(c)
	e.x.SetStatusCode(http.StatusOK)
	if err := e.stream.Open(c.Caller.Session()); err != nil {
		return deny(pipeline.RateLimited, "too many streams are open").Because(err)
	}
	return nil
}

// listening goes on as the stream, once the call is on record.
func (e *exchange) listening() {
	l, hub := e.listener, e.d.Hub // the exchange is another's when the stream ends
	if l.tag != nil {
		l.tell("notifications/subscriptions/acknowledged", e.agreed())
	}
	if l.session != nil {
		l.session.listens(l)
	}
	e.listener = nil // it is the hub's now
	hub.join(l, e.shownNow)
	_ = e.stream.Hold(func() { hub.leave(l) }) // it is open
}

// stopListening takes back what a refused call had begun.
func (e *exchange) stopListening() {
	if l := e.listener; l != nil {
		e.listener = nil
		e.d.Hub.drop(l)
	}
}

// agreed is what of a client's wishes is done, as a member of params.
func (e *exchange) agreed() string {
	b := []byte(`"notifications":{`)
	start := len(b)
	for i, w := range e.listener.wants {
		if w {
			b = append(comma(b, start), `"`+changes[i].wish+`":true`...)
		}
	}
	if len(e.watching) > 0 {
		b = append(comma(b, start), `"resourceSubscriptions":[`...)
		for i, u := range e.watching {
			if i > 0 {
				b = append(b, ',')
			}
			b = canon.AppendString(b, u.shown)
		}
		b = append(b, ']')
	}
	return string(append(b, '}'))
}

// tell sends a notification with these members of params.
func (l *listener) tell(method, params string) {
	b := append(make([]byte, 0, 256), `{"jsonrpc":"2.0","method":"`+method+`"`...)
	if l.tag != nil {
		if params != "" {
			params += ","
		}
		params += `"_meta":{"io.modelcontextprotocol/subscriptionId":` + string(l.tag) + `}`
	}
	if params != "" {
		b = append(b, `,"params":{`+params+`}`...)
	}
	_ = l.stream.Event("", append(b, '}')) // one that has left misses it
}

// end ends the stream in order; the hub hears of it as of any end.
func (l *listener) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	if l.tag != nil {
		_ = l.stream.Event("", append(append([]byte(`{"jsonrpc":"2.0","id":`), l.tag...),
			`,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":`+string(l.tag)+`}}}`...))
	}
	l.stream.Close()
}
