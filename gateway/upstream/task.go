package upstream

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

// TasksExtension is the name of the tasks extension of MCP 2026-07-28 (SEP-2663).
const TasksExtension = metaReserved + "tasks"

// TaskSupport is what a server declares of tasks, as a raw object: "tasks" of MCP 2025-11-25 under that name, or
// {"extension":true} of one that speaks TasksExtension. The error is ErrNoMethod when it declares nothing, which also counts
// for servers that a Carrier reaches: their capabilities are not seen here.
func (c *Client) TaskSupport(ctx context.Context, t *Target) ([]byte, error) {
	if t.Carrier != nil {
		return nil, ErrNoMethod
	}
	p, fail := c.peer(t)
	if fail != nil {
		return nil, fail.named(t.Name, false)
	}
	w := who{principal: lister, capabilities: "{}"}
	kind, fail := c.era(ctx, p, t, w)
	if fail != nil {
		return nil, fail.named(t.Name, false)
	}
	if kind != modernEra {
		s, fail := c.session(ctx, p, t, w, kind)
		if fail != nil {
			return nil, fail.named(t.Name, false)
		}
		if s.tasks == nil {
			return nil, ErrNoMethod
		}
		return append(append([]byte(`{"tasks":`), s.tasks...), '}'), nil
	}
	var reply Reply
	if fail := c.exchange(ctx, p, t, &Request{Method: "server/discover", Principal: lister}, &modernSession, &reply); fail != nil {
		if fail.allowsLegacy() { // it lists tools and has no such method
			return nil, ErrNoMethod
		}
		return nil, fail.named(t.Name, false)
	}
	capabilities, _ := canon.Get(reply.Result, "capabilities")
	extensions, _ := canon.Get(capabilities, "extensions")
	if ext, ok := canon.Get(extensions, TasksExtension); !ok || canon.KindOf(ext) != '{' {
		return nil, ErrNoMethod
	}
	return []byte(`{"extension":true}`), nil
}

// taskCapability is what the answer to initialize says of tasks; nil when it says nothing.
func taskCapability(result []byte) []byte {
	capabilities, _ := canon.Get(result, "capabilities")
	tasks, ok := canon.Get(capabilities, "tasks")
	if !ok || canon.KindOf(tasks) != '{' || len(tasks) > maxCapabilities {
		return nil
	}
	return bytes.Clone(tasks)
}

// Task is the state of a task as its server tells it, read strictly.
type Task struct {
	ID, Status       string
	Created, Updated string        // RFC 3339
	TTL, Poll        time.Duration // 0: the server names none
	Message          []byte        // raw JSON string; nil when there is none
}

// Terminal says whether the task has come to its end.
func (t *Task) Terminal() bool { return t.Status != "working" && t.Status != "input_required" }

// Bounds of a task's smaller fields.
const (
	maxTaskID   = 256
	maxTaskTime = 64
	maxTaskSpan = 100 * 365 * 24 * time.Hour // longer is forever
)

// ReadTask reads the state of a task, of TasksExtension or of MCP 2025-11-25. The error is an *Error of kind Malformed.
func ReadTask(raw []byte, extension bool) (t Task, err error) {
	ttl, poll := "ttl", "pollInterval"
	if extension {
		ttl, poll = "ttlMs", "pollIntervalMs"
	}
	if canon.KindOf(raw) != '{' {
		return t, malformed("a task is no object")
	}
	err = canon.Each(raw, func(key, value []byte) error {
		var ok bool
		switch string(key) {
		case "taskId":
			t.ID, ok = shortText(value, maxTaskID)
		case "status":
			t.Status, ok = shortText(value, maxTaskTime)
		case "createdAt":
			t.Created, ok = timestamp(value)
		case "lastUpdatedAt":
			t.Updated, ok = timestamp(value)
		case ttl:
			t.TTL, ok = millis(value)
		case poll:
			t.Poll, ok = millis(value)
		case "statusMessage":
			t.Message, ok = bytes.Clone(value), canon.KindOf(value) == '"'
		default:
			return nil
		}
		if !ok {
			return malformed("a task's " + string(key) + " is not of its kind")
		}
		return nil
	})
	switch {
	case err != nil:
		return t, err
	case t.ID == "" || t.Created == "":
		return t, malformed("a task has no taskId or no createdAt")
	}
	if t.Updated == "" { // servers of the first drafts leave it out
		t.Updated = t.Created
	}
	switch t.Status {
	case "working", "input_required", "completed", "failed", "cancelled":
		return t, nil
	}
	return t, malformed("a task has a status that is not known")
}

func shortText(raw []byte, limit int) (string, bool) {
	if canon.KindOf(raw) != '"' {
		return "", false
	}
	s, err := canon.Unquote(raw)
	return s, err == nil && s != "" && len(s) <= limit
}

// timestamp accepts what looks like RFC 3339, so that nothing else is handed on under the name of a time.
func timestamp(raw []byte) (string, bool) {
	s, ok := shortText(raw, maxTaskTime)
	if !ok {
		return "", false
	}
	_, err := time.Parse(time.RFC3339Nano, s)
	return s, err == nil
}

// millis reads a span in milliseconds; null is 0, and so is what is not positive.
func millis(raw []byte) (time.Duration, bool) {
	if canon.KindOf(raw) == 'n' {
		return 0, true
	}
	n, err := strconv.ParseFloat(string(raw), 64)
	if canon.KindOf(raw) != '0' || err != nil {
		return 0, false
	}
	switch {
	case n <= 0:
		return 0, true
	case n >= float64(maxTaskSpan/time.Millisecond):
		return maxTaskSpan, true
	}
	return time.Duration(n) * time.Millisecond, true
}
