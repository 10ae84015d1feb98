package stages

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle/canon"
)

// held is a call of a client of 2026-07-28 that can be asked something. A server of the same era asks with its answer; one of
// the older era asks in the middle of the call, and waits. So the call runs beside the requests of its client: it outlives the
// one that it came with, and the next one brings the answers to it. It owns all that it reads, for those buffers are reused.
type held struct {
	request upstream.Request
	reply   upstream.Reply // final, with err, once done is closed
	err     error
	end     context.CancelFunc
	done    chan struct{}
	asked   chan struct{} // holds one: there are questions

	mu   sync.Mutex // guards what follows
	open []*parked  // questions without an answer, oldest first
	last int

	talk     sync.Mutex    // held while the client is told something; guards what follows
	client   upstream.Peer // of the request at hand; nil between requests, and of a client that hears nothing
	progress []byte        // its token, raw; nil when it gave none
}

// parked is a question that waits for its answer.
type parked struct {
	key, method string
	params      []byte
	answer      chan []byte // takes one
}

var (
	_ upstream.Peer = (*held)(nil)
	_ pipeline.Held = (*held)(nil)
)

// mayAsk says whether a server could ask in the middle of this call what its client can answer. A server that is known to be
// of the newer era cannot.
func (s Forward) mayAsk(c *pipeline.Call, t *upstream.Target) bool {
	if s.Rounds == nil || len(c.Can) <= len("{}") || t.Era == "modern" {
		return false
	}
	return c.Op == catalogue.CallTool || c.Op == catalogue.GetPrompt || c.Op == catalogue.ReadResource
}

// hold begins a call that may outlive its request.
func (s Forward) hold(c *pipeline.Call, t *upstream.Target) *held {
	h := &held{request: *c.Sent, done: make(chan struct{}), asked: make(chan struct{}, 1)}
	r := &h.request
	r.Method, r.Name, r.Principal = strings.Clone(r.Method), strings.Clone(r.Name), strings.Clone(r.Principal)
	for _, b := range []*[]byte{&r.Params, &r.Arguments, &r.Meta, &r.InputResponses, &r.RequestState, &r.Capabilities} {
		*b = bytes.Clone(*b)
	}
	if r.Peer = h; r.Mirror != nil {
		tool, args := c.Tool, bytes.Clone(c.Args)
		r.Mirror = func(add func(name, value string)) { tool.Mirror(args, add) }
	}
	h.hear(c.Peer, c.Meta)
	ctx, end := context.WithCancel(context.Background()) // it ends with its bounds, and not with the request
	h.end = end
	go func() {
		defer close(h.done)
		defer end()
		defer func() {
			if p := recover(); p != nil {
				h.err = fmt.Errorf("held call: panic: %v", p)
			}
		}()
		h.err = s.Client.Call(ctx, t, &h.request, &h.reply)
	}()
	return h
}

// End gives the call up at its server.
func (h *held) End() { h.end() }

// Done is closed once the call is over.
func (h *held) Done() <-chan struct{} { return h.done }

// gather is how long further questions are waited for once there is one: servers that ask several things at once send them one
// right after the other, and a client is better asked them together.
const gather = 10 * time.Millisecond

// wait returns the server's answer, or what it asks as a server of 2026-07-28 would. From then on no client hears what the
// server says. When the one that waits leaves, the call ends.
func (h *held) wait(ctx context.Context) (*upstream.Reply, error) {
	defer h.hear(nil, nil)
	left, gone := ctx.Done(), false
	for {
		var enough <-chan time.Time
		if !gone && h.asks() {
			enough = time.After(gather)
		}
		select {
		case <-h.done:
			if h.err != nil {
				return nil, h.err
			}
			return &h.reply, wellShaped(&h.reply)
		case <-h.asked:
		case <-enough:
			if questions := h.questions(); questions != nil {
				return &upstream.Reply{Status: 200, Result: questions}, nil
			}
		case <-left:
			left, gone = nil, true // what the call ends with says so
			h.end()
		}
	}
}

// hear makes a client the one that hears the server. It waits for what is being said to the one before.
func (h *held) hear(client upstream.Peer, meta []byte) {
	h.talk.Lock()
	defer h.talk.Unlock()
	h.client, h.progress = client, nil
	if token, ok := canon.Get(meta, "progressToken"); ok {
		h.progress = bytes.Clone(token)
	}
}

func (h *held) asks() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open) > 0
}

// questions are those that are open, as a result of 2026-07-28; nil when there are none any more.
func (h *held) questions() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.open) == 0 {
		return nil
	}
	b := []byte(`{"resultType":"input_required","inputRequests":{`)
	for i, q := range h.open {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `"`+q.key+`":{"method":"`+q.method+`","params":`...)
		if b = append(b, q.params...); q.params == nil {
			b = append(b, "{}"...) // it means the same, and the Go SDK 1.8 reads no question without
		}
		b = append(b, '}')
	}
	return append(b, "}}"...)
}

// answer hands a client's answers to the questions that they are for. One without an answer is asked again; what nobody asked,
// or does not ask any more, is for nobody.
func (h *held) answer(input []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = slices.DeleteFunc(h.open, func(q *parked) bool {
		said, _ := canon.Get(input, q.key)
		if canon.KindOf(said) != '{' {
			return false
		}
		q.answer <- bytes.Clone(said)
		return true
	})
}

// Capabilities are those that the client showed when the call began.
func (h *held) Capabilities() []byte { return h.request.Capabilities }

// Notify tells the client that waits, if one does. Progress goes by the token of its own request.
func (h *held) Notify(method string, params []byte) error {
	h.talk.Lock()
	defer h.talk.Unlock()
	if h.client == nil {
		return nil
	}
	if method == "notifications/progress" {
		if h.progress == nil {
			return nil
		}
		params = withToken(params, h.progress)
	}
	return h.client.Notify(method, params)
}

// withToken is what a server says of its progress, under another token.
func withToken(params, token []byte) []byte {
	b := append([]byte(`{"progressToken":`), token...)
	_ = canon.Each(params, func(key, value []byte) error { // checked JSON: cannot fail
		if string(key) != "progressToken" {
			b = canon.AppendString(append(b, ','), string(key))
			b = append(append(b, ':'), value...)
		}
		return nil
	})
	return append(b, '}')
}

// Answer keeps a question until one of the client's next requests answers it.
func (h *held) Answer(ctx context.Context, method string, params []byte) (result, failure []byte) {
	q := &parked{method: method, params: bytes.Clone(params), answer: make(chan []byte, 1)}
	h.mu.Lock()
	h.last++
	q.key = "gatewright-" + strconv.Itoa(h.last)
	h.open = append(h.open, q)
	h.mu.Unlock()
	select {
	case h.asked <- struct{}{}:
	default:
	}
	select {
	case said := <-q.answer:
		return said, nil
	case <-ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = slices.DeleteFunc(h.open, func(o *parked) bool { return o == q })
	return nil, []byte(`{"code":-32603,"message":"nobody answered in time"}`)
}

// heldCall makes a call that may be held, or goes on with the one that the client came back for. open is that call when the reply
// is what its server asks in the middle of it, nil when it is the server's own.
func (s Forward) heldCall(ctx context.Context, c *pipeline.Call, t *upstream.Target) (open *held, err error) {
	var h *held
	if resumed, ok := c.Round.Held().(*held); ok {
		h = resumed
		h.hear(c.Peer, c.Meta)
		h.answer(c.Input)
	} else {
		h = s.hold(c, t)
	}
	reply, err := h.wait(ctx)
	if err != nil {
		h.end()
		return nil, err
	}
	*c.Carried = *reply
	if reply != &h.reply {
		return h, nil
	}
	return nil, nil //nolint:nilnil // nothing stays open
}
