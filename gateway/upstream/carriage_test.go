package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/upstream"
)

// carriedCall makes a call through a carrier and says what became of it.
func carriedCall(t *testing.T, r upstream.Request, c carrier) (string, *upstream.Error) {
	t.Helper()
	conf := upstream.DefaultConfig()
	conf.MaxInterim, conf.MaxInterimBytes = 5, 4096
	client, err := upstream.New(upstream.Options{Config: conf, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r.Method, r.Name, r.Principal = "tools/call", "t", "p"
	var reply upstream.Reply
	err = client.Call(t.Context(), &upstream.Target{Tenant: "a", Name: "s", Carrier: c}, &r, &reply)
	fail, _ := errors.AsType[*upstream.Error](err)
	return string(reply.Result), fail
}

// told is a Peer that keeps what it hears.
type told struct {
	can   string
	heard []string
	err   error
}

func (p *told) Capabilities() []byte { return []byte(p.can) }

func (p *told) Notify(method string, params []byte) error {
	p.heard = append(p.heard, method+string(params))
	return p.err
}

func (p *told) Answer(context.Context, string, []byte) (result, failure []byte) {
	return []byte(`{"stolen":true}`), nil
}

// TestACarrierIsGivenWhatTheServerMaySee: nothing that a caller put under a reserved name, and the capabilities that were judged.
func TestACarrierIsGivenWhatTheServerMaySee(t *testing.T) {
	evil := `{"trace":"x","progressToken":"mine","\u0069o.modelcontextprotocol/clientCapabilities":{"sampling":{}},"gatewright/x":1}`
	for name, c := range map[string]struct {
		r            upstream.Request
		meta, params string
	}{
		"nothing said":   {upstream.Request{}, "", ""},
		"nobody hears":   {upstream.Request{Meta: []byte(evil)}, `{"trace":"x"}`, ""},
		"somebody hears": {upstream.Request{Meta: []byte(evil), Peer: &told{can: "{}"}}, `{"io.modelcontextprotocol/clientCapabilities":{},"gatewright/hears":{},"trace":"x","progressToken":"mine"}`, ""},
		"a newer client": {upstream.Request{Meta: []byte(evil), Capabilities: []byte(`{"elicitation":{}}`)}, `{"io.modelcontextprotocol/clientCapabilities":{"elicitation":{}},"trace":"x"}`, ""},
		"in the params":  {upstream.Request{Params: []byte(`{"_meta":` + evil + `}`)}, `{"trace":"x"}`, `{"_meta":` + evil + `}`},
		"answers": {
			upstream.Request{Arguments: []byte(`{"a":1}`), InputResponses: []byte(`{"q":{}}`), RequestState: []byte(`"s"`), Capabilities: []byte(`{"elicitation":{}}`)},
			`{"io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}}`, `{"name":"t","arguments":{"a":1},"inputResponses":{"q":{}},"requestState":"s","_meta":{`,
		},
	} {
		_, fail := carriedCall(t, c.r, func(_ context.Context, r *upstream.Request, reply *upstream.Reply) error {
			if string(r.Meta) != c.meta || !strings.HasPrefix(string(r.Params), c.params) || c.params == "" && r.Params != nil {
				t.Errorf("%s: the carrier was given %s %s", name, r.Meta, r.Params)
			}
			reply.Result = []byte("{}")
			return nil
		})
		if fail != nil {
			t.Errorf("%s: %v", name, fail)
		}
	}
	for _, r := range []upstream.Request{{Meta: []byte("[]")}, {InputResponses: []byte("[]")}, {RequestState: []byte("1")}} {
		if got, fail := carriedCall(t, r, func(context.Context, *upstream.Request, *upstream.Reply) error { t.Error("carried"); return nil }); fail == nil || fail.Kind != upstream.Invalid || fail.Sent {
			t.Errorf("%s, %v", got, fail)
		}
	}
}

// TestWhatIsSaidThroughACarrierIsBoundedAndJudged: what a connector says before its answer is trusted no more than over HTTP.
func TestWhatIsSaidThroughACarrierIsBoundedAndJudged(t *testing.T) {
	refusal := errors.New("no more")
	for name, c := range map[string]struct {
		said  []string // method and params
		peer  told
		heard []string
		want  upstream.Kind
	}{
		"progress":           {said: []string{`notifications/progress{"progressToken":3,"progress":1}`}, heard: []string{`notifications/progress{"progressToken":"mine/1","progress":1}`}},
		"logs":               {said: []string{`notifications/message{"data":1}`}, heard: []string{`notifications/message{"data":1}`}},
		"anything else":      {said: []string{`notifications/tools/list_changed{}`, `elicitation/create{}`}},
		"too many things":    {said: slices.Repeat([]string{`notifications/other{}`}, 6), want: upstream.TooLarge},
		"too much":           {said: []string{`notifications/progress{"a":"` + strings.Repeat("x", 4096) + `"}`}, want: upstream.TooLarge},
		"no object":          {said: []string{`notifications/progress[]`}, want: upstream.Malformed},
		"keys twice":         {said: []string{`notifications/message{"data":1,"data":2}`}, want: upstream.Malformed},
		"nothing":            {said: []string{`notifications/progress`}, want: upstream.Malformed},
		"a caller who stops": {said: []string{`notifications/progress{}`}, peer: told{err: refusal}, heard: []string{`notifications/progress{}`}, want: upstream.Canceled},
	} {
		c.peer.can = `{"elicitation":{}}`
		_, fail := carriedCall(t, upstream.Request{Meta: []byte(`{"progressToken":"mine/1"}`), Peer: &c.peer}, func(_ context.Context, r *upstream.Request, reply *upstream.Reply) error {
			for _, said := range c.said {
				at := max(strings.IndexAny(said, "{["), 0)
				if at == 0 {
					at = len(said)
				}
				if err := r.Peer.Notify(said[:at], []byte(said[at:])); err != nil {
					return err
				}
			}
			reply.Result = []byte("{}")
			return nil
		})
		got := upstream.Kind("")
		if fail != nil {
			got = fail.Kind
		}
		if got != c.want || fmt.Sprint(c.peer.heard) != fmt.Sprint(c.heard) {
			t.Errorf("%s: heard %q, %v", name, c.peer.heard, fail)
		}
	}
}

// asked is a Peer that answers in its own way.
type asked struct {
	told
	answer func(ctx context.Context, method string) (result, failure []byte)
}

func (p *asked) Answer(ctx context.Context, method string, _ []byte) (result, failure []byte) {
	return p.answer(ctx, method)
}

// TestQuestionsThroughACarrierAreBoundedAndJudged: only what the caller said that it can be asked, and its answer no less.
func TestQuestionsThroughACarrierAreBoundedAndJudged(t *testing.T) {
	fine := func(context.Context, string) (result, failure []byte) { return []byte(`{"action":"accept"}`), nil }
	for name, c := range map[string]struct {
		can, method, params string
		answer              func(context.Context, string) (result, failure []byte)
		want                string
	}{
		"as declared":    {`{"elicitation":{}}`, "elicitation/create", `{"message":"who?"}`, fine, `{"action":"accept"}`},
		"without params": {`{"roots":{}}`, "roots/list", ``, fine, `{"action":"accept"}`},
		"an error": {`{"elicitation":{}}`, "elicitation/create", `{}`, func(context.Context, string) (result, failure []byte) {
			return nil, []byte(`{"code":-1,"message":"x"}`)
		}, `{"code":-1,"message":"x"}`},
		"not declared":        {`{"roots":{}}`, "elicitation/create", `{}`, fine, "did not say"},
		"nothing declared":    {`{}`, "elicitation/create", `{}`, fine, "did not say"},
		"no question":         {`{"elicitation":{},"tools":{}}`, "tools/call", `{}`, fine, "did not say"},
		"params of no object": {`{"elicitation":{}}`, "elicitation/create", `[]`, fine, "no object"},
		"keys twice":          {`{"elicitation":{}}`, "elicitation/create", `{"a":1,"a":2}`, fine, "no object"},
		"too large":           {`{"elicitation":{}}`, "elicitation/create", `{"a":"` + strings.Repeat("x", 4096) + `"}`, fine, "too large"},
		"an answer of none":   {`{"elicitation":{}}`, "elicitation/create", `{}`, func(context.Context, string) (result, failure []byte) { return []byte(`[`), nil }, "has no answer"},
		"a panic":             {`{"elicitation":{}}`, "elicitation/create", `{}`, func(context.Context, string) (result, failure []byte) { panic("x") }, "has no answer"},
	} {
		p := &asked{told: told{can: c.can}, answer: c.answer}
		_, fail := carriedCall(t, upstream.Request{Peer: p}, func(ctx context.Context, r *upstream.Request, reply *upstream.Reply) error {
			result, failure := r.Peer.Answer(ctx, c.method, []byte(c.params))
			if got := string(result) + string(failure); !strings.Contains(got, c.want) {
				t.Errorf("%s: %s", name, got)
			}
			reply.Result = []byte("{}")
			return nil
		})
		if fail != nil {
			t.Errorf("%s: %v", name, fail)
		}
	}
}

// TestAServerThatAsksForEverLosesItsCall, and no more of its questions are open at once than over HTTP.
func TestAServerThatAsksForEverLosesItsCall(t *testing.T) {
	p := &asked{told: told{can: `{"roots":{}}`}, answer: func(context.Context, string) (result, failure []byte) { return []byte("{}"), nil }}
	_, fail := carriedCall(t, upstream.Request{Peer: p}, func(ctx context.Context, r *upstream.Request, _ *upstream.Reply) error {
		for ctx.Err() == nil {
			r.Peer.Answer(ctx, "roots/list", nil)
		}
		return errors.New("the context ended")
	})
	if fail == nil || fail.Kind != upstream.TooLarge || !fail.Sent {
		t.Errorf("%v", fail)
	}
}

// TestPeopleHaveTheirTimeThroughACarrier: the call's clock stands still while somebody is asked, and runs on after.
func TestPeopleHaveTheirTimeThroughACarrier(t *testing.T) {
	conf := upstream.DefaultConfig()
	conf.Timeout, conf.AnswerTimeout, conf.MaxAsks = 300*time.Millisecond, 3*time.Second, 1
	client, err := upstream.New(upstream.Options{Config: conf, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := &asked{told: told{can: `{"roots":{}}`}, answer: func(ctx context.Context, _ string) (result, failure []byte) {
		select {
		case <-time.After(600 * time.Millisecond):
		case <-ctx.Done():
		}
		return []byte("{}"), nil
	}}
	call := func(after time.Duration) error {
		c := carrier(func(ctx context.Context, r *upstream.Request, reply *upstream.Reply) error {
			var both sync.WaitGroup
			var refused atomic.Int32
			for range 2 {
				both.Go(func() {
					if _, failure := r.Peer.Answer(ctx, "roots/list", nil); failure != nil {
						refused.Add(1)
					}
				})
			}
			both.Wait()
			if refused.Load() != 1 {
				t.Errorf("%d of two questions at once were refused", refused.Load())
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(after):
			}
			reply.Result = []byte("{}")
			return nil
		})
		return client.Call(t.Context(), &upstream.Target{Tenant: "a", Name: "s", Carrier: c}, &upstream.Request{Method: "tools/call", Name: "t", Principal: "p", Peer: p}, new(upstream.Reply))
	}
	if err := call(0); err != nil {
		t.Error(err)
	}
	var fail *upstream.Error
	if err := call(2 * time.Second); !errors.As(err, &fail) || fail.Kind != upstream.Timeout {
		t.Errorf("%v", err)
	}
}
