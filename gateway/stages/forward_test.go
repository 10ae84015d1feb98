package stages_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/gateway/upstream"
)

// client is an upstream that answers as told and keeps what it was sent.
type client struct {
	reply   upstream.Reply
	err     error
	request upstream.Request
	mirror  map[string]string
	target  *upstream.Target
	calls   int
}

func (u *client) Call(_ context.Context, t *upstream.Target, r *upstream.Request, reply *upstream.Reply) error {
	u.calls++
	u.target, u.request, u.mirror = t, *r, map[string]string{}
	if r.Mirror != nil {
		r.Mirror(func(name, value string) { u.mirror[name] = value })
	}
	*reply = u.reply
	return u.err
}

// targets knows the servers of acme alone.
type targets struct{ err error }

func (t targets) Target(_ context.Context, tenant, server string) (*upstream.Target, error) {
	if t.err != nil {
		return nil, t.err
	}
	if tenant != "acme" {
		return nil, errors.New("no such server")
	}
	return &upstream.Target{Tenant: tenant, Name: server, URL: "http://127.0.0.1:1/"}, nil
}

func TestEachWayAnUpstreamFailsHasItsCode(t *testing.T) {
	w := newWorld(t)
	for kind, code := range map[upstream.Kind]pipeline.Code{
		upstream.Unreachable: pipeline.UpstreamDown, upstream.Timeout: pipeline.UpstreamTimeout, upstream.TooLarge: pipeline.UpstreamTooLarge,
		upstream.Malformed: pipeline.UpstreamMalformed, upstream.Redirect: pipeline.UpstreamRefused, upstream.BlockedAddress: pipeline.UpstreamDown,
		upstream.Status: pipeline.UpstreamRefused, upstream.Canceled: pipeline.UpstreamTimeout, upstream.CircuitOpen: pipeline.UpstreamDown, upstream.Busy: pipeline.UpstreamBusy,
	} {
		for _, sent := range []bool{true, false} {
			u := &client{err: &upstream.Error{Kind: kind, Upstream: "files", Detail: "10.1.2.3 said no", Sent: sent}}
			c := w.call(w.alice, "read", `{"path":"/a"}`, nil)
			d := wantDenial(t, stages.Forward{Client: u, Servers: targets{}}.Forward(context.Background(), c), code, string(kind)+": 10.1.2.3 said no")
			if d.Uncertain != sent {
				t.Errorf("%s, sent %v: uncertain %v", kind, sent, d.Uncertain)
			}
			if strings.Contains(d.Message+d.Hint, "10.1.2.3") {
				t.Errorf("%s: the caller is told %q", kind, d.Message)
			}
			if c.Reply.Result != nil || c.Reply.Error != nil {
				t.Errorf("%s: a reply was left", kind)
			}
		}
	}
}

func TestAnUpstreamFaultThatIsNotOneOfTheKindsIsAFault(t *testing.T) {
	w := newWorld(t)
	for _, err := range []error{errors.New("boom"), &upstream.Error{Kind: upstream.Invalid}, &upstream.Error{Kind: "made_up"}} {
		got := stages.Forward{Client: &client{err: err}, Servers: targets{}}.Forward(context.Background(), w.call(w.alice, "read", `{}`, nil))
		var d *pipeline.Denial
		if got == nil || errors.As(got, &d) {
			t.Errorf("%v: %v, want a fault that the caller is not told", err, got)
		}
	}
}

func TestAServerWithoutItsCredentialIsNotCalled(t *testing.T) {
	w := newWorld(t)
	u := &client{}
	f := stages.Forward{Client: u, Servers: targets{err: errors.New("credential files-token: key s3cret is wrapped by another KEK")}}
	d := wantDenial(t, f.Forward(context.Background(), w.call(w.alice, "read", `{}`, nil)), pipeline.UpstreamDown, "")
	if u.calls != 0 || strings.Contains(d.Message+d.Hint, "s3cret") {
		t.Errorf("%d calls, told %q", u.calls, d.Message)
	}
	wantDenial(t, stages.Forward{Client: u, Servers: targets{}}.Forward(context.Background(), w.call(w.eve, "read", `{}`, nil)), pipeline.UpstreamDown, "")
	if u.calls != 0 {
		t.Error("another tenant's server was called")
	}
}

func TestAResultThatAsksForMoreInputIsRefusedAndOthersPass(t *testing.T) {
	w := newWorld(t)
	for result, ok := range map[string]bool{
		`{"content":[]}`: true, `{"resultType":"complete"}`: true, `{"resultType":"input_required","inputRequests":[]}`: false, `{"resultType":"task"}`: false,
		`{"resultType":7}`: false, `{"resultType":null}`: false, `{ "resultType" : "input_required" }`: false, `{"\u0072esultType":"input_required"}`: false,
		`{"content":[{"resultType":"input_required"}]}`: true, `{}`: true,
		`[]`: false, `"x"`: false, `7`: false, `null`: false, ``: false, ` {}`: false, `{} `: false,
	} {
		c := w.call(w.alice, "read", `{}`, nil)
		err := stages.Forward{Client: &client{reply: upstream.Reply{Status: 200, Result: []byte(result)}}, Servers: targets{}}.Forward(context.Background(), c)
		if (err == nil) != ok {
			t.Errorf("%s: %v", result, err)
		}
		if err != nil && c.Reply.Result != nil {
			t.Errorf("%s: a reply was left", result)
		}
	}
	for failure, ok := range map[string]bool{`{"code":-32602,"message":"no"}`: true, `"no"`: false, `[]`: false, ``: false} {
		c := w.call(w.alice, "read", `{}`, nil)
		err := stages.Forward{Client: &client{reply: upstream.Reply{Status: 200, Error: []byte(failure)}}, Servers: targets{}}.Forward(context.Background(), c)
		if (err == nil) != ok {
			t.Errorf("error %s: %v", failure, err)
		}
	}
	both := upstream.Reply{Result: []byte(`{}`), Error: []byte(`{}`)}
	if err := (stages.Forward{Client: &client{reply: both}, Servers: targets{}}).Forward(context.Background(), w.call(w.alice, "read", `{}`, nil)); err == nil {
		t.Error("a reply that is both was taken")
	}
}

func TestAServersQuestionsReachOnlyAClientThatCanAnswerThem(t *testing.T) {
	w := newWorld(t)
	ask := func(can, result string) (*pipeline.Call, error) {
		c := w.call(w.alice, "read", `{}`, nil)
		c.Can = []byte(can)
		if can == "" {
			c.Can = nil
		}
		f := stages.Forward{Client: &client{reply: upstream.Reply{Status: 200, Result: []byte(result)}}, Servers: targets{}, Rounds: &pipeline.Rounds{}}
		return c, f.Forward(context.Background(), c)
	}
	question := `{"resultType":"input_required","requestState":"the server's","inputRequests":{"a":{"method":"elicitation/create","params":{}}}}`
	c, err := ask(`{"elicitation":{}}`, question)
	if err != nil || !strings.Contains(string(c.Reply.Result), "elicitation/create") || strings.Contains(string(c.Reply.Result), "the server's") {
		t.Errorf("%v: %s", err, c.Reply.Result)
	}
	if _, err = ask(`{}`, `{"resultType":"input_required","requestState":"s"}`); err != nil {
		t.Errorf("a state alone: %v", err)
	}
	for _, bad := range []struct{ can, result string }{
		{"", question}, {`{}`, question}, {`{"sampling":{}}`, question},
		{`{"elicitation":{}}`, `{"resultType":"input_required"}`},
		{`{"elicitation":{}}`, `{"resultType":"input_required","inputRequests":[]}`},
		{`{"elicitation":{}}`, `{"resultType":"input_required","requestState":7}`},
		{`{"elicitation":{}}`, `{"resultType":"input_required","inputRequests":{"a":{"method":"tools/call"}}}`},
		{`{"elicitation":{}}`, `{"resultType":"input_required","inputRequests":{"a":7}}`},
		{`{"elicitation":{}}`, `{"resultType":"task"}`},
	} {
		if c, err := ask(bad.can, bad.result); err == nil || c.Reply.Result != nil {
			t.Errorf("%s %s: %s", bad.can, bad.result, c.Reply.Result)
		}
	}
}

func TestWhatGoesOutIsWhatWasJudgedAndNothingOfTheCaller(t *testing.T) {
	w := newWorld(t)
	w.offers["files"] = append(w.offers["files"], `{"name":"region","inputSchema":{"type":"object","properties":{"where":{"type":"string","x-mcp-header":"Region"}}}}`)
	w.relist()
	u := &client{reply: upstream.Reply{Status: 200, Result: []byte(`{}`)}}
	c := w.call(w.alice, "region", `{ "where" : "eu" }`, []byte("token"))
	c.Credential, c.Meta = []byte(w.aliceKey), []byte(`{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}`)
	c.Tool, _ = w.tools.Lookup("acme", "files", "region")
	w.must(stages.Forward{Client: u, Servers: targets{}}.Forward(context.Background(), c))
	r := u.request
	if r.Method != "tools/call" || r.Name != "region" || string(r.Arguments) != `{ "where" : "eu" }` || string(r.Meta) != `{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}` || r.Params != nil {
		t.Errorf("sent %+v", r)
	}
	if u.mirror["Mcp-Param-Region"] != "eu" {
		t.Errorf("mirrored %v", u.mirror)
	}
	if u.target.Headers != nil || u.target.Tenant != "acme" {
		t.Errorf("target %+v", u.target)
	}
	alice := r.Principal
	for _, other := range []*pipeline.Call{w.call(w.second, "read", `{}`, nil), w.call(w.bob, "read", `{}`, nil)} {
		w.must(stages.Forward{Client: u, Servers: targets{}}.Forward(context.Background(), other))
		if u.request.Principal == alice || u.request.Principal == "" {
			t.Errorf("two callers share the session of %q", alice)
		}
	}
}
