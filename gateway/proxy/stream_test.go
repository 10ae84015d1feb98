package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
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
		x.Run(func(ctx context.Context, _ *proxy.Exchange, s *proxy.Stream) { results <- f(ctx, x, s) })
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
			x.Run(func(_ context.Context, _ *proxy.Exchange, s *proxy.Stream) {
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
}

// TestAConnectionThatIsSilentAfterItsStream is closed without a word after idle_timeout, as any other, and not answered
// with a refusal that nobody asked for after read_timeout.
func TestAConnectionThatIsSilentAfterItsStream(t *testing.T) {
	both(t, func(t *testing.T, secured bool) {
		route, _ := told(t, three)
		h := moor(t, secured, with(func(c *proxy.Config) { c.ReadTimeout, c.IdleTimeout = 100*time.Millisecond, 400*time.Millisecond }), route)
		c := h.dial()
		for range 3 {
			c.say(t, ask("", 10))
			c.response(t)
			time.Sleep(200 * time.Millisecond)
		}
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			t.Errorf("%q, %v", rest, err)
		}
		settle(t, "no connection is left", func() bool { return h.s.Connections() == 0 })
	})
}

// TestAConnectionThatIsSilentAfterItsStreamHoldsUpNoStop: fasthttp does not know it.
func TestAConnectionThatIsSilentAfterItsStreamHoldsUpNoStop(t *testing.T) {
	both(t, func(t *testing.T, secured bool) {
		route, _ := told(t, three)
		h := moor(t, secured, flowing, route)
		c := h.dial()
		c.say(t, ask("", 10))
		c.response(t)
		settle(t, "it is served on", func() bool { return h.s.Streams().Open == 0 && h.s.Connections() == 1 })
		at := time.Now()
		if err := h.stop(); err != nil || time.Since(at) > 2*time.Second {
			t.Errorf("%v after %s", err, time.Since(at))
		}
	})
}

// TestAStreamPutOnHoldWhileTheGatewayStopsEnds, as does one that would only open then.
func TestAStreamPutOnHoldWhileTheGatewayStopsEnds(t *testing.T) {
	stopping := make(chan struct{})
	route, results := told(t, func(_ context.Context, x *proxy.Exchange, s *proxy.Stream) error {
		if len(x.Request.Body()) == 20 {
			<-stopping
			err := s.Open("")
			x.JSON(503, []byte(`{}`))
			return err
		}
		_ = s.Open("")
		_ = s.Event("", []byte("hello"))
		<-stopping
		return s.Hold(nil)
	})
	h := moor(t, false, flowing, route)
	a, b := h.dial(), h.dial()
	a.say(t, ask("", 10))
	a.until(t, "hello\n\n\r\n")
	b.say(t, ask("", 20))
	stopped := make(chan error, 1)
	go func() { stopped <- h.stop() }()
	settle(t, "it takes no more", func() bool {
		c, err := net.Dial("tcp", h.addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	close(stopping)
	if rest, err := io.ReadAll(a); err != nil || string(rest) != "0\r\n\r\n" {
		t.Errorf("%q, %v", rest, err)
	}
	if resp, _ := b.response(t); resp.StatusCode != 503 {
		t.Errorf("%d", resp.StatusCode)
	}
	first, second := result(t, results), result(t, results)
	if (first == nil) == (second == nil) || !errors.Is(errors.Join(first, second), proxy.ErrStreams) {
		t.Errorf("%v, %v", first, second)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
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

// TestACallOnAConnectionThatStreamedBeforeIsAnsweredAtTheEnd: only one that is silent is closed at once.
func TestACallOnAConnectionThatStreamedBeforeIsAnsweredAtTheEnd(t *testing.T) {
	both(t, func(t *testing.T, secured bool) {
		began, release := make(chan struct{}), make(chan struct{})
		route, _ := told(t, func(ctx context.Context, x *proxy.Exchange, s *proxy.Stream) error {
			if len(x.Request.Body()) == 10 {
				return three(ctx, x, s)
			}
			close(began)
			<-release
			x.JSON(200, []byte(`{"late":true}`))
			return nil
		})
		h := moor(t, secured, flowing, route)
		c := h.dial()
		c.say(t, ask("", 10))
		c.response(t)
		c.say(t, ask("", 20))
		<-began
		stopped := make(chan error, 1)
		go func() { stopped <- h.stop() }()
		time.Sleep(30 * time.Millisecond)
		close(release)
		if resp, body := c.response(t); resp.StatusCode != 200 || body != `{"late":true}` {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}
