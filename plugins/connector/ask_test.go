package connector_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/plugins/connector"
)

// askable is a call whose caller can be asked.
func askable(ask func(ctx context.Context, method string, params []byte) (connector.Reply, error)) connector.Request {
	r := tool
	r.Meta, r.Notify, r.Ask = []byte(`{"gatewright/hears":{"roots":{}}}`), func(string, []byte) error { return nil }, ask
	return r
}

// TestQuestionsAreAnsweredBeforeTheAnswer: several at once, each by the caller of its own call; one that is over the bounds, late
// or one too many is refused, and a caller that did not say that it can be asked is not.
func TestQuestionsAreAnsweredBeforeTheAnswer(t *testing.T) {
	late := make(chan func(context.Context, string, []byte) (connector.Reply, error), 10)
	s := pair(t, serverFunc(func(ctx context.Context, r *connector.Request) (connector.Reply, error) {
		if r.Ask == nil {
			return connector.Text(fmt.Sprintf("hears %t, cannot be asked", r.Notify != nil)), nil
		}
		var all [8]string
		var asked sync.WaitGroup
		for i := range all {
			asked.Go(func() {
				p, err := r.Ask(ctx, "roots/list", fmt.Appendf(nil, `{"n":%d}`, i))
				all[i] = fmt.Sprintf("%s%s%v", p.Result, p.Error, err)
			})
		}
		asked.Wait()
		if _, err := r.Ask(ctx, "roots/list", bytes.Repeat([]byte{' '}, 1<<20+1)); err == nil {
			all[0] = "a question over the bound was asked"
		}
		late <- r.Ask
		return connector.Text(strings.Join(all[:], " ")), nil
	}), connector.Bounds{})
	var calls sync.WaitGroup
	for _, who := range []string{"ann", "bob"} {
		calls.Go(func() {
			r := askable(func(_ context.Context, method string, params []byte) (connector.Reply, error) {
				if bytes.Contains(params, []byte("7")) {
					return connector.Reply{}, errors.New("not that")
				}
				return connector.Reply{Result: fmt.Appendf(nil, `{"%s":%q,"of":%s}`, who, method, params)}, nil
			})
			var reply connector.Reply
			err := s.Call(soon(t), &r, &reply)
			got := string(reply.Result)
			if err != nil || strings.Count(got, who) != 7 || strings.Count(got, "has no answer") != 1 {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
	calls.Wait()
	waitFor(t, func() bool { return s.InFlight() == 0 })
	if _, err := (<-late)(soon(t), "roots/list", nil); err == nil {
		t.Error("a question was asked after the answer")
	}
	for meta, want := range map[string]string{`{"gatewright/hears":{}}`: "hears true, cannot", `{"gatewright/hears":[1]}`: "hears true, cannot", `{"progressToken":1}`: "hears true, cannot", `{}`: "hears false, cannot"} {
		r := askable(nil)
		r.Meta = []byte(meta)
		var reply connector.Reply
		if err := s.Call(soon(t), &r, &reply); err != nil || !strings.Contains(string(reply.Result), want) {
			t.Errorf("%s: %s, %v", meta, reply.Result, err)
		}
	}
}

// TestAQuestionEnds when it is taken back, and with its call; Call returns after both.
func TestAQuestionEnds(t *testing.T) {
	s := pair(t, serverFunc(func(ctx context.Context, r *connector.Request) (connector.Reply, error) {
		if r.Name == "take back" {
			short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
			defer stop()
			_, err := r.Ask(short, "roots/list", nil)
			p, again := r.Ask(ctx, "roots/list", []byte("{}"))
			return connector.Text(fmt.Sprintf("%v, then %s %v", err, p.Result, again)), nil
		}
		go r.Ask(ctx, "roots/list", nil)
		time.Sleep(50 * time.Millisecond)
		return connector.Text("done"), nil
	}), connector.Bounds{})
	for _, name := range []string{"take back", "answer first"} {
		running, ended := 0, 0
		var mu sync.Mutex
		r := askable(func(ctx context.Context, _ string, params []byte) (connector.Reply, error) {
			if params != nil && string(params) == "{}" {
				return connector.Reply{Result: []byte(`{"again":1}`)}, nil
			}
			mu.Lock()
			running++
			mu.Unlock()
			<-ctx.Done()
			mu.Lock()
			ended++
			mu.Unlock()
			return connector.Reply{}, ctx.Err()
		})
		r.Name = name
		var reply connector.Reply
		err := s.Call(soon(t), &r, &reply)
		mu.Lock()
		if err != nil || running != 1 || ended != 1 || name == "take back" && !strings.Contains(string(reply.Result), `deadline exceeded, then {\"again\":1}`) {
			t.Errorf("%s: %s, %v; %d questions, %d ended", name, reply.Result, err, running, ended)
		}
		mu.Unlock()
	}
}

func askFrame(id uint64, number byte) []byte {
	body := append([]byte{number, 0, 0, 0, 10, 0, 0, 0}, "roots/list"...)
	return connector.Frame(connector.KindAsk, id, body...)
}

// TestAConnectorThatAsksWhatItMustNotLosesItsSession.
func TestAConnectorThatAsksWhatItMustNotLosesItsSession(t *testing.T) {
	for name, c := range map[string]struct {
		frame func(id uint64) []byte
		mute  bool
		want  string
	}{
		"who cannot be asked": {func(id uint64) []byte { return askFrame(id, 1) }, true, "cannot be asked"},
		"about no call":       {func(id uint64) []byte { return bytes.Repeat(askFrame(id+1<<40, 1), 200) }, false, "nobody asked"},
		"twice":               {func(id uint64) []byte { return bytes.Repeat(askFrame(id, 1), 2) }, false, "twice"},
		"too much at once": {func(id uint64) []byte {
			var all []byte
			for i := range 17 {
				all = append(all, askFrame(id, byte(i))...)
			}
			return all
		}, false, "too much"},
		"cut":            {func(id uint64) []byte { return connector.Frame(connector.KindAsk, id, 1, 0, 0, 0, 9, 0, 0, 0, 'x') }, false, "malformed"},
		"no method":      {func(id uint64) []byte { return connector.Frame(connector.KindAsk, id, 1, 0, 0, 0, 0, 0, 0, 0) }, false, "malformed"},
		"an odd unask":   {func(id uint64) []byte { return connector.Frame(connector.KindUnask, id, 1) }, false, "malformed"},
		"unasks":         {func(id uint64) []byte { return bytes.Repeat(connector.Frame(connector.KindUnask, id, 1, 0, 0, 0), 200) }, false, "over 10000"},
		"its own answer": {func(id uint64) []byte { return connector.Frame(connector.KindAnswer, id, 1, 0, 0, 0, 0, '{', '}') }, false, "not the connector's to send"},
	} {
		s := hostile(t, connector.Bounds{}, func(raw connector.Raw, kind byte, id uint64, _ []byte) error {
			for kind == connector.KindCall {
				if err := raw.Send(c.frame(id)); err != nil {
					return err
				}
			}
			return nil
		})
		r := askable(func(ctx context.Context, _ string, _ []byte) (connector.Reply, error) {
			<-ctx.Done()
			return connector.Reply{}, ctx.Err()
		})
		if c.mute {
			r.Ask = nil
		}
		if f := failure(soon(t), t, s, r); f.Kind != connector.Malformed || !f.Sent || !strings.Contains(f.Detail, c.want) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
