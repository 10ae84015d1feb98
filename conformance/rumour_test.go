package conformance_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// rumour is an MCP server of either era that says on its streams whatever a test has it say, well-formed or not.
type rumour struct {
	url   string
	newer bool
	notes []string // URIs of its resources

	mu      sync.Mutex
	streams map[chan string]string // what is to be said, to the raw tag of the subscription that watches resources
}

func startRumour(t testing.TB, era string, notes ...string) *rumour {
	t.Helper()
	r := &rumour{newer: era == newerEra, notes: notes, streams: map[chan string]string{}}
	web := httptest.NewServer(r)
	t.Cleanup(func() { web.CloseClientConnections(); web.Close() })
	r.url = web.URL + "/mcp"
	return r
}

func (r *rumour) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Method == http.MethodGet && !r.newer {
		r.stream(w, q, "", true)
		return
	}
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct {
			Notifications json.RawMessage
		}
	}
	if body, err := io.ReadAll(io.LimitReader(q.Body, 1<<20)); err != nil || q.Method != http.MethodPost || json.Unmarshal(body, &m) != nil {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	capabilities := `{"tools":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true}}`
	more := `"resultType":"complete","ttlMs":0,"cacheScope":"private",`
	if !r.newer {
		more = ""
	}
	switch m.Method {
	case "initialize":
		w.Header().Set("Mcp-Session-Id", fmt.Sprintf("s-%d", serial.Add(1)))
		answerRPC(w, string(m.ID), `{"protocolVersion":"2025-11-25","capabilities":`+capabilities+`,"serverInfo":{"name":"rumour","version":"1"}}`)
	case "server/discover":
		answerRPC(w, string(m.ID), `{`+more+`"supportedVersions":["2026-07-28"],"capabilities":`+capabilities+`,"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"rumour","version":"1"}}}`)
	case "tools/list":
		answerRPC(w, string(m.ID), `{`+more+`"tools":[{"name":"act","inputSchema":{"type":"object"}}]}`)
	case "resources/list":
		var list []string
		for _, uri := range r.notes {
			list = append(list, `{"uri":"`+uri+`","name":"n"}`)
		}
		answerRPC(w, string(m.ID), `{`+more+`"resources":[`+strings.Join(list, ",")+`]}`)
	case "resources/templates/list":
		answerRPC(w, string(m.ID), `{`+more+`"resourceTemplates":[]}`)
	case "resources/subscribe", "resources/unsubscribe", "ping":
		answerRPC(w, string(m.ID), `{}`)
	case "subscriptions/listen":
		watches := strings.Contains(string(m.Params.Notifications), "resourceSubscriptions")
		ack := `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":` + string(m.Params.Notifications) +
			`,"_meta":{"io.modelcontextprotocol/subscriptionId":` + string(m.ID) + `}}}`
		r.stream(w, q, string(m.ID), watches, ack)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

// stream is one that is open until its reader leaves. Those of older sessions are all taken for streams that watch.
func (r *rumour) stream(w http.ResponseWriter, q *http.Request, tag string, watches bool, first ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	say := make(chan string)
	flush := http.NewResponseController(w)
	for _, text := range first {
		_, _ = fmt.Fprintf(w, "data: %s\n\n", text)
	}
	_ = flush.Flush()
	if watches {
		r.mu.Lock()
		r.streams[say] = tag
		r.mu.Unlock()
		defer func() {
			r.mu.Lock()
			delete(r.streams, say)
			r.mu.Unlock()
		}()
	}
	for {
		select {
		case text := <-say:
			if _, err := io.WriteString(w, text); err != nil || flush.Flush() != nil {
				return
			}
		case <-q.Context().Done():
			return
		}
	}
}

// say says to everybody who watches: events as they stand, with the tag of the subscription for TAG. It returns how many heard it, and
// gives a stream that takes nothing up after a while.
func (r *rumour) say(events string) (heard int) {
	r.mu.Lock()
	all := maps.Clone(r.streams)
	r.mu.Unlock()
	for ch, tag := range all {
		select {
		case ch <- strings.ReplaceAll(events, "TAG", tag):
			heard++
		case <-time.After(5 * time.Second):
		}
	}
	return heard
}

// watched waits until so many streams watch.
func (r *rumour) watched(t testing.TB, want int) {
	t.Helper()
	var got int
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		r.mu.Lock()
		got = len(r.streams)
		r.mu.Unlock()
		if got == want {
			return
		}
	}
	t.Fatalf("%d streams watch, want %d", got, want)
}

// updated is the event that says that a resource was updated.
func updated(uri string) string {
	return `data: {"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"` + uri + `","_meta":{"io.modelcontextprotocol/subscriptionId":TAG}}}` + "\n\n"
}

func (r *rumour) updated(uri string) string {
	if r.newer {
		return updated(uri)
	}
	return `data: {"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"` + uri + `"}}` + "\n\n"
}

// hearing is a client that reads its stream as bytes, so that nothing that is sent on it goes unseen.
type hearing struct {
	resp *http.Response
	mu   sync.Mutex
	got  []string // data of events
	over chan struct{}
}

// hear opens a stream and collects what comes.
func hear(t testing.TB, method, url string, h head, body string) *hearing {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range h {
		q.Header[http.CanonicalHeaderKey(name)] = []string{value}
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	e := &hearing{resp: resp, over: make(chan struct{})}
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("no stream: HTTP %d, %s", resp.StatusCode, b)
	}
	go func() {
		defer close(e.over)
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 64<<20)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				e.mu.Lock()
				e.got = append(e.got, data)
				e.mu.Unlock()
			}
		}
	}()
	return e
}

// count is how many events have a text.
func (e *hearing) count(text string) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, g := range e.got {
		if strings.Contains(g, text) {
			n++
		}
	}
	return n
}

// hears waits for an event that has a text.
func (e *hearing) hears(t testing.TB, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); e.count(text) == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			e.mu.Lock()
			defer e.mu.Unlock()
			t.Fatalf("%s is not heard; %d events are, the last: %.300q", text, len(e.got), e.got[max(0, len(e.got)-3):])
		}
	}
}

// resident is the memory of the gateway's process, in bytes.
func (g *Gateway) resident(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", g.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// open is how many descriptors and goroutines the gateway has. Its profiles must be on.
func (g *Gateway) open(t testing.TB) (descriptors, goroutines int) {
	t.Helper()
	dir, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	a := send(t, "GET", g.Control+"/debug/pprof/goroutine?debug=1", bearer(g.Admin(), ""), "")
	if _, err := fmt.Sscanf(a.Body, "goroutine profile: total %d", &goroutines); err != nil {
		t.Fatalf("HTTP %d %.200s: %v", a.Status, a.Body, err)
	}
	return len(dir), goroutines
}
