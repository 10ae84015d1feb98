package mcp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

const (
	workTool = `{"name":"work","inputSchema":{"type":"object","properties":{"on":{"type":"string"}}},"execution":{"taskSupport":"optional"},
		"outputSchema":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}}`
	mustTool  = `{"name":"must","inputSchema":{"type":"object"},"execution":{"taskSupport":"required"}}`
	goodWork  = `{"content":[{"type":"text","text":"done"}],"structuredContent":{"n":1}}`
	someTimes = `"createdAt":"2025-11-25T10:30:00Z","lastUpdatedAt":"2025-11-25T10:30:00Z"`
)

// tasker is a server with tasks, played over HTTP. What it answers to a method stands in says.
type tasker struct {
	t      *testing.T
	modern bool
	says   map[string]string // result, or "!" and an error
	news   map[string]string // what it says before that
	heard  []string          // method and params
}

func (s *tasker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	var m struct {
		ID     json.RawMessage
		Method string
		Params json.RawMessage
	}
	if json.Unmarshal(b, &m) != nil || m.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	s.heard = append(s.heard, m.Method+" "+string(m.Params))
	says, ok := s.says[m.Method]
	switch {
	case m.Method == "initialize":
		says = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"tasks":{"requests":{"tools":{"call":{}}}}},"serverInfo":{"name":"x","version":"1"}}`
	case !ok:
		says = `!{"code":-32601,"message":"no such method"}`
	}
	if news := s.news[m.Method]; news != "" {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprintf(w, "data: %s\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":%s}\n\n", news, m.ID, says)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if fail, is := strings.CutPrefix(says, "!"); is {
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":%s}`, m.ID, fail)
		return
	}
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, says)
}

func (s *tasker) last(method string) string {
	for _, heard := range slices.Backward(s.heard) {
		if rest, ok := strings.CutPrefix(heard, method+" "); ok {
			return rest
		}
	}
	return ""
}

// state is a task in the words of the server's era.
func (s *tasker) state(status, more string) string {
	ttl, poll := "ttl", "pollInterval"
	if s.modern {
		ttl, poll = "ttlMs", "pollIntervalMs"
	}
	return `{"resultType":"complete","taskId":"up-1","status":"` + status + `",` + someTimes + `,"` + ttl + `":99999999999,"` + poll + `":99999999` + more + `}`
}

// watch is a filter that sees answers: it refuses what holds "secret".
type watch struct{ seen []string }

func (*watch) Name() string        { return "watch" }
func (*watch) Digest() merkle.Hash { return sha256.Sum256([]byte("watch")) }
func (*watch) HasResponse() bool   { return true }
func (*watch) Decide(_ context.Context, _ *abi.Context, v *wasm.Verdict) error {
	v.Kind = wasm.Pass
	return nil
}

func (u *watch) OnResponse(_ context.Context, shown *abi.Context, v *wasm.Verdict) error {
	u.seen = append(u.seen, string(shown.JSON())+" of "+string(shown.Arguments))
	v.Kind = wasm.Pass
	if bytes.Contains(shown.Body, []byte("secret")) {
		v.Kind, v.Reason = wasm.Deny, "secret"
	}
	return nil
}

func (u *watch) For(context.Context, string) (*filters.Set, error) {
	set := filters.NewSet()
	set.Units = append(set.Units, filters.Place(u, nil))
	return set, nil
}

type oneTarget struct{ t *upstream.Target }

func (o oneTarget) Target(context.Context, string, string) (*upstream.Target, error) { return o.t, nil }

// tasking is a world in front of a server with tasks, with a filter on the way back.
func tasking(t *testing.T, modernServer bool) (*world, *tasker, *watch) {
	t.Helper()
	s, u := &tasker{t: t, modern: modernServer, says: map[string]string{}, news: map[string]string{}}, &watch{}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	w := newWorld(t)
	support := `{"tasks":{"cancel":{},"requests":{"tools":{"call":{}}}}}`
	target := &upstream.Target{Tenant: "acme", Name: "jobs", URL: web.URL, Era: "legacy", AllowPrivate: true}
	s.says["tools/call"] = `{"task":` + s.state("working", "") + `}`
	if modernServer {
		support, target.Era = `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`, "modern"
		s.says["tools/call"] = strings.Replace(s.state("working", ""), `"complete"`, `"task"`, 1)
	}
	w.offers["acme/jobs"] = []string{workTool, mustTool, readTool}
	w.offers["acme/jobs "+catalogue.Capabilities] = []string{support}
	w.addServer("acme", "jobs")
	client, err := upstream.New(upstream.Options{Config: upstream.DefaultConfig(), Now: time.Now})
	w.must(err)
	t.Cleanup(client.Close)
	w.line.Upstream = stages.Forward{Client: client, Servers: oneTarget{target}, Rounds: &pipeline.Rounds{}}
	last := len(w.line.Stages) - 1
	w.line.Stages = append(w.line.Stages[:last:last], &stages.Filter{Filters: u, Arguments: canon.DefaultLimits(), Results: canon.DefaultLimits()}, w.line.Stages[last])
	w.dialect.Tasks, err = pipeline.NewTasks(make([]byte, 32))
	w.must(err)
	return w, s, u
}

const jobsPlan = `{"steps":[{"server":"jobs","tool":"work","args":{"on":"x"}},{"server":"jobs","tool":"must"},{"server":"jobs","tool":"read","where":{"path":{"open":true}}}]}`

// ext sends a message of a modern client that takes tasks.
func (w *world) ext(method, name, params string, headers map[string]string) *answer {
	w.t.Helper()
	h := map[string]string{"MCP-Protocol-Version": modern, "Mcp-Method": method, "Mcp-Name": name}
	maps.Copy(h, headers)
	return w.send("POST", "/mcp", `{"jsonrpc":"2.0","id":7,"method":"`+method+`","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"`+modern+
		`","io.modelcontextprotocol/clientCapabilities":{"elicitation":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}},`+params+`}}`, h)
}

func text(a *answer, path ...string) string {
	v := a.result
	for _, p := range path {
		v, _ = canon.Get(v, p)
	}
	s, err := canon.Unquote(v)
	if canon.KindOf(v) != '"' || err != nil {
		return string(v)
	}
	return s
}

// begin makes the call that becomes a task and returns its id, in the era asked for.
func (w *world) begin(modernClient bool) string {
	w.t.Helper()
	token := map[string]string{"Gatewright-Intent": w.token(jobsPlan)}
	if modernClient {
		a := w.ext("tools/call", "jobs__work", `"name":"jobs__work","arguments":{"on":"x"}`, token)
		if text(a, "resultType") != "task" || text(a, "status") != "working" {
			w.t.Fatalf("%s", a.raw)
		}
		return text(a, "taskId")
	}
	a := w.old(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"jobs__work","arguments":{"on":"x"},"task":{"ttl":60000}}}`, token)
	if text(a, "task", "status") != "working" {
		w.t.Fatalf("%s", a.raw)
	}
	return text(a, "task", "taskId")
}

func (w *world) oldTask(method, id string, headers map[string]string) *answer {
	w.t.Helper()
	return w.old(`{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{"taskId":"`+id+`"}}`, headers)
}

func (w *world) newTask(method, id string) *answer {
	w.t.Helper()
	return w.ext(method, id, `"taskId":"`+id+`"`, nil)
}
