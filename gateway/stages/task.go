package stages

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/wasm/abi"
)

// Methods of tasks (MCP 2025-11-25, tasks; SEP-2663).
const (
	getTask    = "tasks/get"
	taskResult = "tasks/result"
	cancelTask = "tasks/cancel"
	updateTask = "tasks/update"
)

// asTask makes the request of a call one for a task, where an older server is to be asked for it.
func asTask(c *pipeline.Call, req *upstream.Request) error {
	switch {
	case c.Task == nil:
		return nil
	case len(c.Args) > pipeline.MaxTaskArgs:
		return pipeline.Deny(pipeline.InvalidArguments, "a filter made the arguments larger than those of a task may be")
	case !c.Task.Asked:
		return nil
	}
	b := canon.AppendString([]byte(`{"name":`), c.Name)
	b = append(append(b, `,"arguments":`...), c.Args...)
	b = strconv.AppendInt(append(b, `,"task":{"ttl":`...), c.Task.TTL.Milliseconds(), 10)
	req.Params, req.Arguments = append(b, "}}"...), nil
	return nil
}

// begun is the reply of a server that made the call a task; ok is false when it is another reply.
func begun(c *pipeline.Call, reply *upstream.Reply) (out pipeline.Reply, ok bool, err error) {
	t := c.Task
	if t == nil || reply.Result == nil {
		return out, false, nil
	}
	raw := reply.Result
	if t.Modern {
		if kind, _ := canon.Get(raw, "resultType"); string(kind) != `"task"` {
			return out, false, nil
		}
	} else {
		if raw, ok = canon.Get(raw, "task"); !ok || !t.Asked {
			return out, false, nil
		}
	}
	state, err := upstream.ReadTask(raw, t.Modern)
	if err != nil {
		return out, true, upstreamDenial(err)
	}
	if meta, ok := canon.Get(reply.Result, "_meta"); ok && !t.Modern { // beside the task, and not of it
		state.Meta = meta
	}
	t.All.Begin(c, state.ID, t.All.Life(state.TTL))
	return pipeline.Reply{Status: reply.Status, Result: noArguments, Task: told(c, &state, nil)}, true, nil
}

// told is a task's state as its caller is told it, and notes it for tasks/list. more are further members.
func told(c *pipeline.Call, state *upstream.Task, more []byte) *pipeline.TaskReply {
	t := c.Task
	list := StateOf(t, state, nil)
	t.All.Note(c, append(append([]byte{'{'}, list...), '}'), state.Terminal())
	message, meta := said(t, state)
	b := StateOf(t, state, message)
	if meta != nil {
		b = append(append(b, `,"_meta":`...), meta...)
	}
	return &pipeline.TaskReply{ID: t.ID, State: append(b, more...)}
}

// said is what the filters let pass of the server's own words about the task, a raw string, and of its _meta, a raw object; nil
// where there is nothing.
func said(t *pipeline.Task, state *upstream.Task) (message, meta []byte) {
	own := unrelated(state.Meta)
	if t.Hear == nil || state.Message == nil && own == nil {
		return nil, nil
	}
	b := []byte{'{'}
	if state.Message != nil {
		b = append(append(b, `"statusMessage":`...), state.Message...)
	}
	if own != nil {
		b = append(append(comma(b), `"_meta":`...), own...)
	}
	heard, err := t.Hear("notifications/tasks/status", append(b, '}'))
	if err != nil {
		return nil, nil // the task goes on without words
	}
	if message, _ = canon.Get(heard, "statusMessage"); canon.KindOf(message) != '"' {
		message = nil
	}
	if meta, _ = canon.Get(heard, "_meta"); canon.KindOf(meta) != '{' {
		meta = nil
	}
	return message, meta
}

// StateOf is the members of a task's state as its caller's era has them: the sealed id in the place of the server's, times to
// live and to wait within bounds, and nothing else that the server added.
func StateOf(t *pipeline.Task, state *upstream.Task, message []byte) []byte {
	ttl, poll := "ttlMs", "pollIntervalMs"
	if t.Older {
		ttl, poll = "ttl", "pollInterval"
	}
	b := canon.AppendString([]byte(`"taskId":`), t.ID)
	b = canon.AppendString(append(b, `,"status":`...), state.Status)
	if message != nil {
		b = append(append(b, `,"statusMessage":`...), message...)
	}
	b = canon.AppendString(append(b, `,"createdAt":`...), state.Created)
	b = canon.AppendString(append(b, `,"lastUpdatedAt":`...), state.Updated)
	b = strconv.AppendInt(append(b, `,"`+ttl+`":`...), min(t.All.Life(state.TTL), t.TTL).Milliseconds(), 10)
	if pause := t.All.Pause(state.Poll); pause > 0 {
		b = strconv.AppendInt(append(b, `,"`+poll+`":`...), pause.Milliseconds(), 10)
	}
	return b
}

// follow carries an operation on a task to the task's server.
func (s Forward) follow(ctx context.Context, c *pipeline.Call, t *upstream.Target, principal string) error {
	f := follower{s, c, t, upstream.Request{Principal: principal, Capabilities: c.Can, Peer: c.Peer, Name: c.Task.Own, Meta: metaOf(c)}}
	switch c.Op {
	case getTask:
		return f.get(ctx)
	case taskResult:
		return f.result(ctx)
	case cancelTask:
		return f.cancel(ctx)
	case updateTask:
		return f.update(ctx)
	}
	return pipeline.Deny(pipeline.MethodNotFound, "")
}

// follower is one look at a task.
type follower struct {
	s   Forward
	c   *pipeline.Call
	t   *upstream.Target
	req upstream.Request
}

// ask makes one request about the task.
func (f *follower) ask(ctx context.Context, method string) (*upstream.Reply, error) {
	f.req.Method = method
	reply := f.c.Carried
	if err := f.s.Client.Call(ctx, f.t, &f.req, reply); err != nil {
		return nil, upstreamDenial(err)
	}
	if err := wellShaped(reply); err != nil {
		return nil, err
	}
	return reply, nil
}

// state asks how the task is. What the server refuses is the call's reply, and the state nil. raw is valid until the next
// request.
func (f *follower) state(ctx context.Context) (state *upstream.Task, raw []byte, err error) {
	reply, err := f.ask(ctx, getTask)
	if err != nil {
		return nil, nil, err
	}
	if reply.Error != nil {
		f.c.Reply = pipeline.Reply{Status: reply.Status, Error: reply.Error}
		return nil, nil, nil
	}
	got, err := f.own(reply.Result)
	return got, reply.Result, err
}

// own reads the state of this task and of no other.
func (f *follower) own(raw []byte) (*upstream.Task, error) {
	state, err := upstream.ReadTask(raw, f.c.Task.Modern)
	if err != nil {
		return nil, upstreamDenial(err)
	}
	if state.ID != f.c.Task.Own {
		return nil, misshapen("the answer is about another task")
	}
	return &state, nil
}

func misshapen(why string) error {
	return pipeline.Deny(pipeline.UpstreamMalformed, "").WithReason("malformed: " + why)
}

// get answers tasks/get. To a modern client it brings what the call came to as well, which an older server is asked for apart.
func (f *follower) get(ctx context.Context) error {
	state, raw, err := f.state(ctx)
	if err != nil || state == nil {
		return err
	}
	task := f.c.Task
	switch ended := state.Status == "completed" || state.Status == "failed"; {
	case task.Older:
		return f.bare(state, nil)
	case task.Modern && state.Status == "input_required":
		questions, err := f.questions(raw)
		if err != nil {
			return err
		}
		return f.bare(state, append([]byte(`,"inputRequests":`), questions...))
	case state.Status == "input_required":
		return pipeline.Deny(pipeline.UpstreamRefused, "the task waits for input, and this server asks for it in a way that clients of this protocol version cannot answer")
	case task.Modern && ended:
		result, _ := canon.Get(raw, "result")
		failure, _ := canon.Get(raw, "error")
		if state.Status == "completed" {
			failure = nil
		} else {
			result = nil
		}
		return f.came(state, &upstream.Reply{Status: 200, Result: result, Error: failure})
	case ended:
		reply, err := f.ask(ctx, taskResult)
		if err != nil {
			return err
		}
		state.Status = "completed" // also what failed as tools do (SEP-2663)
		if reply.Error != nil {
			state.Status = "failed"
		}
		return f.came(state, reply)
	}
	return f.bare(state, nil)
}

// bare is a reply that is a state and nothing else.
func (f *follower) bare(state *upstream.Task, more []byte) error {
	f.c.Reply = pipeline.Reply{Status: 200, Result: noArguments, Task: told(f.c, state, more)}
	return nil
}

// came is a reply with what the call came to: it passes what every call's result does, as the call's own.
func (f *follower) came(state *upstream.Task, reply *upstream.Reply) error {
	result, failure := reply.Result, reply.Error
	if body := slices.Concat(result, failure); (result == nil) == (failure == nil) || len(body) < 2 || body[0] != '{' || body[len(body)-1] != '}' {
		return misshapen("the task's result or error is not one object")
	}
	if kind, ok := canon.Get(result, "resultType"); ok && string(kind) != `"complete"` {
		return misshapen("the task came to a result of a type that is none")
	}
	if code, _ := canon.Get(failure, "code"); failure != nil && canon.KindOf(code) != '0' {
		return misshapen("the task's error has no code")
	}
	around := &pipeline.TaskReply{ID: f.c.Task.ID}
	if state != nil {
		around = told(f.c, state, nil) // before there is a result that filters would take its words for
	}
	around.Holds = true
	f.c.Reply = pipeline.Reply{Status: reply.Status, Result: unrelatedResult(result), Error: failure, Task: around}
	return nil
}

// related is the key under which messages name the task that they belong to.
const related = "io.modelcontextprotocol/related-task"

// unrelated is a _meta without the server's own id of the task, which is nobody else's to know. The caller's is put there where it
// is handed on. Nil when nothing is left.
func unrelated(meta []byte) []byte {
	b := []byte{'{'}
	if canon.KindOf(meta) == '{' {
		_ = canon.Each(meta, func(key, value []byte) error { // checked JSON: cannot fail
			if string(key) != related {
				b = append(append(canon.AppendString(comma(b), string(key)), ':'), value...)
			}
			return nil
		})
	}
	if len(b) == 1 {
		return nil
	}
	return append(b, '}')
}

// unrelatedResult is a result with such a _meta.
func unrelatedResult(result []byte) []byte {
	meta, _ := canon.Get(result, "_meta")
	if _, has := canon.Get(meta, related); !has {
		return result
	}
	b := []byte{'{'}
	if left := unrelated(meta); left != nil {
		b = append(append(b, `"_meta":`...), left...)
	}
	_ = canon.Each(result, func(key, value []byte) error {
		if string(key) != "_meta" {
			b = append(append(canon.AppendString(comma(b), string(key)), ':'), value...)
		}
		return nil
	})
	return append(b, '}')
}

// comma separates a member from one before it in the object that was opened last.
func comma(b []byte) []byte {
	if b[len(b)-1] == '{' {
		return b
	}
	return append(b, ',')
}

// questions are what a modern server asks of its client in a task: only what the client said it can be asked, and only what
// the filters leave as it is.
func (f *follower) questions(raw []byte) ([]byte, error) {
	questions, ok := canon.Get(raw, "inputRequests")
	if !ok || canon.KindOf(questions) != '{' {
		return nil, misshapen("a task asks for input and says not which")
	}
	if err := f.s.askable(f.c, questions); err != nil {
		return nil, err
	}
	if f.c.Task.Hear == nil {
		return questions, nil
	}
	heard, err := f.c.Task.Hear("input_requests", questions)
	if err != nil {
		return nil, err
	}
	if canon.KindOf(heard) != '{' {
		return nil, misshapen("no questions are left of a task's")
	}
	return heard, nil
}

// result answers tasks/result of an older client. The gateway waits for the task's end by looking at it, so that a long task
// holds no connection to its server; a task that asks for input is given its client's ear.
func (f *follower) result(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, f.c.Task.All.Patience())
	defer stop()
	for {
		state, _, err := f.state(ctx)
		if err != nil || state == nil {
			return err
		}
		if state.Terminal() || state.Status == "input_required" {
			break
		}
		select {
		case <-time.After(min(max(state.Poll, shortLook), longLook)):
		case <-ctx.Done():
			d := pipeline.Deny(pipeline.NotYet, "the task is still being worked on")
			d.Hint = "look at it with tasks/get, and ask for its result again when it is done"
			return d
		}
	}
	reply, err := f.ask(context.WithoutCancel(ctx), taskResult)
	if err != nil {
		return err
	}
	return f.came(nil, reply)
}

// Pauses between two looks of the gateway's own at a task.
const (
	shortLook = 100 * time.Millisecond
	longLook  = 2 * time.Second
)

// cancel answers tasks/cancel. A modern client is only told that the server knows; also of a task that has ended.
func (f *follower) cancel(ctx context.Context) error {
	task := f.c.Task
	reply, err := f.ask(ctx, cancelTask)
	switch {
	case err != nil:
		return err
	case reply.Error != nil && !task.Modern && !task.Older:
		state, _, err := f.state(ctx)
		if err != nil || state == nil || !state.Terminal() {
			return err
		}
		return f.bare(state, nil)
	case reply.Error != nil:
		f.c.Reply = pipeline.Reply{Status: reply.Status, Error: reply.Error}
		return nil
	case task.Modern:
		f.c.Reply = pipeline.Reply{Status: reply.Status, Result: noArguments, Task: &pipeline.TaskReply{ID: task.ID}}
		return nil
	}
	state, err := f.own(reply.Result)
	if err != nil {
		return err
	}
	return f.bare(state, nil)
}

// update hands a client's answers to a modern server.
func (f *follower) update(ctx context.Context) error {
	if !f.c.Task.Modern {
		return pipeline.Deny(pipeline.MethodNotFound, "this server's tasks take no input this way")
	}
	f.req.InputResponses = f.c.Input
	reply, err := f.ask(ctx, updateTask)
	if err != nil {
		return err
	}
	f.c.Reply = pipeline.Reply{Status: reply.Status, Error: reply.Error}
	if reply.Error == nil {
		f.c.Reply.Result, f.c.Reply.Task = noArguments, &pipeline.TaskReply{ID: f.c.Task.ID}
	}
	return nil
}

// revoked refuses what a task gives when the plan that it was begun under has been revoked. To end it is always allowed.
func (s Intent) revoked(c *pipeline.Call) error {
	if !c.Task.Follows() || c.Op == cancelTask || c.Task.From.PlanID == "" {
		return nil
	}
	if _, state, ok := s.Plans.Held(c.Caller.Tenant(), c.Task.From.Plan); ok && state == "revoked" {
		return inactive(state)
	}
	return nil
}

// ofTask is a tool that a task is about.
func ofTask(c *pipeline.Call) bool { return c.Task.Follows() && c.Op != catalogue.CallTool }

// checkTask has what a client answers in a task pass the filters. The arguments passed when the task was begun, and the labels
// that they were given stay on all that is about it.
func (s *Filter) checkTask(ctx context.Context, c *pipeline.Call) error {
	c.Labels = c.Task.From.Labels
	if err := s.checkExtra(ctx, c); err != nil || c.Input == nil {
		return err
	}
	return s.CheckInput(ctx, c, c.Input)
}

// showOrigin shows filters the call that a task is, as they were shown it when it was made.
func showOrigin(c *pipeline.Call, to *abi.Context) {
	from := &c.Task.From
	to.Op = catalogue.CallTool
	if from.PlanID != "" {
		to.Plan = abi.Plan{ID: from.PlanID, Step: from.Step, In: true}
	}
	if to.Phase != abi.Request {
		to.Arguments = from.Args
	}
}
