package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
		"somebody hears": {upstream.Request{Meta: []byte(evil), Peer: &told{can: "{}"}}, `{"io.modelcontextprotocol/clientCapabilities":{},"trace":"x","progressToken":"mine"}`, ""},
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

// TestProgressThroughACarrierIsBoundedAndJudged: what a connector says before its answer is trusted no more than over HTTP.
func TestProgressThroughACarrierIsBoundedAndJudged(t *testing.T) {
	refusal := errors.New("no more")
	for name, c := range map[string]struct {
		said  []string // method and params
		peer  told
		heard []string
		want  upstream.Kind
	}{
		"progress":           {said: []string{`notifications/progress{"progressToken":3,"progress":1}`}, heard: []string{`notifications/progress{"progressToken":"mine/1","progress":1}`}},
		"anything else":      {said: []string{`notifications/message{"data":1}`, `elicitation/create{}`}},
		"too many things":    {said: slices.Repeat([]string{`notifications/message{}`}, 6), want: upstream.TooLarge},
		"too much":           {said: []string{`notifications/progress{"a":"` + strings.Repeat("x", 4096) + `"}`}, want: upstream.TooLarge},
		"no object":          {said: []string{`notifications/progress[]`}, want: upstream.Malformed},
		"keys twice":         {said: []string{`notifications/progress{"progress":1,"progress":2}`}, want: upstream.Malformed},
		"nothing":            {said: []string{`notifications/progress`}, want: upstream.Malformed},
		"a caller who stops": {said: []string{`notifications/progress{}`}, peer: told{err: refusal}, heard: []string{`notifications/progress{}`}, want: upstream.Canceled},
	} {
		c.peer.can = `{"elicitation":{}}`
		_, fail := carriedCall(t, upstream.Request{Meta: []byte(`{"progressToken":"mine/1"}`), Peer: &c.peer}, func(ctx context.Context, r *upstream.Request, reply *upstream.Reply) error {
			for _, said := range c.said {
				at := max(strings.IndexAny(said, "{["), 0)
				if at == 0 {
					at = len(said)
				}
				if err := r.Peer.Notify(said[:at], []byte(said[at:])); err != nil {
					return err
				}
			}
			if answer, _ := r.Peer.Answer(ctx, "elicitation/create", []byte("{}")); answer != nil {
				t.Error("a connector had a caller asked")
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
