package policies_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gatewright/gatewright/policies"
)

// demoTools is a small catalogue with every shape an argument can have.
func demoTools() []policies.ToolDef {
	return []policies.ToolDef{
		{Server: "mail", Name: "send", InputSchema: []byte(`{"type":"object","properties":{
			"to":{"type":"string"},"copies":{"type":"integer"},"urgent":{"type":"boolean"},"price":{"type":"number"},
			"tags":{"type":"array","items":{"type":"string"}},
			"meta":{"type":"object","properties":{"dept":{"type":"string"},"level":{"type":"integer"}},"required":["dept"]},
			"mode":{"enum":["draft","now"]},"note":{"anyOf":[{"type":"string"},{"type":"null"}]},
			"any":{},"mixed":{"type":"array"},"pair":{"type":"array","prefixItems":[{"type":"string"},{"type":"integer"}]},
			"free":{"type":"object"},"either":{"type":["string","integer"]}
			},"required":["to"]}`)},
		{Server: "db", Name: "drop", Destructive: true, Sensitivity: 3, Labels: []string{"prod"},
			InputSchema: []byte(`{"type":"object","properties":{"table":{"type":"string"}},"required":["table"]}`)},
		{Server: "db", Name: "query", ReadOnly: true, InputSchema: []byte(`{"type":"object","properties":{"sql":{"type":"string"}}}`)},
	}
}

func agent() *policies.Principal {
	return &policies.Principal{Kind: "Agent", ID: "agt_1", Tenant: "acme", Owner: "usr_1", Teams: []string{"ops"},
		Roles: []string{"Member"}, Labels: []string{"blue"}, Trust: 500, Status: "active"}
}

// call is a planned call of a tool with known arguments.
func call(server, tool, args string) *policies.Ask {
	return &policies.Ask{Principal: agent(), User: "usr_1", Action: "call_tool", Server: server, Tool: tool, Args: []byte(args), ArgsKnown: true,
		Plan: policies.PlanFacts{InPlan: true, ID: "pln_1", Step: 1, Steps: 3, Done: 1, Expires: time.Unix(2_000_000_000, 0)},
		IP:   netip.MustParseAddr("192.0.2.7"), TLS: true, Now: time.Unix(1_900_000_000, 0)}
}

func bundle(t testing.TB, text string) *policies.Bundle {
	t.Helper()
	b, err := policies.LoadBundle(fstest.MapFS{"p.cedar": {Data: []byte(text)}})
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return b
}

func compile(t testing.TB, text string) *policies.Engine {
	t.Helper()
	e, err := policies.Compile(bundle(t, text), demoTools())
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	return e
}

func defaultEngine(t testing.TB) *policies.Engine {
	t.Helper()
	e, err := policies.Compile(policies.Default(), demoTools())
	if err != nil {
		t.Fatalf("compile default: %v", err)
	}
	return e
}

func TestAPlannedCallIsAllowedAndAnUnplannedOneIsNot(t *testing.T) {
	e := defaultEngine(t)
	a := call("mail", "send", `{"to":"x"}`)
	d := e.Decide(a)
	if !d.Allowed() || strings.Join(d.Policies(), "|") != "work.cedar:3 planned-tool-call" || len(d.Errors()) != 0 {
		t.Fatalf("planned: %v %q %q", d.Allowed(), d.Policies(), d.Errors())
	}
	if d.Annotations()[0]["reason"] == "" || d.Bundle() != policies.Default().Digest() || d.Bundle().IsZero() {
		t.Errorf("annotations %v, bundle %v", d.Annotations(), d.Bundle())
	}
	a.Plan = policies.PlanFacts{}
	if d = e.Decide(a); d.Allowed() || d.Policies() != nil {
		t.Errorf("unplanned: %v %q", d.Allowed(), d.Policies())
	}
}

// overlay compiles an overlay called "terms".
func overlay(t testing.TB, text string) *policies.Overlay {
	t.Helper()
	o, err := policies.CompileOverlay("terms", []byte(text))
	if err != nil {
		t.Fatalf("compile overlay: %v", err)
	}
	return o
}
