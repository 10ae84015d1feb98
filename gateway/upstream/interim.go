package upstream

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Peer is the caller's side of an exchange, for what the server says before its answer. Raw JSON that it is given has been
// checked, belongs to the callee only until it returns, and is an object or nil.
type Peer interface {
	// Capabilities is the raw object of client capabilities that the server is told, nil for none. It has passed
	// canon.Check and stays the same while a call runs: sessions with older servers are kept apart by it.
	Capabilities() []byte
	// Notify hears one notification. All of an exchange come in order and before Call returns. The next is not read
	// until it returns. A progress notification has the token that the caller gave. An error ends the exchange.
	Notify(method string, params []byte) error
	// Answer answers a request of an older server, elicitation/create, sampling/createMessage or roots/list, with the raw
	// object of a result or of a JSON-RPC error. It may run several times at once, and beside Notify. It must return
	// when ctx ends: the exchange is over, the server took its request back, or Config.AnswerTimeout passed.
	Answer(ctx context.Context, method string, params []byte) (result, failure []byte)
}

// maxCapabilities bounds what of a caller becomes part of a session's key.
const maxCapabilities = 8 << 10

func checkPeer(p Peer) *Error {
	if p == nil {
		return nil
	}
	if caps := p.Capabilities(); caps != nil && (canon.KindOf(caps) != '{' || len(caps) > maxCapabilities) {
		return fault(Invalid, "the caller's capabilities are not an object, or too large")
	}
	return nil
}

// who is on whose behalf a server is asked, and what that one can do.
type who struct{ principal, capabilities string }

func (r *Request) who() who { return identify(r.Principal, r.Peer) }

func identify(principal string, p Peer) who {
	w := who{principal: principal, capabilities: "{}"}
	if p != nil {
		if caps := p.Capabilities(); caps != nil && string(caps) != w.capabilities {
			w.capabilities = string(caps)
		}
	}
	return w
}

// aside is what a server says on a stream beside the answer that is waited for.
type aside struct {
	c    *Client
	p    *peer
	t    *Target
	s    *session
	peer Peer
	// progress is the raw token the caller gave; nil when it gave none. id is ours, which the server was given.
	progress []byte
	id       uint64
	// postpone moves the exchange's time limit; nil on a stream without one.
	postpone func(time.Time)
	// minutely counts anew each minute, on a stream without an end.
	minutely bool

	ctx   context.Context //nolint:containedctx // ends with the exchange, and the questions with it
	end   context.CancelFunc
	asked sync.WaitGroup

	count, bytes int // of what was heard; the reader's alone
	minute       time.Time

	mu     sync.Mutex // guards what follows
	open   map[string]context.CancelCauseFunc
	base   time.Time // the exchange's time limit when nobody is waited for
	since  time.Time // somebody is waited for since then
	waited time.Duration
}

// interim takes a message that is not the answer into account and returns errForeign to read on.
func (c *Client) interim(cn *conn, m *message, size int) error {
	j := &cn.job
	if m.id == nil && j.r.Peer == nil || m.id != nil && j.s.modern {
		return errForeign // nobody hears it; modern servers must not ask, and modern clients must not answer
	}
	if j.aside == nil {
		j.aside = c.newAside(j.ctx, j.p, j.t, j.s, j.r.Peer)
		j.aside.base, j.aside.postpone = c.watch.deadline(cn), func(at time.Time) { c.watch.postpone(cn, at) }
		j.aside.id, j.aside.progress = j.id, j.r.progressToken()
	}
	if err := j.aside.hear(m, size); err != nil {
		return err
	}
	return errForeign
}

func (c *Client) newAside(ctx context.Context, p *peer, t *Target, s *session, hears Peer) *aside {
	a := &aside{c: c, p: p, t: t, s: s, peer: hears, open: map[string]context.CancelCauseFunc{}}
	a.ctx, a.end = context.WithCancel(ctx)
	return a
}

// close ends the questions that are open and waits for them.
func (a *aside) close() {
	a.end()
	a.asked.Wait()
}

// flooded reports a server that says more than any honest one on the way to its answer.
func flooded(what string) *Error {
	return &Error{Kind: TooLarge, Detail: "the server says too " + what + " before its answer", gaveUp: true}
}

// hear takes one message of the server into account.
func (a *aside) hear(m *message, size int) error {
	if fail := a.inTime(); fail != nil {
		return fail
	}
	if now := a.c.now(); a.minutely && now.Sub(a.minute) > time.Minute {
		a.count, a.bytes, a.minute = 0, 0, now
	}
	if a.count++; a.count > a.c.config.MaxInterim {
		return flooded("many things")
	}
	name, known := methodName(m.method)
	known = known && (m.params == nil || canon.KindOf(m.params) == '{')
	if m.id != nil {
		return a.question(m, name, known, size)
	}
	if a.bytes += size; a.bytes > a.c.config.MaxInterimBytes {
		return flooded("much")
	}
	if !known {
		return malformed("a notification has no method, or params that are no object")
	}
	return a.notification(name, m.params)
}

// inTime ends the exchange when its time is up or its caller gone: what was read before is not seen by the watcher.
func (a *aside) inTime() *Error {
	if a.ctx.Err() != nil {
		fail := canceled(a.ctx)
		fail.gaveUp = true
		return fail
	}
	if left, limited := a.left(); limited && left <= 0 {
		return &Error{Kind: Timeout, Detail: "no complete answer in time", gaveUp: true}
	}
	return nil
}

// left is the time that the exchange still has, if it has a limit.
func (a *aside) left() (_ time.Duration, limited bool) {
	if a.postpone == nil {
		return 0, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.base.Add(min(a.waited, a.c.config.AnswerTimeout))
	if len(a.open) > 0 {
		at = a.base.Add(a.c.config.AnswerTimeout)
	}
	return at.Sub(a.c.now()), true
}

// maxMethod bounds a method's name.
const maxMethod = 128

func methodName(raw []byte) (string, bool) {
	if canon.KindOf(raw) != '"' || len(raw) > maxMethod {
		return "", false
	}
	name, err := canon.Unquote(raw)
	return name, err == nil && name != ""
}

func (a *aside) notification(name string, params []byte) error {
	switch name {
	case "notifications/cancelled":
		if id, ok := canon.Get(params, "requestId"); ok {
			a.withdraw(string(id))
		}
		return nil
	case "notifications/progress":
		if params = a.own(params); params == nil {
			return nil
		}
	}
	if a.peer == nil {
		return nil
	}
	if err := notify(a.peer, name, params); err != nil {
		return &Error{Kind: Canceled, Detail: "the caller refused what the server said before its answer", err: err, gaveUp: true}
	}
	return nil
}

// notify turns a panic of the peer into a refusal: the exchange must come to its end here.
func notify(p Peer, name string, params []byte) (err error) {
	defer func() {
		if recover() != nil {
			err = fault(Invalid, "the caller's side failed")
		}
	}()
	return p.Notify(name, params)
}

// own returns a progress notification's params with the caller's token in the place of ours, or nil when it is not about
// this exchange or nobody asked for it.
func (a *aside) own(params []byte) []byte {
	token, _ := canon.Get(params, metaProgress)
	var digits [20]byte
	ours := string(strconv.AppendUint(digits[:0], a.id, 10))
	if a.progress == nil || string(token) != ours && string(token) != `"`+ours+`"` {
		return nil
	}
	return withToken(params, a.progress)
}

// withToken returns a progress notification's params with the caller's token.
func withToken(params, progress []byte) []byte {
	out := make([]byte, 0, len(params)+len(progress))
	out = append(out, '{')
	_ = canon.Each(params, func(key, value []byte) error { // checked JSON: cannot fail
		out = separate(out, 1)
		out = canon.AppendString(out, string(key))
		out = append(out, ':')
		if string(key) == metaProgress {
			value = progress
		}
		out = append(out, value...)
		return nil
	})
	return append(out, '}')
}

// progressToken is the token that the caller gave for progress, or nil.
func (r *Request) progressToken() []byte {
	meta := r.Meta
	if meta == nil {
		meta, _ = canon.Get(r.Params, "_meta")
	}
	token, ok := canon.Get(meta, metaProgress)
	if !ok || !isID(token) {
		return nil
	}
	return token
}

// maxID bounds the ids and tokens of the other side that are repeated to it.
const maxID = 256

// isID tells a JSON-RPC id or a progress token: a string or a number.
func isID(raw []byte) bool {
	kind := canon.KindOf(raw)
	return (kind == '"' || kind == '0') && len(raw) <= maxID
}
