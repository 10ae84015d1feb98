package upstream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/upstream"
)

type carrier func(ctx context.Context, r *upstream.Request, reply *upstream.Reply) error

func (c carrier) Carry(ctx context.Context, _ *upstream.Target, r *upstream.Request, reply *upstream.Reply) error {
	return c(ctx, r, reply)
}

func carry(t *testing.T, ctx context.Context, timeout time.Duration, c carrier) (upstream.Reply, error) { //nolint:revive // t first
	t.Helper()
	conf := upstream.DefaultConfig()
	conf.Timeout, conf.MaxResponse = timeout, 4096
	client, err := upstream.New(upstream.Options{Config: conf, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var reply upstream.Reply
	err = client.Call(ctx, &upstream.Target{Tenant: "a", Name: "s", Carrier: c}, &upstream.Request{Method: "tools/call", Name: "t", Principal: "p"}, &reply)
	return reply, err
}

// TestACarriersAnswerIsHeldToTheSameRules: what a connector says is trusted no more than what comes over HTTP.
func TestACarriersAnswerIsHeldToTheSameRules(t *testing.T) {
	for name, c := range map[string]struct {
		result, failure string
		want            upstream.Kind
	}{
		"nothing":        {want: upstream.Malformed},
		"both":           {result: "{}", failure: "{}", want: upstream.Malformed},
		"an array":       {result: "[]", want: upstream.Malformed},
		"a text":         {failure: `"no"`, want: upstream.Malformed},
		"duplicate keys": {result: `{"a":1,"a":2}`, want: upstream.Malformed},
		"cut short":      {result: `{"a":`, want: upstream.Malformed},
		"not UTF-8":      {result: "{\"a\":\"\xff\"}", want: upstream.Malformed},
		"two documents":  {result: `{} {}`, want: upstream.Malformed},
		"too large":      {result: `{"a":"` + strings.Repeat("x", 5000) + `"}`, want: upstream.TooLarge},
		"too deep":       {result: strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200), want: upstream.TooLarge},
	} {
		reply, err := carry(t, t.Context(), time.Second, func(_ context.Context, _ *upstream.Request, reply *upstream.Reply) error {
			if c.result != "" {
				reply.Result = []byte(c.result)
			}
			if c.failure != "" {
				reply.Error = []byte(c.failure)
			}
			return nil
		})
		fail, ok := errors.AsType[*upstream.Error](err)
		if !ok || fail.Kind != c.want || !fail.Sent || fail.Upstream != "s" || reply.Result != nil || reply.Error != nil {
			t.Errorf("%s: %v, %q", name, err, reply.Result)
		}
	}
}

func TestACarriersFailureKeepsWhetherItWasSent(t *testing.T) {
	say := func(err error) carrier {
		return func(context.Context, *upstream.Request, *upstream.Reply) error { return err }
	}
	_, err := carry(t, t.Context(), time.Second, say(&upstream.Error{Kind: upstream.Unreachable, Detail: "down"}))
	if fail, ok := errors.AsType[*upstream.Error](err); !ok || fail.Kind != upstream.Unreachable || fail.Sent {
		t.Errorf("down: %v", err)
	}
	_, err = carry(t, t.Context(), time.Second, say(errors.New("odd")))
	if fail, ok := errors.AsType[*upstream.Error](err); !ok || fail.Kind != upstream.Unreachable || !fail.Sent {
		t.Errorf("an error of another type: %v", err)
	}
	hang := carrier(func(ctx context.Context, _ *upstream.Request, _ *upstream.Reply) error {
		<-ctx.Done()
		return &upstream.Error{Kind: upstream.Canceled, Sent: true}
	})
	_, err = carry(t, t.Context(), 20*time.Millisecond, hang)
	if fail, ok := errors.AsType[*upstream.Error](err); !ok || fail.Kind != upstream.Timeout || !fail.Sent {
		t.Errorf("our time is up: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = carry(t, ctx, time.Minute, hang)
	if fail, ok := errors.AsType[*upstream.Error](err); !ok || fail.Kind != upstream.Canceled || !fail.Sent || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller left: %v", err)
	}
}

func TestACarrierListsToolsAsHTTPDoes(t *testing.T) {
	client, err := upstream.New(upstream.Options{Config: upstream.DefaultConfig(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	pages := []string{`{"tools":[{"name":"a"}],"nextCursor":"2"}`, `{"tools":[{"name":"b"}]}`}
	tools, err := client.List(t.Context(), &upstream.Target{Tenant: "a", Name: "s", Carrier: carrier(func(_ context.Context, r *upstream.Request, reply *upstream.Reply) error {
		reply.Result = []byte(pages[0])
		pages = pages[1:]
		return nil
	})}, &upstream.Request{Method: "tools/list"})
	if err != nil || len(tools) != 2 || string(tools[1]) != `{"name":"b"}` {
		t.Errorf("%s, %v", tools, err)
	}
}
