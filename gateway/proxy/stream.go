package proxy

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// Why there is no stream, or none any more.
var (
	// ErrNoStream is told of a request that did not ask for events: it must be answered in one piece.
	ErrNoStream = errors.New("this request is not answered with a stream; list text/event-stream in Accept")
	// ErrStreams is told when as many streams are open as may be, or the gateway is stopping. A call goes on and is answered
	// in one piece; what is nothing without its stream is refused as RateLimited.
	ErrStreams = errors.New("too many streams are open; close one, or raise proxy.max_streams")
	// ErrStreamOver is told of a stream that was ended, or whose client has left.
	ErrStreamOver = errors.New("the stream has ended")
	// ErrSlow is told of a stream that was cut because its reader does not keep up.
	ErrSlow = errors.New("the client reads too slowly; its stream was cut (proxy.stream_queue)")
)

// Stream is an answer that is, or may become, a row of server-sent events (WHATWG HTML, 9.2). Events wait in a queue of
// its own: whoever sends one is never held up by its reader, and a reader that lets more wait than the queue takes is cut
// off. It may be used by several goroutines.
//
// A call runs in fasthttp's handler. If it opens its stream, events are written beside the handler, which writes nothing itself;
// when the work has returned, fasthttp hands the connection over (take), so that a stream on Hold has no goroutine. Only where
// answers to earlier requests may still lie in fasthttp's buffer, behind pipelined requests, the work gets a goroutine of its own
// and the handler returns first. Nobody reads the connection meanwhile: the kernel tells of a departure (see departures), and
// bytes of further requests stay where they are until the stream has ended and the connection is served on.
type Stream struct {
	server *Server
	x      *Exchange // until the work has returned
	link   *conn
	work   Work
	beside bool          // the work has a goroutine beside the handler
	told   chan struct{} // one word to a handler that waits: answered in one piece, or opened

	// What follows is for an open stream.

	owner   string
	remote  netip.Addr
	chunked bool
	last    bool          // the connection ends with it
	unwatch func() bool   // stops looking for the connection's end
	worked  chan struct{} // closed when the work has returned
	taken   chan struct{} // closed when fasthttp has handed the connection over
	flushed chan struct{} // closed when the last byte is out, or never will be

	mu        sync.Mutex // guards what follows
	opened    bool
	conn      net.Conn // once it was taken over
	more      bool     // there was more to read of it then
	queue     []byte   // framed events that wait
	spare     []byte   // the queue's other buffer
	waiting   int      // bytes queued or being written
	wrote     time.Time
	writing   bool
	held      bool
	ended     func()
	done      bool // the work has returned
	finishing bool // it will be ended in order, by one goroutine
	closing   bool // nothing more is queued
	over      bool // the connection is gone, or somebody else's again
	left      bool // it is not counted any more
}

// Work answers a request: in one piece by x, or by opening s. ctx ends when the client leaves.
type Work func(ctx context.Context, x *Exchange, s *Stream)

// noStream stands in where a request cannot be streamed.
var noStream = &Stream{}

// MayStream says whether the client reads server-sent events in answer to this request.
func (x *Exchange) MayStream() bool {
	return x.server != nil && x.server.config.MaxStreams > 0 && !x.IsHead() && acceptsEvents(x.Head.Accept) && connOf(x.Conn()) != nil
}

// acceptsEvents looks for text/event-stream by name; a wildcard does not ask for a stream.
func acceptsEvents(accept []byte) bool {
	for more := true; more; {
		var part []byte
		part, accept, more = bytes.Cut(accept, []byte(","))
		name, params, _ := bytes.Cut(part, []byte(";"))
		if equal(bytes.TrimSpace(name), "text/event-stream") {
			params = bytes.ReplaceAll(params, []byte(" "), nil)
			return !bytes.HasPrefix(params, []byte("q=0")) || bytes.ContainsAny(params, "123456789")
		}
	}
	return false
}

// Run runs work. It may return before the work has, once that has opened its stream, so nothing that work uses may be touched
// after it; work itself must give back what it took. When the work returns, an open stream ends, unless it was put on Hold.
func (x *Exchange) Run(work Work) {
	if !x.MayStream() {
		work(x.Context(), x, noStream)
		return
	}
	s := x.server.spare()
	s.server, s.x, s.link, s.work = x.server, x, connOf(x.Conn()), work
	if s.beside = !awaited(x.RequestCtx); s.beside {
		go s.perform()
		<-s.told
	} else {
		s.perform()
	}
	if !s.opened { // nobody else has it any more
		*s = Stream{told: s.told}
		x.server.streams.spares.Put(s)
		return
	}
	x.streaming = true
	x.HijackSetNoResponse(true) // fasthttp would not call take for a request with Connection: close
	x.Hijack(s.take)
}

func (s *Server) spare() *Stream {
	if s, ok := s.streams.spares.Get().(*Stream); ok {
		return s
	}
	return &Stream{told: make(chan struct{}, 1)}
}

// perform runs the work.
func (s *Stream) perform() {
	panicked := s.guarded()
	s.mu.Lock()
	if !s.opened {
		s.mu.Unlock()
		if s.beside {
			s.told <- struct{}{}
		}
		return
	}
	if !s.beside {
		s.server.streams.inside.Add(-1)
	}
	if panicked { // nobody may take it for a whole answer
		s.sever()
	}
	s.done = true
	gone := s.over
	s.mu.Unlock()
	close(s.worked)
	if gone {
		s.leave()
	} else if s.server.streams.stopping() {
		s.Close()
	}
}

func (s *Stream) guarded() (panicked bool) {
	defer func() {
		p := recover()
		if panicked = p != nil; !panicked {
			return
		}
		if s.Opened() {
			s.server.panicked(p)
			return
		}
		s.server.broke(s.x, p)
	}()
	s.work(s.link.ctx, s.x, s)
	return
}

// Opened says whether the answer is a stream.
func (s *Stream) Opened() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// Open makes the answer a stream: status and header are those that x's response has by now, with what a stream needs.
// After it x's response must not be touched. owner is whose streams are counted together, an agent of a tenant; "" is
// nobody. Only the work may open its stream; a second Open does nothing.
func (s *Stream) Open(owner string) error {
	if s.x == nil {
		return ErrNoStream
	}
	if s.Opened() {
		return nil
	}
	s.owner, s.remote = owner, s.x.Remote
	if err := s.server.streams.enter(s); err != nil {
		return err
	}
	s.mu.Lock()
	s.queue = s.appendHead(nil)
	s.waiting = len(s.queue)
	s.worked, s.taken, s.flushed = make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.opened = true
	if !s.beside {
		s.server.streams.inside.Add(1)
		s.conn, s.wrote = s.x.Conn(), time.Now()
		s.kick()
	}
	s.mu.Unlock()
	s.unwatch = context.AfterFunc(s.link.ctx, s.lost)
	if s.beside {
		s.told <- struct{}{}
	}
	return nil
}

func (s *Stream) appendHead(b []byte) []byte {
	h := &s.x.Response.Header
	h.SetContentType("text/event-stream")
	h.SetCanonical(cacheName, noStore)
	h.SetCanonical(nosniffName, nosniff)
	h.Set("X-Accel-Buffering", "no")
	s.chunked = string(s.x.Request.Header.Protocol()) == "HTTP/1.1"
	s.last = !s.chunked || s.x.Request.Header.ConnectionClose()
	if s.chunked {
		h.SetContentLength(-1)
	}
	if s.last {
		h.SetConnectionClose()
	}
	if h.StatusCode() == 0 {
		h.SetStatusCode(fasthttp.StatusOK)
	}
	return append(b, h.AppendBytes(nil)...)
}

// Event queues an event. data may have several lines; id is empty for an event without one, and must not have a line
// break or a NUL.
func (s *Stream) Event(id string, data []byte) error {
	if strings.ContainsAny(id, "\r\n\x00") {
		return errors.New("an event's id must not have a line break or a NUL; choose another")
	}
	s.mu.Lock()
	switch {
	case !s.opened:
		s.mu.Unlock()
		return ErrNoStream
	case s.over || s.closing:
		s.mu.Unlock()
		return ErrStreamOver
	case s.waiting > s.server.config.StreamQueue: // one event may be larger, so that every answer can be sent
		s.mu.Unlock()
		s.server.streams.slow.Add(1)
		s.sever()
		return ErrSlow
	}
	s.enqueue(func(b []byte) []byte { return appendEvent(b, id, data) })
	s.mu.Unlock()
	return nil
}

// Hold keeps the stream open when the work has returned, with no goroutine of its own, until Close, or until its client
// leaves or the gateway stops. ended is called once then, from any goroutine; it must not block, and may be nil.
func (s *Stream) Hold(ended func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.opened || s.done {
		return ErrNoStream
	}
	s.held, s.ended = true, ended
	return nil
}

// Close ends a stream that is on Hold once what is queued was sent. One that is not ends with its work.
func (s *Stream) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		s.held = false
		if s.done && !s.over {
			go s.finish()
		}
	}
}
