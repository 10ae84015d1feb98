package mcp

import (
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
)

// mirroredParams holds the Mcp-Param-* headers against the arguments they mirror (x-mcp-header in the tool's schema). A
// modern client must send those that the schema asks for; from any client, one that says something else than the body, or
// mirrors what the body does not have, is refused. Of a tool that the caller may not see nothing is told here: the line
// refuses the call as it refuses an unknown one.
func (e *exchange) mirroredParams(c *pipeline.Call) error {
	t, ok := e.d.Catalogue.Find(c.Caller.Tenant(), catalogue.CallTool, c.Server, c.Name)
	if !ok || !t.Mirrors() && len(e.x.Head.Params) == 0 {
		return nil
	}
	if !e.permitted(c, "call_tool", t.Server, t.Name) {
		return nil
	}
	var fault error
	matched := 0
	t.Mirror(c.Args, func(name, value string) {
		header, given := e.param(strings.TrimPrefix(name, "Mcp-Param-"))
		switch {
		case given && sameValue(header, value):
			matched++
		case given:
			fault = mismatch(name + " does not say what the body says")
		case e.modern:
			fault = mismatch(name + " is missing")
		}
	})
	if fault == nil && matched < len(e.x.Head.Params) {
		fault = mismatch("an Mcp-Param header mirrors an argument that the body does not have, or comes twice")
	}
	return fault
}

func (e *exchange) param(name string) ([]byte, bool) {
	for _, p := range e.x.Head.Params {
		if strings.EqualFold(string(p.Name), name) {
			return p.Value, true
		}
	}
	return nil, false
}

// sameValue compares a header with the text of an argument; numbers by their value, since 7 and 7.0 are one.
func sameValue(header []byte, want string) bool {
	h, ok := headerValue(header)
	if !ok || h == want {
		return ok
	}
	a, errA := strconv.ParseFloat(h, 64)
	b, errB := strconv.ParseFloat(want, 64)
	return errA == nil && errB == nil && a == b && a == float64(int64(a))
}
