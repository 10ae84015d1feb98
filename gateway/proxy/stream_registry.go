package proxy

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// streams are the open streams: fasthttp neither counts nor ends a connection that it has handed over.
type streams struct {
	config Config
	spares sync.Pool

	mu       sync.Mutex // guards what follows
	open     map[*Stream]struct{}
	owners   map[string]int
	addrs    map[netip.Addr]int
	resumed  map[*resumption]struct{}
	draining bool
	empty    chan struct{} // closed when it drains and none is open any more
	beating  bool

	inside atomic.Int64 // open ones whose work runs in the handler: fasthttp counts their connections still

	opened, refused, slow, gone atomic.Uint64
}

// resumption is a connection that is served on after a stream. It ends with the next stream there, so that a connection
// may have two of them for a moment.
type resumption struct {
	link   *conn
	silent atomic.Bool // nothing was asked since; fasthttp does not know the connection yet
}

// StreamStats counts streams since the start.
type StreamStats struct {
	Open    int    // now
	Opened  uint64 // in all
	Refused uint64 // beyond a bound, or while stopping
	Slow    uint64 // cut because their reader did not keep up with what was queued
	Lost    uint64 // ended by their connection's end, those cut included
}

// Streams counts the streams.
func (s *Server) Streams() StreamStats {
	r := &s.streams
	return StreamStats{Open: r.count(), Opened: r.opened.Load(), Refused: r.refused.Load(), Slow: r.slow.Load(), Lost: r.gone.Load()}
}

func (r *streams) start(c Config) {
	r.config = c
	r.open, r.owners, r.addrs, r.resumed = map[*Stream]struct{}{}, map[string]int{}, map[netip.Addr]int{}, map[*resumption]struct{}{}
	r.empty = make(chan struct{})
}

func (r *streams) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}

// silent is how many connections wait for a request after their stream.
func (r *streams) silent() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.resumed {
		if c.silent.Load() {
			n++
		}
	}
	return n
}

func (r *streams) stopping() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draining
}

// enter counts a stream, where one more may be.
func (r *streams) enter(s *Stream) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.draining, len(r.open) >= r.config.MaxStreams,
		r.config.MaxStreamsPerIP > 0 && r.addrs[s.remote] >= r.config.MaxStreamsPerIP,
		s.owner != "" && r.config.MaxStreamsPerAgent > 0 && r.owners[s.owner] >= r.config.MaxStreamsPerAgent:
		r.refused.Add(1)
		return ErrStreams
	}
	r.open[s] = struct{}{}
	r.addrs[s.remote]++
	if s.owner != "" {
		r.owners[s.owner]++
	}
	r.opened.Add(1)
	if !r.beating && r.config.StreamKeepAlive > 0 {
		r.beating = true
		go r.beat()
	}
	return nil
}

func (r *streams) leave(s *Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, s)
	if r.addrs[s.remote]--; r.addrs[s.remote] == 0 {
		delete(r.addrs, s.remote)
	}
	if s.owner != "" {
		if r.owners[s.owner]--; r.owners[s.owner] == 0 {
			delete(r.owners, s.owner)
		}
	}
	if r.draining && len(r.open) == 0 {
		close(r.empty)
	}
}

// beat looks after silent streams, for as long as there are streams.
func (r *streams) beat() {
	tick := time.NewTicker(max(r.config.StreamKeepAlive/4, time.Millisecond))
	defer tick.Stop()
	for now := range tick.C {
		all := r.all()
		if all == nil {
			return
		}
		for _, s := range all {
			s.beat(now)
		}
	}
}

// all are the open streams; when there is none, nobody beats any more.
func (r *streams) all() []*Stream {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.open) == 0 {
		r.beating = false
		return nil
	}
	return r.list()
}

func (r *streams) list() []*Stream {
	all := make([]*Stream, 0, len(r.open))
	for s := range r.open {
		all = append(all, s)
	}
	return all
}

// resume lets a connection be served on after its stream; nil: the gateway stops.
func (r *streams) resume(c *conn) *resumption {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return nil
	}
	again := &resumption{link: c}
	again.silent.Store(true)
	r.resumed[again] = struct{}{}
	return again
}

func (r *streams) forget(again *resumption) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.resumed, again)
}

// drain opens no more streams, ends those that only wait for events, and closes connections on which nothing was asked
// since their stream.
func (r *streams) drain() {
	r.mu.Lock()
	if r.draining {
		r.mu.Unlock()
		return
	}
	r.draining = true
	all := r.list()
	if len(all) == 0 {
		close(r.empty)
	}
	r.mu.Unlock()
	r.closeResumed(func(c *resumption) bool { return c.silent.Load() })
	for _, s := range all {
		s.Close()
	}
}

// cutGrace is how long the works of streams that were cut off may take to notice, and to settle what they did.
const cutGrace = 2 * time.Second

// wait waits for the streams to end, and cuts off those that are left when ctx ends.
func (r *streams) wait(ctx context.Context) error {
	// Also what fasthttp had not begun to serve on when it counted those that it waits for.
	defer r.closeResumed(func(*resumption) bool { return true })
	select {
	case <-r.empty:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	all := r.list()
	r.mu.Unlock()
	for _, s := range all {
		s.sever()
	}
	select {
	case <-r.empty:
	case <-time.After(cutGrace):
	}
	if len(all) == 0 {
		return nil
	}
	return fmt.Errorf("%d streams were cut off: %w", len(all), ctx.Err())
}

func (r *streams) closeResumed(which func(*resumption) bool) {
	r.mu.Lock()
	var all []*conn
	for c := range r.resumed {
		if which(c) {
			all = append(all, c.link)
		}
	}
	r.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}
