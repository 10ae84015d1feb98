package catalogue

import (
	"context"
	"errors"

	"github.com/gatewright/gatewright/merkle/canon"
)

// TaskSupport stands where a method of a list would: a Lister answers it with one raw object, what the server declares of
// tasks, as upstream.Client.TaskSupport has it, or with ErrNotOffered.
const TaskSupport = "gatewright/task-support"

// Tasks is what a server has of tasks.
type Tasks struct {
	Older  bool // calls of tools may be tasks of MCP 2025-11-25, as each tool says
	Cancel bool // and be cancelled
	Modern bool // it speaks the extension io.modelcontextprotocol/tasks of MCP 2026-07-28
}

// Tasks returns what a server has of tasks; nothing when it is not there.
func (c *Catalogue) Tasks(tenant, server string) Tasks { return c.offersOf(tenant, server).tasks }

// listTasks asks the server what it has of tasks.
func (c *Catalogue) listTasks(ctx context.Context, s *Server) (t Tasks, err error) {
	raw, err := c.lister.List(ctx, *s, TaskSupport)
	if errors.Is(err, ErrNotOffered) || err == nil && len(raw) != 1 {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	if extension, _ := canon.Get(raw[0], "extension"); string(extension) == "true" {
		return Tasks{Modern: true}, nil
	}
	tasks, _ := canon.Get(raw[0], "tasks")
	requests, _ := canon.Get(tasks, "requests")
	tools, _ := canon.Get(requests, "tools")
	call, _ := canon.Get(tools, "call")
	cancel, _ := canon.Get(tasks, "cancel")
	t.Older = canon.KindOf(call) == '{'
	t.Cancel = t.Older && canon.KindOf(cancel) == '{'
	return t, nil
}

// TaskSupport is what the tool says of being called as a task: "forbidden", "optional" or "required" (MCP 2025-11-25, tasks).
func (t *Tool) TaskSupport() string {
	execution, _ := canon.Get(t.Raw, "execution")
	switch support, _ := canon.Get(execution, "taskSupport"); string(support) {
	case `"optional"`:
		return "optional"
	case `"required"`:
		return "required"
	}
	return "forbidden"
}
