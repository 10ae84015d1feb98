package policy

import (
	"fmt"
	"net/netip"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// scan is cedar-go as it comes: every policy is evaluated for every request. Requests with their contexts, and all
// entities, are made before anything is measured.
type scan struct {
	policies *cedar.PolicySet
	entities types.EntityMap
	requests []cedar.Request
}

func newScan(w *workload) (*scan, error) {
	set, err := cedar.NewPolicySetFromBytes("bench.cedar", []byte(w.cedar.String()))
	if err != nil {
		return nil, fmt.Errorf("parse for the scan: %w", err)
	}
	s := &scan{policies: set, entities: w.entities()}
	for i := range w.requests {
		r := &w.requests[i]
		s.requests = append(s.requests, cedar.Request{
			Principal: uid("Agent", r.agent.id), Action: uid("Action", r.tool.server+"___"+r.tool.name), Resource: uid("Tool", r.tool.id()),
			Context: r.context(),
		})
	}
	return s, nil
}

func (s *scan) decide(i int) (bool, error) {
	d, diag := cedar.Authorize(s.policies, s.entities, s.requests[i])
	if len(diag.Errors) > 0 {
		return false, fmt.Errorf("policy %s: %s", diag.Errors[0].PolicyID, diag.Errors[0].Message)
	}
	return bool(d), nil
}

func uid(kind, id string) types.EntityUID {
	return types.NewEntityUID(types.EntityType(kind), types.String(id))
}

// entities are the agents, tools and actions, each with its groups.
func (w *workload) entities() types.EntityMap {
	out := types.EntityMap{}
	put := func(id types.EntityUID, attributes types.RecordMap, parents ...types.EntityUID) {
		out[id] = types.Entity{UID: id, Parents: types.NewEntityUIDSet(parents...), Attributes: types.NewRecord(attributes)}
	}
	for i := range w.agents {
		a := &w.agents[i]
		groups := []types.EntityUID{uid("Organization", "acme")}
		for _, t := range a.teams {
			groups = append(groups, uid("Team", t))
			put(uid("Team", t), nil, uid("Organization", "acme"))
		}
		put(uid("Agent", a.id), types.RecordMap{"trust": types.Long(a.trust)}, groups...)
	}
	put(uid("Organization", "acme"), nil)
	put(uid("Action", "mcp"), nil)
	put(uid("Action", "work"), nil, uid("Action", "mcp"))
	put(uid("Action", "call_tool"), nil, uid("Action", "work"))
	for i := range w.tools {
		t := &w.tools[i]
		put(uid("Server", t.server), nil)
		put(uid("Tool", t.id()), types.RecordMap{"name": types.String(t.name), "sensitivity": types.Long(t.sensitivity)}, uid("Server", t.server))
		put(uid("Action", t.server+"___"+t.name), nil, uid("Action", "call_tool"))
	}
	return out
}

// context is all that the policies of the workload read.
func (r *request) context() types.Record {
	return types.NewRecord(types.RecordMap{
		"now": types.NewDatetime(r.now), "trust": types.Long(r.agent.trust),
		"net": types.NewRecord(types.RecordMap{"ip": types.IPAddr(netip.PrefixFrom(r.ip, r.ip.BitLen()))}),
		"input": types.NewRecord(types.RecordMap{
			"path": types.String(r.path), "amount": types.Long(r.amount), "note": types.String(note),
			"options": types.NewRecord(types.RecordMap{"dry": types.Boolean(r.dry)}),
		}),
	})
}
