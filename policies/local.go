package policies

import (
	"errors"
	"fmt"
	"strings"
)

var (
	errLocalAction = errors.New("only the call of a tool, with its server, can be local")
	errLocalServer = errors.New(`the name of a local server has a "/", so that its tools could pass for another's`)
)

// local is the target of a call of a tool that the gateway does not hold. A tool that it does hold is never local, or a
// caller could choose not to be seen by the policies about it.
func (e *Engine) local(a *Ask) (*target, error) {
	switch {
	case a.Action != opCall || a.Server == "" || a.Tool == "":
		return nil, errLocalAction
	case strings.Contains(a.Server, "/"):
		return nil, errLocalServer
	}
	key := targetKey{action: opCall, server: a.Server, name: a.Tool}
	if e.holds(a.Server + "/" + a.Tool) {
		return nil, fmt.Errorf("tool %q of server %q is not local: the gateway holds it", a.Tool, a.Server)
	}
	if t, ok := e.targets.get(key); ok {
		return t, nil
	}
	resource := resourceEntity("Tool", a.Server, a.Tool)
	resource.Attributes = toolAttributes(&ToolDef{Name: a.Tool, Destructive: true, OpenWorld: true})
	return e.targets.put(key, e.newTarget(actionUID(opCall), resource, &shape{kind: kindRecord})), nil
}

// holds reports whether a known tool has the given entity id. A name with a slash can be split in several ways.
func (e *Engine) holds(id string) bool {
	for i := range len(id) {
		if id[i] == '/' && e.tools[targetKey{action: opCall, server: id[:i], name: id[i+1:]}] != nil {
			return true
		}
	}
	return false
}
