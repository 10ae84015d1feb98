package upstream

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

// An older server may put a question that belongs to a call on the stream of its session instead of the call's own (MCP
// 2025-11-25, transports: "listening for messages from the server"). Whoever can be asked hears that stream while a call runs.

// besideWithin is how long a call waits for the stream to be open: what the server asks before is lost to it.
const besideWithin = 2 * time.Second

// beside is the stream that the calls of one session hear together. Its questions go to the call that came last.
type beside struct {
	mu    sync.Mutex
	calls []*Request // those that run
	ready chan struct{}
	stop  context.CancelFunc
	over  chan struct{}
	none  bool // the server has no such stream
	slow  bool // it does not say in time that it has: calls do not wait for it again
}

// Capabilities are those of all the session's calls: a session is of one set of them.
func (b *beside) Capabilities() []byte {
	if p := b.last(); p != nil {
		return p.Capabilities()
	}
	return nil
}

// Notify drops what the server says: nobody listens for it here.
func (b *beside) Notify(string, []byte) error { return nil }

// Answer has the last call's peer answer.
func (b *beside) Answer(ctx context.Context, method string, params []byte) (result, failure []byte) {
	if p := b.last(); p != nil {
		return p.Answer(ctx, method, params)
	}
	return nil, nil
}

func (b *beside) last() Peer {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.calls) == 0 {
		return nil
	}
	return b.calls[len(b.calls)-1].Peer
}

// hearBeside opens the session's stream for the time of a call whose caller can be asked, and returns what ends that. Where
// somebody listens to the session anyway, questions come there, and are the call's too.
func (c *Client) hearBeside(ctx context.Context, p *peer, t *Target, r *Request, s *session) (leave func()) {
	nothing := func() {}
	if s.modern || s.wire != nil || s.id == "" || !askable(r.Peer) {
		return nothing
	}
	b, listened := &s.beside, s.listened.Load() > 0
	b.mu.Lock()
	if b.none && !listened {
		b.mu.Unlock()
		return nothing
	}
	b.calls = append(b.calls, r)
	if listened {
		b.mu.Unlock()
		return func() { b.leave(r) }
	}
	if b.stop == nil {
		c.openBeside(p, t, r, s)
	}
	ready, over, slow := b.ready, b.over, b.slow
	b.mu.Unlock()
	if slow {
		return func() { b.leave(r) }
	}
	timer := time.NewTimer(besideWithin)
	defer timer.Stop()
	select {
	case <-ready:
	case <-over:
	case <-timer.C:
		b.mu.Lock()
		b.slow = true
		b.mu.Unlock()
	case <-ctx.Done():
	}
	return func() { b.leave(r) }
}

// callsFirst is who listens to a session in which calls run: what the server asks is asked of them.
type callsFirst struct {
	Peer
	calls *beside
}

// Answer has the last call's peer answer, and who listens where there is none.
func (p callsFirst) Answer(ctx context.Context, method string, params []byte) (result, failure []byte) {
	if call := p.calls.last(); call != nil {
		return call.Answer(ctx, method, params)
	}
	return p.Peer.Answer(ctx, method, params)
}

// askable tells whether a caller can be asked anything.
func askable(p Peer) bool {
	if p == nil {
		return false
	}
	for _, capability := range capabilityFor {
		if _, ok := canon.Get(p.Capabilities(), capability); ok {
			return true
		}
	}
	return false
}

// openBeside starts the stream. b.mu is held.
func (c *Client) openBeside(p *peer, t *Target, r *Request, s *session) {
	b := &s.beside
	ctx, stop := context.WithCancel(p.life)
	ready, over := make(chan struct{}), make(chan struct{})
	b.ready, b.over, b.stop = ready, over, stop
	own := *t
	e := &ear{c: c, p: p, t: &own, sub: &Subscription{Principal: r.Principal, Peer: b}, open: func() { close(ready) }}
	go func() {
		defer close(over)
		fail := e.besides(ctx, s)
		stop()
		b.mu.Lock()
		defer b.mu.Unlock()
		b.none = b.none || fail != nil && fail.Kind == Status && fail.Code != conflict && fail.Code >= 400 && fail.Code < 500
		if b.over == over {
			b.stop = nil
		}
	}()
}

// conflict is the answer of a server that has not noticed yet that the stream before is closed.
const conflict = 409

// besides hears one stream, and asks for it again while the server thinks that there is one.
func (e *ear) besides(ctx context.Context, s *session) *Error {
	for pause := 10 * time.Millisecond; ; pause *= 2 {
		fail, _ := errors.AsType[*Error](e.stream(ctx, s))
		if fail == nil || fail.Code != conflict || pause > besideWithin/2 || !sleep(ctx, pause) {
			return fail
		}
	}
}

// leave ends the stream with the last call.
func (b *beside) leave(r *Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = slices.DeleteFunc(b.calls, func(have *Request) bool { return have == r })
	if len(b.calls) == 0 && b.stop != nil {
		b.stop()
		b.stop = nil
	}
}

// yield ends the stream for somebody who listens to the session for good: servers have one such stream for each session.
func (b *beside) yield() {
	b.mu.Lock()
	stop, over := b.stop, b.over
	b.mu.Unlock()
	if stop != nil {
		stop()
		<-over
	}
}
