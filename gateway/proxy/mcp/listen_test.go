package mcp_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/proxy/mcp"
	"github.com/gatewright/gatewright/gateway/upstream"
)

// town plays the servers that are listened to.
type town struct {
	mu        sync.Mutex
	open      int                               // who listens now
	ears      map[string]*upstream.Subscription // by principal
	refreshed int
	refuses   bool           // to have anything watched
	deaf      string         // a server that refuses so
	began     map[string]int // how often a server was asked to have something watched
}

func (s *town) Listen(ctx context.Context, _, server string, _ upstream.Subject, sub *upstream.Subscription) error {
	s.mu.Lock()
	refuses := s.refuses || server == s.deaf
	if sub.Resources == nil || !refuses {
		s.ears[sub.Principal] = sub
	}
	s.open++
	if sub.Resources != nil {
		s.began[server]++
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
	}()
	if sub.Resources != nil {
		if refuses {
			return &upstream.Error{Kind: upstream.Status, Code: 405}
		}
		_ = sub.Peer.Notify("notifications/subscriptions/acknowledged", []byte(`{"notifications":{"resourceSubscriptions":["`+strings.Join(sub.Resources, `","`)+`"]}}`))
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *town) Refresh(context.Context, string, string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshed++
	return nil
}

// say has the server say something on the stream of a principal whose name begins so.
func (s *town) say(t *testing.T, principal, method, params string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		for name, sub := range s.ears {
			if strings.HasPrefix(name, principal) {
				s.mu.Unlock()
				if err := sub.Peer.Notify(method, []byte(params)); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
		s.mu.Unlock()
	}
	t.Fatalf("nobody listens for %q", principal)
}

// listened is a world whose clients may listen.
func listened(t *testing.T) (*world, *town) {
	w, _ := streaming(t)
	w.offers["acme/files resources/list"] = []string{`{"uri":"note:///a","name":"a"}`}
	w.refresh("acme", "files")
	s := &town{ears: map[string]*upstream.Subscription{}, began: map[string]int{}}
	hub := &mcp.Hub{Dialect: w.dialect, Servers: s, Every: 100 * time.Millisecond, MaxURIs: 3}
	w.dialect.Hub, w.dialect.Sessions = hub, &mcp.Sessions{Hub: hub}
	w.tools.OnChange(hub.Changed)
	return w, s
}

// wish asks for a stream as a modern client does.
func (w *world) wish(key, params string) *http.Response {
	w.t.Helper()
	return w.wishAs(key, `{}`, params)
}

func (w *world) wishAs(key, capabilities, params string) *http.Response {
	w.t.Helper()
	body := `{"jsonrpc":"2.0","id":"ear","method":"subscriptions/listen","params":{` + params +
		`"_meta":{"io.modelcontextprotocol/protocolVersion":"` + modern + `","io.modelcontextprotocol/clientCapabilities":` + capabilities + `}}}`
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.base+"/mcp", strings.NewReader(body))
	w.must(err)
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Accept": both, "Authorization": "Bearer " + key, "Mcp-Method": "subscriptions/listen", "MCP-Protocol-Version": modern,
	} {
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	w.must(err)
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// next gives the method of the next message of a stream, or "" at its end.
func next(r *bufio.Reader) string {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return ""
		}
		if _, rest, ok := strings.Cut(line, `"method":"`); ok {
			method, _, _ := strings.Cut(rest, `"`)
			return method
		}
		if strings.HasPrefix(line, "data: ") {
			return "result"
		}
	}
}

func TestNobodyListensWithoutRight(t *testing.T) {
	w, s := listened(t)
	session := w.initialize("/mcp", w.key)
	many := `"note:///a","note:///b","note:///c","note:///d"`
	for name, c := range map[string]struct {
		resp   *http.Response
		status int
	}{
		"no wishes":                  {w.wish(w.key, ``), 400},
		"wishes that are no object":  {w.wish(w.key, `"notifications":[],`), 400},
		"a wish that is no boolean":  {w.wish(w.key, `"notifications":{"toolsListChanged":"yes"},`), 400},
		"URIs that are no array":     {w.wish(w.key, `"notifications":{"resourceSubscriptions":"note:///a"},`), 400},
		"more URIs than may be":      {w.wish(w.key, `"notifications":{"resourceSubscriptions":[`+many+`]},`), 400},
		"nobody's key":               {w.wish("gwk_nobody", `"notifications":{},`), 401},
		"GET without a session":      {w.post("GET", "/mcp", "", "", w.key, ""), 405},
		"GET of no session":          {w.post("GET", "/mcp", "nothing", "", w.key, ""), 404},
		"GET of another's session":   {w.post("GET", "/mcp", session, "", w.evesKey, ""), 404},
		"GET on another path":        {w.post("GET", "/mcp/files", session, "", w.key, ""), 404},
		"watching without a session": {w.post("POST", "/mcp", "", `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"note:///a"}}`, w.key, ""), 404},
	} {
		if c.resp.StatusCode != c.status || strings.HasPrefix(c.resp.Header.Get("Content-Type"), "text/event-stream") {
			t.Errorf("%s: HTTP %d, %s", name, c.resp.StatusCode, c.resp.Header.Get("Content-Type"))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ears) > 0 {
		t.Errorf("servers are listened to: %v", s.ears)
	}
}

func TestAWatcherIsToldOnlyOfWhatItMayRead(t *testing.T) {
	w, s := listened(t)
	eve := bufio.NewReader(w.wish(w.evesKey, `"notifications":{"toolsListChanged":true},`).Body)
	alice := bufio.NewReader(w.wish(w.key, `"notifications":{"toolsListChanged":true,"promptsListChanged":false,"resourceSubscriptions":["note:///a"]},`).Body)
	for _, r := range []*bufio.Reader{eve, alice} {
		if got := next(r); got != "notifications/subscriptions/acknowledged" {
			t.Fatalf("began with %q", got)
		}
	}
	principal := w.alice.Session()
	s.say(t, principal, "notifications/resources/updated", `{"uri":"note:///other"}`) // which nobody watches
	s.say(t, principal, "notifications/resources/updated", `{"uri":7}`)
	s.say(t, principal, "notifications/message", `{"level":"info","data":"what a server says outside a call"}`)
	s.say(t, principal, "notifications/resources/updated", `{"uri":"note:///a","text":"not carried"}`)
	if got := next(alice); got != "notifications/resources/updated" {
		t.Fatalf("heard %q", got)
	}
	w.offers["acme/files"] = []string{readTool}
	w.refresh("acme", "files")
	if got := next(alice); got != "notifications/tools/list_changed" {
		t.Fatalf("heard %q", got)
	}
	w.offers["rival/files"] = nil
	w.refresh("rival", "files")
	if got := next(eve); got != "notifications/tools/list_changed" { // of her own change, the first that she hears of
		t.Fatalf("eve heard %q", got)
	}
}

// TestAListenerWatchesInTheSessionOfItsCalls: an older server's session is of one set of capabilities, and what a call of a client
// that can be asked changes in its session is to be heard there.
func TestAListenerWatchesInTheSessionOfItsCalls(t *testing.T) {
	for can, want := range map[string]string{
		`{"elicitation":{"form":{},"x":1},"x":{}}`: `{"elicitation":{"form":{}}}`, `{}`: "", `{"extensions":{}}`: "",
	} {
		w, s := listened(t)
		r := bufio.NewReader(w.wishAs(w.key, can, `"notifications":{"resourceSubscriptions":["note:///a"]},`).Body)
		if got := next(r); got != "notifications/subscriptions/acknowledged" {
			t.Fatalf("began with %q", got)
		}
		s.mu.Lock()
		for name, sub := range s.ears {
			if strings.HasPrefix(name, w.alice.Session()) && string(sub.Peer.Capabilities()) != want {
				t.Errorf("%s: watches with %q, want %q", can, sub.Peer.Capabilities(), want)
			}
		}
		s.mu.Unlock()
	}
}

func TestOneWhoMayNotListenAnyMoreIsCutOff(t *testing.T) {
	w, _ := listened(t)
	session := w.initialize("/mcp", w.key)
	older := bufio.NewReader(w.post("GET", "/mcp", session, "", w.key, "").Body)
	newer := bufio.NewReader(w.wish(w.key, `"notifications":{"toolsListChanged":true},`).Body)
	if got := next(newer); got != "notifications/subscriptions/acknowledged" {
		t.Fatal(got)
	}
	w.must(w.people.SetAgentStatus(t.Context(), "acme", w.alice.Agent(), identity.Revoked))
	if got := next(newer); got != "result" {
		t.Errorf("a modern client's subscription ended with %q", got)
	}
	if a, b := next(newer), next(older); a != "" || b != "" {
		t.Errorf("they go on with %q and %q", a, b)
	}
}

func TestASessionHasOneStreamAndEndsWithIt(t *testing.T) {
	w, s := listened(t)
	session := w.initialize("/mcp", w.key)
	first := bufio.NewReader(w.post("GET", "/mcp", session, "", w.key, "").Body)
	second := bufio.NewReader(w.post("GET", "/mcp", session, "", w.key, "").Body)
	if got := next(first); got != "" {
		t.Fatalf("the stream that was taken over goes on: %q", got)
	}
	ask := func(method, uri string) int {
		return w.post("POST", "/mcp", session, `{"jsonrpc":"2.0","id":1,"method":"resources/`+method+`","params":{"uri":"`+uri+`"}}`, w.key, "").StatusCode
	}
	if got := ask("subscribe", "note:///a"); got != 200 {
		t.Fatalf("subscribe: %d", got)
	}
	s.say(t, w.alice.Session(), "notifications/resources/updated", `{"uri":"note:///a"}`)
	if got := next(second); got != "notifications/resources/updated" {
		t.Fatalf("heard %q", got)
	}
	if got := ask("unsubscribe", "note:///a"); got != 200 {
		t.Fatalf("unsubscribe: %d", got)
	}
	s.say(t, w.alice.Session(), "notifications/resources/updated", `{"uri":"note:///a"}`)
	if got := w.post("DELETE", "/mcp", session, "", w.key, "").StatusCode; got >= 300 {
		t.Fatalf("DELETE: %d", got)
	}
	if got := next(second); got != "" {
		t.Errorf("after it was let go of, and the session ended: %q", got)
	}
}

func TestAServerThatFloodsIsListedOnceInAWhile(t *testing.T) {
	w, s := listened(t)
	r := bufio.NewReader(w.wish(w.key, `"notifications":{"toolsListChanged":true},`).Body)
	if got := next(r); got != "notifications/subscriptions/acknowledged" {
		t.Fatal(got)
	}
	began := time.Now()
	for range 1000 {
		s.say(t, "gatewright", "notifications/tools/list_changed", `{}`)
	}
	if got := next(r); got != "notifications/tools/list_changed" {
		t.Fatal(got)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if most := 2 + int(time.Since(began)/time.Second); s.refreshed > most {
		t.Errorf("listed %d times", s.refreshed)
	}
}

func TestAServerThatLetsNothingBeWatched(t *testing.T) {
	w, s := listened(t)
	s.refuses = true
	resp := w.wish(w.key, `"notifications":{"resourceSubscriptions":["note:///a"]},`)
	body, _ := bufio.NewReader(resp.Body).ReadString('\n')
	if !strings.Contains(body, "upstream_refused") || strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("%s: %s", resp.Header.Get("Content-Type"), body)
	}
	if last := w.book.last(); last.Kind.String() == "" || !slices.Contains([]string{"upstream_refused"}, last.Code) {
		t.Errorf("on record: %+v", last)
	}
}

// left waits for as many to listen.
func (s *town) left(t *testing.T, want int) {
	t.Helper()
	var got int
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		got = s.open
		s.mu.Unlock()
		if got == want {
			return
		}
	}
	t.Fatalf("%d listen, want %d", got, want)
}

func TestWatchingIsBoundedAndEndsWithTheHub(t *testing.T) {
	w, s := listened(t)
	session := w.initialize("/mcp", w.key)
	subscribe := func(uri string) string {
		b, _ := io.ReadAll(w.post("POST", "/mcp", session, `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"`+uri+`"}}`, w.key, "").Body)
		return string(b)
	}
	for _, uri := range []string{"note:///a", "note:///b", "note:///a", "note:///c", "note:///c"} {
		if got := subscribe(uri); !strings.Contains(got, `"result":{`) {
			t.Fatalf("%s: %s", uri, got)
		}
	}
	if got := subscribe("note:///d"); !strings.Contains(got, "rate_limited") {
		t.Errorf("a fourth: %s", got)
	}
	_ = w.wish(w.key, `"notifications":{"toolsListChanged":true},`)
	s.left(t, 2) // one in the principal's session, one for the lists
	w.dialect.Hub.Close()
	s.left(t, 0)
	if got := subscribe("note:///b"); strings.Contains(got, `"result":{`) {
		t.Errorf("after the end: %s", got)
	}
}
