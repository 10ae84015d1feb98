package conformance_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Servers behind the gateway that misbehave, each in its own way.

// hostile is an MCP server of one tool. How it answers a call is up to the test; discovery and lists it answers well.
type hostile struct {
	url  string
	stop func()
	// again starts the server anew on its address, after stop.
	again func()
	mu    sync.Mutex
	seen  []seenRequest
}

type seenRequest struct {
	header http.Header
	body   string
}

// newHostile starts a server whose tool "act" is answered by call. id is the raw id of the request.
func newHostile(t testing.TB, call func(w http.ResponseWriter, r *http.Request, id string)) *hostile {
	t.Helper()
	h := &hostile{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		h.mu.Lock()
		h.seen = append(h.seen, seenRequest{r.Header.Clone(), string(body)})
		h.mu.Unlock()
		var m struct {
			ID     json.RawMessage
			Method string
		}
		if json.Unmarshal(body, &m) != nil || r.Method != http.MethodPost {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		result := ""
		switch m.Method {
		case "server/discover":
			result = `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"h","version":"1"}}}`
		case "tools/list":
			result = `{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[{"name":"act","inputSchema":{"type":"object","properties":{"n":{"type":"integer"},"s":{"type":"string"}}}}]}`
		case "tools/call":
			call(w, r, string(m.ID))
			return
		default:
			w.WriteHeader(http.StatusAccepted)
			return
		}
		answerRPC(w, string(m.ID), result)
	})
	s := httptest.NewServer(handler)
	h.stop = func() {
		s.CloseClientConnections()
		s.Close()
	}
	h.again = func() {
		ln, err := net.Listen("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		second := &http.Server{Handler: handler}
		go func() { _ = second.Serve(ln) }()
		t.Cleanup(func() { _ = second.Close() })
	}
	t.Cleanup(h.stop)
	h.url = s.URL + "/mcp"
	return h
}

func answerRPC(w http.ResponseWriter, id, result string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id, result)
}

const goodResult = `{"resultType":"complete","content":[{"type":"text","text":"done"}]}`

// requests are what the server was sent, as one text.
func (h *hostile) requests() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	for _, r := range h.seen {
		_ = r.header.Write(&b)
		b.WriteString(r.body + "\n")
	}
	return b.String()
}

func (h *hostile) calls() int {
	return strings.Count(h.requests(), `"tools/call"`)
}

// behind registers a server with the demo tenant.
func (g *Gateway) behind(t testing.TB, name, address string, more map[string]any) {
	t.Helper()
	in := map[string]any{"name": name, "url": address, "allow_private": true, "era": "modern"}
	maps.Copy(in, more)
	g.manage(t, g.Admin(), "POST", "/api/v1/servers", in, nil)
	g.manage(t, g.Admin(), "POST", "/api/v1/servers/"+name+"/refresh", nil, nil)
}

// raw hijacks the connection and writes bytes of its own.
func raw(w http.ResponseWriter, text string) net.Conn {
	conn, buf, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return nil
	}
	_, _ = buf.WriteString(text)
	_ = buf.Flush()
	return conn
}

func TestServersThatMisbehaveAreNamedAndTheUseIsSpent(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{HCL: "upstream {\n  timeout = \"1s\"\n  connect_timeout = \"500ms\"\n  max_reply = \"64KiB\"\n}\n"})
	inner := newHostile(t, func(w http.ResponseWriter, _ *http.Request, id string) { answerRPC(w, id, goodResult) })
	innerURL, err := url.Parse(inner.url)
	if err != nil {
		t.Fatal(err)
	}
	wait := func(r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(patience):
		}
	}
	send := func(text string) func(w http.ResponseWriter, r *http.Request, id string) {
		return func(w http.ResponseWriter, _ *http.Request, id string) {
			if c := raw(w, strings.ReplaceAll(text, "ID", id)); c != nil {
				_ = c.Close()
			}
		}
	}
	body := func(text string) func(w http.ResponseWriter, r *http.Request, id string) {
		return func(w http.ResponseWriter, _ *http.Request, id string) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, strings.ReplaceAll(text, "ID", id))
		}
	}
	redirect := func(status int, to string) func(w http.ResponseWriter, r *http.Request, id string) {
		return func(w http.ResponseWriter, r *http.Request, _ string) { http.Redirect(w, r, to, status) }
	}
	cases := map[string]struct {
		act   func(w http.ResponseWriter, r *http.Request, id string)
		codes []string
	}{
		"slow": {func(_ http.ResponseWriter, r *http.Request, _ string) { wait(r) }, []string{"upstream_timeout"}},
		"slow-body": {func(w http.ResponseWriter, r *http.Request, _ string) {
			w.Header().Set("Content-Type", "application/json")
			for range 100 {
				if _, err := io.WriteString(w, " "); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				time.Sleep(50 * time.Millisecond)
			}
			wait(r)
		}, []string{"upstream_timeout", "upstream_malformed", "upstream_unreachable"}},
		"endless-events": {func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Content-Type", "text/event-stream")
			for range 2000 {
				if _, err := io.WriteString(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n"); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				time.Sleep(2 * time.Millisecond)
			}
		}, []string{"upstream_timeout", "upstream_too_large", "upstream_malformed"}},
		"lying-length":      {send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":{}}"), []string{"upstream_malformed", "upstream_unreachable"}},
		"closing-mid-chunk": {send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{\"jsonrpc\":"), []string{"upstream_malformed", "upstream_unreachable"}},
		"closing-at-once":   {send(""), []string{"upstream_unreachable", "upstream_malformed"}},
		"two-lengths":       {send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 38\r\nContent-Length: 5\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":{}}"), []string{"upstream_malformed", "upstream_unreachable"}},
		"not-http":          {send("SSH-2.0-OpenSSH_9.6\r\n\r\n"), []string{"upstream_malformed", "upstream_unreachable"}},
		"too-big":           {body(`{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"` + strings.Repeat("x", 100<<10) + `"}]}}`), []string{"upstream_too_large"}},
		"too-big-said":      {send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9000000\r\n\r\n{"), []string{"upstream_too_large"}},
		"redirect-inward":   {redirect(http.StatusTemporaryRedirect, inner.url), []string{"upstream_refused"}},
		"redirect-by-name":  {redirect(http.StatusPermanentRedirect, "http://localhost:"+innerURL.Port()+"/mcp"), []string{"upstream_refused"}},
		"redirect-metadata": {redirect(http.StatusFound, "http://169.254.169.254/latest/meta-data/"), []string{"upstream_refused"}},
		"redirect-to-file":  {redirect(http.StatusSeeOther, "file:///etc/passwd"), []string{"upstream_refused"}},
		"status-500": {func(w http.ResponseWriter, _ *http.Request, _ string) {
			http.Error(w, "oops", http.StatusInternalServerError)
		}, []string{"upstream_refused"}},
		"status-401":       {func(w http.ResponseWriter, _ *http.Request, _ string) { http.Error(w, "who", http.StatusUnauthorized) }, []string{"upstream_refused"}},
		"a-page":           {func(w http.ResponseWriter, _ *http.Request, _ string) { _, _ = io.WriteString(w, "<html>hello</html>") }, []string{"upstream_malformed"}},
		"not-json":         {body("hello"), []string{"upstream_malformed"}},
		"duplicate-names":  {body(`{"jsonrpc":"2.0","id":ID,"result":{"content":[],"content":[{"type":"text","text":"x"}]}}`), []string{"upstream_malformed"}},
		"not-utf8":         {body("{\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"\xff\"}]}}"), []string{"upstream_malformed"}},
		"too-deep":         {body(`{"jsonrpc":"2.0","id":ID,"result":` + strings.Repeat(`{"a":`, 500) + "1" + strings.Repeat("}", 500) + `}`), []string{"upstream_malformed", "upstream_too_large"}},
		"another-id":       {body(`{"jsonrpc":"2.0","id":424242,"result":` + goodResult + `}`), []string{"upstream_malformed"}},
		"no-id":            {body(`{"jsonrpc":"2.0","result":` + goodResult + `}`), []string{"upstream_malformed"}},
		"no-result":        {body(`{"jsonrpc":"2.0","id":ID}`), []string{"upstream_malformed"}},
		"result-and-error": {body(`{"jsonrpc":"2.0","id":ID,"result":` + goodResult + `,"error":{"code":1,"message":"x"}}`), []string{"upstream_malformed"}},
		"result-a-list":    {body(`{"jsonrpc":"2.0","id":ID,"result":[]}`), []string{"upstream_malformed"}},
		"a-batch":          {body(`[{"jsonrpc":"2.0","id":ID,"result":` + goodResult + `}]`), []string{"upstream_malformed"}},
		"asks-for-input":   {body(`{"jsonrpc":"2.0","id":ID,"result":{"resultType":"input_required","requestState":"x","inputRequests":{}}}`), []string{"upstream_refused", "upstream_malformed"}},
		"stream-no-answer": {func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, ": hi\n\n")
		}, []string{"upstream_malformed", "upstream_unreachable"}},
		"accepted-no-answer": {func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusAccepted) }, []string{"upstream_malformed", "upstream_refused"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, c.act)
			g.behind(t, name, h.url, nil)
			a := g.newAgent(t)
			_, tok := a.planned(t, step(name, "act", `{"n":1}`), step("demo", "calculate", expression(1)))
			ans := a.call(t, name, "act", `{"n":1}`, tok.Token).refused(t, c.codes...)
			if ans.RPC != -32010 || ans.Record == "" || ans.Receipt == "" || len(ans.Body) > 8192 {
				t.Errorf("answered %.1000s", ans)
			}
			r := g.find(t, ans.Record)
			outcome := "unknown" // the request went out: whether it had an effect, nobody here can say
			if name == "asks-for-input" {
				outcome = "upstream_error"
			}
			if r.Kind != "settled" || r.Outcome != outcome || r.Code != ans.Code {
				t.Errorf("the ledger says %s", r.Raw)
			}
			a.call(t, name, "act", `{"n":1}`, tok.Token).refused(t, "step_used") // what may have had an effect is spent
			if n := h.calls(); n != 1 {
				t.Errorf("the server was called %d times", n)
			}
			a.call(t, "demo", "calculate", expression(1), tok.Token).ok(t)
		})
	}
	t.Cleanup(func() {
		if inner.requests() != "" {
			t.Errorf("a redirect was followed inward: %s", inner.requests())
		}
	})
}

func TestAServerThatIsDownOrForbiddenIsRefused(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{HCL: "upstream {\n  timeout = \"2s\"\n  connect_timeout = \"500ms\"\n}\n"})
	backend := newHostile(t, func(w http.ResponseWriter, _ *http.Request, id string) { answerRPC(w, id, goodResult) })
	g.behind(t, "frail", backend.url, nil)
	a := g.newAgent(t)
	_, tok := a.planned(t, step("frail", "act", `{"n":1}`), step("frail", "act", `{"n":2}`, `"after":[0]`), step("demo", "calculate", expression(1)))
	backend.stop()
	ans := a.call(t, "frail", "act", `{"n":1}`, tok.Token).refused(t, "upstream_unreachable")
	if r := g.find(t, ans.Record); r.Kind != "settled" || r.Outcome != "upstream_error" && r.Outcome != "unknown" { // unknown over a kept connection
		t.Errorf("the ledger says %s", r.Raw)
	}
	a.call(t, "frail", "act", `{"n":2}`, tok.Token).refused(t, "step_order") // the first step was not done
	a.call(t, "demo", "calculate", expression(1), tok.Token).ok(t)
	for _, address := range []string{
		"http://127.0.0.1:1/mcp", "http://[::1]:1/mcp", "http://10.0.0.1/mcp", "http://169.254.169.254/mcp", "http://localhost:1/mcp", "http://0.0.0.0:1/mcp", "http://[::ffff:127.0.0.1]:1/mcp",
		"http://2130706433/mcp", "file:///etc/passwd", "ftp://a.example/", "http://u:p@a.example/mcp", "//a.example/mcp", "javascript:1",
	} {
		name := fmt.Sprintf("inward-%d", serial.Add(1))
		ans := g.control(t, g.Admin(), "POST", "/api/v1/servers", map[string]any{"name": name, "url": address})
		if ans.Status == http.StatusCreated {
			ans = g.control(t, g.Admin(), "POST", "/api/v1/servers/"+name+"/refresh", nil)
		}
		if ans.Status < 400 {
			t.Errorf("%s without allow_private: %s", address, ans)
		}
	}
}

func TestAServersAnswerCannotForgeAReceipt(t *testing.T) {
	t.Parallel()
	g := shared(t)
	name := fmt.Sprintf("forger-%d", serial.Add(1))
	h := newHostile(t, func(w http.ResponseWriter, _ *http.Request, id string) {
		w.Header().Set("Gatewright-Record", "rec_forged")
		w.Header().Set("Gatewright-Receipt", "forged")
		w.Header().Set("Set-Cookie", "forged=1")
		answerRPC(w, id, `{"resultType":"complete","content":[{"type":"text","text":"x"}],"isError":false,"_meta":{"gatewright/receipt":"forged","other":1}}`)
	})
	g.behind(t, name, h.url, nil)
	a := g.newAgent(t)
	_, tok := a.planned(t, step(name, "act", `{"n":1}`, `"uses":0`))
	for _, ans := range []answer{
		a.call(t, name, "act", `{"n":1}`, tok.Token).ok(t),
		send(t, "POST", g.URL+"/mcp/"+name, bearer(a.key, tok.Token).with(modern("act")), modernMessage("act", `{"n":1}`)).ok(t),
	} {
		if strings.Contains(fmt.Sprint(ans.Body, ans.Header), "forged") || strings.Count(ans.Body, "gatewright/receipt") != 1 {
			t.Errorf("answered %s %v", ans, ans.Header)
		}
		standsInTheLedger(t, g, ans.Receipt, "settled", "")
	}
}

func TestACredentialGoesAsTheConfigurationSays(t *testing.T) {
	t.Parallel()
	var backends []*hostile
	hcl := ""
	for i, more := range []string{"", "  header = \"X-Key\"\n"} {
		h := newHostile(t, nil)
		backends = append(backends, h)
		hcl += fmt.Sprintf("server \"s%d\" {\n  tenant = \"demo\"\n  url = %q\n  allow_private = true\n  era = \"modern\"\n  credential = \"key\"\n%s}\n", i, h.url, more)
	}
	g := start(t, Setup{HCL: hcl})
	g.manage(t, g.Admin(), "PUT", "/api/v1/secrets/key", map[string]any{"value": "s3cr3t"}, nil)
	for i, want := range []string{"Authorization: Bearer s3cr3t\r\n", "X-Key: s3cr3t\r\n"} {
		g.manage(t, g.Admin(), "POST", fmt.Sprintf("/api/v1/servers/s%d/refresh", i), nil, nil)
		if sent := backends[i].requests(); !strings.Contains(sent, want) {
			t.Errorf("server %d was sent\n%s\nwant %q", i, sent, want)
		}
	}
}

func TestNoSecretGoesWhereItDoesNotBelong(t *testing.T) {
	t.Parallel()
	g := start(t, Setup{HCL: "log {\n  level = \"debug\"\n}\n"})
	const (
		upstreamSecret = "CANARY-upstream-4f1d"
		argument       = "CANARY-argument-77aa"
		headerCanary   = "CANARY-header-c0de"
		replyCanary    = "CANARY-reply-1f2e"
		goalCanary     = "CANARY-goal-9b9b"
	)
	good := newHostile(t, func(w http.ResponseWriter, _ *http.Request, id string) {
		answerRPC(w, id, `{"resultType":"complete","content":[{"type":"text","text":"`+replyCanary+`"}]}`)
	})
	bad := newHostile(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		http.Error(w, "you sent "+r.Header.Get("X-Upstream-Key"), http.StatusForbidden)
	})
	g.manage(t, g.Admin(), "PUT", "/api/v1/secrets/key", map[string]any{"value": upstreamSecret}, nil)
	g.behind(t, "good", good.url, map[string]any{"credential": "key", "header": "X-Upstream-Key"})
	g.behind(t, "bad", bad.url, map[string]any{"credential": "key", "header": "X-Upstream-Key"})
	a := g.newAgent(t)
	args := fmt.Sprintf(`{"s":%q}`, argument)
	p := a.capture(t, `{"goal":"`+goalCanary+`","steps":[`+step("good", "act", args, `"uses":0`)+","+step("bad", "act", args, `"uses":0`)+`]}`)
	tok := a.token(t, p.ID, 0)
	extra := head{
		"X-Canary": headerCanary, "Cookie": "c=" + headerCanary, "X-Forwarded-For": "10.9.8.7", "Forwarded": "for=10.9.8.7", "User-Agent": headerCanary, "X-API-Key": a.key,
		"Referer": "http://" + headerCanary, "Idempotency-Key": headerCanary, "X-Upstream-Key": headerCanary, "Gatewright-Extra": headerCanary,
	}
	var answers strings.Builder
	for _, server := range []string{"good", "bad"} {
		for _, h := range []head{bearer(a.key, tok.Token), bearer(a.key, tok.Token).with(extra).with(head{"Idempotency-Key": headerCanary + server})} {
			ans := send(t, "POST", g.URL+"/mcp/"+server, h, message("act", args))
			if (ans.Result != nil) != (server == "good") {
				t.Errorf("%s: %s", server, ans)
			}
			answers.WriteString(fmt.Sprint(ans.Body, ans.Header))
			send(t, "POST", g.URL+"/mcp/"+server, h.with(head{"Idempotency-Key": ""}), message("act", `{"s":"`+argument+`-2"}`)).refused(t, "args_mismatch")
			send(t, "POST", g.URL+"/mcp/"+server, h.with(head{"Idempotency-Key": ""}), message("act", `{"s":"`+argument)).refused(t, "malformed")
			send(t, "POST", g.URL+"/mcp/"+server+"?key="+a.key, h.with(head{"Authorization": "Bearer " + a.key + "x", "X-API-Key": ""}), "{").refused(t, "unauthenticated")
		}
	}
	for _, h := range []*hostile{good, bad} {
		sent := h.requests()
		for what, canary := range map[string]string{"the agent's key": a.key, "the token": tok.Token, "a header": headerCanary, "an address": "10.9.8.7", "the admin's key": g.Admin()} {
			if strings.Contains(sent, canary) {
				t.Errorf("%s went upstream:\n%s", what, sent)
			}
		}
		if !strings.Contains(sent, "X-Upstream-Key: "+upstreamSecret) || !strings.Contains(sent, argument) {
			t.Errorf("what belongs upstream did not go there:\n%s", sent)
		}
		if strings.Contains(strings.ToLower(sent), "authorization:") || strings.Contains(strings.ToLower(sent), "gatewright-intent") {
			t.Errorf("the agent's headers went upstream:\n%s", sent)
		}
	}
	for _, path := range []string{"secrets", "servers", "servers/good", "plans/" + p.ID, "ledger/records?limit=1000", "keys", "tokens"} {
		answers.WriteString(g.control(t, g.Admin(), "GET", "/api/v1/"+path, nil).Body)
	}
	if strings.Contains(answers.String(), upstreamSecret) {
		t.Error("the upstream's secret stands in an answer")
	}
	g.Stop(t)
	log := g.Log() + g.Out()
	for what, canary := range map[string]string{
		"the upstream's secret": upstreamSecret, "an argument": argument, "a header": headerCanary, "a reply": replyCanary, "the goal": goalCanary, "the agent's key": a.key, "the token": tok.Token,
		"the demo key": g.Key(), "the admin's key": g.Admin(),
	} {
		if strings.Contains(log, canary) {
			t.Errorf("%s stands in the log", what)
		}
		for _, file := range filesWith(t, g.Dir, canary) {
			if filepath.Base(file) != "demo.env" {
				t.Errorf("%s stands in %s", what, file)
			}
		}
	}
}

// filesWith finds the files of a folder that hold a text.
func filesWith(t *testing.T, dir, text string) []string {
	t.Helper()
	var out []string
	err := filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() || info.Size() > 16<<20 { // Badger's empty value log is sparse
			return err
		}
		b, err := os.ReadFile(p)
		if strings.Contains(string(b), text) {
			out = append(out, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
