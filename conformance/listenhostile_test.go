package conformance_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Servers that say on their own what nobody should hear, and clients that listen in ways that nobody should: through a built gateway.

// olderSession is a session of an older client on a path, for headers.
func (a agent) olderSession(t testing.TB, path string) head {
	t.Helper()
	h := bearer(a.key, "")
	id := send(t, "POST", a.g.URL+path, h, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`).
		ok(t).Header.Get("Mcp-Session-Id")
	if id == "" {
		t.Fatal("no session")
	}
	return h.with(head{"Mcp-Session-Id": id})
}

func watchCall(method, uri string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"resources/` + method + `","params":{"uri":"` + uri + `"}}`
}

// listenTo is the request of a newer client, and the headers that go with it.
func (a agent) listenTo(notifications string) (head, string) {
	return bearer(a.key, "").with(head{"MCP-Protocol-Version": newerEra, "Mcp-Method": "subscriptions/listen"}),
		`{"jsonrpc":"2.0","id":"ear","method":"subscriptions/listen","params":{"notifications":` + notifications +
			`,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
}

func TestWhatHostileServersSayReachesNobodyAndSinksNobody(t *testing.T) {
	t.Parallel()
	for _, era := range []string{olderEra, newerEra} {
		t.Run("servers "+era, func(t *testing.T) {
			t.Parallel()
			g := start(t, Setup{})
			says := map[string]string{
				"cut":       `data: {"jsonrpc":"2.0",` + "\n\n",
				"array":     `data: {"jsonrpc":"2.0","method":"notifications/resources/updated","params":["SECRET"]}` + "\n\n",
				"nouri":     `data: {"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":{"x":"SECRET"},"_meta":{"io.modelcontextprotocol/subscriptionId":TAG}}}` + "\n\n",
				"unwatched": updated("note:///SECRET"),
				"others":    updated("gatewright+good:" + noteURI),
				"extra":     strings.Replace(updated("note:///SECRET"), `"params":{`, `"params":{"text":"SECRET",`, 1),
				"logs":      `data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"SECRET","_meta":{"io.modelcontextprotocol/subscriptionId":TAG}}}` + "\n\n",
				"asks":      `data: {"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"SECRET","requestedSchema":{"type":"object"}}}` + "\n\n",
				"answers":   `data: {"jsonrpc":"2.0","id":"ear","result":{"SECRET":1}}` + "\n\n",
				"giant":     updated("note:///" + strings.Repeat("SECRET", 1<<19)),
				"flood":     strings.Repeat(updated("note:///flood"), 5000),
			}
			if era == olderEra {
				for name, text := range says {
					says[name] = strings.ReplaceAll(strings.ReplaceAll(text, `,"_meta":{"io.modelcontextprotocol/subscriptionId":TAG}`, ""), "TAG", "0")
				}
			} else {
				says["tagged"] = strings.Replace(updated("note:///tagged"), "TAG", `"another"`, 1)
			}
			good, url := changing(t, newerEra)
			g.behind(t, "good", url, map[string]any{"era": "auto"})
			bad := map[string]*rumour{}
			for name := range says {
				bad[name] = startRumour(t, era, "note:///"+name)
				g.behind(t, name, bad[name].url, map[string]any{"era": map[string]string{olderEra: "legacy", newerEra: "modern"}[era]})
			}
			a := g.newAgent(t)
			older := a.olderSession(t, "/mcp")
			uris := []string{`"gatewright+good:` + noteURI + `"`}
			send(t, "POST", g.URL+"/mcp", older, watchCall("subscribe", "gatewright+good:"+noteURI)).ok(t)
			for name := range says {
				uris = append(uris, `"gatewright+`+name+`:note:///`+name+`"`)
				send(t, "POST", g.URL+"/mcp", older, watchCall("subscribe", "gatewright+"+name+":note:///"+name)).ok(t)
			}
			h, body := a.listenTo(`{"resourceSubscriptions":[` + strings.Join(uris, ",") + `]}`)
			ears := map[string]*hearing{"older": hear(t, "GET", g.URL+"/mcp", older, ""), "newer": hear(t, "POST", g.URL+"/mcp", h, body)}
			ears["newer"].hears(t, "acknowledged")
			before := g.resident(t)
			for name, text := range says {
				if n := bad[name].say(text); n == 0 {
					t.Errorf("%s: nobody heard it", name)
				}
			}
			for who, e := range ears {
				e.hears(t, "gatewright+flood:note:///flood")
				_ = good.ResourceUpdated(t.Context(), &mcp.ResourceUpdatedNotificationParams{URI: noteURI})
				e.hears(t, "gatewright+good:"+noteURI)
				time.Sleep(time.Second)                  // for what should not come
				if n := e.count("flood"); n > 2*1000+1 { // upstream.max_interim a minute of each listening
					t.Errorf("%s heard %d of the flood", who, n)
				}
				if n := e.count("SECRET") + e.count(`"uri":"gatewright+tagged:`); n > 0 {
					t.Errorf("%s heard %d events that it should not", who, n)
				}
				e.mu.Lock()
				for _, got := range e.got {
					if !strings.Contains(got, `"notifications/resources/updated"`) && !strings.Contains(got, "acknowledged") {
						t.Errorf("%s heard %.300s", who, got)
					}
				}
				e.mu.Unlock()
			}
			if grown := g.resident(t) - before; grown > 128<<20 {
				t.Errorf("the gateway has grown by %d MiB", grown>>20)
			}
		})
	}
}

// unread opens a stream and reads its head alone.
func (a agent) unread(t testing.TB, method string, h head) net.Conn {
	t.Helper()
	u, err := url.Parse(a.g.URL)
	if err != nil {
		t.Fatal(err)
	}
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
	}}
	conn, err := d.DialContext(t.Context(), "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	q, err := http.NewRequest(method, a.g.URL+"/mcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range h {
		q.Header.Set(name, value)
	}
	if err := q.Write(conn); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("HTTP/1.1 200"))
	if _, err := io.ReadFull(conn, first); err != nil || string(first) != "HTTP/1.1 200" {
		t.Fatalf("%q %v", first, err)
	}
	return conn
}

func TestAClientThatNeverReadsIsCutOffAlone(t *testing.T) {
	t.Parallel()
	long := "note:///" + strings.Repeat("a", 900)
	g := start(t, Setup{Env: []string{"GATEWRIGHT_CFG_UPSTREAM__MAX_INTERIM=100000", "GATEWRIGHT_CFG_UPSTREAM__MAX_INTERIM_BYTES=256MiB", "GATEWRIGHT_CFG_PROXY__STREAM_QUEUE=256KiB",
		"GATEWRIGHT_CFG_QUOTA__AGENT_BURST=1000000", "GATEWRIGHT_CFG_QUOTA__TENANT_BURST=1000000", "GATEWRIGHT_CFG_QUOTA__SOURCE_BURST=1000000"}}) // each update is judged
	r := startRumour(t, olderEra, long)
	g.behind(t, "talks", r.url, map[string]any{"era": "legacy"})
	slow, quick := g.newAgent(t), g.newAgent(t)
	var in [2]head
	for i, a := range []agent{slow, quick} {
		in[i] = a.olderSession(t, "/mcp")
		send(t, "POST", g.URL+"/mcp", in[i], watchCall("subscribe", long)).ok(t)
	}
	mute := slow.unread(t, "GET", in[0])
	e := hear(t, "GET", g.URL+"/mcp", in[1], "")
	r.watched(t, 3) // in each one's session, and of the lists
	before, said := g.resident(t), 0
	for said < 15_000 { // 14 MB: more than the kernel keeps for a connection, and the queue
		if n := r.say(strings.Repeat(r.updated(long), 50)); n < 2 {
			t.Fatalf("%d streams took what the server says", n)
		}
		said += 50
		for deadline := time.Now().Add(patience); e.count("note:///") < said; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the one that reads heard %d of %d", e.count("note:///"), said)
			}
		}
	}
	if a := send(t, "POST", g.URL+"/mcp", in[0], `{"jsonrpc":"2.0","id":1,"method":"ping"}`); a.Status != http.StatusOK {
		t.Errorf("its session beside the stream: HTTP %d", a.Status) // which is cut off alone
	}
	_ = mute.SetReadDeadline(time.Now().Add(patience))
	n, err := io.Copy(io.Discard, mute)
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() || n > int64(said*len(long)) {
		t.Errorf("it was not cut off: %d bytes, %v", n, err)
	}
	if grown := g.resident(t) - before; grown > 64<<20 {
		t.Errorf("the gateway has grown by %d MiB", grown>>20)
	} else {
		t.Logf("%d updates, %d KiB of them were read at last, %d MiB more", said, n>>10, grown>>20)
	}
}

func TestTenThousandSubscriptionsAreBounded(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{})
	var notes []string
	for i := range 300 {
		notes = append(notes, fmt.Sprintf("note:///%d", i))
	}
	for _, era := range []string{olderEra, newerEra} {
		r := startRumour(t, era, notes...)
		g.behind(t, "s"+era[:4], r.url, map[string]any{"era": "auto"})
	}
	a := g.newAgent(t)
	h := a.olderSession(t, "/mcp/s2025")
	var agreed, refused, other atomic.Int64
	var wg sync.WaitGroup
	for worker := range 10 {
		wg.Go(func() {
			for i := range 1000 {
				switch ans, err := trySend("POST", g.URL+"/mcp/s2025", h, watchCall("subscribe", notes[(i*10+worker)%len(notes)])); {
				case err == nil && ans.RPC == 0 && ans.Status == http.StatusOK:
					agreed.Add(1)
				case err == nil && ans.Code == "rate_limited":
					refused.Add(1)
				default:
					other.Add(1)
					t.Logf("HTTP %d %s %v", ans.Status, ans.Body, err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d agreed, %d refused, %d otherwise", agreed.Load(), refused.Load(), other.Load())
	if agreed.Load() == 0 || refused.Load() == 0 || other.Load() > 0 {
		t.Error("want as many as may be, and the rest refused")
	}
	many := make([]string, 10_000)
	for i := range many {
		many[i] = `"` + notes[i%len(notes)] + `"`
	}
	hm, body := a.listenTo(`{"resourceSubscriptions":[` + strings.Join(many, ",") + `]}`)
	if ans := send(t, "POST", g.URL+"/mcp/s2026", hm, body); ans.Status != http.StatusBadRequest {
		t.Errorf("10,000 URIs in one subscription: HTTP %d %.200s", ans.Status, ans.Body)
	}
	hm, body = a.listenTo(`{"toolsListChanged":true}`)
	var open []*http.Response
	turned := 0
	for range 200 { // proxy.max_streams_per_agent is 128
		q, _ := http.NewRequestWithContext(t.Context(), "POST", g.URL+"/mcp/s2026", strings.NewReader(body))
		for name, value := range hm {
			q.Header[http.CanonicalHeaderKey(name)] = []string{value}
		}
		resp, err := http.DefaultTransport.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusTooManyRequests {
			turned++
		} else {
			open = append(open, resp)
		}
	}
	if len(open) != 128 || turned != 72 {
		t.Errorf("%d streams of one agent are open and %d were refused", len(open), turned)
	}
	hear(t, "POST", g.URL+"/mcp/s2026", func() head { h, _ := g.newAgent(t).listenTo(""); return h }(), body).hears(t, "acknowledged") // another is not hindered
}

func TestAForeignOrEndedSessionOpensNoStream(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a, eve := g.newAgent(t), g.newAgent(t)
	h := a.olderSession(t, "/mcp")
	status := func(method string, h head) int {
		q, _ := http.NewRequestWithContext(t.Context(), method, g.URL+"/mcp", nil)
		for name, value := range h {
			q.Header[http.CanonicalHeaderKey(name)] = []string{value}
		}
		resp, err := http.DefaultTransport.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	stolen := h.with(head{"Authorization": "Bearer " + eve.key})
	if get, end := status("GET", stolen), status("DELETE", stolen); get != http.StatusNotFound || end != http.StatusNotFound {
		t.Errorf("with another's session: GET %d, DELETE %d", get, end)
	}
	e := hear(t, "GET", g.URL+"/mcp", h, "")
	if end := status("DELETE", h); end/100 != 2 {
		t.Fatalf("DELETE: %d", end)
	}
	select {
	case <-e.over:
	case <-time.After(patience):
		t.Error("the stream goes on after its session")
	}
	if get, end := status("GET", h), status("DELETE", h); get != http.StatusNotFound || end != http.StatusNotFound {
		t.Errorf("with a session that has ended: GET %d, DELETE %d", get, end)
	}
}

func TestListeningLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{Env: []string{"GATEWRIGHT_CFG_CONTROL__PROFILES=true"}})
	for _, era := range []string{olderEra, newerEra} {
		g.behind(t, "s"+era[:4], startRumour(t, era, "note:///"+era).url, map[string]any{"era": "auto"})
	}
	agents := []agent{g.newAgent(t), g.newAgent(t), g.newAgent(t), g.newAgent(t)}
	const each = 50 // streams of each agent and era
	round := func() (kib float64) {
		before := g.resident(t)
		var all []*hearing
		var sessions []head
		for _, a := range agents {
			h, body := a.listenTo(`{"toolsListChanged":true,"resourceSubscriptions":["gatewright+s2025:note:///2025-11-25","gatewright+s2026:note:///2026-07-28"]}`)
			for range each {
				older := a.olderSession(t, "/mcp")
				sessions = append(sessions, older)
				send(t, "POST", g.URL+"/mcp", older, watchCall("subscribe", "gatewright+s2026:note:///2026-07-28")).ok(t)
				all = append(all, hear(t, "GET", g.URL+"/mcp", older, ""), hear(t, "POST", g.URL+"/mcp", h, body))
			}
		}
		kib = float64(g.resident(t)-before) / 1024 / float64(len(all))
		for _, h := range sessions[len(sessions)/2:] { // the others are left to their time
			send(t, "DELETE", g.URL+"/mcp", h, "")
		}
		for _, e := range all {
			_ = e.resp.Body.Close()
		}
		return kib
	}
	round() // whatever is made once, is
	time.Sleep(2 * time.Second)
	fds, routines := g.open(t)
	for range 3 {
		t.Logf("%.1f KiB for each of %d streams", round(), 8*each)
	}
	var afterFDs, afterRoutines int
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if afterFDs, afterRoutines = g.open(t); afterFDs <= fds+8 && afterRoutines <= routines+8 {
			break
		}
	}
	t.Logf("descriptors %d, then %d; goroutines %d, then %d", fds, afterFDs, routines, afterRoutines)
	if afterFDs > fds+8 || afterRoutines > routines+8 {
		t.Error("something is left")
	}
}
