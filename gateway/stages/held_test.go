package stages_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/wasm"
)

// older is an upstream that does in the middle of a call what a test says. What a call ended with is sent to over.
type older struct {
	do   func(ctx context.Context, r *upstream.Request) (text string, err error)
	over chan error
}

func (u *older) Call(ctx context.Context, _ *upstream.Target, r *upstream.Request, reply *upstream.Reply) (err error) {
	defer func() { u.over <- err }()
	text, err := u.do(ctx, r)
	if err != nil {
		return err
	}
	*reply = upstream.Reply{Status: 200, Result: []byte(`{"content":[{"type":"text","text":"` + text + `"}]}`)}
	return nil
}

func (u *older) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-u.over:
		return err
	case <-time.After(5 * time.Second):
		t.Fatal("the call goes on at its server")
		return nil
	}
}

func (u *older) runs(t *testing.T) {
	t.Helper()
	select {
	case err := <-u.over:
		t.Fatalf("the call ended: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
}

// elicit asks for a text, and says what a cancelled exchange ends with.
func elicit(ctx context.Context, r *upstream.Request, message string) (string, error) {
	result, _ := r.Peer.Answer(ctx, "elicitation/create", []byte(`{"message":"`+message+`"}`))
	if ctx.Err() != nil {
		return "", &upstream.Error{Kind: upstream.Canceled, Detail: "given up", Sent: true}
	}
	said, _ := canon.Get(result, "said")
	return strings.Trim(string(said), `"`), nil
}

// heldRow is a row before an older server, for a client that can be elicited.
type heldRow struct {
	*row
	server *older
	rounds *pipeline.Rounds
	hears  upstream.Peer
	meta   string
}

func (w *world) heldRow(do func(context.Context, *upstream.Request) (string, error), units ...*unit) *heldRow {
	h := &heldRow{row: w.row(`"where":{"path":{"open":true}},"uses":0`, units...), server: &older{do: do, over: make(chan error, 10)}, rounds: &pipeline.Rounds{}}
	h.line.Upstream = stages.Forward{Client: h.server, Servers: targets{}, Rounds: h.rounds}
	w.t.Cleanup(func() { w.must(h.rounds.Close(context.Background())) })
	return h
}

// round runs the call, or its next round. The buffers it came in are written over when it has ended.
func (h *heldRow) round(ctx context.Context, state, input string) *pipeline.Call {
	args, can, in, meta := []byte(`{"path":"/a"}`), []byte(`{"elicitation":{}}`), []byte(input), []byte(h.meta)
	c := &pipeline.Call{Route: "/mcp", Credential: []byte(h.aliceKey), Read: func(_ context.Context, c *pipeline.Call) error {
		c.Op, c.Action, c.Plan, c.Server, c.Name, c.Args, c.Shown.Token = "tools/call", "call_tool", true, "files", "read", args, h.token
		c.Can, c.Peer, c.Meta = can, h.hears, meta
		if state == "" {
			return nil
		}
		if c.Input = in; !h.rounds.Continue(c, state) {
			return pipeline.Deny(pipeline.Malformed, pipeline.RoundOver)
		}
		return nil
	}}
	h.line.Run(ctx, c)
	c.Reply.Result = bytes.Clone(c.Reply.Result)
	for _, b := range [][]byte{args, can, in, meta} {
		for i := range b {
			b[i] = 'X'
		}
	}
	return c
}

// asks is the state under which a call waits for an answer.
func (h *heldRow) asks(c *pipeline.Call) string {
	h.t.Helper()
	raw, ok := canon.Get(c.Reply.Result, "requestState")
	if kind, _ := canon.Get(c.Reply.Result, "resultType"); !ok || string(kind) != `"input_required"` {
		h.t.Fatalf("nothing is asked: %s, %v", c.Reply.Result, c.Denial)
	}
	state, err := canon.Unquote(raw)
	h.must(err)
	return state
}

func TestAHeldCallOwnsWhatItCameWith(t *testing.T) {
	h := newWorld(t).heldRow(func(ctx context.Context, r *upstream.Request) (string, error) {
		said, err := elicit(ctx, r, "who")
		return strings.ReplaceAll(string(r.Arguments)+string(r.Meta)+string(r.Capabilities)+r.Name+" "+said, `"`, ""), err
	})
	h.meta = `{"progressToken":7}`
	state := h.asks(h.round(t.Context(), "", ""))
	c := h.round(t.Context(), state, `{"gatewright-1":{"said":"Ann"}}`)
	if want := `{"content":[{"type":"text","text":"{path:/a}{progressToken:7}{elicitation:{}}read Ann"}]}`; string(c.Reply.Result) != want {
		t.Errorf("%s, %v", c.Reply.Result, c.Denial)
	}
}

func TestFiltersJudgeTheQuestionsAndAnswersOfAHeldCall(t *testing.T) {
	judge := func(input string, v *wasm.Verdict) error {
		if strings.Contains(input, "secret") {
			v.Kind, v.Reason = wasm.Deny, "found"
		}
		return nil
	}
	ask := "who"
	h := newWorld(t).heldRow(func(ctx context.Context, r *upstream.Request) (string, error) { return elicit(ctx, r, ask) },
		&unit{name: "judge", request: judge, response: judge})
	state := h.asks(h.round(t.Context(), "", ""))
	h.refused(h.round(t.Context(), state, `{"gatewright-1":{"said":"a secret"}}`), pipeline.FilterDenied)
	h.server.runs(t)
	if c := h.round(t.Context(), state, `{"gatewright-1":{"said":"Ann"}}`); !strings.Contains(string(c.Reply.Result), "Ann") {
		t.Errorf("after an answer that a filter refuses: %s, %v", c.Reply.Result, c.Denial)
	}
	h.must(h.server.ended(t))
	ask = "your secret"
	h.refused(h.round(t.Context(), "", ""), pipeline.ReplyWithheld)
	if err := h.server.ended(t); err == nil {
		t.Error("a call whose question is withheld came to its end")
	}
}

func TestACallWhoseServerAsksBeyondTheClientEnds(t *testing.T) {
	h := newWorld(t).heldRow(func(ctx context.Context, r *upstream.Request) (string, error) {
		r.Peer.Answer(ctx, "sampling/createMessage", nil)
		return "", &upstream.Error{Kind: upstream.Canceled}
	})
	h.refused(h.round(t.Context(), "", ""), pipeline.UpstreamMalformed)
	_ = h.server.ended(t)
}

func TestACallEndsWhenItsCallerLeavesWhileTheServerWorks(t *testing.T) {
	working := make(chan struct{})
	h := newWorld(t).heldRow(func(ctx context.Context, r *upstream.Request) (string, error) {
		if _, err := elicit(ctx, r, "who"); err != nil {
			return "", err
		}
		close(working)
		<-ctx.Done()
		return "", &upstream.Error{Kind: upstream.Canceled, Sent: true}
	})
	state := h.asks(h.round(t.Context(), "", ""))
	ctx, leave := context.WithCancel(t.Context())
	go func() { <-working; leave() }()
	h.refused(h.round(ctx, state, `{"gatewright-1":{"said":"Ann"}}`), pipeline.UpstreamTimeout)
	_ = h.server.ended(t)
}

func TestAHeldCallThatPanicsIsAFault(t *testing.T) {
	h := newWorld(t).heldRow(func(context.Context, *upstream.Request) (string, error) { panic("boom") })
	h.refused(h.round(t.Context(), "", ""), pipeline.Internal)
}

// A question that its server takes back, or that waits no more, is not asked again, and the call goes on.
func TestAQuestionThatIsTakenBackIsForNobody(t *testing.T) {
	withdrawn := make(chan struct{})
	h := newWorld(t).heldRow(func(ctx context.Context, r *upstream.Request) (string, error) {
		short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
		defer stop()
		r.Peer.Answer(short, "elicitation/create", nil)
		close(withdrawn)
		return "went on", nil
	})
	state := h.asks(h.round(t.Context(), "", ""))
	<-withdrawn
	if c := h.round(t.Context(), state, `{"gatewright-1":{"said":"late"}}`); !strings.Contains(string(c.Reply.Result), "went on") {
		t.Errorf("%s, %v", c.Reply.Result, c.Denial)
	}
}

// ear keeps what a request heard.
type ear struct{ heard []string }

func (*ear) Capabilities() []byte { return nil }
func (e *ear) Notify(method string, params []byte) error {
	e.heard = append(e.heard, method+" "+string(params))
	return nil
}
func (*ear) Answer(context.Context, string, []byte) (result, failure []byte) { return nil, nil }

func TestWhatAServerSaysGoesToTheRequestAtHandOrNowhere(t *testing.T) {
	parked := make(chan struct{})
	h := newWorld(t).heldRow(func(ctx context.Context, r *upstream.Request) (string, error) {
		say := func(n string) error {
			return r.Peer.Notify("notifications/progress", []byte(`{"progressToken":"first","progress":`+n+`}`))
		}
		if err := say("1"); err != nil {
			return "", err
		}
		between := make(chan error)
		go func() { <-parked; between <- say("2") }()
		said, err := elicit(ctx, r, "who")
		return said, errors.Join(err, <-between, say("3"))
	})
	first, second := new(ear), new(ear)
	h.hears, h.meta = first, `{"progressToken":"first"}`
	state := h.asks(h.round(t.Context(), "", ""))
	parked <- struct{}{}
	time.Sleep(20 * time.Millisecond)
	h.hears, h.meta = second, `{"progressToken":"second"}`
	if c := h.round(t.Context(), state, `{"gatewright-1":{"said":"Ann"}}`); c.Denial != nil {
		t.Fatal(c.Denial)
	}
	if got := strings.Join(first.heard, "\n"); got != `notifications/progress {"progressToken":"first","progress":1}` {
		t.Errorf("the first heard %s", got)
	}
	if got := strings.Join(second.heard, "\n"); got != `notifications/progress {"progressToken":"second","progress":3}` {
		t.Errorf("the second heard %s", got)
	}
}
