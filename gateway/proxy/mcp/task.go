package mcp

import (
	"strconv"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle/canon"
)

// taskMethods are the operations on tasks: the policy action that each is, and the eras that have it (MCP 2025-11-25, tasks;
// SEP-2663).
var taskMethods = map[string]struct {
	action        string
	older, modern bool
}{
	"tasks/get":    {"get_task", true, true},
	"tasks/result": {"task_result", true, false},
	"tasks/list":   {"list_tasks", true, false},
	"tasks/cancel": {"cancel_task", true, true},
	"tasks/update": {"respond", false, true},
}

// missingCapability is the reason of a refusal because the client did not declare what it uses.
const missingCapability = "missing_capability"

// declaresTasks says whether the message declares the tasks extension.
func (e *exchange) declaresTasks() bool {
	caps, _ := canon.Get(e.metaRaw, "io.modelcontextprotocol/clientCapabilities")
	extensions, _ := canon.Get(caps, "extensions")
	v, ok := canon.Get(extensions, upstream.TasksExtension)
	return ok && canon.KindOf(v) == '{'
}

// withTasks adds the extension to an object of capabilities.
func withTasks(caps []byte) []byte {
	b := comma(caps[:len(caps)-1], 1)
	return append(b, `"extensions":{"`+upstream.TasksExtension+`":{}}}`...)
}

// pathTasks is what the path's servers have of tasks together.
func (e *exchange) pathTasks(c *pipeline.Call) (t catalogue.Tasks) {
	if e.d.Tasks == nil {
		return t
	}
	for _, s := range e.d.Catalogue.Servers(c.Caller.Tenant()) {
		if e.server == "" || s.Name == e.server {
			has := e.d.Catalogue.Tasks(s.Tenant, s.Name)
			t.Older, t.Cancel, t.Modern = t.Older || has.Older, t.Cancel || has.Cancel, t.Modern || has.Modern
		}
	}
	return t
}

// taskCapabilities appends what the path has of tasks, in the client's era. A modern client is served by older servers too.
func (e *exchange) taskCapabilities(b []byte, c *pipeline.Call) []byte {
	has := e.pathTasks(c)
	switch {
	case e.modern && (has.Modern || has.Older):
		return append(b, `,"extensions":{"`+upstream.TasksExtension+`":{}}`...)
	case e.modern || !has.Older:
		return b
	}
	b = append(b, `,"tasks":{"list":{},`...)
	if has.Cancel {
		b = append(b, `"cancel":{},`...)
	}
	return append(b, `"requests":{"tools":{"call":{}}}}`...)
}

// execution appends what a tool says of tasks, to clients that can use it.
func (e *exchange) execution(b []byte, item *listed) []byte {
	if e.modern || e.call.Op != "tools/list" || e.d.Tasks == nil || !e.d.Catalogue.Tasks(e.call.Caller.Tenant(), item.server).Older {
		return b
	}
	support := (&catalogue.Tool{Raw: item.raw}).TaskSupport()
	return append(b, `,"execution":{"taskSupport":"`+support+`"}`...)
}

// mayBeTask reads what makes the call of a tool one that may become a task: what an older client asks for, or that a modern one
// takes tasks.
func (e *exchange) mayBeTask(c *pipeline.Call) error {
	k := e.d.Tasks
	if k == nil {
		return nil
	}
	asked := e.taskRaw != nil
	if e.modern {
		asked = e.declaresTasks()
	}
	if !asked { // as most do
		return nil
	}
	tool, found := e.d.Catalogue.Find(c.Caller.Tenant(), catalogue.CallTool, c.Server, c.Name)
	has := e.d.Catalogue.Tasks(c.Caller.Tenant(), c.Server)
	t := &pipeline.Task{All: k, Older: !e.modern, Modern: has.Modern, Hear: e.hear}
	if e.modern {
		bridged := has.Older && found && tool.TaskSupport() == "required"
		if !c.Alone && (has.Modern || bridged) && len(c.Args) <= pipeline.MaxTaskArgs && k.Room(c) {
			t.Asked, t.TTL, c.Task = bridged, k.Life(0), t
		}
		return nil // without room the server answers at once, or refuses
	}
	if !e.pathTasks(c).Older || !found { // who declares no tasks leaves it out of account (MCP 2025-11-25, tasks)
		return nil
	}
	ttl, err := ttlOf(e.taskRaw)
	switch {
	case err != nil:
		return err
	case c.Alone:
		return deny(pipeline.WrongKeyKind, "a token shown alone cannot follow a task; use an API key, or call the tool without a task")
	case !has.Older || tool.TaskSupport() == "forbidden":
		return deny(pipeline.MethodNotFound, "this tool cannot be called as a task").WithReason("no_task")
	case len(c.Args) > pipeline.MaxTaskArgs:
		return deny(pipeline.InvalidArguments, "the arguments of a call that becomes a task have at most 4 KiB; call the tool without a task")
	case !k.Room(c):
		d := deny(pipeline.RateLimited, "this caller has as many tasks as it may have (proxy.max_tasks_per_agent); wait for one to end, or cancel one")
		d.RetryAfter = time.Minute
		return d.WithReason("rate_limited tasks")
	}
	t.Asked, t.TTL, c.Task = true, k.Life(ttl), t
	return nil
}

// ttlOf reads params.task.
func ttlOf(task []byte) (time.Duration, error) {
	bad := deny(pipeline.Malformed, `"params.task" must be an object, and its "ttl" a number of milliseconds`)
	if canon.KindOf(task) != '{' {
		return 0, bad
	}
	raw, ok := canon.Get(task, "ttl")
	if !ok || canon.KindOf(raw) == 'n' {
		return 0, nil
	}
	n, err := strconv.ParseFloat(string(raw), 64)
	if canon.KindOf(raw) != '0' || err != nil || n < 0 {
		return 0, bad
	}
	return time.Duration(min(n, 1e12)) * time.Millisecond, nil
}

// hear has the filters see a server's own words about a task.
func (e *exchange) hear(method string, params []byte) ([]byte, error) {
	e.talk.Lock()
	defer e.talk.Unlock()
	return e.d.Line.Interim(e.ctx, &e.call, method, params)
}

// task reads an operation on tasks. Whoever may call a tool may follow the tasks that its calls of it became.
func (e *exchange) task(c *pipeline.Call) error {
	m := taskMethods[e.method]
	if e.d.Tasks == nil || e.modern && !m.modern || !e.modern && !m.older {
		return deny(pipeline.MethodNotFound, "no such method in this protocol version").WithReason("method_not_found")
	}
	if c.Action = m.action; e.modern && !e.declaresTasks() {
		d := deny(pipeline.Malformed, "the message does not declare the extension "+upstream.TasksExtension).WithReason(missingCapability)
		d.Data = []byte(`{"requiredCapabilities":{"extensions":{"` + upstream.TasksExtension + `":{}}}}`)
		return d
	}
	if e.method == "tasks/list" {
		return e.tasksList(c)
	}
	raw, _ := canon.Get(e.params, "taskId")
	id, err := stringOf(raw, `"params.taskId"`)
	if err != nil {
		return err
	}
	if err := e.mirrored(id); err != nil {
		return err
	}
	if !e.own(c, id) {
		c.Server, c.Name, c.Task = e.server, "", nil
		d := deny(pipeline.InvalidArguments, "no such task: it has expired, or the id is not one that this caller was given here")
		d.Hint = "use the taskId that the call was answered with, with the same key and on the same path"
		return d.WithReason("unknown_task")
	}
	if !e.permitted(c, "call_tool", c.Server, c.Name) {
		d := deny(pipeline.NotAvailable, "the tool that the task is of is not there, or not for this caller any more")
		d.Hint = "try again in a moment if the gateway or the server was started anew; else ask the security team, naming the record id"
		return d.WithReason("task_out_of_reach")
	}
	c.Args = append(canon.AppendString([]byte(`{"taskId":`), id), '}')
	c.Task.Older, c.Task.Hear = !e.modern, e.hear
	if e.modern {
		caps, _ := canon.Get(e.metaRaw, "io.modelcontextprotocol/clientCapabilities")
		c.Can = withTasks(capabilitiesOf(caps))
	} else {
		c.Peer = hearer{e} // in the session that the task was begun in
	}
	if err := e.carry(c, false); err != nil || e.method != "tasks/update" {
		return err
	}
	if c.Input, _ = canon.Get(e.params, "inputResponses"); canon.KindOf(c.Input) != '{' {
		return deny(pipeline.Malformed, `"params.inputResponses" must be an object`)
	}
	return nil
}

// own says whether the id is one of a task of this caller's on this path. A task of a server of the other era that
// this client's era cannot follow is not its own either.
func (e *exchange) own(c *pipeline.Call, id string) bool {
	t := e.d.Tasks.Open(c, id)
	return t != nil && (e.server == "" || e.server == c.Server) && (e.modern || !t.Modern)
}

// tasksList reads tasks/list, which the gateway answers itself: only it knows whose a task is.
func (e *exchange) tasksList(c *pipeline.Call) error {
	if !e.pathTasks(c).Older {
		return deny(pipeline.MethodNotFound, "no server here has tasks").WithReason("method_not_found")
	}
	if cursor, _ := canon.Get(e.params, "cursor"); cursor != nil && canon.KindOf(cursor) != 'n' {
		return deny(pipeline.Malformed, "the list of tasks has one page: list again without a cursor").WithReason("cursor")
	}
	c.Server, c.Answer = e.server, e.answer
	return e.knownServer(c)
}

// listTasks is the caller's own tasks that this gateway knows, as they were when they were looked at last.
func (e *exchange) listTasks(c *pipeline.Call) []byte {
	b := []byte(`{"tasks":[`)
	start := len(b)
	e.d.Tasks.List(c, e.server, func(state []byte) { b = append(comma(b, start), state...) })
	return append(b, "]}"...)
}

// showTask makes the reply what the client reads of it: the state of the task, around what the call came to where its era has
// both in one.
func (e *exchange) showTask() {
	c := &e.call
	r, t := &c.Reply, c.Reply.Task
	state := append(append([]byte{'{'}, t.State...), '}')
	switch {
	case c.Op == catalogue.CallTool && e.modern:
		r.Result = state
	case c.Op == catalogue.CallTool:
		r.Result = append([]byte(`{"task":`), without(state, "_meta")...)
		if meta, ok := canon.Get(state, "_meta"); ok {
			r.Result = append(append(r.Result, `,"_meta":`...), meta...)
		}
		r.Result = append(r.Result, '}')
	case r.Error != nil && !t.Holds, c.Op == "tasks/result" && r.Error != nil:
	case c.Op == "tasks/result":
		r.Result = e.relate(e.dress(catalogue.CallTool, r.Result), t.ID)
	case e.modern && c.Op != "tasks/get":
		r.Result = []byte("{}")
	case t.Holds && r.Error != nil:
		r.Result, r.Error = append(append(append(state[:len(state)-1], `,"error":`...), r.Error...), '}'), nil
	case t.Holds:
		r.Result = append(append(append(state[:len(state)-1], `,"result":`...), e.dress(catalogue.CallTool, r.Result)...), '}')
	default:
		r.Result = state
	}
}

// related is the key of _meta under which a message of the older era names its task.
const related = "io.modelcontextprotocol/related-task"

// relate names the task in a message's _meta, as its caller knows it.
func (e *exchange) relate(object []byte, id string) []byte {
	task := append(canon.AppendString([]byte(`{"taskId":`), id), '}')
	meta, ok := canon.Get(object, "_meta")
	b := []byte(`{"_meta":{"` + related + `":`)
	b = append(b, task...)
	if ok && canon.KindOf(meta) == '{' {
		b = appendMembers(b, 1, meta, func(key string) bool { return key != related })
	}
	b = append(b, '}')
	return append(appendMembers(b, 1, object, func(key string) bool { return key != "_meta" }), '}')
}

// relatedTo has a server's question name the task as the client knows it, where the call is about one.
func (e *exchange) relatedTo(params []byte) []byte {
	if !e.call.Task.Follows() || canon.KindOf(params) != '{' {
		return params
	}
	return e.relate(params, e.call.Task.ID)
}

// taskStatus hands on what a server says of the call's own task beside its answer; of others it says nothing.
func (h hearer) taskStatus(params []byte) error {
	e, t := h.e, h.e.call.Task
	if !t.Follows() || !t.Older {
		return nil
	}
	state, err := upstream.ReadTask(params, t.Modern)
	if err != nil || state.ID != t.Own {
		return nil //nolint:nilerr // a client is not to rely on it
	}
	e.talk.Lock()
	defer e.talk.Unlock()
	if e.openStream() != nil {
		return nil
	}
	b := append(e.out[:0], `{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{`...)
	b = append(b, stages.StateOf(t, &state, nil)...)
	e.out = append(b, "}}"...)
	return e.stream.Event("", e.out)
}
