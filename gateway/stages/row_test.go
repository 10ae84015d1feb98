package stages_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/wasm"
)

// scribe is a ledger that also keeps what was written to it.
type scribe struct {
	pipeline.Ledger
	records []ledger.Record
}

func (s *scribe) note(r *ledger.Record, err error) {
	if err == nil {
		kept := *r
		kept.After, kept.Side, kept.Policies = slices.Clone(r.After), slices.Clone(r.Side), slices.Clone(r.Policies)
		s.records = append(s.records, kept)
	}
}

func (s *scribe) Append(ctx context.Context, r *ledger.Record) (wal.Mark, error) {
	m, err := s.Ledger.Append(ctx, r)
	s.note(r, err)
	return m, err
}

func (s *scribe) Admit(ctx context.Context, r *ledger.Record, u wal.Use) (wal.Mark, error) {
	m, err := s.Ledger.Admit(ctx, r, u)
	s.note(r, err)
	return m, err
}

func (s *scribe) Settle(ctx context.Context, r *ledger.Record, receipt []byte) (wal.Mark, []byte, error) {
	m, receipt, err := s.Ledger.Settle(ctx, r, receipt)
	s.note(r, err)
	return m, receipt, err
}

func (s *scribe) kinds() string {
	var out []string
	for i := range s.records {
		out = append(out, s.records[i].Kind.String())
	}
	return strings.Join(out, " ")
}

func (s *scribe) last() *ledger.Record { return &s.records[len(s.records)-1] }

// row is the whole row with filters over a real ledger, for one planned step.
type row struct {
	*world
	line   *pipeline.Line
	log    *wal.Log
	book   *scribe
	plan   *intent.Plan
	token  []byte
	result string
	sent   []string // the arguments that went out
}

func (w *world) row(draft string, units ...*unit) *row {
	w.t.Helper()
	r := &row{world: w, result: `{"content":[{"type":"text","text":"sk_live_1"}]}`}
	r.line, r.log = w.line(forwarder(func(c *pipeline.Call) error {
		r.sent = append(r.sent, string(c.Args))
		c.Reply = pipeline.Reply{Status: 200, Result: []byte(r.result)}
		return nil
	}))
	r.book = &scribe{Ledger: r.log}
	r.line.Ledger = r.book
	last := len(r.line.Stages) - 1
	r.line.Stages = slices.Insert(r.line.Stages, last, pipeline.Stage(filters(units...)))
	r.plan = w.plan(w.alice, `{"steps":[{"server":"files","tool":"read",`+draft+`}]}`)
	w.hold(r.plan, "active")
	r.token = w.token(r.plan, w.alice, nil)
	return r
}

// run sends the step, with an Idempotency-Key where retry is not empty.
func (r *row) run(args, retry string) *pipeline.Call {
	c := &pipeline.Call{Route: "/mcp", Credential: []byte(r.aliceKey), Retry: retry, Read: func(_ context.Context, c *pipeline.Call) error {
		c.Op, c.Action, c.Plan, c.Server, c.Name, c.Args, c.Shown.Token = "tools/call", "call_tool", true, "files", "read", []byte(args), r.token
		return nil
	}}
	r.line.Run(context.Background(), c)
	return c
}

// refused checks that the call was refused, on record, and had no effect and no reply.
func (r *row) refused(c *pipeline.Call, code pipeline.Code) {
	r.t.Helper()
	if c.Denial == nil || c.Denial.Code != code {
		r.t.Fatalf("refused with %v, want %s", c.Denial, code)
	}
	if c.Reply.Result != nil || c.Reply.Error != nil {
		r.t.Errorf("a reply came with the refusal: %s", c.Reply.Result)
	}
	if last := r.book.last(); c.Record != last.ID || last.Code != string(code) || len(c.Receipt) == 0 {
		r.t.Errorf("told record %q, the last is %s %q", c.Record, last.ID, last.Code)
	}
}

func TestARefusalByAFilterIsOnRecordAndNothingGoesOut(t *testing.T) {
	boom := func(string, *wasm.Verdict) error { panic("boom at /secret") }
	deny := func(_ string, v *wasm.Verdict) error {
		v.Kind, v.Reason, v.Labels = wasm.Deny, "found", append(v.Labels, "pii")
		return nil
	}
	trap := func(string, *wasm.Verdict) error { return &wasm.Trap{Filter: "f", Kind: wasm.TrapFuel} }
	for name, c := range map[string]struct {
		filter func(string, *wasm.Verdict) error
		code   pipeline.Code
		detail string
		labels string
		faults uint64
	}{
		"deny":  {deny, pipeline.FilterDenied, ": found", "pii", 0},
		"trap":  {trap, pipeline.FilterFailed, ": trap fuel", "", 0},
		"panic": {boom, pipeline.Internal, "internal", "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			f := &unit{name: "f", request: c.filter}
			r := w.row(open, f)
			r.refused(r.run(`{"path":"/a"}`, ""), c.code)
			last := r.book.last()
			if len(r.sent) > 0 || r.book.kinds() != "refused" || !strings.HasSuffix(last.Detail, c.detail) || strings.Join(last.Labels, " ") != c.labels {
				t.Errorf("sent %q, records %q, the last %+v", r.sent, r.book.kinds(), last)
			}
			if c.code != pipeline.Internal && !strings.HasPrefix(last.Detail, f.id()) {
				t.Errorf("on record %q", last.Detail)
			}
			if n := r.line.Stats().Faults.Load(); n != c.faults {
				t.Errorf("%d faults counted, want %d", n, c.faults)
			}
			if used := r.log.Used(r.plan.Tree().Root(), 0); used != 0 {
				t.Errorf("%d uses spent", used)
			}
		})
	}
}

func TestAFilterOnTheWayBackWithholdsTheReply(t *testing.T) {
	for name, c := range map[string]struct {
		filter func(string, *wasm.Verdict) error
		detail string
		faults uint64
	}{
		"deny":    {func(_ string, v *wasm.Verdict) error { v.Kind, v.Reason = wasm.Deny, "found"; return nil }, "filter_denied: f@", 0},
		"trap":    {func(string, *wasm.Verdict) error { return &wasm.Trap{Filter: "f", Kind: wasm.TrapDepth} }, "filter_failed: f@", 0},
		"error":   {func(string, *wasm.Verdict) error { return errors.New("odd") }, "filter_failed: f@", 0},
		"rubbish": {rewriting(`["sk_live_1"]`), "filter_failed: f@", 0},
		"panic":   {func(string, *wasm.Verdict) error { panic("boom") }, "internal", 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			after := &unit{name: "after", response: func(string, *wasm.Verdict) error { return nil }}
			r := w.row(open, after, &unit{name: "f", response: c.filter}, &unit{name: "first", response: replacing("sk_live_1", "[x]", "secret:stripe")})
			call := r.run(`{"path":"/a"}`, "")
			r.refused(call, pipeline.ReplyWithheld)
			last := r.book.last()
			if last.Outcome != "withheld" || !strings.HasPrefix(last.Detail, c.detail) || strings.Join(last.Labels, " ") != "secret:stripe" {
				t.Errorf("on record %+v", last)
			}
			if last.Reply != salted(call, []byte(r.result)) {
				t.Error("the record does not name what the server said")
			}
			if len(r.sent) != 1 || len(after.seen) != 1 || r.book.kinds() != "admitted settled" {
				t.Errorf("%d sent, %d asked after the refusal, records %q", len(r.sent), len(after.seen)-1, r.book.kinds())
			}
			if n := r.line.Stats().Faults.Load(); n != c.faults {
				t.Errorf("%d faults counted, want %d", n, c.faults)
			}
		})
	}
}

// TestWhatWasRewrittenIsWhatGoesOutAndWhatIsOnRecord: law 2, with filters.
func TestWhatWasRewrittenIsWhatGoesOutAndWhatIsOnRecord(t *testing.T) {
	w := newWorld(t)
	f := &unit{name: "f", request: replacing("sk_live_1", "[redacted]", "secret:stripe"), response: replacing("sk_live_1", "[redacted]", "secret:reply")}
	r := w.row(open+`,"uses":0`, f, &unit{name: "g", request: replacing("[redacted]", "[r]", "late")})
	c := r.run(`{"path":"sk_live_1"}`, "")
	if c.Denial != nil {
		t.Fatal(c.Denial)
	}
	const args, result = `{"path":"[r]"}`, `{"content":[{"type":"text","text":"[redacted]"}]}`
	if len(r.sent) != 1 || r.sent[0] != args || string(c.Reply.Result) != result {
		t.Fatalf("sent %q, answered %s", r.sent, c.Reply.Result)
	}
	out, back := r.book.records[0], r.book.records[1]
	if out.Request != salted(c, []byte(args)) || back.Reply != salted(c, []byte(result)) {
		t.Error("the digests on record are not of what went out and what was answered")
	}
	if out.Detail != "arguments rewritten by f@"+f.id()[2:]+", "+(&unit{name: "g"}).id() || strings.Join(out.Labels, " ") != "late secret:stripe" {
		t.Errorf("admitted: %q, %q", out.Detail, out.Labels)
	}
	if back.Detail != "result rewritten by "+f.id() || strings.Join(back.Labels, " ") != "late secret:reply secret:stripe" || back.Outcome != "ok" {
		t.Errorf("settled: %q, %q, %q", back.Detail, back.Labels, back.Outcome)
	}
	r.result = `{"content":[]}`
	if c := r.run(`{"path":"sk_live_2 sk_live_1"}`, ""); c.Denial != nil || !strings.HasPrefix(r.book.records[2].Detail, "arguments") || r.book.last().Detail != "" {
		t.Errorf("%v; of arguments alone: %q, %q", c.Denial, r.book.records[2].Detail, r.book.last().Detail)
	}
	if !slices.ContainsFunc(c.StageTimes(), func(s ledger.StageTime) bool { return s.Name == "filter" }) {
		t.Error("the filters' time is not on record")
	}
}

func TestPolicySeesLabelsAndRewrittenArguments(t *testing.T) {
	w := newWorld(t)
	w.engines.Swap("acme", w.engine(`permit (principal, action == Action::"files___read", resource) when { context.input.path == "[redacted]" };
@reason("no secrets to this server")
forbid (principal, action == Action::"files___read", resource) when { context.filters.labels.contains("secret:jwt") };`))
	r := w.row(open+`,"uses":0`, &unit{name: "f", request: replacing("sk_live_1", "[redacted]", "secret:stripe")}, &unit{name: "g", request: func(input string, v *wasm.Verdict) error {
		if strings.Contains(input, `"limit":2`) {
			v.Labels = append(v.Labels, "secret:jwt")
		}
		return nil
	}})
	if c := r.run(`{"path":"sk_live_1"}`, ""); c.Denial != nil {
		t.Fatal(c.Denial)
	}
	r.refused(r.run(`{"path":"/a"}`, ""), pipeline.PolicyDenied)
	r.refused(r.run(`{"path":"sk_live_1","limit":2}`, ""), pipeline.PolicyDenied)
	if d := r.book.last().Detail; !strings.HasPrefix(d, "policy_denied: policy does not permit this call: no secrets to this server; arguments rewritten by f@") {
		t.Errorf("on record %q", d)
	}
	if got := strings.Join(r.book.last().Labels, " "); got != "secret:jwt secret:stripe" || len(r.sent) != 1 {
		t.Errorf("labels %q, sent %q", got, r.sent)
	}
}

func TestACallThatFiltersJudgedTooLongIsRefused(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	r := w.row(open, &unit{name: "f", request: func(string, *wasm.Verdict) error { now = now.Add(2 * time.Second); return nil }})
	r.line.Now, r.line.Limit = func() time.Time { return now }, time.Second
	c := r.run(`{"path":"/a"}`, "")
	r.refused(c, pipeline.Timeout)
	if r.book.last().Detail != "timeout in filter" || len(r.sent) > 0 {
		t.Errorf("on record %q, sent %q", r.book.last().Detail, r.sent)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ended := w.step(open, `{"path":"/a"}`)
	stage := filters(&unit{name: "f", request: func(string, *wasm.Verdict) error {
		return &wasm.Trap{Filter: "f", Kind: wasm.TrapCanceled, Err: ctx.Err()}
	}})
	wantDenial(t, stage.Check(ctx, ended), pipeline.FilterFailed, "")
}

// TestAKeptAnswerIsJudgedAgain: by the plan, the filters and the policy that are in force now.
func TestAKeptAnswerIsJudgedAgain(t *testing.T) {
	const args = `{"path":"/a"}`
	var block bool
	blocking := func(_ string, v *wasm.Verdict) error {
		if block {
			v.Kind, v.Reason = wasm.Deny, "found"
		}
		return nil
	}
	for name, c := range map[string]struct {
		then func(*row)
		code pipeline.Code // empty: given again
	}{
		"nothing happened":    {func(*row) {}, ""},
		"its plan is used up": {func(r *row) { r.hold(r.plan, stages.UsedUp) }, ""},
		"policy forbids it": {func(r *row) {
			r.engines.Swap("acme", r.engine(`permit (principal, action == Action::"files___send", resource);`))
		}, pipeline.PolicyDenied},
		"both": {func(r *row) {
			r.hold(r.plan, stages.UsedUp)
			r.engines.Swap("acme", r.engine(`permit (principal, action == Action::"files___send", resource);`))
		}, pipeline.PolicyDenied},
		"no policies any more": {func(r *row) { r.engines.Swap("acme", nil) }, pipeline.PolicyDenied},
		"policy minds its plan": {func(r *row) {
			r.hold(r.plan, stages.UsedUp)
			r.engines.Swap("acme", r.engine(`permit (principal, action == Action::"files___read", resource) when { context.plan.inPlan && context.plan.stepsDone == 1 };`))
		}, ""},
		"a filter refuses it":   {func(*row) { block = true }, pipeline.FilterDenied},
		"its plan was revoked":  {func(r *row) { r.hold(r.plan, "revoked") }, "plan_revoked"},
		"its plan expired":      {func(r *row) { r.hold(r.plan, "expired") }, "plan_expired"},
		"its plan was ended":    {func(r *row) { r.hold(r.plan, "completed") }, pipeline.PlanInactive},
		"its token was revoked": {func(r *row) { r.verifier.Revoke("tok_1", r.now.Add(time.Hour)) }, "token_revoked"},
		"its tool changed": {func(r *row) {
			r.offers["files"] = []string{strings.Replace(readTool, "64", "65", 1), sendTool}
			r.relist()
		}, "schema_changed"},
		"its tool changed and its plan is used up": {func(r *row) {
			r.offers["files"] = []string{strings.Replace(readTool, "64", "65", 1), sendTool}
			r.relist()
			r.hold(r.plan, stages.UsedUp)
		}, "schema_changed"},
	} {
		t.Run(name, func(t *testing.T) {
			block = false
			w := newWorld(t)
			r := w.row(`"args":{"path":"/a"}`, &unit{name: "f", request: blocking})
			first := r.run(args, "k")
			if first.Denial != nil {
				t.Fatal(first.Denial)
			}
			c.then(r)
			again := r.run(args, "k")
			if len(r.sent) != 1 || r.log.Used(r.plan.Tree().Root(), 0) != 1 {
				t.Fatalf("%d sent, %d uses spent", len(r.sent), r.log.Used(r.plan.Tree().Root(), 0))
			}
			if c.code != "" {
				r.refused(again, c.code)
				return
			}
			if again.Denial != nil || !again.Kept || again.Record != first.Record || string(again.Receipt) != string(first.Receipt) || string(again.Reply.Result) != string(first.Reply.Result) {
				t.Fatalf("again %v, record %s of %s", again.Denial, again.Record, first.Record)
			}
			if k := r.book.kinds(); k != "admitted settled admitted settled" {
				t.Errorf("records %q", k)
			}
			for _, rec := range r.book.records[2:] {
				if !rec.Plan.IsZero() || rec.Step != -1 || rec.PlanID != "pln_1" || rec.Token != "tok_1" || !strings.Contains(rec.Detail, first.Record) {
					t.Errorf("on record %+v", rec)
				}
			}
			if rec := r.book.records[2]; rec.Bundle.IsZero() || len(rec.Policies) == 0 {
				t.Errorf("the decision is not on record: %+v", rec)
			}
		})
	}
}

// TestARepeatIsTheStepThatWasGrantedFirst: another step of the plan may fit the same request.
func TestARepeatIsTheStepThatWasGrantedFirst(t *testing.T) {
	w := newWorld(t)
	r := w.row(`"args":{"path":"/a"}},{"server":"files","tool":"read","args":{"path":"/a"}`)
	var steps []int
	r.line.Stages = append(r.line.Stages, watcher(func(c *pipeline.Call) { steps = append(steps, c.Grant.Step()) }))
	for _, retry := range []string{"", "k", "k"} {
		if c := r.run(`{"path":"/a"}`, retry); c.Denial != nil {
			t.Fatal(c.Denial)
		}
	}
	if !slices.Equal(steps, []int{0, 1, 1}) || len(r.sent) != 2 {
		t.Errorf("steps %v, %d sent", steps, len(r.sent))
	}
}

// TestAnExplicitStepMayBeRepeated: with its proof, without the gateway's own copy of the plan.
func TestAnExplicitStepMayBeRepeated(t *testing.T) {
	for _, state := range []string{"active", stages.UsedUp, "gone"} {
		w := newWorld(t)
		r := w.row(`"args":{"path":"/a"}`)
		run := func() *pipeline.Call {
			c := &pipeline.Call{Route: "/mcp", Credential: []byte(r.aliceKey), Retry: "k"}
			c.Read = func(_ context.Context, c *pipeline.Call) error {
				c.Op, c.Action, c.Plan, c.Server, c.Name, c.Args, c.Shown.Token = "tools/call", "call_tool", true, "files", "read", []byte(`{"path":"/a"}`), r.token
				w.show(c, r.plan, 0)
				return nil
			}
			r.line.Run(context.Background(), c)
			return c
		}
		first := run()
		if w.hold(r.plan, state); state == "gone" {
			w.plans["acme"] = map[merkle.Hash]onShelf{}
		}
		if again := run(); first.Denial != nil || again.Denial != nil || again.Record != first.Record || len(r.sent) != 1 {
			t.Errorf("%s: %v, %v, %d sent", state, first.Denial, again.Denial, len(r.sent))
		}
	}
}

// TestAKeptAnswerPassesTheFiltersOfToday: a filter that was put in force since sees it too.
func TestAKeptAnswerPassesTheFiltersOfToday(t *testing.T) {
	w := newWorld(t)
	f := &unit{name: "f"}
	r := w.row(open, f)
	first := r.run(`{"path":"/a"}`, "k")
	f.response = replacing("sk_live_1", "[redacted]", "secret:stripe")
	again := r.run(`{"path":"/a"}`, "k")
	if again.Denial != nil || strings.Contains(string(again.Reply.Result), "sk_live_1") || again.Record == first.Record || len(again.Receipt) == 0 {
		t.Fatalf("%v, %s under %s", again.Denial, again.Reply.Result, again.Record)
	}
	last := r.book.last()
	if last.Detail != "kept answer of "+first.Record+"; result rewritten by "+f.id() || last.Reply != salted(again, again.Reply.Result) || strings.Join(last.Labels, " ") != "secret:stripe" {
		t.Errorf("on record %+v", last)
	}
	f.response = func(_ string, v *wasm.Verdict) error { v.Kind = wasm.Deny; return nil }
	r.refused(r.run(`{"path":"/a"}`, "k"), pipeline.ReplyWithheld)
	if len(r.sent) != 1 {
		t.Errorf("%d sent", len(r.sent))
	}
}

// watcher is a stage that looks on.
type watcher func(*pipeline.Call)

func (watcher) Name() string { return "watcher" }

func (f watcher) Check(_ context.Context, c *pipeline.Call) error { f(c); return nil }
