package server

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// maxPinned bounds the tools that one record of a quarantine names; the rest is counted.
const maxPinned = 50

// pinnedTool is what the ledger says of one tool: digests and the gateway's own words, never the definition.
type pinnedTool struct {
	Tool     string   `json:"tool"`
	State    string   `json:"state"`
	Pin      string   `json:"pin"`
	Findings []string `json:"findings,omitempty"`
}

// pinsWait bounds the writing of such a record.
const pinsWait = 5 * time.Second

// recordPins puts into the organisation's ledger that tools went into quarantine, or were taken at a server's first use. The
// quarantine itself does not wait for the record: it holds already.
func (g *Gateway) recordPins(e catalogue.PinEvent) {
	if s, ok := g.tools.Server(e.Tenant, e.Server); ok && s.Pin == catalogue.PinOwn {
		return
	}
	if _, err := g.people.Org(context.Background(), e.Tenant); err != nil {
		return // a configured server of an organisation that is not there has no ledger to write to
	}
	named, more := []pinnedTool{}, 0
	add := func(t pinnedTool) {
		if len(named) == maxPinned {
			more++
			return
		}
		named = append(named, t)
	}
	for i := range e.Quarantined {
		n := &e.Quarantined[i]
		add(pinnedTool{n.Tool, string(n.State), n.Pin.String(), n.Findings})
	}
	for i := range e.Trusted {
		add(pinnedTool{e.Trusted[i].Name, "first_use", e.Trusted[i].Digest.String(), nil})
	}
	r := &ledger.Record{Tenant: e.Tenant, Kind: ledger.Admin, Op: "tool-quarantine", Server: e.Server, Step: -1, Verdict: "deny"}
	if len(e.Quarantined) == 0 {
		r.Op, r.Verdict = "tool-first-use", "allow"
	}
	if len(named) == 1 {
		r.Tool = named[0].Tool
	}
	var err error
	r.Body, err = json.Marshal(map[string]any{"tools": named, "more": more, "unsaid": e.Unsaid})
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), pinsWait)
		defer cancel()
		err = g.write(ctx, r)
	}
	if len(e.Quarantined) > 0 {
		g.o.Log.Warn("tools are in quarantine until somebody approves them; gatewright connector pins shows them", "tenant", e.Tenant, "server", e.Server, "tools", len(e.Quarantined))
	}
	if err != nil {
		g.o.Log.Error("a change of tool pins was not recorded; they are in force all the same", "tenant", e.Tenant, "server", e.Server, "error", err)
	}
}

// pinGauges are what the catalogue counts of quarantine, for /metrics.
func (g *Gateway) pinGauges() []control.Gauge {
	return []control.Gauge{
		{
			Name: "gatewright_tools_quarantined", Help: "Tools that wait for a person's approval.",
			Value: func() float64 { return float64(g.tools.PinStats().Waiting) },
		},
		{
			Name: "gatewright_tool_quarantines_total", Help: "Tool definitions that went into quarantine.", Counter: true,
			Value: func() float64 { return float64(g.tools.PinStats().Quarantines) },
		},
		{
			Name: "gatewright_tool_quarantines_unsaid_total", Help: "Of these, those without a record of their own, for there were too many.", Counter: true,
			Value: func() float64 { return float64(g.tools.PinStats().Unsaid) },
		},
	}
}
