package connector_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/plugins/connector"
)

// telling tells a listener of many things at once, and then waits for its end.
type telling struct{ told chan struct{} }

func (w telling) Call(ctx context.Context, r *connector.Request) (connector.Reply, error) {
	for i := range 500 {
		params := fmt.Appendf(nil, `{"uri":"note:%d","_meta":{"x":%q}}`, i, strings.Repeat("x", 1500))
		err := r.Notify("notifications/resources/updated", params)
		for ; errors.Is(err, connector.ErrLater); err = r.Notify("notifications/resources/updated", params) {
			time.Sleep(time.Millisecond)
		}
		if err != nil {
			return connector.Reply{}, err
		}
	}
	w.told <- struct{}{}
	<-ctx.Done()
	return connector.Reply{Result: []byte("{}")}, nil
}

// Whoever listens holds up no drain, and of what is said at once nothing gives way, as progress does.
func TestListeningEndsWithADrainAndLosesNothing(t *testing.T) {
	w := telling{make(chan struct{}, 1)}
	s := pair(t, w, connector.Bounds{})
	var got []string
	held, done := make(chan struct{}), make(chan error, 1)
	r := connector.Request{Method: connector.MethodListen, Meta: []byte(`{"` + connector.MemberHears + `":{}}`)}
	r.Notify = func(_ string, params []byte) error {
		if got == nil {
			<-held // while all the others come
		}
		uri, _, _ := strings.Cut(string(params), ",")
		got = append(got, uri)
		return nil
	}
	go func() {
		var reply connector.Reply
		err := s.Call(soon(t), &r, &reply)
		if err == nil && string(reply.Result) != "{}" {
			err = fmt.Errorf("answered with %s %s", reply.Result, reply.Error)
		}
		done <- err
	}()
	<-w.told
	if err := s.Ping(soon(t)); err != nil { // behind all that was said
		t.Fatal(err)
	}
	close(held)
	if err := s.Drain(soon(t)); err != nil {
		t.Errorf("Drain with a listener gave %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(got) != 500 || !slices.Contains(got, `{"uri":"note:0"`) {
		t.Errorf("%d of 500 were heard", len(got))
	}
}
