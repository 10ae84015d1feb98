package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// credential is shown as "Bearer N", and is another when its life is over.
type credential struct {
	life time.Duration
	n    atomic.Int64
	down atomic.Bool // what would renew it is down
	fail atomic.Bool // there is none any more

	until time.Time // of the one who listens
	told  int64
}

func (c *credential) fit(t *upstream.Target) {
	c.until = time.Now().Add(c.life)
	t.Headers = func(add func(name, value string)) { add("Authorization", fmt.Sprint("Bearer ", c.n.Load())) }
	t.Renew = func(context.Context) (bool, time.Time, error) {
		if c.fail.Load() {
			return false, time.Time{}, upstream.NoCredential("log in again")
		}
		if now := time.Now(); !now.Before(c.until) {
			if c.until = now.Add(c.life); !c.down.Load() {
				c.n.Add(1)
			}
		}
		another := c.n.Load() != c.told
		c.told = c.n.Load()
		return another, c.until, nil
	}
}

// heardWith answers each stream with one notification that says which credential it came with, and holds it.
func heardWith(open *atomic.Int64) func(int64, *stream, *http.Request, string) {
	return func(n int64, w *stream, r *http.Request, id string) {
		open.Add(1)
		defer open.Add(-1)
		meta := ""
		if id != "" {
			meta = `,"_meta":{"io.modelcontextprotocol/subscriptionId":` + id + `}`
		}
		w.raw(fmt.Sprintf("id: e-%d\ndata:\n\n", n))
		w.event(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/with","params":{"key":"%s","after":"%s"%s}}`, r.Header.Get("Authorization"), r.Header.Get("Last-Event-ID"), meta))
		<-r.Context().Done()
	}
}

// TestAStreamIsHeardAsLongAsItsCredentialIsGood: it was heard for as long as it lasted, with the credential that it began with.
func TestAStreamIsHeardAsLongAsItsCredentialIsGood(t *testing.T) {
	for _, modern := range []bool{true, false} {
		var open atomic.Int64
		d := &dropper{modern: modern, stream: heardWith(&open)}
		_, target := serve(t, d.handler())
		target.Era = map[bool]string{false: "legacy", true: "modern"}[modern]
		c, l := &credential{life: 60 * time.Millisecond}, hearing()
		c.fit(target)
		stop := listening(t, newClient(t, nil), target, &upstream.Subscription{Principal: "agt_1", Peer: l})
		for n, after := range []string{"", "e-1", "e-2", "e-3"} {
			if modern {
				after = ""
			}
			l.hears(t, fmt.Sprintf(`{"key":"Bearer %d","after":"%s"`, n, after))
		}
		c.down.Store(true) // what there is is good still: the stream goes on
		time.Sleep(300 * time.Millisecond)
		if n := d.n.Load(); open.Load() != 1 {
			t.Errorf("modern %v: of %d streams %d are open", modern, n, open.Load())
		} else if time.Sleep(300 * time.Millisecond); d.n.Load() != n {
			t.Errorf("modern %v: %d more streams without another credential", modern, d.n.Load()-n)
		}
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("modern %v: it ended with %v", modern, err)
		}
	}
}

// TestAStreamEndsWithItsCredential where there is no other.
func TestAStreamEndsWithItsCredential(t *testing.T) {
	var open atomic.Int64
	d := &dropper{modern: true, stream: heardWith(&open)}
	_, target := serve(t, d.handler())
	target.Era = "modern"
	c, l := &credential{life: 60 * time.Millisecond}, hearing()
	c.fit(target)
	ended := make(chan error, 1)
	go func() {
		ended <- newClient(t, nil).Listen(t.Context(), target, &upstream.Subscription{Principal: "agt_1", Peer: l})
	}()
	l.hears(t, `"Bearer 0"`)
	c.fail.Store(true)
	select {
	case err := <-ended:
		if fail, ok := errors.AsType[*upstream.Error](err); !ok || fail.Kind != upstream.Unproved {
			t.Errorf("%v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it listens on")
	}
}

// TestAStreamThatIsRefusedIsAskedForWithAnotherCredential: it ended the listening.
func TestAStreamThatIsRefusedIsAskedForWithAnotherCredential(t *testing.T) {
	for _, era := range []string{"modern", "legacy", "sse"} {
		l := &liar{}
		var streams, refused atomic.Int64
		_, target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if era != "modern" && r.Method != http.MethodGet {
				l.ServeHTTP(w, r)
				return
			}
			if r.Header.Get("Authorization") != "Bearer 2" {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("WWW-Authenticate", `Bearer scope="x"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			streams.Add(1)
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}))
		target.Era = era
		var n atomic.Int64
		target.Headers = func(add func(name, value string)) { add("Authorization", fmt.Sprint("Bearer ", n.Load())) }
		target.Refused = func(_ context.Context, r upstream.Refusal) (bool, error) {
			if refused.Add(1); r.Status != 401 || len(r.Challenges) != 1 || !strings.Contains(r.Challenges[0], "scope") {
				t.Errorf("%s: %+v", era, r)
			}
			n.Add(1)
			return true, nil
		}
		stop := listening(t, newClient(t, nil), target, &upstream.Subscription{Principal: "agt_1", Peer: hearing()})
		for range 400 {
			if streams.Load() > 0 {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		if streams.Load() != 1 || refused.Load() != 2 {
			t.Errorf("%s: %d streams after %d refusals", era, streams.Load(), refused.Load())
		}
		_ = stop()
	}
}

// TestAStreamThatIsRefusedStaysClosed: a server that takes no credential is not asked for ever.
func TestAStreamThatIsRefusedStaysClosed(t *testing.T) {
	var asked atomic.Int64
	_, target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	target.Era, target.Refused = "modern", func(context.Context, upstream.Refusal) (bool, error) { return true, nil }
	err := newClient(t, nil).Listen(t.Context(), target, &upstream.Subscription{Principal: "agt_1", Peer: hearing()})
	if fail, ok := errors.AsType[*upstream.Error](err); !ok || fail.Code != 401 || asked.Load() != 3 {
		t.Errorf("%v after %d requests", err, asked.Load())
	}
}

// TestAQuestionIsAnsweredBeforeItsStreamIsOpenedAnew.
func TestAQuestionIsAnsweredBeforeItsStreamIsOpenedAnew(t *testing.T) {
	answered := make(chan struct{}, 9)
	l := &liar{}
	_, target := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			b, _ := io.ReadAll(r.Body)
			if strings.Contains(string(b), `"result"`) {
				answered <- struct{}{}
				w.WriteHeader(http.StatusAccepted)
				return
			}
			r.Body = io.NopCloser(strings.NewReader(string(b)))
			l.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		out := &stream{w, l.all}
		if r.Header.Get("Authorization") == "Bearer 0" {
			out.event(`{"jsonrpc":"2.0","id":77,"method":"elicitation/create","params":{"message":"x"}}`)
		}
		<-r.Context().Done()
	}))
	target.Era = "legacy"
	c := &credential{life: 60 * time.Millisecond}
	c.fit(target)
	slow := &slowPeer{listener: hearing(), began: make(chan struct{}, 1)}
	stop := listening(t, newClient(t, nil), target, &upstream.Subscription{Principal: "agt_1", Peer: slow})
	<-slow.began
	select {
	case <-answered:
	case <-time.After(3 * time.Second):
		t.Error("the question got no answer")
	}
	_ = stop()
}

// slowPeer takes longer to answer than a credential lives.
type slowPeer struct {
	*listener
	began chan struct{}
}

func (p *slowPeer) Answer(ctx context.Context, _ string, _ []byte) (result, failure []byte) {
	p.began <- struct{}{}
	select {
	case <-time.After(700 * time.Millisecond):
		return []byte(`{"action":"decline"}`), nil
	case <-ctx.Done():
		return nil, []byte(`{"code":-1,"message":"given up"}`)
	}
}
