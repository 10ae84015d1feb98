package connector_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/plugins/connector"
)

const progressing = "notifications/progress"

// asking is a call whose caller wants to hear progress.
func asking(notify func(method string, params []byte) error) connector.Request {
	r := tool
	r.Meta, r.Notify = []byte(`{"progressToken":1}`), notify
	return r
}

func TestWhatIsSaidBeforeTheAnswerIsHeardInOrder(t *testing.T) {
	late := make(chan func(string, []byte) error, 1)
	s := pair(t, serverFunc(func(_ context.Context, r *connector.Request) (connector.Reply, error) {
		if r.Notify == nil {
			return connector.Text("nobody hears"), nil
		}
		for i := range 20 {
			if err := r.Notify(progressing, fmt.Appendf(nil, `{"progress":%d}`, i)); err != nil {
				return connector.Reply{}, err
			}
		}
		if r.Notify(progressing, bytes.Repeat([]byte{' '}, 17<<10)) == nil || r.Notify("", nil) == nil {
			return connector.Failed("what is over the bounds was taken"), nil
		}
		late <- r.Notify
		return connector.Text("done"), nil
	}), connector.Bounds{})
	var heard []string
	r := asking(func(method string, params []byte) error {
		heard = append(heard, method+string(params))
		return nil
	})
	var reply connector.Reply
	if err := s.Call(soon(t), &r, &reply); err != nil || !strings.Contains(string(reply.Result), "done") {
		t.Fatalf("%s, %v", reply.Result, err)
	}
	if len(heard) != 20 || heard[0] != progressing+`{"progress":0}` || heard[19] != progressing+`{"progress":19}` {
		t.Errorf("heard %q", heard)
	}
	waitFor(t, func() bool { return s.InFlight() == 0 })
	if err := (<-late)(progressing, []byte("{}")); err == nil {
		t.Error("something was said after the answer")
	}
	if err := s.Call(soon(t), &tool, &reply); err != nil || !strings.Contains(string(reply.Result), "nobody hears") {
		t.Errorf("a caller that asks for nothing: %s, %v", reply.Result, err)
	}
}

// TestACallerThatHearsSlowlyDelaysNobody: the newest is kept for it, and the other calls of the stream go on.
func TestACallerThatHearsSlowlyDelaysNobody(t *testing.T) {
	s := hostile(t, connector.Bounds{}, func(raw connector.Raw, kind byte, id uint64, body []byte) error {
		if kind != connector.KindCall {
			return nil
		}
		for i := 0; i < 5000 && bytes.Contains(body, []byte("progressToken")); i++ {
			if err := raw.Send(noteFrame(id, fmt.Sprintf(`{"progress":%d}`, i))); err != nil {
				return err
			}
		}
		return raw.Send(connector.Frame(connector.KindReply, id, 0, '{', '}'))
	})
	var heard []string
	first, other := make(chan struct{}), make(chan struct{})
	r := asking(func(_ string, params []byte) error {
		if heard = append(heard, string(params)); len(heard) == 1 {
			close(first)
			<-other
		}
		return nil
	})
	over := make(chan error, 1)
	go func() { over <- s.Call(soon(t), &r, new(connector.Reply)) }()
	<-first
	if err := s.Call(soon(t), &tool, new(connector.Reply)); err != nil {
		t.Error(err)
	}
	close(other)
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if len(heard) < 2 || len(heard) > 33 || heard[len(heard)-1] != `{"progress":4999}` {
		t.Errorf("heard %d things, the last %q", len(heard), heard[len(heard)-1])
	}
}

func noteFrame(id uint64, params string) []byte {
	body := append([]byte{byte(len(progressing)), 0, 0, 0}, progressing...)
	return connector.Frame(connector.KindNote, id, append(body, params...)...)
}

func TestAConnectorThatSaysTooMuchLosesItsSession(t *testing.T) {
	for name, c := range map[string]struct {
		note func(id uint64) []byte
		want string
	}{
		"about one call":        {func(id uint64) []byte { return bytes.Repeat(noteFrame(id, "{}"), 200) }, "over 10000 things"},
		"about calls not there": {func(id uint64) []byte { return bytes.Repeat(noteFrame(id+1<<40, "{}"), 200) }, "nobody asked"},
		"about no call":         {func(uint64) []byte { return bytes.Repeat(noteFrame(0, "{}"), 200) }, "nobody asked"},
		"at once":               {func(id uint64) []byte { return noteFrame(id, strings.Repeat(" ", 17<<10)) }, "over the bound"},
		"without a method":      {func(id uint64) []byte { return connector.Frame(connector.KindNote, id, 0, 0, 0, 0) }, "malformed"},
		"cut":                   {func(id uint64) []byte { return connector.Frame(connector.KindNote, id, 9, 0, 0, 0, 'x') }, "malformed"},
	} {
		s := hostile(t, connector.Bounds{}, func(raw connector.Raw, kind byte, id uint64, _ []byte) error {
			for kind == connector.KindCall {
				if err := raw.Send(c.note(id)); err != nil {
					return err
				}
			}
			return nil
		})
		r := asking(func(string, []byte) error { return nil })
		if f := failure(soon(t), t, s, r); f.Kind != connector.Malformed || !f.Sent || !strings.Contains(f.Detail, c.want) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestACallerThatWantsNoMoreEndsItsCall, and tells the connector; so does one that goes while it is told something.
func TestACallerThatWantsNoMoreEndsItsCall(t *testing.T) {
	cancelled := make(chan struct{}, 2)
	s := pair(t, serverFunc(func(ctx context.Context, r *connector.Request) (connector.Reply, error) {
		if err := r.Notify(progressing, []byte("{}")); err != nil {
			return connector.Reply{}, err
		}
		<-ctx.Done()
		cancelled <- struct{}{}
		return connector.Reply{}, ctx.Err()
	}), connector.Bounds{})
	enough := errors.New("enough")
	if f := failure(soon(t), t, s, asking(func(string, []byte) error { return enough })); f.Kind != connector.Canceled || !f.Sent || !errors.Is(f, enough) {
		t.Errorf("%+v", f)
	}
	ctx, leave := context.WithCancel(soon(t))
	if f := failure(ctx, t, s, asking(func(string, []byte) error { leave(); return nil })); f.Kind != connector.Canceled || !errors.Is(f, context.Canceled) {
		t.Errorf("%+v", f)
	}
	for range 2 {
		select {
		case <-cancelled:
		case <-time.After(5 * time.Second):
			t.Fatal("the server was not told")
		}
	}
	waitFor(t, func() bool { return s.InFlight() == 0 })
}
