package ladder

import (
	"path/filepath"

	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/bench/task"
)

// rung is one proxy of the ladder.
type rung struct {
	name, label string
	role        string
	settings    any
	gate        task.Gate
	part        bool // only a part of the gateway
	filters     bool
}

// Names of the rungs that the last line speaks of.
const (
	bare         = "bare"
	reverseProxy = "reverseproxy"
	full         = "full"
	receipts     = "receipts"
	filter       = "filter"
)

const partsRole = "parts"

// Roles are the children that the ladder is made of.
func Roles() map[string]rig.Role {
	return map[string]rig.Role{
		rig.StubRole: rig.ServeStub, bare: task.ServeBare, reverseProxy: serveReverse, partsRole: serveParts, full: task.ServeGateway,
	}
}

// rungs lists the ladder in the order of its table.
func rungs(upstream, bundle, dir string) []rung {
	part := func(name, label string, level int, g task.Gate) rung {
		return rung{name: name, label: label, role: partsRole, settings: partsSettings{upstream, level, bundle}, gate: g, part: true}
	}
	whole := func(name, label string, g task.Gate, filters ...string) rung {
		s := task.Gateway{Upstream: upstream, Dir: filepath.Join(dir, name), Receipts: g >= task.Receipt, Filters: filters}
		return rung{name: name, label: label, role: full, settings: s, gate: g, filters: len(filters) > 0}
	}
	return []rung{
		{name: bare, label: "bare fasthttp reverse proxy", role: bare, settings: task.Plain{Upstream: upstream}},
		{name: reverseProxy, label: "empty net/http ReverseProxy", role: reverseProxy, settings: task.Plain{Upstream: upstream}},
		part("token", "bare + key and cached token", levelToken, task.Key),
		part("limiter", "  + limiter", levelLimit, task.Key),
		part("json", "  + strict JSON", levelJSON, task.Key),
		part("proof", "  + proof of 1 of 64 steps", levelProof, task.Step),
		part("policies", "  + 50 policies", levelDecide, task.Step),
		whole(full, "whole gateway, two records", task.Record),
		whole(receipts, "whole gateway, with receipts", task.Receipt),
		whole(filter, "  with the "+filterName+" filter", task.Receipt, filterName),
	}
}

// walk gives the order of an even round: what is compared most stands next to the bare proxy.
func walk() []string {
	return []string{"token", "limiter", "json", reverseProxy, full, bare, receipts, filter, "proof", "policies"}
}
