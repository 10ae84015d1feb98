package policies_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/gatewright/gatewright/policies"
)

// cpu reports the CPU time of the process per operation: on a busy machine wall time says little.
func cpu(b *testing.B) func() {
	b.Helper()
	b.ReportAllocs()
	start := cpuNow()
	return func() { b.ReportMetric(float64(cpuNow()-start)/float64(b.N), "cpu-ns/op") }
}

func cpuNow() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // zero on failure shows in the figures
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkSHA256 is the yardstick other figures are scaled by.
func BenchmarkSHA256(b *testing.B) {
	defer cpu(b)()
	data := make([]byte, 1024)
	for b.Loop() {
		sha256.Sum256(data)
	}
}

// manyPolicies writes a bundle of n policies in the mix a gateway meets: a few rules for everybody, most for one team and
// one tool; if arguments, a fifth of them read those.
func manyPolicies(n int, arguments bool) string {
	var b strings.Builder
	b.WriteString(`forbid (principal, action, resource) unless { principal.status == Status::"active" };` + "\n")
	b.WriteString(`permit (principal, action in Action::"call_tool", resource) when { context.plan.inPlan };` + "\n")
	for i := 2; i < n; i++ {
		tool := i % 200
		switch i % 5 {
		case 0:
			fmt.Fprintf(&b, `permit (principal == Agent::"agt_%d", action, resource in Server::"s%d") when { principal.trust > 100 };`, i, tool%10)
		case 1:
			condition := "context.plan.stepsDone > 500"
			if arguments {
				condition = "context.input.amount > 500"
			}
			fmt.Fprintf(&b, `forbid (principal in Team::"t%d", action == Action::"s%d___tool%d", resource) when { %s };`, i/5, tool%10, tool, condition)
		default:
			fmt.Fprintf(&b, `permit (principal in Team::"t%d", action == Action::"s%d___tool%d", resource == Tool::"s%d/tool%d") when { context.plan.inPlan && context.trust >= 10 };`,
				i/5, tool%10, tool, tool%10, tool)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func manyTools(n int) []policies.ToolDef {
	var tools []policies.ToolDef
	for i := range n {
		tools = append(tools, policies.ToolDef{Server: fmt.Sprintf("s%d", i%10), Name: fmt.Sprintf("tool%d", i),
			InputSchema: []byte(`{"type":"object","properties":{"amount":{"type":"integer"},"path":{"type":"string"}},"required":["amount"]}`)})
	}
	return tools
}

// BenchmarkDecide is a decision that reads facts which last: caller, tool, plan.
func BenchmarkDecide(b *testing.B) { benchmarkDecide(b, "", false) }

// BenchmarkDecideFresh adds a rule on the clock, so that every decision is evaluated.
func BenchmarkDecideFresh(b *testing.B) {
	benchmarkDecide(b, `forbid (principal, action, resource) when { context.now > datetime("2090-01-01") };`, false)
}

// BenchmarkDecideJSON also builds, for some of the calls, the argument that a forbid reads.
func BenchmarkDecideJSON(b *testing.B) {
	benchmarkDecide(b, `forbid (principal, action, resource) when { context.now > datetime("2090-01-01") };`, true)
}

func benchmarkDecide(b *testing.B, more string, arguments bool) {
	b.Helper()
	for _, n := range []int{10, 50, 100, 1_000, 10_000} {
		e, err := policies.Compile(bundle(b, more+manyPolicies(n, arguments)), manyTools(200))
		if err != nil {
			b.Fatal(err)
		}
		asks := make([]*policies.Ask, 64)
		for i := range asks {
			a := call(fmt.Sprintf("s%d", i%10), fmt.Sprintf("tool%d", i), `{"amount": 5, "path":"/tmp"}`)
			a.Principal.Teams = []string{fmt.Sprintf("t%d", i/5), fmt.Sprintf("t%d", i), "t1"}
			asks[i] = a
		}
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			defer cpu(b)()
			for i := 0; b.Loop(); i++ {
				if d := e.Decide(asks[i&63]); !d.Allowed() {
					b.Fatal(d.Errors())
				}
			}
		})
	}
}

// BenchmarkDecideDefault is the path most calls take: the shipped bundle, nothing that reads arguments.
func BenchmarkDecideDefault(b *testing.B) {
	e := defaultEngine(b)
	a := call("mail", "send", `{"to":"a@example.com","meta":{"dept":"x"}}`)
	defer cpu(b)()
	for b.Loop() {
		if d := e.Decide(a); !d.Allowed() || len(d.Policies()) != 1 || !d.Covers(a) {
			b.Fatal(d.Errors())
		}
	}
}

// BenchmarkDecideArguments reads four arguments, one of them nested.
func BenchmarkDecideArguments(b *testing.B) {
	e := compile(b, `permit (principal, action == Action::"mail___send", resource) when {
		context.input.to like "*@example.com" && context.input has meta && context.input.meta.dept == "x" &&
		context.input has tags && context.input.tags.contains("a") && context.input has copies && context.input.copies < 5 };`)
	a := call("mail", "send", `{"to":"a@example.com","meta":{"dept":"x"},"tags":["a","b"],"copies":2}`)
	defer cpu(b)()
	for b.Loop() {
		if d := e.Decide(a); !d.Allowed() {
			b.Fatal(d.Errors())
		}
	}
}

// BenchmarkDecideOverlay lays a plan's own terms over the shipped bundle: a list of tools, and a limit on an argument that
// holds. It is evaluated for every call.
func BenchmarkDecideOverlay(b *testing.B) {
	e := defaultEngine(b)
	a := call("mail", "send", `{"to":"a@example.com","copies":2}`)
	a.Overlays = []*policies.Overlay{overlay(b, `forbid (principal, action in Action::"call_tool", resource) unless { resource in Server::"mail" && resource.name like "se*" };
		@hold("many") forbid (principal, action in Action::"call_tool", resource)
		when { context.input has copies && context.input.copies has decimal && context.input.copies.decimal.greaterThan(decimal("5.0")) };`)}
	defer cpu(b)()
	for b.Loop() {
		if d := e.Decide(a); !d.Allowed() {
			b.Fatal(d.Errors())
		}
	}
}

// BenchmarkDecideHeld is a call that waits for approval, by a rule that reads nothing of it.
func BenchmarkDecideHeld(b *testing.B) {
	e := compile(b, allowAll+holdAll)
	a := call("mail", "send", `{"to":"x"}`)
	defer cpu(b)()
	for b.Loop() {
		if d := e.Decide(a); !d.Held() {
			b.Fatal(d.Errors())
		}
	}
}

func BenchmarkCompileOverlay(b *testing.B) {
	text := []byte(`forbid (principal, action in Action::"call_tool", resource) when { context.input has amount && context.input.amount has long && context.input.amount.long > 5 };`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policies.CompileOverlay("terms", text); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkList asks of 200 tools, one after the other, whether they are to be shown.
func BenchmarkList(b *testing.B) {
	e, err := policies.Compile(bundle(b, manyPolicies(1_000, true)), manyTools(200))
	if err != nil {
		b.Fatal(err)
	}
	a := call("", "", "")
	a.Args, a.ArgsKnown, a.Plan = nil, false, policies.PlanFacts{InPlan: true}
	defer cpu(b)()
	for b.Loop() {
		for i := range 200 {
			a.Server, a.Tool = serverNames[i%10], toolNames[i]
			if d := e.Decide(a); !d.Allowed() {
				b.Fatal(d.Errors())
			}
		}
	}
}

var serverNames, toolNames = func() (s, t []string) {
	for i := range 200 {
		s, t = append(s, fmt.Sprintf("s%d", i)), append(t, fmt.Sprintf("tool%d", i))
	}
	return s, t
}()

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		src, tools := bundle(b, manyPolicies(n, true)), manyTools(200)
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := policies.Compile(src, tools); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
