package immunity_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// vaulted is the credential of the recording server: what is kept in the gateway's vault for it, and no agent has.
const vaulted = "vault-canary-5be1"

// recorder is an MCP server that keeps what it is sent and repeats the arguments of a call.
type recorder struct {
	name  string // in the gateway
	url   string
	tools string // what it lists; empty: recorderTools
	older bool   // it speaks the older protocol and opens sessions
	stop  func()
	mu    sync.Mutex
	all   []forwarded
	ids   int                                                            // sessions opened
	act   func(w http.ResponseWriter, r *http.Request, f forwarded) bool // answers a call in its own way; false: as usual
}

// forwarded is one request as it came to the server. Its message is read by encoding/json, which is what most servers
// written in Go do: it takes members in any case and the last of those that come twice.
type forwarded struct {
	method, path string
	head         http.Header
	body         string
	id           string
	op           string // "method" of the message
	tool, args   string // of a tools/call; args as they were spelled
}

// own says whether the gateway sends this by itself, whoever calls.
func (f forwarded) own() bool {
	return f.op != "" && f.op != "tools/call" && f.method == http.MethodPost || f.head.Get("Mcp-Session-Id") != "" && f.method != http.MethodPost
}

const recorderTools = `[{"name":"act","inputSchema":{"type":"object","properties":{"n":{"type":"integer"},"s":{"type":"string"}}}},` +
	`{"name":"aim","inputSchema":{"type":"object","properties":{"n":{"type":"integer"},"region":{"type":"string","x-mcp-header":"Region"}},"required":["region"]}}]`

// record starts a recording server and puts it before the gateway, with a credential of the vault.
func (g *gateway) record(t testing.TB, name string) *recorder {
	t.Helper()
	r := &recorder{name: name}
	g.put(t, r)
	return r
}

// put starts a recording server and puts it before the gateway.
func (g *gateway) put(t testing.TB, r *recorder) {
	t.Helper()
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	r.url, r.stop = s.URL+"/mcp", func() {
		s.CloseClientConnections()
		s.Close()
	}
	era := "modern"
	if r.older {
		era = "legacy"
	}
	g.manage(t, "PUT", "/api/v1/secrets/"+r.name+"-key", map[string]any{"value": vaulted}, nil)
	g.manage(t, "POST", "/api/v1/servers", map[string]any{"name": r.name, "url": r.url, "allow_private": true, "era": era, "credential": r.name + "-key"}, nil)
	t.Cleanup(func() { g.ask(t, g.admin, "DELETE", "/api/v1/servers/"+r.name, nil) })
	g.manage(t, "POST", "/api/v1/servers/"+r.name+"/refresh", nil, nil)
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(req.Body, 4<<20))
	f := forwarded{method: req.Method, path: req.RequestURI, head: req.Header.Clone(), body: string(body)}
	f.head.Set("Host", req.Host)
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct {
			Name      string
			Arguments json.RawMessage
		}
	}
	_ = json.Unmarshal(body, &m)
	f.id, f.op, f.tool, f.args = string(m.ID), m.Method, m.Params.Name, string(m.Params.Arguments)
	r.mu.Lock()
	if !f.own() {
		r.all = append(r.all, f)
	}
	r.mu.Unlock()
	tools := r.tools
	if tools == "" {
		tools = recorderTools
	}
	const head = `"resultType":"complete","ttlMs":0,"cacheScope":"private",`
	result := ""
	switch m.Method {
	case "server/discover":
		result = `{` + head + `"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"recorder","version":"1"}}}`
	case "initialize":
		r.mu.Lock()
		r.ids++
		w.Header().Set("Mcp-Session-Id", fmt.Sprintf("session-%d", r.ids))
		r.mu.Unlock()
		result = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"recorder","version":"1"}}`
	case "tools/list":
		result = `{` + head + `"tools":` + tools + `}`
	case "tools/call":
		if r.act != nil && r.act(w, req, f) {
			return
		}
		said, _ := json.Marshal("did " + f.tool + " " + f.args)
		result = `{"resultType":"complete","content":[{"type":"text","text":` + string(said) + `}]}`
	default:
		if req.Method != http.MethodPost {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
}

// calls are the requests that somebody's call caused, since the last time.
func (r *recorder) calls() []forwarded {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.all
	r.all = nil
	return out
}

// sent is what the requests say, as one text.
func sent(all []forwarded) string {
	var b strings.Builder
	for _, f := range all {
		fmt.Fprintln(&b, f.method, f.path)
		_ = f.head.Write(&b)
		b.WriteString(f.body + "\n")
	}
	return b.String()
}
