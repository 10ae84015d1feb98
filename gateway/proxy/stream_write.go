package proxy

import (
	"bytes"
	"net"
	"slices"
	"strconv"
	"time"
)

// longAgo is a deadline that makes every read of a connection return.
var longAgo = time.Unix(1, 0)

// mostWritten is how much is written under one deadline, in bytes.
const mostWritten = 64 << 10

// take has the connection from fasthttp, on a goroutine of its own. The request's bytes are fasthttp's again when it
// returns, so it waits for the work; a stream on Hold goes on without it.
func (s *Stream) take(c net.Conn) {
	base := c.(interface{ UnsafeConn() net.Conn }).UnsafeConn()
	var whole bool
	if s.more, whole = reclaim(c, base); !whole {
		_ = s.link.Close()
	}
	s.mu.Lock()
	if s.conn == nil {
		s.conn, s.wrote = base, time.Now()
		s.kick()
	} else if s.writing { // under a deadline that fasthttp has taken away
		_ = base.SetWriteDeadline(time.Now().Add(s.server.config.WriteTimeout))
	}
	s.mu.Unlock()
	close(s.taken)
	<-s.worked
	s.server.recycle(s.x)
	s.mu.Lock()
	s.x = nil
	held := s.held
	if held {
		s.spare = nil
	}
	s.mu.Unlock()
	if !held {
		s.finish()
	}
}

// reclaim takes what fasthttp's buffer holds of requests to come, for whoever serves the connection after the stream. The
// deadline is past, so that nothing is read from the network: what comes of it is bounded by the buffer.
func reclaim(c, base net.Conn) (more, whole bool) {
	if base.SetReadDeadline(longAgo) != nil {
		return false, false
	}
	var ahead []byte
	var b [1024]byte
	for {
		n, err := c.Read(b[:])
		ahead = append(ahead, b[:n]...)
		if err == nil {
			continue
		}
		if e, ok := err.(net.Error); !ok || !e.Timeout() { //nolint:errorlint // as the connection gives it
			return false, false
		}
		break
	}
	putBack(base, ahead)
	return len(ahead) > 0, base.SetReadDeadline(time.Time{}) == nil
}

// enqueue frames what fill appends, as a chunk where there are chunks. The caller has mu.
func (s *Stream) enqueue(fill func([]byte) []byte) {
	start := len(s.queue)
	if s.queue == nil {
		s.queue, s.spare = s.spare, nil
	}
	s.queue = fill(s.queue)
	if s.chunked {
		var size [18]byte
		head := append(strconv.AppendInt(size[:0], int64(len(s.queue)-start), 16), "\r\n"...)
		s.queue = append(slices.Insert(s.queue, start, head...), "\r\n"...)
	}
	s.waiting += len(s.queue) - start
	s.kick()
}

// appendEvent writes an event: a line for the id, and one for each line of data, whichever way it ends.
func appendEvent(b []byte, id string, data []byte) []byte {
	if id != "" {
		b = append(append(append(b, "id: "...), id...), '\n')
	}
	for {
		i := bytes.IndexAny(data, "\r\n")
		line := data
		if i >= 0 {
			line = data[:i]
		}
		b = append(append(append(b, "data: "...), line...), '\n')
		if i < 0 {
			return append(b, '\n')
		}
		if data[i] == '\r' && i+1 < len(data) && data[i+1] == '\n' {
			i++
		}
		data = data[i+1:]
	}
}

// kick has what is queued written, by a goroutine that lives for as long as there is something. The caller has mu.
func (s *Stream) kick() {
	if s.conn != nil && !s.writing && !s.over && (len(s.queue) > 0 || s.closing) {
		s.writing = true
		go s.write()
	}
}

func (s *Stream) write() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 && !s.over {
		b := s.queue
		s.queue = nil
		s.mu.Unlock()
		err := s.send(b)
		s.mu.Lock()
		s.waiting -= len(b)
		if err != nil {
			s.sever() // and lost sees to the rest
			s.writing = false
			return
		}
		s.wrote = time.Now()
		if s.spare == nil && !s.held && cap(b) <= mostWritten {
			s.spare = b[:0]
		}
	}
	s.writing = false
	if s.closing && !s.over && len(s.queue) == 0 {
		close(s.flushed)
	}
}

// send writes under a deadline of its own for each piece: fasthttp's are gone with the hijack.
func (s *Stream) send(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), mostWritten)
		if err := s.conn.SetWriteDeadline(time.Now().Add(s.server.config.WriteTimeout)); err != nil {
			return err
		}
		if _, err := s.conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// beat sends a comment when nothing was sent for a while, for proxies on the way, and so that a peer that is gone without
// a word is noticed: what it does not acknowledge breaks the connection.
func (s *Stream) beat(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && !s.writing && !s.closing && !s.over && now.Sub(s.wrote) >= s.server.config.StreamKeepAlive {
		s.enqueue(func(b []byte) []byte { return append(b, ":\n\n"...) })
	}
}

// sever breaks the connection off; lost does the rest. What the kernel still holds for the peer is thrown away with it.
func (s *Stream) sever() {
	if t, ok := s.link.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = s.link.Close()
}

// lost is called when the connection has ended under the stream.
func (s *Stream) lost() {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return
	}
	s.over, s.queue, s.spare = true, nil, nil
	select {
	case <-s.flushed:
	default:
		close(s.flushed)
	}
	done := s.done
	s.mu.Unlock()
	s.server.streams.gone.Add(1)
	_ = s.link.Close()
	if done {
		s.leave()
	}
}

// leave ends the stream's being counted, when its work has returned and its connection is gone or somebody else's.
func (s *Stream) leave() {
	s.mu.Lock()
	ended := s.ended
	again := s.left
	s.left = true
	s.mu.Unlock()
	if again {
		return
	}
	s.server.streams.leave(s)
	if ended != nil {
		ended()
	}
}

// finish sends what is queued and the end, and gives the connection back to be served on where that may be.
func (s *Stream) finish() {
	s.mu.Lock()
	if s.finishing {
		s.mu.Unlock()
		return
	}
	s.finishing = true
	if !s.over {
		if s.chunked {
			s.queue = append(s.queue, "0\r\n\r\n"...)
			s.waiting += 5
		}
		s.closing = true
		s.kick()
	}
	s.mu.Unlock()
	<-s.flushed
	select { // until then the connection is fasthttp's, to whom nobody may come between
	case <-s.taken:
	case <-s.link.ctx.Done():
	}
	if !s.unwatch() { // lost has run, or runs
		return
	}
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	gone := s.link.ctx.Err() != nil // and lost was stopped just before it began
	if gone {
		s.server.streams.gone.Add(1)
	}
	var again *resumption
	if !s.last && !gone {
		again = s.server.streams.resume(s.link)
	}
	s.leave()
	if again == nil {
		_ = s.conn.Close()
		return
	}
	go s.server.serveOn(s.conn, again, s.more) // apart from the request, which fasthttp holds for as long as take runs
}

// serveOn serves a connection on after its stream. It waits for the next request itself: to fasthttp it would be a new
// connection, which gets less time and then an answer that nobody asked for.
func (s *Server) serveOn(c net.Conn, again *resumption, more bool) {
	defer s.streams.forget(again)
	if !more {
		var b [512]byte
		_ = c.SetReadDeadline(time.Now().Add(s.config.IdleTimeout))
		n, err := c.Read(b[:])
		if err != nil {
			_ = c.Close()
			return
		}
		putBack(c, bytes.Clone(b[:n]))
	}
	again.silent.Store(false)
	_ = c.SetDeadline(time.Time{})
	_ = s.http.ServeConn(c) // it closes c
}
