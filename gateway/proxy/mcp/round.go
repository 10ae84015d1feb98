package mcp

import (
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
)

// carriedCapabilities are what a client can be asked in a result (MCP 2026-07-28, input_required), as far as the gateway carries
// it: each with the members that the protocol names, and nothing that a client adds.
var carriedCapabilities = []struct {
	name    string
	members []string
}{{"elicitation", []string{"form", "url"}}, {"sampling", []string{"context", "tools"}}, {"roots", nil}}

// round reads what makes the call one that its server may ask something of its client, and the next round of one where the
// server did. Answers that come without a state are those of a new call.
func (e *exchange) round(c *pipeline.Call, m meta) error {
	c.Can = capabilitiesOf(m.caps)
	if c.Task != nil && c.Task.Modern {
		c.Can = withTasks(c.Can)
	}
	if e.input != nil && canon.KindOf(e.input) != '{' {
		return deny(pipeline.Malformed, `"params.inputResponses" must be an object`)
	}
	c.Input = e.input
	if e.state == nil {
		return nil
	}
	state, err := stringOf(e.state, `"params.requestState"`)
	if err != nil {
		return err
	}
	if e.d.Rounds == nil || !e.d.Rounds.Continue(c, state) {
		return pipeline.OverRound().WithReason("request_state")
	}
	return nil
}

// capabilitiesOf makes the object that servers are told of a client's own.
func capabilitiesOf(client []byte) []byte {
	b := []byte{'{'}
	for _, capability := range carriedCapabilities {
		value, ok := canon.Get(client, capability.name)
		if !ok || canon.KindOf(value) != '{' {
			continue
		}
		b = append(comma(b, 1), `"`+capability.name+`":{`...)
		start := len(b)
		for _, member := range capability.members {
			if v, ok := canon.Get(value, member); ok && canon.KindOf(v) == '{' {
				b = append(comma(b, start), `"`+member+`":{}`...)
			}
		}
		b = append(b, '}')
	}
	return append(b, '}')
}
