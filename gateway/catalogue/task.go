package catalogue

import "github.com/gatewright/gatewright/merkle/canon"

// tasksExtension is the name of the tasks extension of MCP 2026-07-28 (SEP-2663).
const tasksExtension = "io.modelcontextprotocol/tasks"

// Tasks is what a server has of tasks.
type Tasks struct {
	Older  bool // calls of tools may be tasks of MCP 2025-11-25, as each tool says
	Cancel bool // and be cancelled
	Modern bool // it speaks the extension io.modelcontextprotocol/tasks of MCP 2026-07-28
}

// Tasks returns what a server has of tasks; nothing when it is not there.
func (c *Catalogue) Tasks(tenant, server string) Tasks { return c.offersOf(tenant, server).tasks }

// tasks is what a server declares of tasks.
func (d declaring) tasks() (t Tasks) {
	extensions, _ := canon.Get(d, "extensions")
	if extension, _ := canon.Get(extensions, tasksExtension); canon.KindOf(extension) == '{' {
		return Tasks{Modern: true}
	}
	tasks, _ := canon.Get(d, "tasks")
	requests, _ := canon.Get(tasks, "requests")
	tools, _ := canon.Get(requests, "tools")
	call, _ := canon.Get(tools, "call")
	cancel, _ := canon.Get(tasks, "cancel")
	t.Older = canon.KindOf(call) == '{'
	t.Cancel = t.Older && canon.KindOf(cancel) == '{'
	return t
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
