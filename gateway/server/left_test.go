package server_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/config"
)

// hanging is a server behind the gateway whose one tool answers nobody, and says when its caller has gone.
type hanging struct {
	url         string
	began, gone chan time.Time
}

func newHanging(t *testing.T) *hanging {
	t.Helper()
	h := &hanging{began: make(chan time.Time, 1), gone: make(chan time.Time, 1)}
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage
			Method string
		}
		if json.NewDecoder(r.Body).Decode(&m) != nil {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // net/http looks for a departure once the body is read
		result := ""
		switch m.Method {
		case "server/discover":
			result = `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"h","version":"1"}}}`
		case "tools/list":
			result = `{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[{"name":"hang","inputSchema":{"type":"object"}}]}`
		case "tools/call":
			h.began <- time.Now()
			select {
			case <-r.Context().Done():
				h.gone <- time.Now()
			case <-over:
			}
			return
		default:
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
	}))
	t.Cleanup(func() { close(over); s.CloseClientConnections(); s.Close() })
	h.url = s.URL
	return h
}

// TestAClientThatLeavesEndsItsCall: the server behind the gateway is let go at once, by each way a client may leave, plain
// and under TLS, over HTTP and through a process; and the ledger has the outcome, which nobody knows.
func TestAClientThatLeavesEndsItsCall(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells")
	}
	for name, c := range map[string]struct {
		secured bool
		via     string
		path    string
	}{
		"plain": {path: "/mcp"}, "TLS": {secured: true, path: "/mcp"}, "through a process": {via: "connector", path: "/mcp"}, "ArmorIQ's": {path: "/invoke"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHanging(t)
			dir := t.TempDir()
			certificate(t, dir, 1)
			o, out, log := options(t, func(s *config.Config) {
				s.Servers = map[string]config.Server{"files": {Tenant: "demo", URL: h.url, Era: "auto", AllowPrivate: true, Header: "Authorization", Via: c.via}}
				if c.secured {
					s.Proxy.TLSCert, s.Proxy.TLSKey = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
				}
			})
			r := run(t, o, out, log)
			for i := 0; i < 2000 && !strings.Contains(r.tools(r.env["GATEWRIGHT_API_KEY"]), "hang"); i++ {
				time.Sleep(5 * time.Millisecond) // until the process is up
			}
			request := r.hangRequest(c.path)
			for i, way := range []string{"FIN", "RST", "half-close"} {
				leave(t, r, h, request, way)
				r.settledUnknown(i + 1)
			}
		})
	}
}

// leave makes the call and leaves it in its middle.
func leave(t *testing.T, r *running, h *hanging, request, way string) {
	t.Helper()
	_, addr, _ := strings.Cut(r.g.URL(), "://")
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := raw
	if strings.HasPrefix(r.g.URL(), "https") {
		conn = tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a test's own certificate
	}
	answered := make(chan string, 1)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if way == "half-close" { // the others hear nothing any more
		go func() {
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				answered <- err.Error()
				return
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			answered <- string(b)
		}()
	}
	select {
	case <-h.began:
	case early := <-answered:
		t.Fatalf("the call did not get there: %s", early)
	case <-time.After(10 * time.Second):
		t.Fatal("the call did not get there")
	}
	at := time.Now()
	switch way {
	case "FIN":
		_ = conn.Close()
	case "RST":
		_ = raw.(*net.TCPConn).SetLinger(0)
		_ = raw.Close()
	default:
		_ = raw.(*net.TCPConn).CloseWrite()
	}
	select {
	case gone := <-h.gone:
		if took := gone.Sub(at); took > 250*time.Millisecond {
			t.Errorf("%s: the server was let go after %s", way, took)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: the server is still at work", way)
	}
}

// hangRequest is a planned call of the tool that hangs, as bytes.
func (r *running) hangRequest(path string) string {
	r.t.Helper()
	a := r.agent(r.env["GATEWRIGHT_API_KEY"])
	p, err := a.Plan(r.t.Context(), []byte(`{"goal":"g","steps":[{"server":"files","tool":"hang","args":{},"uses":0}]}`))
	if err != nil {
		r.t.Fatal(err)
	}
	token, err := a.Token(r.t.Context(), p.ID, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hang","arguments":{}}}`
	if path == "/invoke" {
		body = `{"mcp":"files","action":"hang","params":{},"intent_token":{"jwt_token":"` + token.Token + `"}}`
	}
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nGatewright-Intent: %s\r\nContent-Length: %d\r\n\r\n%s",
		path, r.env["GATEWRIGHT_API_KEY"], token.Token, len(body), body)
}

// settledUnknown waits until n calls are admitted, and settled as unknown.
func (r *running) settledUnknown(n int) {
	r.t.Helper()
	admitted, settled, text := 0, 0, ""
	for range 2000 {
		text = r.control("GET", "/api/v1/audit-logs?limit=200", r.env["GATEWRIGHT_ADMIN_KEY"], "", 200, nil)
		var logs struct {
			Items []struct {
				Record struct{ Kind, Tool, Outcome, Code, Detail string }
			}
		}
		if err := json.Unmarshal([]byte(text), &logs); err != nil {
			r.t.Fatal(err)
		}
		admitted, settled = 0, 0
		for _, i := range logs.Items {
			switch {
			case i.Record.Tool != "hang":
			case i.Record.Kind == "admitted":
				admitted++
			case i.Record.Kind == "settled" && i.Record.Outcome == "unknown" && strings.HasPrefix(i.Record.Detail, "canceled"):
				settled++
			}
		}
		if admitted == n && settled == n {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	r.t.Fatalf("%d admitted, %d settled as unknown, want %d of each: %s", admitted, settled, n, text)
}
