package stdio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/stdio"
)

// playTelling says in each call what the call says, with the newest subscription for TAG, and answers with what it was asked to
// tell of. It agrees to no resource whose name has "never" in it, and to no listening for prompts.
func playTelling(a *actor) {
	var tag json.RawMessage
	var asked []string
	for a.in.Scan() {
		var h struct {
			ID     json.RawMessage
			Method string
			Params struct {
				URI           string
				Notifications struct {
					PromptsListChanged    bool
					ResourceSubscriptions []string
				}
				Arguments struct{ Say []string }
				RequestID json.RawMessage `json:"requestId"`
			}
		}
		if err := json.Unmarshal(a.in.Bytes(), &h); err != nil {
			os.Exit(9)
		}
		switch h.Method {
		case "resources/subscribe", "resources/unsubscribe":
			asked = append(asked, strings.TrimPrefix(h.Method, "resources/")+" "+h.Params.URI)
			if strings.Contains(h.Params.URI, "never") {
				say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32002,"message":"no"}}`, h.ID)
				continue
			}
			say(`{"jsonrpc":"2.0","id":%s,"result":{}}`, h.ID)
		case "subscriptions/listen":
			if h.Params.Notifications.PromptsListChanged {
				say(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}`, h.ID)
				continue
			}
			tag = h.ID
			uris, _ := json.Marshal(h.Params.Notifications.ResourceSubscriptions)
			asked = append(asked, "listen "+string(uris))
			say(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{"resourceSubscriptions":%s},"_meta":{"io.modelcontextprotocol/subscriptionId":%s}}}`, uris, tag)
		case "notifications/cancelled":
			asked = append(asked, fmt.Sprintf("cancelled %v", string(h.Params.RequestID) == string(tag)))
		case "tools/call":
			for _, line := range h.Params.Arguments.Say {
				say("%s", strings.ReplaceAll(line, "TAG", string(tag)))
			}
			out, _ := json.Marshal(asked)
			say(`{"jsonrpc":"2.0","id":%s,"result":{"asked":%s}}`, h.ID, out)
			asked = nil
		case "ping", "server/discover":
			say(`{"jsonrpc":"2.0","id":%s,"result":{}}`, h.ID)
		}
	}
	os.Exit(0)
}

// listener is one who listens.
type listener struct {
	heard chan string
	over  chan string
	stop  func()
}

func listen(t *testing.T, s *stdio.Server, notifications string) *listener {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &listener{heard: make(chan string, 100), over: make(chan string, 1), stop: stop}
	r := &connector.Request{Method: connector.MethodListen, Principal: "p", Params: []byte(`{"notifications":` + notifications + `}`)}
	r.Notify = func(method string, params []byte) error {
		select {
		case l.heard <- strings.TrimPrefix(method, "notifications/") + " " + string(params):
			return nil
		default:
			return errors.New("it has heard enough")
		}
	}
	go func() {
		reply, err := s.Call(ctx, r)
		l.over <- fmt.Sprintf("%s%s %v", reply.Result, reply.Error, err)
	}()
	t.Cleanup(stop)
	return l
}

func (l *listener) hears(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-l.heard:
		if !strings.HasPrefix(got, want) {
			t.Errorf("heard %s, want %s", got, want)
		}
	case got := <-l.over:
		t.Fatalf("it is over: %s; want %s", got, want)
	case <-time.After(5 * time.Second):
		t.Fatalf("%s is not heard", want)
	}
}

func (l *listener) silent(t *testing.T) {
	t.Helper()
	select {
	case got := <-l.heard:
		t.Errorf("heard %s", got)
	case <-time.After(200 * time.Millisecond):
	}
}

// have has a server say lines, and returns what it was asked for since the last time.
func have(t *testing.T, s *stdio.Server, lines ...string) []string {
	t.Helper()
	arguments, _ := json.Marshal(map[string][]string{"say": lines})
	reply, err := s.Call(t.Context(), &connector.Request{Method: "tools/call", Name: "t", Principal: "q", Arguments: arguments})
	var out struct{ Asked []string }
	if err != nil || json.Unmarshal(reply.Result, &out) != nil {
		t.Fatalf("%s %v", reply.Result, err)
	}
	return out.Asked
}

const (
	toolsChanged = `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
	updatedA     = `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"note:a"}}`
	updatedB     = `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"note:b"}}`
)

func TestWhoListensToAnOlderServerHearsWhatItAskedFor(t *testing.T) {
	s, _ := start(t, config("legacy tells"))
	lists := listen(t, s, `{"toolsListChanged":true}`)
	lists.hears(t, `subscriptions/acknowledged {"notifications":{"resourceSubscriptions":[]}}`)
	first := listen(t, s, `{"resourceSubscriptions":["note:a","note:never"]}`)
	first.hears(t, `subscriptions/acknowledged {"notifications":{"resourceSubscriptions":["note:a"]}}`)
	second := listen(t, s, `{"resourceSubscriptions":["note:a","note:b"]}`)
	second.hears(t, `subscriptions/acknowledged {"notifications":{"resourceSubscriptions":["note:a","note:b"]}}`)
	if asked := have(t, s, toolsChanged, updatedA, updatedB, toolsChanged, `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"note:never"}}`,
		`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":7}}`, `{"jsonrpc":"2.0","method":"notifications/resources/updated"}`); !slices.Equal(asked, []string{"subscribe note:a", "subscribe note:never", "subscribe note:b"}) {
		t.Errorf("it was asked %q", asked)
	}
	lists.hears(t, "tools/list_changed {}")
	first.hears(t, `resources/updated {"uri":"note:a"}`)
	second.hears(t, `resources/updated {"uri":"note:a"}`)
	second.hears(t, `resources/updated {"uri":"note:b"}`)
	for _, l := range []*listener{lists, first, second} {
		l.silent(t)
	}
	second.stop()
	if got := <-second.over; got != "{} <nil>" {
		t.Errorf("it ended with %s", got)
	}
	if asked := have(t, s, updatedA, updatedB); !slices.Equal(asked, []string{"unsubscribe note:b"}) {
		t.Errorf("it was asked %q", asked)
	}
	first.hears(t, `resources/updated {"uri":"note:a"}`)
	first.stop()
	<-first.over
	if asked := have(t, s, updatedA); !slices.Equal(asked, []string{"unsubscribe note:a"}) {
		t.Errorf("it was asked %q", asked)
	}
	first.silent(t)
}

func TestWhoListensToAModernServerIsToldItsOwn(t *testing.T) {
	s, _ := start(t, config("modern tells"))
	tagged := func(line, tag string) string {
		if !strings.Contains(line, "params") {
			line = strings.Replace(line, `list_changed"`, `list_changed","params":{}`, 1)
		}
		return strings.ReplaceAll(strings.Replace(line, `"params":{`, `"params":{"_meta":{"io.modelcontextprotocol/subscriptionId":`+tag+`},`, 1), "},}", "}}")
	}
	if l := listen(t, s, `{"promptsListChanged":true}`); !strings.Contains(<-l.over, "Method not found") {
		t.Error("a server that does not let itself be listened to is")
	}
	a := listen(t, s, `{"toolsListChanged":true,"resourceSubscriptions":["note:a"]}`)
	a.hears(t, `subscriptions/acknowledged {"notifications":{"resourceSubscriptions":["note:a"]}`)
	if asked := have(t, s, tagged(updatedA, "TAG"), tagged(updatedB, "TAG"), tagged(updatedA, "999"), updatedA, tagged(toolsChanged, `"TAG"`)); !slices.Equal(asked, []string{`listen ["note:a"]`}) {
		t.Errorf("it was asked %q", asked)
	}
	a.hears(t, `resources/updated {`)
	a.hears(t, `tools/list_changed {`)
	a.silent(t)
	a.stop()
	<-a.over
	if asked := have(t, s); !slices.Equal(asked, []string{"cancelled true"}) {
		t.Errorf("it was asked %q", asked)
	}
	b := listen(t, s, `{"toolsListChanged":true}`)
	b.hears(t, `subscriptions/acknowledged`)
	have(t, s, `{"jsonrpc":"2.0","id":TAG,"result":{}}`)
	if got := <-b.over; got != "{} <nil>" {
		t.Errorf("it ended with %s", got)
	}
	if asked := have(t, s); !slices.Equal(asked, []string{"listen null"}) && len(asked) != 0 {
		t.Errorf("it was asked %q", asked)
	}
}

func TestListeningIsBoundedAndEndsWithTheServer(t *testing.T) {
	c := config("legacy tells")
	c.InFlight = 4
	s, _ := start(t, c)
	for _, bad := range []string{"null", `{"resourceSubscriptions":{}}`, `{"resourceSubscriptions":[1]}`, `{"resourceSubscriptions":["` + strings.Repeat("a", 5000) + `"]}`} {
		if got := <-listen(t, s, bad).over; !strings.Contains(got, "listening needs") && !strings.Contains(got, "resourceSubscriptions") {
			t.Errorf("%.50s: %s", bad, got)
		}
	}
	a, b := listen(t, s, `{"toolsListChanged":true}`), listen(t, s, `{"toolsListChanged":true}`)
	a.hears(t, "subscriptions/acknowledged")
	b.hears(t, "subscriptions/acknowledged")
	if got := <-listen(t, s, `{"toolsListChanged":true}`).over; !strings.Contains(got, "too many listen") {
		t.Error(got)
	}
	if asked := have(t, s); asked != nil { // calls have their places still
		t.Errorf("it was asked %q", asked)
	}
	many := make([]string, 800)
	for i := range many {
		many[i] = toolsChanged
	}
	have(t, s, many...)
	a.hears(t, "tools/list_changed")
	time.Sleep(200 * time.Millisecond)
	if n := len(a.heard); n > 4 {
		t.Errorf("800 changes were told %d times", n+1)
	}
	_ = s.Close()
	for _, l := range []*listener{a, b} {
		if got := <-l.over; !strings.Contains(got, "stopping") {
			t.Errorf("it ended with %s", got)
		}
	}
}
