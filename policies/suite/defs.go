package suite

import "github.com/gatewright/gatewright/policies"

// Defs are the tools as an engine takes them.
func (c *Compiled) Defs() []policies.ToolDef {
	out := make([]policies.ToolDef, len(c.Tools))
	for i := range c.Tools {
		out[i] = c.Tools[i].def()
	}
	return out
}
