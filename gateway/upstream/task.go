package upstream

import (
	"bytes"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
)

// TasksExtension is the name of the tasks extension of MCP 2026-07-28 (SEP-2663).
const TasksExtension = metaReserved + "tasks"

// Task is the state of a task as its server tells it, read strictly.
type Task struct {
	ID, Status       string
	Created, Updated string        // RFC 3339
	TTL, Poll        time.Duration // 0: the server names none
	Message          []byte        // raw JSON string; nil when there is none
	Meta             []byte        // what stood beside it as _meta, a raw object; nil when there is none
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
		case "_meta":
			t.Meta, ok = bytes.Clone(value), canon.KindOf(value) == '{'
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
