package policy

import (
	"errors"
	"fmt"
	"strconv"
	"testing/fstest"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies"
)

// ours is the gateway's engine with one workload.
type ours struct {
	w      *workload
	engine *policies.Engine
	who    []*policies.Principal // of each agent
	asks   []policies.Ask        // of each request

	records   [][]byte // of each request, as the ledger keeps it
	snapshots map[string]*policies.Principal
	answers   []bool
}

// bundle is the workload's policies as the gateway loads them.
func (w *workload) bundle() (*policies.Bundle, error) {
	return policies.LoadBundle(fstest.MapFS{"bench.cedar": {Data: []byte(w.cedar.String())}})
}

func (w *workload) toolDefs() []policies.ToolDef {
	out := make([]policies.ToolDef, len(w.tools))
	for i, t := range w.tools {
		out[i] = policies.ToolDef{Server: t.server, Name: t.name, InputSchema: []byte(inputSchema), Sensitivity: t.sensitivity}
	}
	return out
}

// load is everything between the files and an engine that decides.
func (w *workload) load(defs []policies.ToolDef) (*policies.Engine, error) {
	b, err := w.bundle()
	if err != nil {
		return nil, err
	}
	e, err := policies.Compile(b, defs)
	if err != nil {
		return nil, err
	}
	if skipped := e.Skipped(); len(skipped) > 0 {
		return nil, fmt.Errorf("%d tools were left out: %s", len(skipped), skipped[0])
	}
	return e, nil
}

func newOurs(w *workload) (*ours, error) {
	e, err := w.load(w.toolDefs())
	if err != nil {
		return nil, err
	}
	o := &ours{w: w, engine: e, snapshots: map[string]*policies.Principal{}}
	o.renew()
	for i := range w.requests {
		r := &w.requests[i]
		a := o.blank(r)
		a.Tool, a.Args = r.tool.name, r.args
		o.asks = append(o.asks, a)
		d := e.Decide(&a)
		if len(d.Errors()) > 0 {
			return nil, fmt.Errorf("request %d: %q", i, d.Errors())
		}
		o.answers = append(o.answers, d.Allowed())
		o.records = append(o.records, r.recorded())
		o.snapshots[strconv.Quote(r.snapshot())] = a.Principal
	}
	return o, nil
}

// renew makes new snapshots of all agents, of which the engine remembers nothing.
func (o *ours) renew() {
	o.who = o.w.principals()
	for i := range o.asks {
		o.asks[i].Principal = o.who[o.w.requests[i].agent.index]
	}
}

func (w *workload) principals() []*policies.Principal {
	out := make([]*policies.Principal, len(w.agents))
	for i := range w.agents {
		a := &w.agents[i]
		out[i] = &policies.Principal{Kind: "Agent", ID: a.id, Tenant: "acme", Owner: "usr_1", Teams: a.teams, Trust: a.trust, Status: "active"}
	}
	return out
}

// blank is the Ask of a request before its body is read.
func (o *ours) blank(r *request) policies.Ask {
	return policies.Ask{
		Principal: o.who[r.agent.index], User: "usr_1", Action: "call_tool", Server: r.tool.server,
		ArgsKnown: true, IP: r.ip, TLS: true, Now: r.now,
	}
}

// ready decides a request whose Ask stands there, its arguments still JSON that was checked.
func (o *ours) ready(i int) (bool, error) {
	d := o.engine.Decide(&o.asks[i])
	return d.Allowed(), nil
}

var errParams = errors.New("params that are not those of tools/call")

// fromJSON decides a request whose params are bytes as they arrive: checked strictly, taken apart, asked about.
func (o *ours) fromJSON(i int) (bool, error) {
	r := &o.w.requests[i]
	if err := canon.Check(r.params, canon.DefaultLimits()); err != nil {
		return false, err
	}
	a := o.blank(r)
	c := canon.NewCursor(r.params)
	for more := c.Enter(); more; more = c.More() {
		switch key, value := c.Key(), c.Value(); string(key) {
		case "name":
			name, err := canon.Unquote(value)
			if err != nil {
				return false, err
			}
			a.Tool = name
		case "arguments":
			a.Args = value
		}
	}
	if a.Tool == "" || a.Args == nil {
		return false, errParams
	}
	d := o.engine.Decide(&a)
	return d.Allowed(), nil
}
