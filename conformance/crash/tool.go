package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// toolName is the server's one tool, and serverName what it is registered as with each tenant.
const (
	toolName   = "act"
	serverName = "tool"
)

// effects is an MCP server whose tool has one effect: a line in a file, with the number that the call's arguments carry.
// The gateway does not know that somebody counts.
type effects struct {
	url  string
	web  *http.Server
	file *os.File

	mu  sync.Mutex // guards all below
	all []seen
}

// seen is one call that reached the server.
type seen struct {
	n  int64
	at time.Time
}

func newEffects(path string) (*effects, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &effects{url: "http://" + ln.Addr().String() + "/mcp", file: file}
	e.web = &http.Server{Handler: e, ReadHeaderTimeout: upTime}
	go func() { _ = e.web.Serve(ln) }()
	return e, nil
}

func (e *effects) close() {
	_ = e.web.Close()
	_ = e.file.Close()
}

// ServeHTTP speaks the stateless protocol, as far as the gateway asks.
func (e *effects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct {
			Arguments struct{ N int64 }
		}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil || json.Unmarshal(body, &m) != nil || r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	result := ""
	switch m.Method {
	case "server/discover":
		result = `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"effects","version":"1"}}}`
	case "tools/list":
		result = `{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[{"name":"act","inputSchema":{"type":"object","properties":{"n":{"type":"integer"}}}}]}`
	case "tools/call":
		e.have(m.Params.Arguments.N)
		result = `{"resultType":"complete","content":[{"type":"text","text":"done"}]}`
	default:
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
}

// have is the effect. It stands in the file before the gateway is answered.
func (e *effects) have(n int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := time.Now()
	fmt.Fprintf(e.file, "%d %d\n", n, at.UnixMicro())
	e.all = append(e.all, seen{n, at})
}

// since returns the effects from the i-th on.
func (e *effects) since(i int) []seen {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]seen(nil), e.all[i:]...)
}
