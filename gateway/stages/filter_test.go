package stages_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	life "github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
)

// unit is a filter that does what the test says and keeps what it was shown.
type unit struct {
	name     string
	request  func(input string, v *wasm.Verdict) error
	response func(input string, v *wasm.Verdict) error
	seen     []string
}

func (u *unit) Name() string        { return u.name }
func (u *unit) Digest() merkle.Hash { return sha256.Sum256([]byte(u.name)) }
func (u *unit) HasResponse() bool   { return u.response != nil }

func (u *unit) Decide(_ context.Context, shown *abi.Context, v *wasm.Verdict) error {
	return u.ask(u.request, shown.JSON(), v)
}

func (u *unit) OnResponse(_ context.Context, shown *abi.Context, v *wasm.Verdict) error {
	return u.ask(u.response, shown.JSON(), v)
}

func (u *unit) ask(f func(string, *wasm.Verdict) error, input []byte, v *wasm.Verdict) error {
	u.seen = append(u.seen, string(input))
	v.Kind = wasm.Pass
	if f == nil {
		return nil
	}
	return f(string(input), v)
}

// id is how records name the filter.
func (u *unit) id() string { return fmt.Sprintf("%s@%.12s", u.name, u.Digest().String()) }

// rewriting is a filter that puts body in place of what it is shown.
func rewriting(body string) func(string, *wasm.Verdict) error {
	return func(_ string, v *wasm.Verdict) error {
		v.Kind, v.Body = wasm.Rewrite, append(v.Body, body...)
		return nil
	}
}

// replacing is a filter that replaces a text wherever it stands, and labels what it found.
func replacing(from, to, label string) func(string, *wasm.Verdict) error {
	return func(input string, v *wasm.Verdict) error {
		var body []byte
		for _, member := range []string{"arguments", "result"} {
			if b, ok := canon.Get([]byte(input), member); ok {
				body = b
			}
		}
		if strings.Contains(string(body), from) {
			v.Kind, v.Body = wasm.Rewrite, append(v.Body, strings.ReplaceAll(string(body), from, to)...)
			v.Labels = append(v.Labels, label)
		}
		return nil
	}
}

// perTenant holds filters by tenant.
type perTenant map[string][]stages.FilterUnit

func (f perTenant) For(_ context.Context, tenant string) (*life.Set, error) {
	set := life.NewSet()
	for _, u := range f[tenant] {
		set.Units = append(set.Units, life.Place(u, nil))
	}
	return set, nil
}

// filters is the stage with acme's filters.
func filters(units ...*unit) *stages.Filter {
	f := perTenant{}
	for _, u := range units {
		f["acme"] = append(f["acme"], u)
	}
	return &stages.Filter{Filters: f, Arguments: canon.DefaultLimits(), Results: canon.Limits{Bytes: 4 << 20, Depth: 64, Values: 400_000}}
}

// step is a call that the intent stage let pass as a step of a plan with these constraints.
func (w *world) step(draft, args string) *pipeline.Call {
	w.t.Helper()
	p := w.plan(w.alice, `{"steps":[{"server":"files","tool":"read",`+draft+`,"uses":0}]}`)
	w.hold(p, "active")
	c := w.call(w.alice, "read", args, w.token(p, w.alice, nil))
	w.must(w.intent().Check(context.Background(), c))
	return c
}

const open = `"where":{"path":{"open":true},"limit":{"open":true,"optional":true}}`

// TestAFilterThatDoesNotLetACallPassRefusesIt: whatever it is that a filter does, only a verdict that passes every check lets a
// call go on.
// TestATrialPassesFilters as the call would that it is about: its caller acts on what it is told. Its answer is the gateway's
// own, and passes none.
func TestATrialPassesFilters(t *testing.T) {
	w := newWorld(t)
	deny := func(_ string, v *wasm.Verdict) error {
		v.Kind, v.Reason, v.Labels = wasm.Deny, "no", []string{"secret"}
		return nil
	}
	u := &unit{name: "guard", request: deny, response: deny}
	c := w.step(open, `{"path":"/a"}`)
	c.Op, c.Trial = "tools/check", true
	c.Answer = func(context.Context, *pipeline.Call) error { return nil }
	if d, ok := errors.AsType[*pipeline.Denial](filters(u).Check(t.Context(), c)); !ok || d.Code != pipeline.FilterDenied {
		t.Errorf("%v", d)
	}
	if len(u.seen) != 1 || !strings.Contains(u.seen[0], `"op":"tools/call"`) || !slices.Equal(c.Labels, []string{"secret"}) {
		t.Errorf("seen %q, labels %q", u.seen, c.Labels)
	}
	c.Reply.Result = []byte(`{"allowed":true}`)
	if err := filters(u).CheckReply(t.Context(), c); err != nil || len(u.seen) != 1 {
		t.Errorf("the gateway's own answer: %v, %d seen", err, len(u.seen))
	}
}

func TestAFilterThatDoesNotLetACallPassRefusesIt(t *testing.T) {
	w := newWorld(t)
	verdict := func(v wasm.Verdict) func(string, *wasm.Verdict) error {
		return func(_ string, to *wasm.Verdict) error { *to = v; return nil }
	}
	trap := func(kind string) func(string, *wasm.Verdict) error {
		return func(string, *wasm.Verdict) error {
			return &wasm.Trap{Filter: "f", Kind: kind, Err: errors.New("/top/secret")}
		}
	}
	labels := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprint("l", i))
		}
		return out
	}
	cases := map[string]struct {
		filter func(string, *wasm.Verdict) error
		draft  string
		code   pipeline.Code
		reason string // behind the filter's id
	}{
		"deny":                {filter: verdict(wasm.Verdict{Kind: wasm.Deny, Reason: "key_found", Message: "a key"}), code: pipeline.FilterDenied, reason: "key_found"},
		"deny without words":  {filter: verdict(wasm.Verdict{Kind: wasm.Deny}), code: pipeline.FilterDenied, reason: "denied"},
		"deny with odd words": {filter: verdict(wasm.Verdict{Kind: wasm.Deny, Reason: "/top/secret", Message: strings.Repeat("/top/secret", 99)}), code: pipeline.FilterDenied, reason: "denied"},
		"any other error":     {filter: func(string, *wasm.Verdict) error { return errors.New("/top/secret") }, code: pipeline.FilterFailed, reason: "failed"},
		"no verdict":          {filter: verdict(wasm.Verdict{}), code: pipeline.FilterFailed},
		"unknown verdict":     {filter: verdict(wasm.Verdict{Kind: 77}), code: pipeline.FilterFailed},
		"pass with a body":    {filter: verdict(wasm.Verdict{Kind: wasm.Pass, Body: []byte(`{}`)}), code: pipeline.FilterFailed},
		"no body":             {filter: rewriting(``), code: pipeline.FilterFailed},
		"an array":            {filter: rewriting(`["/a"]`), code: pipeline.FilterFailed},
		"a string":            {filter: rewriting(`"/a"`), code: pipeline.FilterFailed},
		"null":                {filter: rewriting(`null`), code: pipeline.FilterFailed},
		"a key twice":         {filter: rewriting(`{"path":"/a","path":"/b"}`), code: pipeline.FilterFailed},
		"a key twice, hidden": {filter: rewriting(`{"path":"/a","p\u0061th":"/b"}`), code: pipeline.FilterFailed},
		"bad UTF-8":           {filter: rewriting("{\"path\":\"\xff\"}"), code: pipeline.FilterFailed},
		"a lone surrogate":    {filter: rewriting(`{"path":"\ud800"}`), code: pipeline.FilterFailed},
		"no I-JSON number":    {filter: rewriting(`{"path":"/a","limit":18446744073709551617}`), code: pipeline.FilterFailed},
		"two documents":       {filter: rewriting(`{"path":"/a"}{}`), code: pipeline.FilterFailed},
		"blanks around":       {filter: rewriting(` {"path":"/a"} `), code: pipeline.FilterFailed},
		"cut short":           {filter: rewriting(`{"path":"/a"`), code: pipeline.FilterFailed},
		"too deep":            {filter: rewriting(`{"path":` + strings.Repeat(`[`, 40) + strings.Repeat(`]`, 40) + `}`), code: pipeline.FilterFailed},
		"too large":           {filter: rewriting(`{"path":"` + strings.Repeat(`x`, 1<<20) + `"}`), code: pipeline.FilterFailed},
		"schema: type":        {filter: rewriting(`{"path":7}`), code: pipeline.FilterDenied},
		"schema: length":      {filter: rewriting(`{"path":"` + strings.Repeat("x", 65) + `"}`), code: pipeline.FilterDenied},
		"schema: required":    {filter: rewriting(`{}`), code: pipeline.FilterDenied},
		"schema: additional":  {filter: rewriting(`{"path":"/a","mode":"x"}`), code: pipeline.FilterDenied},
		"plan: const":         {filter: rewriting(`{"path":"/b"}`), draft: `"args":{"path":"/top/secret"}`, code: pipeline.FilterDenied},
		"plan: added":         {filter: rewriting(`{"path":"/top/secret","limit":1}`), draft: `"args":{"path":"/top/secret"}`, code: pipeline.FilterDenied},
		"plan: enum":          {filter: rewriting(`{"path":"/c"}`), draft: `"where":{"path":{"enum":["/top/secret","/b"]}}`, code: pipeline.FilterDenied},
		"plan: prefix":        {filter: rewriting(`{"path":"[redacted]"}`), draft: `"where":{"path":{"prefix":"/top"}}`, code: pipeline.FilterDenied},
		"33 labels":           {filter: verdict(wasm.Verdict{Kind: wasm.Pass, Labels: labels(33)}), code: pipeline.FilterFailed},
		"an empty label":      {filter: verdict(wasm.Verdict{Kind: wasm.Pass, Labels: []string{"a", ""}}), code: pipeline.FilterFailed},
		"a label in capitals": {filter: verdict(wasm.Verdict{Kind: wasm.Pass, Labels: []string{"Secret"}}), code: pipeline.FilterFailed},
		"a label with blanks": {filter: verdict(wasm.Verdict{Kind: wasm.Pass, Labels: []string{"a b"}}), code: pipeline.FilterFailed},
		"a label with umlaut": {filter: verdict(wasm.Verdict{Kind: wasm.Pass, Labels: []string{"ü"}}), code: pipeline.FilterFailed},
		"a label of 65 bytes": {filter: verdict(wasm.Verdict{Kind: wasm.Pass, Labels: []string{strings.Repeat("l", 65)}}), code: pipeline.FilterFailed},
	}
	for _, kind := range []string{
		wasm.TrapFuel, wasm.TrapDepth, wasm.TrapMemory, wasm.TrapUnreachable, wasm.TrapFault, wasm.TrapPointer, wasm.TrapVerdict,
		wasm.TrapInput, wasm.TrapBusy, wasm.TrapBroken, wasm.TrapCanceled, wasm.TrapClosed, wasm.TrapInit, wasm.TrapInternal,
	} {
		c := cases["trap "+kind]
		c.filter, c.code, c.reason = trap(kind), pipeline.FilterFailed, "trap "+kind
		cases["trap "+kind] = c
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.draft == "" {
				c.draft = open
			}
			bad, after := &unit{name: "bad", request: c.filter}, &unit{name: "after"}
			call := w.step(c.draft, `{"path":"/top/secret"}`)
			d := wantDenial(t, filters(&unit{name: "first"}, bad, after).Check(context.Background(), call), c.code, "")
			if !strings.HasPrefix(d.Reason, bad.id()+": ") || c.reason != "" && d.Reason != bad.id()+": "+c.reason {
				t.Errorf("the ledger is told %q, want %s: %s", d.Reason, bad.id(), c.reason)
			}
			if strings.Contains(d.Message+d.Hint+d.Reason, "secret") {
				t.Errorf("told %q, %q, %q: an argument's value or the inside of a filter", d.Message, d.Hint, d.Reason)
			}
			if string(call.Args) != `{"path":"/top/secret"}` || call.Filtered != "" || len(after.seen) > 0 {
				t.Errorf("went on with %s, %q", call.Args, call.Filtered)
			}
		})
	}
}

func TestWhatAFilterSaysReachesTheCaller(t *testing.T) {
	w := newWorld(t)
	f := filters(&unit{name: "f", request: func(_ string, v *wasm.Verdict) error {
		v.Kind, v.Reason, v.Message = wasm.Deny, "card_number", "no card numbers here"
		v.Labels = append(v.Labels, "secret:card")
		return nil
	}})
	c := w.step(open, `{"path":"/a"}`)
	d := wantDenial(t, f.Check(context.Background(), c), pipeline.FilterDenied, "")
	if d.Message != "a filter refuses this call: card_number: no card numbers here" || !slices.Equal(c.Labels, []string{"secret:card"}) {
		t.Errorf("told %q, labels %q", d.Message, c.Labels)
	}
	f = filters(&unit{name: "f", request: func(string, *wasm.Verdict) error { return &wasm.Trap{Filter: "f", Kind: wasm.TrapInput} }})
	d = wantDenial(t, f.Check(context.Background(), w.step(open, `{"path":"/a"}`)), pipeline.FilterFailed, "")
	if !strings.Contains(d.Message, "too large for filters") {
		t.Errorf("told %q", d.Message)
	}
}

type noFilters struct{}

func (noFilters) For(context.Context, string) (*life.Set, error) {
	return nil, errors.New("module is gone")
}

func TestWithoutItsFiltersATenantIsRefused(t *testing.T) {
	w := newWorld(t)
	f := &stages.Filter{Filters: noFilters{}}
	c := w.step(open, `{"path":"/a"}`)
	d := wantDenial(t, f.Check(context.Background(), c), pipeline.FilterFailed, "")
	if strings.Contains(d.Message+d.Hint, "gone") {
		t.Errorf("told %q", d.Message)
	}
	wantDenial(t, f.CheckReply(context.Background(), c), pipeline.FilterFailed, "")
	unset := filters(&unit{name: "f", request: rewriting(`{"path":"/b"}`)})
	unset.Arguments, c.Force = canon.Limits{}, pipeline.Force{}
	wantDenial(t, unset.Check(context.Background(), c), pipeline.FilterFailed, "")
}

func TestLabelsOfACallAreBoundedSortedAndEachOnce(t *testing.T) {
	w := newWorld(t)
	label := func(from, to int) func(string, *wasm.Verdict) error {
		return func(_ string, v *wasm.Verdict) error {
			for i := to; i > from; i-- {
				v.Labels = append(v.Labels, fmt.Sprintf("l%02d", i))
			}
			return nil
		}
	}
	c := w.step(open, `{"path":"/a"}`)
	w.must(filters(&unit{name: "a", request: label(0, 32)}, &unit{name: "b", request: label(32, 64)}, &unit{name: "c", request: label(20, 50)}).Check(context.Background(), c))
	if len(c.Labels) != 64 || !slices.IsSorted(c.Labels) || len(slices.Compact(slices.Clone(c.Labels))) != 64 {
		t.Fatalf("labels %q", c.Labels)
	}
	over := filters(&unit{name: "a", request: label(64, 65)})
	c.Force = pipeline.Force{}
	d := wantDenial(t, over.Check(context.Background(), c), pipeline.FilterFailed, "")
	if !strings.Contains(d.Reason, "64 labels") {
		t.Errorf("the ledger is told %q", d.Reason)
	}
	// What policy was asked stays as it was.
	c.Labels, c.Force = append(make([]string, 0, 8), "b", "c"), pipeline.Force{}
	asked := c.BuildAsk(0)
	w.must(filters(&unit{name: "f", response: func(_ string, v *wasm.Verdict) error { v.Labels = append(v.Labels, "a"); return nil }}).CheckReply(context.Background(), c))
	if !slices.Equal(asked.Labels, []string{"b", "c"}) || !slices.Equal(c.Labels, []string{"a", "b", "c"}) {
		t.Errorf("asked with %q, now %q", asked.Labels, c.Labels)
	}
}

// TestAFilterIsShownTheCallAsItStands: the members and their order are promised to filters.
func TestAFilterIsShownTheCallAsItStands(t *testing.T) {
	w := newWorld(t)
	first := &unit{name: "first", request: replacing("/a", "/b", "moved"), response: func(string, *wasm.Verdict) error { return nil }}
	second := &unit{name: "second", request: func(_ string, v *wasm.Verdict) error { v.Labels = append(v.Labels, "late"); return nil }, response: replacing("hello", "[x]", "cut")}
	third := &unit{name: "third"}
	f := filters(first, second, third)
	c := w.step(open, `{"path":"/a"}`)
	c.Started = w.now.Truncate(1e6)
	w.must(f.Check(context.Background(), c))
	head := func(phase string) string {
		return fmt.Sprintf(`{"abi":1,"phase":%q,"tenant":"acme","agent":%q,"user":%q,"op":"tools/call","server":"files","tool":"read","now":%d,"plan":{"id":"pln_1","step":0},"labels":`,
			phase, w.alice.Agent(), w.alice.User(), w.now.UnixMilli())
	}
	for i, want := range []string{`[],"arguments":{"path":"/a"}}`, `["moved"],"arguments":{"path":"/b"}}`, `["late","moved"],"arguments":{"path":"/b"}}`} {
		if got := []*unit{first, second, third}[i].seen[0]; got != head("request")+want {
			t.Errorf("filter %d was shown %s\nwant %s", i, got, head("request")+want)
		}
	}
	if string(c.Args) != `{"path":"/b"}` || c.Filtered != "arguments rewritten by "+first.id() {
		t.Errorf("%s, %q", c.Args, c.Filtered)
	}
	c.Reply.Result = []byte(`{"content":[{"type":"text","text":"hello"}]}`)
	w.must(f.CheckReply(context.Background(), c))
	if got, want := second.seen[1], head("response")+`["late","moved"],"result":{"content":[{"type":"text","text":"hello"}]}}`; got != want {
		t.Errorf("shown %s\nwant %s", got, want)
	}
	if got, want := first.seen[1], head("response")+`["cut","late","moved"],"result":{"content":[{"type":"text","text":"[x]"}]}}`; got != want {
		t.Errorf("shown %s\nwant %s", got, want)
	}
	if len(third.seen) != 1 || c.Filtered != "result rewritten by "+second.id() || string(c.Reply.Result) != `{"content":[{"type":"text","text":"[x]"}]}` {
		t.Errorf("%d, %q, %s", len(third.seen), c.Filtered, c.Reply.Result)
	}
}

func TestRewritingWhatThePlanLeavesOpenPasses(t *testing.T) {
	w := newWorld(t)
	for name, draft := range map[string]string{
		"open": open, "redactable": `"args":{"path":"sk_live_1"},"redactable":["/path"]`, "still within": `"where":{"path":{"enum":["sk_live_1","[redacted]"]}}`,
	} {
		c := w.step(draft, `{"path":"sk_live_1"}`)
		if err := filters(&unit{name: "f", request: replacing("sk_live_1", "[redacted]", "secret:stripe")}).Check(context.Background(), c); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if string(c.Args) != `{"path":"[redacted]"}` || !slices.Equal(c.Labels, []string{"secret:stripe"}) {
			t.Errorf("%s: %s, %q", name, c.Args, c.Labels)
		}
	}
}

// TestARewrittenBodyIsTheCallsOwn: the filter's memory is used again.
func TestARewrittenBodyIsTheCallsOwn(t *testing.T) {
	w := newWorld(t)
	f := filters(&unit{name: "f", request: replacing("/a", "/b", "x")}, &unit{name: "g", request: replacing("/b", "/c", "y")})
	c, d := w.step(open, `{"path":"/a/1"}`), w.step(open, `{"path":"/a/2"}`)
	w.must(f.Check(context.Background(), c))
	w.must(f.Check(context.Background(), d))
	if string(c.Args) != `{"path":"/c/1"}` || string(d.Args) != `{"path":"/c/2"}` {
		t.Errorf("%s, %s", c.Args, d.Args)
	}
}

func TestOperationsOfTheGatewaysOwnAreNotFiltered(t *testing.T) {
	w := newWorld(t)
	deny := func(_ string, v *wasm.Verdict) error { v.Kind = wasm.Deny; return nil }
	u := &unit{name: "f", request: deny, response: deny}
	f := filters(u)
	for _, op := range []string{"tools/list", "initialize", "plans/capture", "tokens/issue"} {
		c := &pipeline.Call{Caller: w.alice, Op: op, Args: []byte(`{"ttl_seconds":5}`), Answer: func(context.Context, *pipeline.Call) error { return nil }}
		w.must(f.Check(context.Background(), c))
		c.Reply.Result = []byte(`{"token":"eyJ"}`)
		w.must(f.CheckReply(context.Background(), c))
	}
	if len(u.seen) > 0 {
		t.Errorf("a filter was shown %s", u.seen)
	}
	// What goes to a server is filtered, also when it carries no arguments and needs no plan.
	bare := &pipeline.Call{Caller: w.alice, Op: "resources/read", Server: "files", Name: "file:///a"}
	wantDenial(t, f.Check(context.Background(), bare), pipeline.FilterDenied, "")
	if !strings.HasSuffix(u.seen[0], `"plan":null,"labels":[],"arguments":{}}`) {
		t.Errorf("shown %s", u.seen)
	}
	u.request = rewriting(`{"path":"/b"}`)
	wantDenial(t, f.Check(context.Background(), bare), pipeline.FilterFailed, "")
}

func TestATenantsCallsPassItsOwnFiltersAlone(t *testing.T) {
	w := newWorld(t)
	acme, rival := &unit{name: "acme"}, &unit{name: "rival"}
	f := filters(acme)
	f.Filters.(perTenant)["rival"] = []stages.FilterUnit{rival}
	for _, c := range []struct {
		who        identity.Caller
		mine, them *unit
	}{{w.alice, acme, rival}, {w.bob, acme, rival}, {w.eve, rival, acme}} {
		mine, them := len(c.mine.seen), len(c.them.seen)
		call := w.call(c.who, "read", `{"path":"/a"}`, nil)
		w.must(f.Check(context.Background(), call))
		if len(c.mine.seen) != mine+1 || len(c.them.seen) != them || !strings.Contains(c.mine.seen[mine], `"tenant":"`+c.who.Tenant()+`"`) {
			t.Errorf("%s: %q, %q", c.who.Tenant(), c.mine.seen, c.them.seen)
		}
	}
}

func TestAResultMayBeRewrittenAndNotTurnedIntoAnother(t *testing.T) {
	w := newWorld(t)
	const text = `{"content":[{"type":"text","text":"sk_live_1"}]}`
	for name, c := range map[string]struct {
		from, to string
		failure  bool // the server's answer is an error object
		ok       bool
	}{
		"redacted":               {from: text, to: `{"content":[{"type":"text","text":"[redacted]"}]}`, ok: true},
		"emptied":                {from: text, to: `{"content":[]}`, ok: true},
		"type kept":              {from: `{"resultType":"complete","content":[]}`, to: `{"content":[],"resultType":"complete"}`, ok: true},
		"type dropped":           {from: `{"resultType":"complete","content":[]}`, to: `{"content":[]}`},
		"type put in":            {from: `{"content":[]}`, to: `{"content":[],"resultType":"input_required"}`},
		"type changed":           {from: `{"resultType":"complete"}`, to: `{"resultType":"task"}`},
		"structured kept":        {from: `{"content":[],"structuredContent":{"k":"s"}}`, to: `{"content":[],"structuredContent":{"k":"x"}}`, ok: true},
		"structured dropped":     {from: `{"content":[],"structuredContent":{"k":"s"}}`, to: `{"content":[]}`},
		"structured put in":      {from: `{"content":[]}`, to: `{"content":[],"structuredContent":{}}`},
		"structured no object":   {from: `{"content":[],"structuredContent":{"k":"s"}}`, to: `{"content":[],"structuredContent":"x"}`},
		"content no array":       {from: text, to: `{"content":"x"}`},
		"failure kept":           {from: `{"content":[],"isError":true}`, to: `{"content":[1],"isError":true}`, ok: true},
		"failure hidden":         {from: `{"content":[],"isError":true}`, to: `{"content":[],"isError":false}`},
		"failure dropped":        {from: `{"content":[],"isError":true}`, to: `{"content":[]}`},
		"failure made up":        {from: `{"content":[]}`, to: `{"content":[],"isError":true}`},
		"an array":               {from: text, to: `[]`},
		"null":                   {from: text, to: `null`},
		"a key twice":            {from: text, to: `{"content":[],"content":[]}`},
		"error redacted":         {from: `{"code":-32602,"message":"sk_live_1"}`, to: `{"code":-32602,"message":"[redacted]"}`, failure: true, ok: true},
		"error with other code":  {from: `{"code":-32602,"message":"sk_live_1"}`, to: `{"code":-32603,"message":"[redacted]"}`, failure: true},
		"error without message":  {from: `{"code":-32602,"message":"sk_live_1"}`, to: `{"code":-32602}`, failure: true},
		"error turned to result": {from: `{"code":-32602,"message":"sk_live_1"}`, to: `{"content":[]}`, failure: true},
	} {
		t.Run(name, func(t *testing.T) {
			u := &unit{name: "f", response: rewriting(c.to)}
			call := w.step(open, `{"path":"/a"}`)
			call.Reply.Result = []byte(c.from)
			if c.failure {
				call.Reply = pipeline.Reply{Error: []byte(c.from)}
			}
			err := filters(u).CheckReply(context.Background(), call)
			got, other, want := call.Reply.Result, call.Reply.Error, c.to
			if c.failure {
				got, other = other, got
			}
			if !c.ok {
				wantDenial(t, err, pipeline.FilterFailed, "")
				want = c.from
			} else {
				w.must(err)
			}
			if string(got) != want || other != nil {
				t.Errorf("left %s, %s, want %s", got, other, want)
			}
		})
	}
}

// TestFilteringAllocatesNothingWhereNothingIsFound: most calls have nothing to hide.
func TestFilteringAllocatesNothingWhereNothingIsFound(t *testing.T) {
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("the race detector makes pools forget")
	}
	w := newWorld(t)
	c := w.step(open, `{"path":"/a"}`)
	c.Reply.Result = []byte(`{"content":[]}`)
	for name, f := range map[string]*stages.Filter{"none": {Filters: always{}}, "passing": {Filters: always{life.NewSet(life.Place(passing{}, nil), life.Place(passing{}, nil))}}} {
		n := testing.AllocsPerRun(200, func() {
			if f.Check(context.Background(), c) != nil || f.CheckReply(context.Background(), c) != nil {
				t.Fatal("refused")
			}
		})
		if n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// always is one set for everybody.
type always struct{ set *life.Set }

func (a always) For(context.Context, string) (*life.Set, error) { return a.set, nil }

// passing lets everything pass.
type passing struct{}

func (passing) Name() string        { return "passing" }
func (passing) Digest() merkle.Hash { return merkle.Hash{} }
func (passing) HasResponse() bool   { return true }

func (passing) Decide(_ context.Context, _ *abi.Context, v *wasm.Verdict) error {
	v.Kind = wasm.Pass
	return nil
}

func (p passing) OnResponse(ctx context.Context, shown *abi.Context, v *wasm.Verdict) error {
	return p.Decide(ctx, shown, v)
}

// salted is the digest that records hold of a body.
func salted(c *pipeline.Call, body []byte) merkle.Hash {
	return sha256.Sum256(append(bytes.Clone(c.Salt[:]), body...))
}
