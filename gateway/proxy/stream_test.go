package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/proxy"
)

// flowing are settings under which answers may become streams.
func flowing(c *proxy.Config) {
	c.MaxStreams, c.StreamQueue, c.StreamKeepAlive = 5000, 64<<10, time.Minute
}

// with is flowing and more.
func with(change func(c *proxy.Config)) func(*proxy.Config) {
	return func(c *proxy.Config) { flowing(c); change(c) }
}

const accept = "Accept: application/json, text/event-stream\r\n"

// ask is a request that may be streamed, with n bytes of body.
func ask(headers string, n int) string {
	return fmt.Sprintf("POST /r HTTP/1.1\r\n%s%s%sContent-Length: %d\r\n\r\n%s", host, accept, headers, n, strings.Repeat("b", n))
}

const health = "GET /health HTTP/1.1\r\n" + host + "\r\n"

// told runs a route whose work is f, and gives what f returns to the test.
func told(t testing.TB, f func(ctx context.Context, x *proxy.Exchange, s *proxy.Stream) error) (route func(x *proxy.Exchange), results chan error) {
	t.Helper()
	results = make(chan error, 10_000)
	return func(x *proxy.Exchange) {
		x.Run(func(ctx context.Context, s *proxy.Stream) { results <- f(ctx, x, s) })
	}, results
}

// result waits for what a work returned.
func result(t testing.TB, results chan error) error {
	t.Helper()
	select {
	case err := <-results:
		return err
	case <-time.After(patience):
		t.Fatal("the work does not end")
		return nil
	}
}

// three opens the stream and sends three events.
func three(_ context.Context, x *proxy.Exchange, s *proxy.Stream) error {
	body := string(x.Request.Body())
	x.Response.Header.Set("Gatewright-Record", "rec_1")
	if err := s.Open("agent"); err != nil {
		return err
	}
	for i := range 3 {
		if err := s.Event(fmt.Sprint(i), []byte("line\r\n"+body[:min(3, len(body))])); err != nil {
			return err
		}
	}
	return nil
}

const threeEvents = "id: 0\ndata: line\ndata: bbb\n\nid: 1\ndata: line\ndata: bbb\n\nid: 2\ndata: line\ndata: bbb\n\n"

// settle waits until want holds.
func settle(t testing.TB, what string, want func() bool) {
	t.Helper()
	for until := time.Now().Add(patience); !want(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("it does not come to this: %s", what)
		}
	}
}

func TestAnAnswerBecomesAStreamAfterTheCallHasBegun(t *testing.T) {
	both(t, func(t *testing.T, secured bool) {
		decide := make(chan bool)
		route, results := told(t, func(ctx context.Context, x *proxy.Exchange, s *proxy.Stream) error {
			if <-decide {
				return three(ctx, x, s)
			}
			x.JSON(201, []byte(`{"whole":true}`))
			return nil
		})
		h := moor(t, secured, flowing, route)
		c := h.dial()
		for i := range 6 {
			c.say(t, ask("", 10))
			decide <- i%2 == 0
			resp, body := c.response(t)
			if err := result(t, results); err != nil {
				t.Fatal(err)
			}
			switch {
			case i%2 == 1:
				if resp.StatusCode != 201 || body != `{"whole":true}` {
					t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
				}
			case resp.StatusCode != 200 || body != threeEvents || resp.Header.Get("Gatewright-Record") != "rec_1" || resp.Header.Get("Content-Type") != "text/event-stream" ||
				resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Accel-Buffering") != "no" || len(resp.TransferEncoding) != 1:
				t.Errorf("%d %v %q", resp.StatusCode, resp.Header, body)
			}
		}
		if n := h.s.Streams(); n.Opened != 3 || n.Refused != 0 || n.Slow != 0 {
			t.Errorf("%+v", n)
		}
	})
}

// TestOnlyWhoAsksForEventsGetsThem: the others are answered in one piece, by the same work.
func TestOnlyWhoAsksForEventsGetsThem(t *testing.T) {
	route, results := told(t, func(_ context.Context, x *proxy.Exchange, s *proxy.Stream) error {
		err := s.Open("")
		if err != nil {
			x.JSON(200, []byte(`{}`))
		}
		return err
	})
	h := moor(t, false, flowing, route)
	for header, want := range map[string]bool{
		"": false, "Accept: */*\r\n": false, "Accept: application/json\r\n": false, "Accept: text/event-stream;q=0, */*\r\n": false, "Accept: text/event-stream; q=0.0\r\n": false,
		"Accept: text/event-stream\r\n": true, "accept: application/json,TEXT/event-stream;q=0.5\r\n": true,
	} {
		c := h.dial()
		c.say(t, "GET /r HTTP/1.1\r\n"+host+header+"\r\n")
		resp, _ := c.response(t)
		err := result(t, results)
		if got := resp.Header.Get("Content-Type") == "text/event-stream"; got != want || (err == nil) != want || err != nil && !errors.Is(err, proxy.ErrNoStream) {
			t.Errorf("%q: %v, %v", header, resp.Header, err)
		}
	}
	c := h.dial()
	c.say(t, "HEAD /r HTTP/1.1\r\n"+host+accept+"Connection: close\r\n\r\n")
	if b, _ := io.ReadAll(c); !errors.Is(result(t, results), proxy.ErrNoStream) || !strings.HasSuffix(string(b), "\r\n\r\n") {
		t.Errorf("HEAD is answered %q", b)
	}
}

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
				time.AfterFunc(time.Millisecond, s.Close)
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

// until reads until text has come.
func (c *client) until(t testing.TB, text string) string {
	t.Helper()
	var got strings.Builder
	var b [1]byte
	for !strings.HasSuffix(got.String(), text) {
		if _, err := c.Read(b[:]); err != nil {
			t.Fatalf("%v after %q", err, got.String())
		}
		got.WriteByte(b[0])
	}
	return got.String()
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
			if i%2 == 1 {
				if _, body := c.response(t); body != `{"status":"ok"}` {
					t.Fatalf("behind stream %d: %q", i, body)
				}
				if _, body := c.response(t); body != threeEvents {
					t.Fatalf("behind stream %d: %q", i, body)
				}
			}
		}
		settle(t, "one connection, and no stream", func() bool { return h.s.Streams().Open == 0 && h.s.Connections() == 1 })
		if n := h.s.Streams().Opened; n != 300 {
			t.Errorf("%d streams were opened", n)
		}
		_ = c.Close()
		settle(t, "connections and goroutines are gone", func() bool { return h.s.Connections() == 0 && runtime.NumGoroutine() <= before+5 })
	})
}

// TestAStreamThatFasthttpNeverHandsOverEnds: it fails to send what is pipelined before it, and does not call the handler.
func TestAStreamThatFasthttpNeverHandsOverEnds(t *testing.T) {
	both(t, func(t *testing.T, secured bool) {
		began, goOn := make(chan struct{}), make(chan struct{})
		route, results := told(t, func(ctx context.Context, _ *proxy.Exchange, s *proxy.Stream) error {
			close(began)
			<-goOn
			if err := s.Open("agent"); err != nil {
				return err
			}
			<-ctx.Done()
			return s.Event("", nil)
		})
		h := moor(t, secured, flowing, route)
		c := h.dial()
		c.say(t, health+ask("", 10))
		<-began
		_ = c.raw.SetLinger(0)
		_ = c.raw.Close()
		time.Sleep(20 * time.Millisecond)
		close(goOn)
		result(t, results)
		settle(t, "no stream is left", func() bool { return h.s.Streams().Open == 0 && h.s.Connections() <= 1 })
	})
}

// TestASlowReaderIsCutOffAlone: nobody waits for it, and what waits for it is bounded.
func TestASlowReaderIsCutOffAlone(t *testing.T) {
	both(t, func(t *testing.T, secured bool) {
		streams := make(chan *proxy.Stream, 2)
		route, _ := told(t, func(_ context.Context, _ *proxy.Exchange, s *proxy.Stream) error {
			if err := s.Open(""); err != nil {
				return err
			}
			defer func() { streams <- s }()
			return s.Hold(nil)
		})
		h := moor(t, secured, with(func(c *proxy.Config) { c.WriteTimeout, c.StreamQueue = time.Minute, 16<<20 }), route)
		quick, slow := h.dial(), h.dial()
		_ = slow.raw.SetReadBuffer(4096)
		quick.say(t, ask("", 10))
		a := <-streams
		slow.say(t, ask("", 10))
		b := <-streams
		go func() { _, _ = io.Copy(io.Discard, quick) }()
		event := make([]byte, 64<<10)
		var err error
		longest := time.Duration(0)
		for i := 0; err == nil && i < 20_000; i++ {
			if e := a.Event("", event); e != nil {
				t.Fatalf("the quick reader: %v", e)
			}
			at := time.Now()
			err = b.Event("", event)
			longest = max(longest, time.Since(at))
			time.Sleep(200 * time.Microsecond)
		}
		if !errors.Is(err, proxy.ErrSlow) || longest > time.Second {
			t.Errorf("the slow reader: %v, held up for %s", err, longest)
		}
		settle(t, "only the quick one is left", func() bool { return h.s.Streams().Open == 1 && h.s.Streams().Slow == 1 })
		if err := b.Event("", event); !errors.Is(err, proxy.ErrStreamOver) {
			t.Errorf("after the cut: %v", err)
		}
	})
}

// TestASilentStreamIsKeptAlive by comments, which no reader of events sees.
func TestASilentStreamIsKeptAlive(t *testing.T) {
	route, _ := told(t, func(_ context.Context, _ *proxy.Exchange, s *proxy.Stream) error {
		if err := s.Open(""); err != nil {
			return err
		}
		return s.Hold(nil)
	})
	h := moor(t, false, with(func(c *proxy.Config) { c.StreamKeepAlive = 20 * time.Millisecond }), route)
	c := h.dial()
	c.say(t, ask("", 10))
	c.until(t, "\r\n\r\n3\r\n:\n\n\r\n3\r\n:\n\n\r\n")
	if err := h.stop(); err != nil {
		t.Error(err)
	}
	c.until(t, "0\r\n\r\n")
}

// TestAPanicOfTheWorkIsARefusalOrACut, never an answer that looks whole.
func TestAPanicOfTheWorkIsARefusalOrACut(t *testing.T) {
	both(t, func(t *testing.T, secured bool) {
		h := moor(t, secured, flowing, func(x *proxy.Exchange) {
			x.Run(func(_ context.Context, s *proxy.Stream) {
				if len(x.Request.Body()) == 20 {
					_ = s.Open("")
					_ = s.Event("", []byte("half"))
				}
				panic("boom")
			})
		})
		c := h.dial()
		c.say(t, ask("", 10))
		if resp, body := c.response(t); resp.StatusCode != 500 || !strings.Contains(body, `"code":"internal"`) {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		c = h.dial()
		c.say(t, ask("", 20))
		if b, err := io.ReadAll(c); strings.HasSuffix(string(b), "0\r\n\r\n") || err == nil && len(b) > 0 {
			t.Errorf("a stream that broke ended as if it were whole: %q, %v", b, err)
		}
		settle(t, "no stream is left", func() bool { return h.s.Streams().Open == 0 })
	})
}

// TestEventsAreFramedAsTheyMustBe: no data and no id can make an event of its own.
func TestEventsAreFramedAsTheyMustBe(t *testing.T) {
	var got []error
	route, results := told(t, func(_ context.Context, _ *proxy.Exchange, s *proxy.Stream) error {
		got = append(got, s.Event("", nil), s.Hold(nil))
		_ = s.Open("")
		_ = s.Open("again")
		got = append(got, s.Event("a\nb", nil), s.Event("a\x00", nil))
		for _, d := range []string{"", "a\n\ndata: b", "a\r\rb", "a\r\n", "\n"} {
			if err := s.Event("7", []byte(d)); err != nil {
				return err
			}
		}
		return nil
	})
	h := moor(t, false, flowing, route)
	c := h.dial()
	c.say(t, ask("", 10))
	_, body := c.response(t)
	want := "id: 7\ndata: \n\nid: 7\ndata: a\ndata: \ndata: data: b\n\nid: 7\ndata: a\ndata: \ndata: b\n\nid: 7\ndata: a\ndata: \n\nid: 7\ndata: \ndata: \n\n"
	if err := result(t, results); err != nil || body != want {
		t.Errorf("%v, %q", err, body)
	}
	if !errors.Is(got[0], proxy.ErrNoStream) || !errors.Is(got[1], proxy.ErrNoStream) || got[2] == nil || got[3] == nil {
		t.Errorf("%v", got)
	}
	var _ net.Conn = c
}
