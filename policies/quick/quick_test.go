package quick_test

import (
	"testing"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/gatewright/gatewright/policies/quick"
)

// compile takes conditions as Cedar has them, behind a scope for everybody.
func compile(t *testing.T, conditions string, places quick.Places) *quick.Program {
	t.Helper()
	var p cedar.Policy
	if err := p.UnmarshalCedar([]byte("permit (principal, action, resource) " + conditions + ";")); err != nil {
		t.Fatal(err)
	}
	return quick.Compile((*ast.Policy)(p.AST()).Conditions, places)
}

func env() *quick.Env {
	ada, ops, all := types.NewEntityUID("User", "ada"), types.NewEntityUID("Team", "ops"), types.NewEntityUID("Org", "all")
	deep := types.NewEntityUID("User", "deep")
	entities := types.EntityMap{
		ada:  {UID: ada, Parents: types.NewEntityUIDSet(types.NewEntityUID("Team", "dev")), Attributes: types.NewRecord(types.RecordMap{"trust": types.Long(7)})},
		deep: {UID: deep, Parents: types.NewEntityUIDSet(ops)},
		ops:  {UID: ops, Parents: types.NewEntityUIDSet(all)},
	}
	ip, _ := types.ParseIPAddr("10.1.2.3")
	e := &quick.Env{Principal: ada, Resource: deep, Entities: entities, IP: ip, Input: types.RecordMap{"to": types.String("bob"), "n": types.Long(5)}}
	e.Slots[0], e.Slots[1], e.Slots[2] = quick.Datetime(1_767_225_600_000+9*3_600_000), quick.Address(), quick.Bool(true) // 2026-01-01 09:00
	return e
}

var places = quick.Places{"now": 0, "net.ip": 1, "plan.inPlan": 2, "onBehalfOf": 3}

func TestWhatIsKnown(t *testing.T) {
	for text, want := range map[string]bool{
		`when { context.now.toTime() >= duration("9h") && context.now.toTime() < duration("17h") }`:             true,
		`when { context.now.toTime() > duration("9h") }`:                                                        false,
		`when { context.now.toTime() <= duration("9h") }`:                                                       true,
		`when { context.now < datetime("2026-01-01T09:00:00Z") }`:                                               false,
		`when { context.now.toDate() == datetime("2026-01-01") }`:                                               true,
		`when { context.net.ip.isInRange(ip("10.0.0.0/8")) && context.net.ip.isIpv4() }`:                        true,
		`when { context.net.ip == ip("10.1.2.3") && context.net.ip != ip("10.1.2.4") }`:                         true,
		`unless { context.net.ip.isLoopback() || context.net.ip.isMulticast() || context.net.ip.isIpv6() }`:     true,
		`when { context.plan.inPlan } unless { context has onBehalfOf }`:                                        true,
		`when { context has onBehalfOf && context.onBehalfOf == principal }`:                                    false,
		`when { context.input.to like "b*" && context.input has n && !(context.input has m) }`:                  true,
		`when { if context.input.n > 4 then principal.trust == 7 else context.input.missing }`:                  true,
		`when { principal in Team::"dev" && principal in [Team::"x", Team::"dev"] && principal is User }`:       true,
		`when { principal in Team::"ops" || principal.trust == 8 }`:                                             false,
		`when { ["a", "bob"].contains(context.input.to) && [1, 5].containsAny([5]) && ![].contains(1) }`:        true,
		`when { [1, 5].containsAll([5]) && [].isEmpty() && ![1].containsAll([1, 2]) && ![1].containsAny([2]) }`: true,
		`when { decimal("1.5").lessThan(decimal("1.6")) && decimal("1.5").greaterThanOrEqual(decimal("1.5")) }`: true,
		`when { context.input.n == "5" || context.input.n == 6 }`:                                               false,
		`when { principal has trust && !(principal has other) }`:                                                true,
	} {
		p := compile(t, text, places)
		if p == nil {
			t.Errorf("%s is not compiled", text)
			continue
		}
		if holds, known := p.Run(env()); !known || holds != want {
			t.Errorf("%s: %t, known %t", text, holds, known)
		}
	}
}

// What fails in Cedar, and what only looking further could tell, is not told.
func TestWhatIsNotKnownIsNotTold(t *testing.T) {
	for _, text := range []string{
		`when { context.input.missing == 1 }`, `when { context.onBehalfOf == principal }`, `when { principal.other == 1 }`,
		`when { context.input.to > 5 }`, `when { context.input.n }`, `when { !context.input.n }`, `when { context.input.n || true }`,
		`when { true && context.input.n }`, `when { context.input.n like "5" }`, `when { context.input.n in Team::"dev" }`,
		`when { (true && context.input.n) == 5 }`, `when { (false || context.input.n) == 5 }`, `when { principal in ["x"] }`, `when { context.now > context.input.n }`, `when { context.input.to.isInRange(ip("10.0.0.0/8")) }`,
		`when { context.input.n.contains(5) }`, `when { if context.input.n then true else false }`, `unless { context.input.missing }`,
		`when { resource in Org::"all" }`, `when { resource in Org::"none" }`, `when { resource in [Org::"none", Team::"x"] }`,
		`when { action has x }`, `when { action.x == 1 }`, `when { context.input.to.lessThan(decimal("1.0")) }`,
	} {
		p := compile(t, text, places)
		if p == nil {
			t.Errorf("%s is not compiled", text)
			continue
		}
		if holds, known := p.Run(env()); known || holds {
			t.Errorf("%s: %t, known %t", text, holds, known)
		}
	}
}

func TestWhatIsNotCompiled(t *testing.T) {
	for _, text := range []string{
		`when { context == {} }`, `when { context.plan.id == "x" }`, `when { context.input == {} }`, `when { context has elsewhere }`,
		`when { context.input.n + 1 == 6 }`, `when { ip("bad").isLoopback() }`, `when { decimal("x") == decimal("1.0") }`,
		`when { [context.input.n].contains(5) }`, `when { {a: 1} has a }`, `when { principal.hasTag("x") }`,
		`when { context.now.offset(duration("1h")) > context.now }`,
	} {
		if compile(t, text, places) != nil {
			t.Errorf("%s is compiled", text)
		}
	}
}
