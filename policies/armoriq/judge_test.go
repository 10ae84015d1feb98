package armoriq_test

import (
	"net/netip"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/armoriq"
)

// The answers of the engine, from the loosest to the strictest.
const (
	allow = iota
	hold
	deny
)

// permissive is an engine whose bundle allows everything, so that only an overlay refuses.
var permissive = sync.OnceValues(func() (*policies.Engine, error) {
	b, err := policies.LoadBundle(fstest.MapFS{"all.cedar": {Data: []byte("permit (principal, action, resource);")}})
	if err != nil {
		return nil, err
	}
	return policies.Compile(b, nil)
})

// workday is a Wednesday, at noon.
var workday = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func call(server, tool, args string) *policies.Ask {
	return &policies.Ask{
		Principal: &policies.Principal{Kind: "Agent", ID: "agt_1", Tenant: "acme", Owner: "usr_1", Status: "active"},
		User:      "usr_1", Action: "call_tool", Server: server, Tool: tool, Args: []byte(args), ArgsKnown: true, Local: true,
		IP: netip.MustParseAddr("192.0.2.7"), TLS: true, Now: workday,
	}
}

// overlay compiles what was translated; nil when nothing is forbidden.
func overlay(t testing.TB, terms armoriq.Terms) *policies.Overlay {
	t.Helper()
	if len(terms.Cedar) == 0 {
		return nil
	}
	o, err := policies.CompileOverlay("terms", terms.Cedar)
	if err != nil {
		t.Fatalf("%v\n%s", err, terms.Cedar)
	}
	return o
}

// judge asks the engine. An evaluation that fails is a fault of the translation, although it denies.
func judge(t testing.TB, o *policies.Overlay, a *policies.Ask) int {
	t.Helper()
	e, err := permissive()
	if err != nil {
		t.Fatal(err)
	}
	if a.Overlays = nil; o != nil {
		a.Overlays = []*policies.Overlay{o}
	}
	d := e.Decide(a)
	if len(d.Errors()) > 0 {
		t.Fatalf("%s/%s %s: %q", a.Server, a.Tool, a.Args, d.Errors())
	}
	switch {
	case d.Allowed():
		return allow
	case d.Held():
		return hold
	}
	return deny
}

func translate(t testing.TB, form func([]byte) (armoriq.Terms, error), text string) (armoriq.Terms, *policies.Overlay) {
	t.Helper()
	terms, err := form([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return terms, overlay(t, terms)
}
