package policies_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	cedar "github.com/cedar-policy/cedar-go"

	"github.com/gatewright/gatewright/policies"
)

const tooDear = "costs too much for arguments of this size"

// onCommand is an overlay of one forbid on the argument command, a text.
func onCommand(condition string) string {
	return `forbid (principal, action in Action::"call_tool", resource) when {
		context.input has command && context.input.command has string && (` + condition + `) };`
}

// anyOf looks for any of n patterns, each of so many bytes that a long run of "a" nearly matches.
func anyOf(n, bytes int) string {
	var words []string
	for i := range n {
		words = append(words, fmt.Sprintf(`context.input.command.string like "*%sb%d*"`, strings.Repeat("a", bytes), i))
	}
	return strings.Join(words, " || ")
}

// run is a call with a command of so many bytes.
func run(bytes int, o ...*policies.Overlay) *policies.Ask {
	return laid(call("mail", "send", `{"to":"x","command":"`+strings.Repeat("a", bytes)+`"}`), o...)
}

func TestAPolicyTooDearDeniesUnasked(t *testing.T) {
	e := compile(t, allowAll)
	wide, long := overlay(t, onCommand(anyOf(200, 20))), overlay(t, onCommand(anyOf(50, 240)))
	twenty := overlay(t, onCommand(anyOf(20, 240)))
	for _, c := range []struct {
		name   string
		ask    *policies.Ask
		denies bool
	}{
		{"20 patterns over 900,000 bytes", run(900_000, twenty), true},
		{"200 patterns over 64 KiB", run(64<<10, wide), true},
		{"200 patterns over 16 KiB", run(16<<10, wide), false},
		{"50 long patterns over 8 KiB", run(8<<10, long), false},
		{"both over 8 KiB, under one budget", run(8<<10, wide, long), false},
		{"eight over 8 KiB, over it together", run(8<<10, wide, wide, wide, wide, long, long, long, long), true},
		{"20 patterns over 30 KiB", run(30<<10, twenty), false},
		{"an object of 200 KB", laid(call("mail", "send", `{"to":"x","command":{"a":"`+strings.Repeat("a", 200_000)+`"}}`), twenty), true},
		{"900,000 bytes that nobody reads", laid(call("mail", "send", `{"to":"`+strings.Repeat("a", 900_000)+`","command":"b"}`), twenty), false},
	} {
		d := e.Decide(c.ask)
		if d.Allowed() == c.denies || c.denies != strings.Contains(strings.Join(d.Errors(), ""), tooDear) {
			t.Errorf("%s: allowed %v: %q", c.name, d.Allowed(), d.Errors())
		}
		units, err := policies.Units(e, c.ask)
		if (err != nil) != c.denies || (units > policies.OverlayBudget) != c.denies {
			t.Errorf("%s: %d units, %v", c.name, units, err)
		}
		c.ask.Approved = true
		if d := e.Decide(c.ask); d.Allowed() == c.denies {
			t.Errorf("%s: approved, allowed %v", c.name, d.Allowed())
		}
	}
}

// Each of these looks at the whole text again, one way or another, and is charged for it.
func TestEveryWayToScanATextIsCharged(t *testing.T) {
	e := compile(t, allowAll)
	const s, n = "context.input.command.string", 10_000
	for _, c := range []struct {
		condition string
		perByte   int // at the least
	}{
		{s + ` like "*abc*"`, 1},
		{s + ` like "*abc*" && ` + s + ` like "*abd*"`, 2},
		{`(if context.trust > 3 then ` + s + ` else "x") like "*` + strings.Repeat("a", 100) + `b*"`, 100},
		{s + ` == context.input.to.string`, 1},
		{`["a", "b"].contains(` + s + `)`, 2},
		{`[` + s + `, ` + s + `].contains("a")`, 4},
		{`[` + s + `].containsAny(["a"])`, 4},
		{`{a: ` + s + `} == {a: "x"}`, 1},
		{`decimal(` + s + `) == decimal("1.0")`, 10},
		{`ip(` + s + `).isLoopback()`, 10},
		{`context.input.command == context.input.to`, 2},
	} {
		o := overlay(t, onCommand("context.input has to && context.input.to has string && "+c.condition))
		short, err := policies.Units(e, run(0, o))
		long, err2 := policies.Units(e, run(n, o))
		const shown = 6 // to show the command itself
		if err != nil || err2 != nil || long-short < (shown+c.perByte)*n {
			t.Errorf("%s: %d units for no byte, %d for %d: %v %v", c.condition, short, long, n, err, err2)
		}
	}
	for _, c := range []string{ // what does not look at it is not
		s + ` == "abc"`, `context.input.command has long`, s + ` like "*"`, `context.trust > 3`,
	} {
		o := overlay(t, onCommand(c))
		short, _ := policies.Units(e, run(0, o))
		if long, err := policies.Units(e, run(n, o)); err != nil || long-short > 7*n {
			t.Errorf("%s: %d units for no byte, %d for %d: %v", c, short, long, n, err)
		}
	}
}

func TestWhatIsFixedIsChargedToo(t *testing.T) {
	e := compile(t, allowAll)
	units := func(condition string, known bool) int {
		a := run(1, overlay(t, onCommand(condition)))
		if !known {
			a.Args, a.ArgsKnown = nil, false
		}
		n, err := policies.Units(e, a)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	one, many := `context.net.ip.isInRange(ip("10.0.0.0/8"))`, strings.Repeat(`context.net.ip.isInRange(ip("10.0.0.0/8")) || `, 100)+"false"
	if a, b := units(one, true), units(many, true); b < 100*256 || b < 20*a {
		t.Errorf("one range %d units, a hundred %d", a, b)
	}
	set := "resource in [" + strings.Repeat(`Server::"a-server-of-a-long-name", `, 99) + `Server::"b"]`
	if n := units(set, true); n < 100*100 {
		t.Errorf("a set of a hundred servers, built again for each call: %d units", n)
	}
	forbid := func(when string) *policies.Ask {
		a := laid(call("mail", "send", ""), overlay(t, `forbid (principal, action, resource) when { `+when+` };`))
		a.Args, a.ArgsKnown = nil, false
		return a
	}
	a, _ := policies.Units(e, forbid("context.trust > 2000"))
	b, _ := policies.Units(e, forbid(strings.Repeat("context.trust > 2000 || ", 500)+"false"))
	if b < 500*64 || b < 50*a {
		t.Errorf("unknown arguments: one comparison %d units, 500 %d", a, b)
	}
	if o := e.Outlook(run(900_000, overlay(t, onCommand(anyOf(20, 240))))); o != policies.Sometimes {
		t.Errorf("outlook, which looks at no arguments: %v", o)
	}
}

func TestAnOverlayOfTooManyPatternsIsRefused(t *testing.T) {
	set := func(n int) string {
		return `[` + strings.TrimSuffix(strings.Repeat(`context.trust, `, n), ", ") + `].contains(3)`
	}
	for _, c := range []struct{ name, condition, want string }{
		{"patterns", anyOf(513, 1), "more than 512 patterns"},
		{"bytes", anyOf(100, 200), "more than 16384 bytes of patterns"},
		{"in nested places", "(if (" + anyOf(513, 1) + ") then true else false) == true", "more than 512 patterns"},
		{"a set", set(600), "for arguments of any size"},
	} {
		_, err := policies.CompileOverlay("terms", []byte(onCommand(c.condition)))
		var problems policies.Problems
		if !errors.As(err, &problems) || len(problems) != 1 || !strings.Contains(problems.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, condition := range []string{anyOf(512, 1), anyOf(60, 240), set(100)} {
		if _, err := policies.CompileOverlay("terms", []byte(onCommand(condition))); err != nil {
			t.Error(err)
		}
	}
}

// A caller must not be able to choose a text that keeps the bundle's own patterns busy.
func TestABundleTooDearForTheArgumentsDenies(t *testing.T) {
	text := `"` + strings.Repeat("a", 1_000_000) + `"`
	dear := `forbid (principal, action == Action::"mail___send", resource) when { context.input.to like "*` + strings.Repeat("a", 500) + `b*" };`
	var common strings.Builder
	for i := range 30 {
		fmt.Fprintf(&common, `forbid (principal, action == Action::"mail___send", resource) when { context.input.to like "*rm -rf /%d*" };`, i)
	}
	for _, c := range []struct {
		name, policies, args string
		allowed              bool
	}{
		{"self-similar, long text", dear, `{"to":` + text + `}`, false},
		{"self-similar, short text", dear, `{"to":"aaa"}`, true},
		{"self-similar, another argument is long", dear, `{"to":"aaa","body":` + text + `}`, true},
		{"common words, long text", common.String(), `{"to":` + text + `}`, true},
	} {
		d := compile(t, allowAll+c.policies).Decide(call("mail", "send", c.args))
		if d.Allowed() != c.allowed || c.allowed == strings.Contains(strings.Join(d.Errors(), ""), "too much") {
			t.Errorf("%s: allowed %v: %q", c.name, d.Allowed(), d.Errors())
		}
	}
}

func TestAnErrorDoesNotQuoteAnArgument(t *testing.T) {
	e := compile(t, allowAll)
	d := e.Decide(run(50_000, overlay(t, onCommand(`ip(context.input.command.string).isLoopback()`))))
	if got := strings.Join(d.Errors(), ""); d.Allowed() || len(got) > 400 || !strings.Contains(got, "parsing IP") {
		t.Errorf("allowed %v, %d bytes of errors: %.300s", d.Allowed(), len(got), got)
	}
}

// Patterns over arguments are looked up: the answers and errors must be Cedar's.
func TestSearchedPatternsAnswerAsCedarDoes(t *testing.T) {
	e := compile(t, allowAll)
	const s = "context.input.command"
	for _, condition := range []string{
		s + `.string like "*b*"`, s + `.text like "\"*b\""`, `!(` + s + `.string like "a*b")`,
		`(if ` + s + `.string like "a*" then ` + s + `.text like "*c\"" else ` + s + `.kind like "str*")`,
		`(` + s + ` has string && ` + s + `.string like "*b") || ` + s + `.text like "*7*"`,
		`context.input.absent.string like "*"`, `[` + s + `.string like "*b"].contains(true)`, s + `.string like ""`,
	} {
		o := overlay(t, `forbid (principal, action in Action::"call_tool", resource) when { context.input has command && `+condition+` };`)
		for _, arg := range []string{`"b"`, `"ab"`, `"a-b"`, `"abc"`, `""`, `"c"`, `7`, `{"b":7}`, `null`, `["b"]`, `"\u0001b"`} {
			a := laid(call("mail", "send", `{"to":"x","command":`+arg+`}`), o, o)
			d := e.Decide(a)
			want, err := policies.Scan(e, a)
			if err != nil || d.Allowed() != want.Allowed || !slices.Equal(d.Errors(), want.Errors) {
				t.Errorf("%s on %s: %v %q, Cedar: %v %q %v", condition, arg, d.Allowed(), d.Errors(), want.Allowed, want.Errors, err)
			}
		}
	}
}

// steps matches as cedar-go does, and counts the bytes it looks at.
func steps(texts []string, s string) (n int, matched bool) {
	chunk := func(text, s string) (string, bool) {
		n++ // the start itself
		for i := range len(text) {
			if i == len(s) {
				return "", false
			}
			if n++; text[i] != s[i] {
				return "", false
			}
		}
		return s[len(text):], true
	}
next:
	for i, text := range texts {
		last := i == len(texts)-1
		if i > 0 && text == "" {
			return n, true
		}
		for at := 0; at <= len(s) && (i > 0 || at == 0); at++ {
			if rest, ok := chunk(text, s[at:]); ok && (rest == "" || !last) {
				s = rest
				continue next
			}
		}
		return n, false
	}
	return n, s == ""
}

func TestMatchingAgreesWithCedarWithinItsPrice(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test's choice
	word := func(n int) string {
		b := make([]byte, r.IntN(n+1))
		for i := range b {
			b[i] = "aaab"[r.IntN(4)]
		}
		return string(b)
	}
	most := 0.0
	for range 50_000 {
		texts := make([]string, 1+r.IntN(4))
		for i := range texts {
			texts[i] = word(5)
		}
		p, s := policies.NewPattern(texts...), word(24)
		n, matched := steps(p.Texts(), s)
		if want := p.Cedar.Match(cedar.String(s)); p.Match(s) != want || matched != want {
			t.Fatalf("%q on %q: %v, counted %v, Cedar %v", texts, s, p.Match(s), matched, want)
		}
		price := p.Hardness()*(len(s)+8) + len(texts) // a value of n bytes has the size n+8
		most = max(most, float64(n)/float64(max(price, 1)))
		if n > price {
			t.Fatalf("%q on %q: %d steps, price %d", texts, s, n, price)
		}
	}
	if most < 0.3 {
		t.Errorf("at most %.2f of the price was used: the bound says nothing", most)
	}
	for text, want := range map[string]int{"rm -rf": 4, "abc": 3, "a": 2, "aaaa": 5, "abababab": 6, strings.Repeat("a", 240) + "b": 242} {
		if got := policies.NewPattern("", text, "").Hardness(); got != want {
			t.Errorf("%q: %d a byte, want %d", text, got, want)
		}
	}
}

// BenchmarkDecideOverlayAttack is the dearest kind of call that an overlay still lets through, and one that it does not.
func BenchmarkDecideOverlayAttack(b *testing.B) {
	e := compile(b, allowAll)
	o := overlay(b, onCommand(anyOf(200, 20)))
	self := overlay(b, onCommand(`(if context.trust > 3 then context.input.command.string else "x") like "*`+strings.Repeat("a", 240)+`b*"`))
	members := `{"to":"x","command":{"a":1`
	for i := range 5000 {
		members += fmt.Sprintf(`,"%07d":1`, i*7919%9999991)
	}
	for _, c := range []struct {
		name string
		ask  *policies.Ask
	}{
		{"patterns", run(15_000, o)}, {"unlooked", run(8_000, self)}, {"text", run(600_000, overlay(b, onCommand("false")))},
		{"members", laid(call("mail", "send", members+"}}"), o)}, {"refused", run(900_000, o)},
	} {
		units, _ := policies.Units(e, c.ask)
		b.Run(c.name, func(b *testing.B) {
			defer cpu(b)()
			for b.Loop() {
				e.Decide(c.ask)
			}
			b.ReportMetric(float64(units), "units")
		})
	}
}
