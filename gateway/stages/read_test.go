package stages_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle/intent"
)

func TestACallThatNobodyReadOrNamedIsAFault(t *testing.T) {
	read := func(op, action string, err error) func(context.Context, *pipeline.Call) error {
		return func(_ context.Context, c *pipeline.Call) error { c.Op, c.Action = op, action; return err }
	}
	boom := pipeline.Deny(pipeline.Malformed, "")
	for name, c := range map[string]struct {
		read func(context.Context, *pipeline.Call) error
		want error
	}{
		"no reader": {}, "no operation": {read: read("", "discover", nil)}, "no action": {read: read("ping", "", nil)}, "refused": {read: read("ping", "discover", boom), want: boom},
	} {
		err := stages.Read{}.Check(context.Background(), &pipeline.Call{Read: c.read})
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (stages.Read{}).Check(context.Background(), &pipeline.Call{Read: read("ping", "discover", nil)}); err != nil {
		t.Error(err)
	}
}

func TestARetryIsTiedToItsKeyItsCallerAndItsRequest(t *testing.T) {
	w := newWorld(t)
	s := stages.Retry{Answers: &pipeline.Answers{}, Verifier: w.verifier}
	check := func(c *pipeline.Call) error { return s.Check(context.Background(), c) }
	p := w.plan(w.alice, draft)
	token, other := w.token(p, w.alice, nil), w.token(p, w.alice, func(c *intent.Claims) { c.ID = "tok_2" })
	call := func(change func(*pipeline.Call)) *pipeline.Call {
		c := w.call(w.alice, "read", `{"path":"/a"}`, token)
		c.Retry = "k"
		if change != nil {
			change(c)
		}
		return c
	}
	w.must(check(call(nil)))
	wantDenial(t, check(call(nil)), pipeline.InProgress, "")
	wantDenial(t, check(call(func(c *pipeline.Call) { c.Meta = []byte(`{"traceparent":"another try"}`) })), pipeline.InProgress, "")
	for name, change := range map[string]func(*pipeline.Call){
		"args": func(c *pipeline.Call) { c.Args = []byte(`{"path":"/b"}`) }, "tool": func(c *pipeline.Call) { c.Name = "send" },
		"server": func(c *pipeline.Call) { c.Server = "mail" }, "op": func(c *pipeline.Call) { c.Op = "prompts/get" },
		"token": func(c *pipeline.Call) { c.Shown.Token = other }, "step": func(c *pipeline.Call) { c.Shown.Step = []byte("x") },
		"shifted between": func(c *pipeline.Call) { c.Server, c.Name = "filesr", "ead" },
	} {
		t.Run(name, func(t *testing.T) { wantDenial(t, check(call(change)), pipeline.RetryMismatch, "") })
	}
	// Others, and other keys, stand apart.
	w.must(check(call(func(c *pipeline.Call) { c.Retry = "other" })))
	w.must(check(call(func(c *pipeline.Call) { c.Caller = w.second })))
	w.must(check(call(func(c *pipeline.Call) { c.Caller = w.eve })))
	w.must(check(call(func(c *pipeline.Call) { c.Retry = "" })))
	w.must(check(call(func(c *pipeline.Call) { c.Retry = "" })))
}

func TestARetryWithATokenThatIsNoLongerGoodGetsNothing(t *testing.T) {
	w := newWorld(t)
	s := stages.Retry{Answers: &pipeline.Answers{}, Verifier: w.verifier}
	p := w.plan(w.alice, draft)
	c := w.call(w.alice, "read", `{"path":"/a"}`, w.token(p, w.alice, nil))
	c.Retry = "k"
	w.must(s.Check(context.Background(), c))
	w.verifier.Revoke("tok_1", w.now.Add(time.Hour))
	wantDenial(t, s.Check(context.Background(), c), "token_revoked", "token_revoked")
	c.Shown.Token = []byte("garbage")
	wantDenial(t, s.Check(context.Background(), c), "token_malformed", "token_malformed")
}

func TestAKeyIsHeldUntilItsCallHasEnded(t *testing.T) {
	w := newWorld(t)
	answers := &pipeline.Answers{Keep: time.Minute}
	c := w.call(w.alice, "read", `{}`, nil)
	c.Retry = "k"
	w.must(answers.Claim(c, epoch))
	for _, later := range []time.Duration{59 * time.Second, time.Minute, 24 * time.Hour} {
		wantDenial(t, answers.Claim(c, epoch.Add(later)), pipeline.InProgress, "")
	}
}

func TestATokenAsTheCredentialOpensItsPlanAndNothingElse(t *testing.T) {
	w := newWorld(t)
	p := w.plan(w.alice, draft)
	w.hold(p, "active")
	alone := w.token(p, w.alice, func(c *intent.Claims) { c.Alone = true })
	other := w.token(p, w.alice, func(c *intent.Claims) { c.ID = "tok_2" })
	check := func(shown []byte, action string) error {
		c := w.call(w.alice, "read", `{"path":"/a"}`, shown)
		c.Alone, c.Credential, c.Action = true, alone, action
		if c.Plan = action == "call_tool"; !c.Plan {
			c.Answer = func(context.Context, *pipeline.Call) error { return nil }
		}
		return w.intent().Check(context.Background(), c)
	}
	for _, action := range []string{
		"capture_plan", "issue_token", "reanchor_plan", "delegate_token", "revoke_token", "end_plan", "request_approval", "read_account", "propose", "discover", "list_tools", "x",
	} {
		wantDenial(t, check(nil, action), pipeline.WrongKeyKind, "")
		wantDenial(t, check(alone, action), pipeline.WrongKeyKind, "")
	}
	wantDenial(t, check(other, "call_tool"), pipeline.WrongKeyKind, "")
	wantDenial(t, check(other, "check_policy"), pipeline.WrongKeyKind, "")
	w.must(check(alone, "call_tool"))
	w.must(check(alone, "check_policy"))
}
