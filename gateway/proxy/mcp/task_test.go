package mcp_test

import (
	"bytes"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
)

func TestATasksResultIsNoWayAroundEnforcement(t *testing.T) {
	for name, bad := range map[string]string{
		"what a filter refuses":           `{"content":[{"type":"text","text":"secret"}],"structuredContent":{"n":1}}`,
		"what breaks the schema":          `{"content":[],"structuredContent":{"n":"x"}}`,
		"what owes structure":             `{"content":[]}`,
		"what says it is no result":       `{"resultType":"input_required","inputRequests":{},"content":[]}`,
		"what says it is another task":    `{"resultType":"task","content":[]}`,
		"a secret under a related task":   `{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"up-1"}},"content":[{"type":"text","text":"secret"}],"structuredContent":{"n":1}}`,
		"no object":                       `[1]`,
		"a secret in what nobody expects": `{"content":[],"structuredContent":{"n":1,"more":"secret"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			w, s, _ := tasking(t, true)
			id := w.begin(true)
			s.says["tasks/get"] = s.state("completed", `,"result":`+bad)
			if a := w.newTask("tasks/get", id); a.code == 0 {
				t.Errorf("modern: %s", a.raw)
			}
			w, s, _ = tasking(t, false)
			id = w.begin(false)
			s.says["tasks/get"], s.says["tasks/result"] = s.state("completed", ""), bad
			if a := w.oldTask("tasks/result", id, nil); a.code == 0 {
				t.Errorf("older: %s", a.raw)
			}
			if a := w.newTask("tasks/get", id); a.code == 0 {
				t.Errorf("bridged: %s", a.raw)
			}
		})
	}
	w, s, _ := tasking(t, true)
	id := w.begin(true)
	for status, more := range map[string]string{
		"working": `,"statusMessage":"secret"`, "cancelled": `,"result":{"content":"secret"},"x":"secret"`,
		"failed": `,"error":{"code":1,"message":"secret"}`, "input_required": `,"inputRequests":{"a":{"method":"elicitation/create","params":{"message":"secret"}}}`,
	} {
		s.says["tasks/get"] = s.state(status, more)
		if a := w.newTask("tasks/get", id); strings.Contains(string(a.raw), `"secret`) {
			t.Errorf("%s: %s", status, a.raw)
		}
	}
	s.says["tasks/get"] = s.state("input_required", `,"inputRequests":{"a":{"method":"sampling/createMessage","params":{}}}`)
	if a := w.newTask("tasks/get", id); a.code == 0 {
		t.Errorf("a question that the client cannot be asked: %s", a.raw)
	}
	s.says["tasks/get"] = strings.Replace(s.state("working", ""), "up-1", "up-2", 1)
	if a := w.newTask("tasks/get", id); a.code == 0 {
		t.Errorf("another task's state: %s", a.raw)
	}
}

func TestATasksResultIsJudgedAsItsCalls(t *testing.T) {
	w, s, u := tasking(t, true)
	id := w.begin(true)
	if got := s.last("tools/call"); !strings.Contains(got, `"extensions":{"io.modelcontextprotocol/tasks":{}}`) {
		t.Errorf("the server was told %s", got)
	}
	s.says["tasks/get"] = s.state("completed", `,"statusMessage":"ready","result":`+goodWork)
	a := w.newTask("tasks/get", id)
	if text(a, "status") != "completed" || text(a, "result", "structuredContent") != `{"n":1}` || text(a, "taskId") != id || text(a, "statusMessage") != "ready" ||
		text(a, "resultType") != "complete" || text(a, "ttlMs") != "86400000" || text(a, "pollIntervalMs") != "60000" || text(a, "_meta", "gatewright/receipt") == "" {
		t.Errorf("%s", a.raw)
	}
	if strings.Contains(string(a.raw), "up-1") {
		t.Errorf("the server's own id is told: %s", a.raw)
	}
	last := u.seen[len(u.seen)-1]
	for _, want := range []string{`"op":"tools/call"`, `"tool":"work"`, `"on":"x"`, `"structuredContent":{"n":1}`, `"pln_1"`} {
		if !strings.Contains(last, want) {
			t.Errorf("the filter was shown %s, without %s", last, want)
		}
	}
	if r := w.book.last(); r.Op != "tasks/get" || r.Tool != "work" || !strings.Contains(r.Detail, "of rec_") || w.book.used[0] != 1 {
		t.Errorf("the record %+v, uses %v", r, w.book.used)
	}
}

func TestATaskIsItsCallersAlone(t *testing.T) {
	for _, modernClient := range []bool{true, false} {
		w, s, _ := tasking(t, modernClient)
		id := w.begin(modernClient)
		s.says["tasks/get"] = s.state("working", "")
		follow := func(id, path string, headers map[string]string) *answer {
			if modernClient {
				h := map[string]string{"MCP-Protocol-Version": modern, "Mcp-Method": "tasks/get", "Mcp-Name": id}
				maps.Copy(h, headers)
				return w.send("POST", path, `{"jsonrpc":"2.0","id":7,"method":"tasks/get","params":{"taskId":"`+id+`","_meta":{"io.modelcontextprotocol/protocolVersion":"`+modern+
					`","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}}}`, h)
			}
			return w.send("POST", path, `{"jsonrpc":"2.0","id":7,"method":"tasks/get","params":{"taskId":"`+id+`"}}`, headers)
		}
		if a := follow(id, "/mcp/jobs", nil); a.code != 0 {
			t.Fatalf("%s", a.raw)
		}
		_, sister, err := w.people.CreateKey(t.Context(), "acme", identity.NewKey{Kind: w.alice.Kind(), Mode: identity.Test, Agent: w.alice.Agent(), Name: "sister"})
		w.must(err)
		unknown := follow("nothing", "/mcp", nil)
		heard := len(s.heard)
		for name, a := range map[string]*answer{
			"another organisation":     follow(id, "/mcp", map[string]string{"Authorization": "Bearer " + w.evesKey}),
			"another key of its agent": follow(id, "/mcp", map[string]string{"Authorization": "Bearer " + sister}),
			"another path":             follow(id, "/mcp/files", nil),
			"the server's own id":      follow("up-1", "/mcp", nil),
			"a forged id":              follow(id[:len(id)-2]+"AA", "/mcp", nil),
			"a longer id":              follow(id+"A", "/mcp", nil),
			"a cut id":                 follow(id[:40], "/mcp", nil),
		} {
			cut := func(a *answer) string { s, _, _ := strings.Cut(a.message, "["); return s }
			if a.code != -32602 || a.status != unknown.status || cut(a) != cut(unknown) {
				t.Errorf("%s: %d %s, an unknown one %s", name, a.status, a.raw, unknown.raw)
			}
		}
		if len(s.heard) != heard {
			t.Errorf("the server was asked: %v", s.heard[heard:])
		}
	}
}

func TestATaskOfTheOlderEraGoesThroughTheGateway(t *testing.T) {
	w, s, u := tasking(t, false)
	id := w.begin(false)
	if got := s.last("tools/call"); got != `{"name":"work","arguments":{"on":"x"},"task":{"ttl":60000}}` {
		t.Errorf("the server was told %s", got)
	}
	s.says["tasks/get"] = s.state("working", `,"statusMessage":"on it","x-own":1`)
	a := w.oldTask("tasks/get", id, nil)
	if text(a, "status") != "working" || text(a, "statusMessage") != "on it" || text(a, "taskId") != id || text(a, "ttl") != "86400000" || text(a, "x-own") != "" {
		t.Errorf("%s", a.raw)
	}
	w.dialect.Tasks.Wait = 50 * time.Millisecond
	if a := w.oldTask("tasks/result", id, nil); !strings.Contains(a.message, "still being worked on") {
		t.Errorf("%s", a.raw)
	}
	s.says["tasks/get"] = s.state("completed", "")
	s.says["tasks/result"] = `{"_meta":{"a":1,"io.modelcontextprotocol/related-task":{"taskId":"up-1"}},` + goodWork[1:]
	a = w.oldTask("tasks/result", id, nil)
	if text(a, "_meta", "io.modelcontextprotocol/related-task", "taskId") != id || text(a, "_meta", "a") != "1" || text(a, "_meta", "gatewright/receipt") == "" || text(a, "structuredContent") != `{"n":1}` {
		t.Errorf("%s", a.raw)
	}
	if last := u.seen[len(u.seen)-1]; !strings.Contains(last, `"on":"x"`) || strings.Contains(last, "up-1") {
		t.Errorf("the filter was shown %s", last)
	}
	if got := s.last("tasks/result"); got != `{"taskId":"up-1"}` {
		t.Errorf("the server was asked %s", got)
	}
	s.says["tasks/get"] = s.state("completed", "")
	_ = w.oldTask("tasks/get", id, nil)
	list := w.old(`{"jsonrpc":"2.0","id":1,"method":"tasks/list"}`, nil)
	if all := text(list, "tasks"); strings.Count(all, `"taskId"`) != 1 || !strings.Contains(all, id) || !strings.Contains(all, `"completed"`) {
		t.Errorf("%s", list.raw)
	}
	_, sister, err := w.people.CreateKey(t.Context(), "acme", identity.NewKey{Kind: w.alice.Kind(), Mode: identity.Test, Agent: w.alice.Agent(), Name: "sister"})
	w.must(err)
	if list := w.old(`{"jsonrpc":"2.0","id":1,"method":"tasks/list"}`, map[string]string{"Authorization": "Bearer " + sister}); text(list, "tasks") != "[]" {
		t.Errorf("another's list: %s", list.raw)
	}
	s.says["tasks/cancel"] = `!{"code":-32602,"message":"terminal"}`
	if a := w.oldTask("tasks/cancel", id, nil); a.code != -32602 {
		t.Errorf("%s", a.raw)
	}
	if w.book.used[0] != 1 {
		t.Errorf("%d uses", w.book.used[0])
	}
}

func TestAModernTaskIsAnsweredAndEnded(t *testing.T) {
	w, s, _ := tasking(t, true)
	id := w.begin(true)
	s.says["tasks/get"] = s.state("input_required", `,"inputRequests":{"a":{"method":"elicitation/create","params":{"message":"who"}}}`)
	if a := w.newTask("tasks/get", id); text(a, "inputRequests", "a", "params", "message") != "who" {
		t.Errorf("%s", a.raw)
	}
	s.says["tasks/update"], s.says["tasks/cancel"] = `{"resultType":"complete"}`, `{"resultType":"complete"}`
	a := w.ext("tasks/update", id, `"taskId":"`+id+`","inputResponses":{"a":{"action":"accept"}}`, nil)
	if a.code != 0 || text(a, "resultType") != "complete" || !strings.Contains(s.last("tasks/update"), `"inputResponses":{"a":{"action":"accept"}}`) {
		t.Errorf("%s, the server was told %s", a.raw, s.last("tasks/update"))
	}
	if details := w.book.records[len(w.book.records)-2].Detail; !strings.Contains(details, "with input ") {
		t.Errorf("the record says %q", details)
	}
	if a := w.newTask("tasks/cancel", id); a.code != 0 || text(a, "resultType") != "complete" || text(a, "taskId") != "" {
		t.Errorf("%s", a.raw)
	}
	s.says["tasks/get"] = s.state("failed", `,"error":{"code":-32000,"message":"it broke"}`)
	if a := w.newTask("tasks/get", id); text(a, "status") != "failed" || text(a, "error", "message") != "it broke" {
		t.Errorf("%s", a.raw)
	}
	if a := w.new("tasks/get", id, `"taskId":"`+id+`"`, nil); a.code != -32021 || a.status != 400 || a.data["requiredCapabilities"] == nil {
		t.Errorf("without the extension: %s", a.raw)
	}
	if a := w.ext("tasks/get", "other", `"taskId":"`+id+`"`, nil); a.code != -32020 {
		t.Errorf("a header that says another task: %s", a.raw)
	}
	for _, method := range []string{"tasks/result", "tasks/list"} {
		if a := w.newTask(method, id); a.code != -32601 {
			t.Errorf("%s: %s", method, a.raw)
		}
	}
}

func TestAModernClientFollowsATaskOfAnOlderServer(t *testing.T) {
	w, s, _ := tasking(t, false)
	token := map[string]string{"Gatewright-Intent": w.token(jobsPlan)}
	if a := w.ext("tools/call", "jobs__must", `"name":"jobs__must","arguments":{}`, token); text(a, "resultType") != "task" || text(a, "ttlMs") != "86400000" {
		t.Fatalf("%s", a.raw)
	} else {
		id := text(a, "taskId")
		s.says["tasks/get"], s.says["tasks/result"] = s.state("failed", ""), `{"content":[],"isError":true}`
		if a := w.newTask("tasks/get", id); text(a, "status") != "completed" || text(a, "result", "isError") != "true" {
			t.Errorf("%s", a.raw)
		}
		s.says["tasks/cancel"] = `!{"code":-32602,"message":"terminal"}`
		if a := w.newTask("tasks/cancel", id); a.code != 0 {
			t.Errorf("%s", a.raw)
		}
		s.says["tasks/get"] = s.state("input_required", "")
		if a := w.newTask("tasks/get", id); !strings.Contains(a.message, "waits for input") {
			t.Errorf("%s", a.raw)
		}
	}
	s.says["tools/call"] = goodWork
	if a := w.ext("tools/call", "jobs__work", `"name":"jobs__work","arguments":{"on":"x"}`, token); text(a, "resultType") != "complete" || strings.Contains(s.last("tools/call"), "task") {
		t.Errorf("a tool that need not be a task: %s", a.raw)
	}
}

func TestTasksAreOfferedAsServersHaveThem(t *testing.T) {
	w, s, _ := tasking(t, false)
	if a := w.ext("tools/call", "jobs__must", `"name":"jobs__must","arguments":{}`, map[string]string{"Gatewright-Intent": w.token(jobsPlan)}); text(a, "resultType") != "task" {
		t.Errorf("%s", a.raw)
	}
	if a := w.send("POST", "/mcp/jobs", `{"jsonrpc":"2.0","id":1,"method":"tasks/list"}`, nil); text(a, "tasks") != "[]" {
		t.Errorf("a task of the other era is listed: %s", a.raw)
	}
	w.book.used = map[int32]uint32{}
	init := `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}`
	if a := w.send("POST", "/mcp/jobs", init, nil); text(a, "capabilities", "tasks") != `{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}` {
		t.Errorf("%s", a.raw)
	}
	if a := w.send("POST", "/mcp/files", init, nil); text(a, "capabilities", "tasks") != "" {
		t.Errorf("%s", a.raw)
	}
	if a := w.send("POST", "/mcp/files", `{"jsonrpc":"2.0","id":1,"method":"tasks/list"}`, nil); a.code != -32601 {
		t.Errorf("%s", a.raw)
	}
	a := w.send("POST", "/mcp/jobs", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, nil)
	if !strings.Contains(string(a.raw), `"execution":{"taskSupport":"required"}`) || strings.Count(string(a.raw), `"forbidden"`) != 1 {
		t.Errorf("%s", a.raw)
	}
	token := map[string]string{"Gatewright-Intent": w.token(jobsPlan)}
	if a := w.send("POST", "/mcp/jobs", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"path":"/"},"task":{}}}`, token); a.code != -32601 || len(w.book.used) != 0 {
		t.Errorf("a tool without tasks: %s", a.raw)
	}
	s.says["tools/call"] = goodWork
	if a := w.send("POST", "/mcp/jobs", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"work","arguments":{"on":"x"},"task":7}}`, token); a.code != -32602 {
		t.Errorf("%s", a.raw)
	}
	if a := w.send("POST", "/mcp/jobs", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"work","arguments":{"on":"x"},"task":{"ttl":1e300}}}`, token); text(a, "structuredContent") != `{"n":1}` ||
		!strings.Contains(s.last("tools/call"), `"task":{"ttl":86400000}`) {
		t.Errorf("a server that answers at once: %s, told %s", a.raw, s.last("tools/call"))
	}
	w, _, _ = tasking(t, true)
	if a := w.new("server/discover", "", "", nil); text(a, "capabilities", "extensions") != `{"io.modelcontextprotocol/tasks":{}}` {
		t.Errorf("%s", a.raw)
	}
	if a := w.send("POST", "/mcp/jobs", init, nil); text(a, "capabilities", "tasks") != "" {
		t.Errorf("%s", a.raw)
	}
}

func TestTasksAreBounded(t *testing.T) {
	w, s, _ := tasking(t, false)
	w.dialect.Tasks.MostOf = 1
	id := w.begin(false)
	call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"jobs__must","arguments":{},"task":{}}}`
	token := map[string]string{"Gatewright-Intent": w.token(jobsPlan)}
	if a := w.old(call, token); a.data["reason"] != "rate_limited" || len(w.book.used) != 1 {
		t.Errorf("%s", a.raw)
	}
	if a := w.ext("tools/call", "jobs__must", `"name":"jobs__must","arguments":{}`, token); text(a, "resultType") == "task" {
		t.Errorf("%s", a.raw)
	}
	s.says["tasks/get"] = s.state("cancelled", "")
	if a := w.oldTask("tasks/get", id, nil); a.code != 0 {
		t.Errorf("%s", a.raw)
	}
	w.book.used = map[int32]uint32{}
	if a := w.old(call, token); a.code != 0 {
		t.Errorf("once the first has ended: %s", a.raw)
	}
	large := strings.Replace(call, `"arguments":{}`, `"arguments":{"x":"`+strings.Repeat("x", pipeline.MaxTaskArgs)+`"}`, 1)
	if a := w.old(large, token); a.code != -32602 {
		t.Errorf("%s", a.raw)
	}
	w.dialect.Tasks.TTL = time.Nanosecond
	if a := w.oldTask("tasks/get", id, nil); a.code != 0 {
		t.Errorf("a task that began under longer bounds: %s", a.raw)
	}
}

func TestATaskOutlivesTheGatewayAndNotItsPlan(t *testing.T) {
	w, s, _ := tasking(t, true)
	id := w.begin(true)
	s.says["tasks/get"] = s.state("completed", `,"result":`+goodWork)
	var err error
	w.dialect.Tasks, err = pipeline.NewTasks(make([]byte, 32))
	w.must(err)
	if a := w.newTask("tasks/get", id); text(a, "result", "structuredContent") != `{"n":1}` {
		t.Errorf("%s", a.raw)
	}
	for i, stage := range w.line.Stages {
		if in, ok := stage.(stages.Intent); ok {
			in.Plans = ended{in.Plans}
			w.line.Stages[i] = in
		}
	}
	if a := w.newTask("tasks/get", id); a.data["reason"] != "plan_revoked" {
		t.Errorf("of a plan that was revoked: %s", a.raw)
	}
	s.says["tasks/cancel"] = `{}`
	w.offers["acme/jobs"] = []string{mustTool}
	w.refresh("acme", "jobs")
	if a := w.newTask("tasks/get", id); a.data["reason"] != "not_available" {
		t.Errorf("of a tool that is gone: %s", a.raw)
	}
	w.offers["acme/jobs"] = []string{workTool, mustTool}
	w.refresh("acme", "jobs")
	if a := w.newTask("tasks/cancel", id); a.code != 0 {
		t.Errorf("ending it: %s", a.raw)
	}
	w.dialect.Tasks, err = pipeline.NewTasks(bytes.Repeat([]byte{1}, 32))
	w.must(err)
	if a := w.newTask("tasks/get", id); a.code != -32602 {
		t.Errorf("under another key: %s", a.raw)
	}
}

// ended are plans that have been revoked.
type ended struct{ stages.Plans }

func (e ended) Held(tenant string, root merkle.Hash) (*intent.Held, string, bool) {
	_, _, ok := e.Plans.Held(tenant, root)
	return nil, "revoked", ok
}

func TestNewsOfATaskComeOnItsStream(t *testing.T) {
	w, s, _ := tasking(t, false)
	w.listenWithStreams()
	id := w.begin(false)
	s.says["tasks/get"], s.says["tasks/result"] = s.state("completed", ""), goodWork
	for news, want := range map[string]int{
		s.state("working", `,"statusMessage":"secret","x":"secret"`):          2,
		strings.Replace(s.state("working", ""), "up-1", "up-2", 1):            1,
		strings.Replace(s.state("working", ""), `"working"`, `"anything"`, 1): 1,
	} {
		s.news["tasks/result"] = `{"jsonrpc":"2.0","method":"notifications/tasks/status","params":` + news + `}`
		got, _ := w.events(both, `{"jsonrpc":"2.0","id":1,"method":"tasks/result","params":{"taskId":"`+id+`"}}`, "")
		if len(got) != want || got[len(got)-1]["result"] == nil {
			t.Fatalf("%s: %s", news, got)
		}
		if params := string(got[0]["params"]); want == 2 && (!strings.Contains(params, id) || strings.Contains(params, "secret") || !strings.Contains(params, `"pollInterval":60000`)) {
			t.Errorf("%s", params)
		}
	}
}
