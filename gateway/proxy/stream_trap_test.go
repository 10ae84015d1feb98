package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/proxy"
)

// The seven traps of answering by a hijacked connection of fasthttp 1.74, and an eighth, each with its test.

// Trap 1: with fasthttp's default Hijack the handler of a request with Connection: close is never called.
func TestStreamTrap1ConnectionCloseIsStreamedToo(t *testing.T) {
	both(t, func(t *testing.T, secured bool) {
		route, results := told(t, three)
		h := moor(t, secured, flowing, route)
		c := h.dial()
		c.say(t, ask("Connection: close\r\n", 10))
		resp, body := c.response(t)
		if err := result(t, results); err != nil || body != threeEvents || !resp.Close {
			t.Errorf("%v, %v, %q", err, resp.Header, body)
		}
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			t.Errorf("after the end: %q, %v", rest, err)
		}
		c = h.dial()
		c.say(t, "GET /r HTTP/1.0\r\n"+host+accept+"\r\n")
		b, err := io.ReadAll(c) // no chunks: the end of the connection is the end of the stream
		head, events, _ := strings.Cut(string(b), "\r\n\r\n")
		if err != nil || events != strings.ReplaceAll(threeEvents, "bbb", "") || strings.Contains(head, "chunked") || !strings.Contains(head, "Connection: close") {
			t.Errorf("HTTP/1.0: %q, %v", b, err)
		}
	})
}

// Trap 2: what reads the connection or holds the request after it went back to its pool reads another client's.
func TestStreamTrap2NothingOfAnotherClientIsSeen(t *testing.T) {
	both(t, func(t *testing.T, secured bool) {
		route, _ := told(t, func(ctx context.Context, x *proxy.Exchange, s *proxy.Stream) error {
			mine := x.Request.Body() // aliased, as a call's arguments are
			held := mine[0]%2 == 0
			if err := s.Open(""); err != nil {
				return err
			}
			for range 5 {
				runtime.Gosched()
				if err := s.Event("", mine); err != nil {
					return err
				}
			}
			if held {
				_ = s.Hold(nil)
				if mine[0]%4 == 0 {
					go s.Close() // maybe before the connection was handed over
				} else {
					time.AfterFunc(time.Millisecond, s.Close)
				}
			}
			return ctx.Err()
		})
		h := moor(t, secured, flowing, route)
		var all sync.WaitGroup
		for i := range 16 {
			c := h.dial()
			all.Go(func() {
				for j := range 20 {
					body := strings.Repeat(string(rune('A'+(i+j)%26)), 300)
					text := "POST /r HTTP/1.1\r\n" + host + accept + "Content-Length: 300\r\n\r\n" + body
					if j%3 == 0 { // the beginning of the next request travels with this one
						text += health
					}
					if _, err := io.WriteString(c.Conn, text); err != nil {
						t.Error(err)
						return
					}
					resp, err := http.ReadResponse(c.Reader, nil)
					if err != nil {
						t.Error(err)
						return
					}
					got, err := io.ReadAll(resp.Body)
					if err != nil || string(got) != strings.Repeat("data: "+body+"\n\n", 5) {
						t.Errorf("%v, %q", err, got)
						return
					}
					if j%3 == 0 {
						if resp, err := http.ReadResponse(c.Reader, nil); err != nil || resp.StatusCode != 200 {
							t.Errorf("the request behind it: %v", err)
							return
						} else if b, _ := io.ReadAll(resp.Body); string(b) != `{"status":"ok"}` {
							t.Errorf("the request behind it: %s", b)
						}
					}
				}
			})
		}
		all.Wait()
	})
}

// Traps 3 and 8: a hang-up behind pipelined bytes is seen, and a half-close counts as one.
func TestStreamTraps3And8AClientThatLeavesIsNoticed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells")
	}
	both(t, func(t *testing.T, secured bool) {
		ended := make(chan time.Time, 100)
		route, _ := told(t, func(ctx context.Context, x *proxy.Exchange, s *proxy.Stream) error {
			hold := len(x.Request.Body()) == 20
			if err := s.Open(""); err != nil {
				return err
			}
			_ = s.Event("", []byte("hello"))
			if hold {
				return s.Hold(func() { ended <- time.Now() })
			}
			<-ctx.Done()
			ended <- time.Now()
			return nil
		})
		h := moor(t, secured, flowing, route)
		for name, leave := range ways {
			for _, behind := range []string{"", health, health + strings.Repeat("x", 40_000)} {
				for _, n := range []int{10, 20} {
					c := h.dial()
					c.say(t, ask("", n)+behind)
					c.until(t, "hello")
					at := time.Now()
					leave(c)
					select {
					case gone := <-ended:
						if took := gone.Sub(at); took > soon {
							t.Errorf("%s behind %d bytes, %d: noticed after %s", name, len(behind), n, took)
						}
					case <-time.After(patience):
						t.Fatalf("%s behind %d bytes, %d: not noticed", name, len(behind), n)
					}
				}
			}
		}
		settle(t, "no stream is left", func() bool { return h.s.Streams().Open == 0 && h.s.Streams().Lost == 18 && h.s.Connections() <= 1 })
	})
}

// Trap 4: fasthttp's deadlines are gone with the hijack: a stream outlives them all, and a write has its own.
func TestStreamTrap4EachWriteHasItsDeadline(t *testing.T) {
	both(t, func(t *testing.T, secured bool) {
		stop := make(chan struct{})
		route, results := told(t, func(ctx context.Context, x *proxy.Exchange, s *proxy.Stream) error {
			flood := len(x.Request.Body()) == 20
			if err := s.Open(""); err != nil {
				return err
			}
			if !flood {
				<-stop
				return s.Event("", []byte("late"))
			}
			for { // slowly enough for the queue, more than the kernel takes
				if err := s.Event("", make([]byte, 32<<10)); err != nil {
					return err
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(time.Millisecond):
				}
			}
		})
		h := moor(t, secured, with(func(c *proxy.Config) {
			c.ReadTimeout, c.WriteTimeout, c.IdleTimeout, c.StreamQueue = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond, 1<<30
		}), route)
		c := h.dial()
		c.say(t, ask("", 10))
		time.Sleep(400 * time.Millisecond)
		close(stop)
		if _, body := c.response(t); body != "data: late\n\n" {
			t.Errorf("%q", body)
		}
		if err := result(t, results); err != nil {
			t.Error(err)
		}
		slow := h.dial()
		_ = slow.raw.SetReadBuffer(4096)
		slow.say(t, ask("", 20))
		if err := result(t, results); err == nil {
			t.Error("a reader that reads nothing was written to for ever")
		}
		settle(t, "no stream is left", func() bool { return h.s.Streams().Open == 0 })
	})
}

// Trap 5: fasthttp neither counts a hijacked connection nor waits for it nor ends it.
func TestStreamTrap5StreamsAreCountedBoundedAndDrained(t *testing.T) {
	both(t, func(t *testing.T, secured bool) {
		ended, release := make(chan string, 10), make(chan struct{})
		route, results := told(t, func(_ context.Context, x *proxy.Exchange, s *proxy.Stream) error {
			n := len(x.Request.Body())
			if err := s.Open(fmt.Sprint("agent ", n/10)); err != nil {
				x.JSON(429, []byte(`{}`))
				return err
			}
			_ = s.Event("", []byte("hello"))
			if n%10 == 0 {
				return s.Hold(func() { ended <- "idle" })
			}
			<-release
			return s.Event("", []byte("result"))
		})
		h := moor(t, secured, with(func(c *proxy.Config) { c.MaxStreams, c.MaxStreamsPerAgent = 3, 2 }), route)
		var cs []*client
		open := func(n int) {
			t.Helper()
			c := h.dial()
			c.say(t, ask("", n))
			c.until(t, "hello\n\n\r\n")
			cs = append(cs, c)
		}
		refused := func(n int, why string) {
			t.Helper()
			c := h.dial()
			c.say(t, ask("", n))
			if resp, _ := c.response(t); resp.StatusCode != 429 {
				t.Errorf("%s: %d", why, resp.StatusCode)
			}
			_ = c.Close()
		}
		open(10)
		open(11)
		refused(12, "an owner's third")
		open(21)
		refused(31, "one more than there may be")
		if n := h.s.Streams(); n.Open != 3 || n.Refused != 2 || h.s.Connections() < 3 {
			t.Errorf("%+v, %d connections", n, h.s.Connections())
		}
		for range 3 {
			<-results
		}
		stopped := make(chan error, 1)
		go func() { stopped <- h.stop() }()
		if who := <-ended; who != "idle" {
			t.Error(who)
		}
		if rest, err := io.ReadAll(cs[0]); err != nil || string(rest) != "0\r\n\r\n" {
			t.Errorf("the idle stream ended with %q, %v", rest, err)
		}
		select {
		case err := <-stopped:
			t.Fatalf("it stopped with answers running: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		close(release)
		for _, c := range cs[1:] {
			if rest, err := io.ReadAll(c); err != nil || !strings.Contains(string(rest), "data: result\n\n") || !strings.HasSuffix(string(rest), "0\r\n\r\n") {
				t.Errorf("a running answer ended with %q, %v", rest, err)
			}
		}
		if err := <-stopped; err != nil || h.s.Streams().Open != 0 {
			t.Errorf("%v, %d open", err, h.s.Streams().Open)
		}
	})
}

// Trap 5, the end of patience: what does not end within the drain time is cut off, and its work is told.
func TestStreamTrap5WhatDoesNotEndIsCut(t *testing.T) {
	route, results := told(t, func(ctx context.Context, _ *proxy.Exchange, s *proxy.Stream) error {
		if err := s.Open(""); err != nil {
			return err
		}
		_ = s.Event("", []byte("hello"))
		<-ctx.Done()
		return ctx.Err()
	})
	h := moor(t, false, flowing, route)
	c := h.dial()
	c.say(t, ask("", 10))
	c.until(t, "hello")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := h.s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 streams were cut off") {
		t.Errorf("%v", err)
	}
	if err := result(t, results); !errors.Is(err, context.Canceled) || h.s.Streams().Open != 0 {
		t.Errorf("%v, %d open", err, h.s.Streams().Open)
	}
}

// Traps 6 and 7: fasthttp's hijacked connection does not close unless it is told to leave it alone; then it is ours to
// serve on, without a wrapper more for each stream, with what was pipelined behind.
func TestStreamTraps6And7TheConnectionIsServedOn(t *testing.T) {
	both(t, func(t *testing.T, secured bool) {
		route, _ := told(t, three)
		h := moor(t, secured, flowing, route)
		before := runtime.NumGoroutine()
		c := h.dial()
		for i := range 200 {
			text := ask("", 1500)
			if i%2 == 1 {
				text += health + ask("", 10)
			}
			c.say(t, text)
			if _, body := c.response(t); body != threeEvents {
				t.Fatalf("stream %d: %q", i, body)
			}
			if i%2 == 0 {
				settle(t, "one connection, and no stream", func() bool { return h.s.Streams().Open == 0 && h.s.Connections() == 1 })
			} else {
				if _, body := c.response(t); body != `{"status":"ok"}` {
					t.Fatalf("behind stream %d: %q", i, body)
				}
				if _, body := c.response(t); body != threeEvents {
					t.Fatalf("behind stream %d: %q", i, body)
				}
			}
		}
		if n := h.s.Streams().Opened; n != 300 {
			t.Errorf("%d streams were opened", n)
		}
		_ = c.Close()
		settle(t, "connections and goroutines are gone", func() bool { return h.s.Connections() == 0 && runtime.NumGoroutine() <= before+5 })
	})
}

// A stream is written beside fasthttp's handler, which may have kept answers back until then: none of them is overtaken, however
// the requests are cut up on their way. Where all were sent the work needs no goroutine of its own.
func TestAStreamOvertakesNoAnswer(t *testing.T) {
	both(t, func(t *testing.T, secured bool) {
		inside := make(chan bool, 1)
		route, results := told(t, func(ctx context.Context, x *proxy.Exchange, s *proxy.Stream) error {
			inside <- strings.Contains(string(debug.Stack()), "fasthttp.(*Server).serveConn")
			return three(ctx, x, s)
		})
		h := moor(t, secured, flowing, route)
		short, long := ask("", 100), ask("", 20_000)
		for name, c := range map[string]struct {
			segments []string
			inside   bool
		}{
			"apart":                  {[]string{health, short}, true},
			"alone":                  {[]string{short}, true},
			"in one":                 {[]string{health + short}, false},
			"the head later":         {[]string{health + short[:9], short[9:]}, false},
			"the body later":         {[]string{health + short[:len(short)-50], short[len(short)-50:]}, false},
			"a long body later":      {[]string{health + long[:len(long)-19_950], long[len(long)-19_950:]}, false},
			"all of the body later":  {[]string{health + short[:len(short)-100], short[len(short)-100:]}, false},
			"behind two":             {[]string{health + health + short}, false},
			"behind one, then apart": {[]string{health + health, short}, true},
			"cut, apart":             {[]string{health, short[:9], short[9 : len(short)-50], short[len(short)-50:]}, true},
		} {
			t.Run(name, func(t *testing.T) {
				conn := h.dial()
				healths := 0
				for _, text := range c.segments {
					conn.say(t, text)
					time.Sleep(20 * time.Millisecond) // so that it is read by itself
					for n := strings.Count(text, health); n > 0 && strings.HasSuffix(text, health); n-- {
						conn.response(t)
						healths++
					}
				}
				for ; healths < strings.Count(strings.Join(c.segments, ""), health); healths++ {
					if _, body := conn.response(t); body != `{"status":"ok"}` {
						t.Errorf("the answer before it is %q", body)
					}
				}
				if _, body := conn.response(t); body != threeEvents {
					t.Errorf("the stream is %q", body)
				}
				if got := <-inside; got != c.inside {
					t.Errorf("the work ran in the handler: %v", got)
				}
				if err := result(t, results); err != nil {
					t.Error(err)
				}
				conn.say(t, health)
				if _, body := conn.response(t); body != `{"status":"ok"}` {
					t.Errorf("after the stream: %q", body)
				}
			})
		}
	})
}
