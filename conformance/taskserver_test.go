package conformance_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"
)

// taskServer is a server of 2026-07-28 with the tasks extension and the tools that the official suite's task scenarios name: no
// server that could be installed has them.
type taskServer struct {
	mu    sync.Mutex
	last  int
	tasks map[string]*serverTask
}

type serverTask struct {
	status  string
	made    time.Time
	asks    map[string]any
	result  any
	failure any
}

type rpcRequest struct {
	ID     json.RawMessage
	Method string
	Params struct {
		Name      string
		TaskID    string                     `json:"taskId"`
		State     string                     `json:"requestState"`
		Input     map[string]json.RawMessage `json:"inputResponses"`
		Arguments struct {
			Name    string
			Seconds float64
		}
		Meta struct {
			Capabilities struct{ Extensions map[string]json.RawMessage } `json:"io.modelcontextprotocol/clientCapabilities"`
		} `json:"_meta"`
	}
}

type rpcFailure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
}

// leaked is what the built-in filter takes out of results: the key of AWS's own examples.
const leaked = "AKIAIOSFODNN7EXAMPLE"

const extension = "io.modelcontextprotocol/tasks"

func newTaskServer(t testing.TB) string {
	t.Helper()
	s := httptest.NewServer(&taskServer{tasks: map[string]*serverTask{}})
	t.Cleanup(s.Close)
	return s.URL
}

func (s *taskServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q rpcRequest
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.reply(&q))
}

func (s *taskServer) reply(q *rpcRequest) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	result, fail := s.answer(q)
	if fail != nil {
		return map[string]any{"jsonrpc": "2.0", "id": q.ID, "error": fail}
	}
	return map[string]any{"jsonrpc": "2.0", "id": q.ID, "result": result}
}

// playTasks is the same server over stdio.
func playTasks() {
	s := &taskServer{tasks: map[string]*serverTask{}}
	in := json.NewDecoder(os.Stdin)
	for {
		var q rpcRequest
		if in.Decode(&q) != nil {
			return
		}
		if q.ID != nil {
			_ = json.NewEncoder(os.Stdout).Encode(s.reply(&q))
		}
	}
}

func (s *taskServer) answer(q *rpcRequest) (any, *rpcFailure) {
	if q.Method == "tools/call" {
		return s.call(q)
	}
	switch q.Method {
	case "server/discover":
		return map[string]any{"supportedVersions": []string{"2026-07-28"}, "capabilities": map[string]any{
			"tools": map[string]any{}, "extensions": map[string]any{extension: map[string]any{}}}, "resultType": "complete"}, nil
	case "tools/list":
		var tools []any
		for _, name := range []string{"greet", "slow_compute", "failing_job", "protocol_error_job", "confirm_delete", "multi_input", "test_tool_with_task"} {
			tools = append(tools, map[string]any{"name": name, "inputSchema": map[string]any{"type": "object"}})
		}
		return map[string]any{"tools": tools, "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}, nil
	}
	task := s.tasks[q.Params.TaskID]
	switch {
	case q.Method != "tasks/get" && q.Method != "tasks/update" && q.Method != "tasks/cancel":
		return nil, &rpcFailure{Code: -32601, Message: "no such method"}
	case q.Params.Meta.Capabilities.Extensions[extension] == nil:
		return nil, undeclared()
	case task == nil:
		return nil, &rpcFailure{Code: -32602, Message: "no such task"}
	case q.Method == "tasks/get":
		return s.state(q.Params.TaskID, task, "complete"), nil
	case q.Method == "tasks/cancel" && (task.status == "working" || task.status == "input_required"):
		task.status = "cancelled"
	case q.Method == "tasks/update":
		for key := range q.Params.Input {
			delete(task.asks, key)
		}
		if task.status == "input_required" && len(task.asks) == 0 {
			task.status, task.result = "completed", said("done")
		}
	}
	return map[string]any{"resultType": "complete"}, nil
}

func undeclared() *rpcFailure {
	return &rpcFailure{Code: -32021, Message: "Missing required client capability",
		Data: map[string]any{"requiredCapabilities": map[string]any{"extensions": map[string]any{extension: map[string]any{}}}}}
}

func said(text string) map[string]any {
	return map[string]any{"content": []any{map[string]any{"type": "text", "text": text}}}
}

func question(about string) map[string]any {
	return map[string]any{"method": "elicitation/create", "params": map[string]any{"mode": "form", "message": about,
		"requestedSchema": map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}}}}
}

// call answers a tool's call, at once or with a task.
func (s *taskServer) call(q *rpcRequest) (any, *rpcFailure) {
	takes := q.Params.Meta.Capabilities.Extensions[extension] != nil
	task := &serverTask{status: "working", made: time.Now()}
	after := func(d time.Duration, then func()) {
		time.AfterFunc(d, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if task.status == "working" {
				then()
			}
		})
	}
	switch q.Params.Name {
	case "greet":
		out := said("Hello, " + q.Params.Arguments.Name + "!")
		out["resultType"] = "complete"
		return out, nil
	case "failing_job":
		if !takes {
			return nil, undeclared()
		}
		after(time.Second, func() {
			task.status, task.result = "completed", map[string]any{"content": []any{}, "isError": true}
		})
	case "protocol_error_job":
		after(100*time.Millisecond, func() { task.status, task.failure = "failed", rpcFailure{Code: -32603, Message: "it broke"} })
	case "confirm_delete":
		task.status, task.asks = "input_required", map[string]any{"confirm": question("delete?")}
	case "multi_input":
		task.status, task.asks = "input_required", map[string]any{"one": question("first"), "two": question("second")}
	case "test_tool_with_task":
		if q.Params.State == "" {
			return map[string]any{"resultType": "input_required", "requestState": "round-1", "inputRequests": map[string]any{"user_name": question("who?")}}, nil
		}
		after(100*time.Millisecond, func() { task.status, task.result = "completed", said("hello "+string(q.Params.Input["user_name"])) })
	default:
		span := time.Duration(q.Params.Arguments.Seconds * float64(time.Second))
		if !takes {
			out := said("computed")
			out["resultType"] = "complete"
			return out, nil
		}
		after(span, func() { task.status, task.result = "completed", said("computed by "+leaked) })
	}
	s.last++
	id := fmt.Sprintf("server-task-%d", s.last)
	s.tasks[id] = task
	return s.state(id, task, "task"), nil
}

func (s *taskServer) state(id string, task *serverTask, kind string) map[string]any {
	at := task.made.UTC().Format(time.RFC3339)
	out := map[string]any{"resultType": kind, "taskId": id, "status": task.status, "createdAt": at, "lastUpdatedAt": at, "ttlMs": 60000, "pollIntervalMs": 100, "statusMessage": "as " + leaked}
	if kind == "task" {
		return out
	}
	switch task.status {
	case "completed":
		out["result"] = task.result
	case "failed":
		out["error"] = task.failure
	case "input_required":
		out["inputRequests"] = task.asks
	}
	return out
}
