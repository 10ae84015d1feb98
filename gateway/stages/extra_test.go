package stages_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/wasm"
)

// TestWhatGoesOnOfMetaIsWhatFiltersLeftOfIt: they see it where they see arguments, and what they made of it is what is sent.
func TestWhatGoesOnOfMetaIsWhatFiltersLeftOfIt(t *testing.T) {
	const trace = `{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}`
	deny := func(input string, v *wasm.Verdict) error {
		if strings.Contains(input, "secret") {
			v.Kind, v.Reason = wasm.Deny, "secret"
		}
		return nil
	}
	only := func(what func(string, *wasm.Verdict) error) func(string, *wasm.Verdict) error {
		return func(input string, v *wasm.Verdict) error {
			if strings.Contains(input, `"op":"request_meta"`) {
				return what(input, v)
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		extra  string
		filter func(string, *wasm.Verdict) error
		sent   string
		code   pipeline.Code
	}{
		"as it is":           {extra: `{"baggage":"k=v"}`, filter: deny, sent: trace[:len(trace)-1] + `,"baggage":"k=v"}`},
		"a secret":           {extra: `{"baggage":"secret"}`, filter: deny, code: pipeline.FilterDenied},
		"masked":             {extra: `{"a":1,"baggage":"secret"}`, filter: replacing("secret", "***", "masked"), sent: trace[:len(trace)-1] + `,"a":1,"baggage":"***"}`},
		"taken out":          {extra: `{"a":1}`, filter: only(rewriting(`{ }`)), sent: trace},
		"with blanks":        {extra: `{"a":1,"b":2}`, filter: only(rewriting(`{ "b" : 3 }`)), sent: trace[:len(trace)-1] + `,"b":3}`},
		"a member added":     {extra: `{"a":1}`, filter: only(rewriting(`{"a":1,"b":1}`)), code: pipeline.FilterFailed},
		"a credential added": {extra: `{"a":1}`, filter: only(rewriting(`{"gatewright/intent":"x"}`)), code: pipeline.FilterFailed},
		"a trace added":      {extra: `{"a":1}`, filter: only(rewriting(`{"traceparent":"x"}`)), code: pipeline.FilterFailed},
		"a key twice":        {extra: `{"a":1}`, filter: only(rewriting(`{"a":1,"\u0061":2}`)), code: pipeline.FilterFailed},
		"no object":          {extra: `{"a":1}`, filter: only(rewriting(`[1]`)), code: pipeline.FilterFailed},
		"none":               {filter: only(rewriting(`[1]`)), sent: trace},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			call := w.step(open, `{"path":"/a"}`)
			call.Meta = []byte(trace)
			if c.extra != "" {
				call.Extra = []byte(c.extra)
			}
			u := &unit{name: "f", request: c.filter}
			err := filters(u).Check(t.Context(), call)
			if c.code != "" {
				wantDenial(t, err, c.code, "")
				return
			}
			w.must(err)
			if seen := u.seen[len(u.seen)-1]; c.extra != "" && !strings.Contains(seen, `"op":"request_meta"`) || strings.Contains(seen, "traceparent") {
				t.Errorf("the filter was shown %s", seen)
			}
			to := &client{reply: upstream.Reply{Status: 200, Result: []byte(`{}`)}}
			w.must(stages.Forward{Client: to, Servers: targets{}}.Forward(context.Background(), call))
			if string(to.request.Meta) != c.sent || string(to.request.Arguments) != `{"path":"/a"}` {
				t.Errorf("sent %s with %s, want %s", to.request.Arguments, to.request.Meta, c.sent)
			}
			if rewrote := c.extra != "" && !strings.HasSuffix(c.sent, c.extra[1:]); rewrote != (call.Filtered == "_meta rewritten by "+u.id()) {
				t.Errorf("the record is told %q", call.Filtered)
			}
		})
	}
}

// TestMetaOfAnOperationOnATaskIsShownToo: of its arguments nothing is left to be shown, for they went with the call.
func TestMetaOfAnOperationOnATaskIsShownToo(t *testing.T) {
	w := newWorld(t)
	c := w.call(w.alice, "read", `{}`, nil)
	c.Op, c.Task, c.Extra = "tasks/get", &pipeline.Task{Own: "up-1", ID: "x"}, []byte(`{"baggage":"secret"}`)
	u := &unit{name: "f", request: func(_ string, v *wasm.Verdict) error { v.Kind, v.Reason = wasm.Deny, "no"; return nil }}
	if d, ok := errors.AsType[*pipeline.Denial](filters(u).Check(t.Context(), c)); !ok || d.Code != pipeline.FilterDenied {
		t.Errorf("%v", d)
	}
}

// TestARetryMayHaveAnotherTraceAndNothingElse.
func TestARetryMayHaveAnotherTraceAndNothingElse(t *testing.T) {
	w := newWorld(t)
	s := stages.Retry{Answers: &pipeline.Answers{}, Verifier: w.verifier}
	try := func(extra string) error {
		c := w.call(w.alice, "read", `{"path":"/a"}`, nil)
		c.Retry, c.Extra = "k", []byte(extra)
		return s.Check(context.Background(), c)
	}
	w.must(try(`{"tracestate":"a=b","com.example/user":"x","baggage":"k=v"}`))
	wantDenial(t, try(`{"tracestate":"c=d","com.example/user":"x"}`), pipeline.InProgress, "")
	wantDenial(t, try(`{"com.example/user":"y"}`), pipeline.RetryMismatch, "")
	wantDenial(t, try(`{"tracestate":"a=b"}`), pipeline.RetryMismatch, "")
}
