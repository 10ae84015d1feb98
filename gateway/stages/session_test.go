package stages_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gatewright/gatewright/gateway/approvals"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/quota"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
	"github.com/gatewright/gatewright/wasm"
)

const planned = `@id("planned") permit (principal, action in Action::"work", resource) when { context.plan.inPlan };` + "\n"

// shelfStore is a store whose writes can fail, and that counts them.
type shelfStore struct {
	store.Store
	broken atomic.Bool
	writes atomic.Int64
}

func (s *shelfStore) Update(ctx context.Context, tenant string, fn func(store.Txn) error) error {
	s.writes.Add(1)
	if s.broken.Load() {
		return errors.New("disk")
	}
	return s.Store.Update(ctx, tenant, fn)
}

// oneKey seals everything under one key.
type oneKey struct{ cipher.AEAD }

func (k oneKey) Subject(context.Context, string, string) (cipher.AEAD, error) { return k.AEAD, nil }

// counting is the row with counters, under these policies.
type counting struct {
	*row
	kept   *shelfStore
	engine *policies.Engine
}

func (w *world) counting(cedar string, units ...*unit) *counting {
	w.t.Helper()
	b, err := policies.LoadBundle(fstest.MapFS{"rules.cedar": {Data: []byte(cedar)},
		"schema.cedarschema": {Data: []byte("type Scores = { injection?: Long, pii?: Long };")}})
	w.must(err)
	c := &counting{kept: &shelfStore{Store: storetest.NewMemory()}}
	c.engine, err = policies.Compile(b, w.tools.Defs("acme"))
	w.must(err)
	w.engines.Swap("acme", c.engine)
	c.row = w.row(open+`,"uses":0`, units...)
	block, err := aes.NewCipher(make([]byte, 32))
	w.must(err)
	aead, err := cipher.NewGCM(block)
	w.must(err)
	c.line.Subjects = oneKey{aead}
	c.restart()
	return c
}

// restart gives the row a keeper that knows only what is kept.
func (c *counting) restart() {
	k, err := quota.New(quota.DefaultConfig(), c.kept)
	c.must(err)
	row := slices.DeleteFunc(c.line.Stages, func(s pipeline.Stage) bool { return s.Name() == "session" || s.Name() == "rates" })
	at := slices.IndexFunc(row, func(s pipeline.Stage) bool { return s.Name() == "filter" })
	row = slices.Insert(row, at, pipeline.Stage(stages.Session{Policies: &c.engines, Counters: k}))
	c.line.Stages = append(row, stages.Rates{Counters: k})
}

func (c *counting) passes(args string) *pipeline.Call {
	c.t.Helper()
	call := c.run(args, "")
	if call.Denial != nil {
		c.t.Fatalf("refused: %v %s", call.Denial, c.book.last().Detail)
	}
	return call
}

const a = `{"path":"/a"}`

func TestASessionThatIsUsedUpRefuses(t *testing.T) {
	c := newWorld(t).counting(planned + `@id("two") forbid (principal, action in Action::"work", resource) when { context.session.callsThisTool >= 2 };`)
	for range 2 {
		c.passes(a)
	}
	for range 3 {
		c.refused(c.run(a, ""), pipeline.PolicyDenied)
		c.restart()
	}
	if len(c.sent) != 2 {
		t.Errorf("%d calls went out", len(c.sent))
	}
}

func TestARateThatIsUsedUpRefusesAndSaysWhen(t *testing.T) {
	c := newWorld(t).counting(planned + `@id("cap") @rate("2/1h") @rate_by("tool") forbid (principal, action in Action::"work", resource);`)
	for range 2 {
		c.passes(a)
		c.restart()
	}
	before := c.kept.writes.Load()
	for range 2 {
		d := c.run(a, "")
		c.refused(d, pipeline.RateLimited)
		if d.Denial.RetryAfter < 55*time.Minute || d.Denial.RetryAfter > 62*time.Minute || d.Denial.Policy != "cap" || !strings.Contains(c.book.last().Detail, "cap") {
			t.Errorf("%+v, on record %q", d.Denial, c.book.last().Detail)
		}
	}
	if len(c.sent) != 2 || c.kept.writes.Load() != before {
		t.Errorf("%d calls went out, %d writes", len(c.sent), c.kept.writes.Load())
	}
}

func TestAPermitWithARatePermitsSoManyAndThenAnotherMay(t *testing.T) {
	const some = `@id("some") @rate("1/1h") permit (principal, action in Action::"work", resource);`
	c := newWorld(t).counting(some)
	c.passes(a)
	c.refused(c.run(a, ""), pipeline.RateLimited)
	c = newWorld(t).counting(some + planned)
	for range 3 {
		c.passes(a)
	}
	if c.kept.writes.Load() != 0 {
		t.Error("a rate that nobody needed was counted")
	}
}

func TestWhatDoesNotGoOutCountsNothing(t *testing.T) {
	refusing := true
	f := &unit{name: "f", request: func(_ string, v *wasm.Verdict) error {
		if refusing {
			v.Kind = wasm.Deny
		}
		return nil
	}}
	c := newWorld(t).counting(planned+`@id("one") forbid (principal, action in Action::"work", resource) when { context.session.calls >= 1 };
		@id("cap") @rate("1/1h") forbid (principal, action in Action::"work", resource);`, f)
	for range 3 {
		c.refused(c.run(a, ""), pipeline.FilterDenied)
	}
	refusing = false
	c.passes(a)
	c.refused(c.run(a, ""), pipeline.PolicyDenied)

	// A counter that cannot be kept: nothing goes out.
	c = newWorld(t).counting(planned + `@id("nine") forbid (principal, action in Action::"work", resource) when { context.session.calls >= 9 };`)
	c.kept.broken.Store(true)
	c.refused(c.run(a, ""), pipeline.Internal)
	c.kept.broken.Store(false)
	c.passes(a)
	if len(c.sent) != 1 {
		t.Errorf("%d calls went out", len(c.sent))
	}
}

func TestARetryAndATrialTakeNothing(t *testing.T) {
	c := newWorld(t).counting(planned + `@id("one") forbid (principal, action in Action::"work", resource) when { context.session.calls >= 1 };
		@id("cap") @rate("1/1h") forbid (principal, action in Action::"work", resource);`)
	trial := func() *pipeline.Call {
		call := &pipeline.Call{Route: "/mcp", Credential: []byte(c.aliceKey), Read: func(_ context.Context, call *pipeline.Call) error {
			call.Op, call.Action, call.Plan, call.Server, call.Name, call.Args, call.Shown.Token = "tools/check", "call_tool", true, "files", "read", []byte(a), c.token
			call.Trial, call.Answer = true, func(_ context.Context, call *pipeline.Call) error {
				call.Reply = pipeline.Reply{Result: []byte(`{}`)}
				return nil
			}
			return nil
		}}
		c.line.Run(context.Background(), call)
		return call
	}
	for range 3 {
		if call := trial(); call.Denial != nil {
			t.Fatalf("a trial: %v", call.Denial)
		}
	}
	if first := c.run(a, "k"); first.Denial != nil {
		t.Fatal(first.Denial)
	}
	for range 2 {
		if again := c.run(a, "k"); again.Denial != nil || !again.Kept {
			t.Errorf("a retry: %v %s", again.Denial, c.book.last().Detail)
		}
	}
	if call := trial(); call.Denial == nil {
		t.Error("a trial of a call that would be refused passes")
	}
	c.refused(c.run(a, ""), pipeline.PolicyDenied)
	c = newWorld(t).counting(planned + `@id("cap") @rate("1/1h") forbid (principal, action in Action::"work", resource);`)
	c.passes(a)
	if call := trial(); call.Denial == nil || call.Denial.Code != pipeline.RateLimited {
		t.Errorf("a trial without room: %v", call.Denial)
	}
}

// TestARetryOfWhatNobodyCountedIsToldSo: policies that read the session came after the first answer.
func TestARetryOfWhatNobodyCountedIsToldSo(t *testing.T) {
	c := newWorld(t).counting(planned)
	if first := c.run(a, "k"); first.Denial != nil {
		t.Fatal(first.Denial)
	}
	c.engines.Swap("acme", c.world.engine(`permit (principal, action, resource);
forbid (principal, action == Action::"files___read", resource) when { context.session.calls > 3 };`))
	again := c.run(a, "k")
	c.refused(again, pipeline.PolicyDenied)
	if d := again.Denial; d.Hint != "make the call again under another Idempotency-Key" || !strings.HasPrefix(d.Reason, "policy_error") {
		t.Errorf("%+v", d)
	}
	c.passes(a)
}

func TestLabelsOfRequestsAndResultsStayWithTheSession(t *testing.T) {
	label := func(in, name string) func(string, *wasm.Verdict) error {
		return func(input string, v *wasm.Verdict) error {
			if strings.Contains(input, in) {
				v.Labels = append(v.Labels, name)
			}
			return nil
		}
	}
	f := &unit{name: "f", request: label("/secret", "asked"), response: label("sk_live", "found")}
	for forbidden, first := range map[string]string{"asked": `{"path":"/secret"}`, "found": a} {
		c := newWorld(t).counting(planned+`@id("after") forbid (principal, action in Action::"work", resource) when { context.session.labels.contains("`+forbidden+`") };`, f)
		if forbidden == "asked" {
			c.result = `{"content":[]}`
			c.passes(a)
		}
		c.passes(first) // what it brings itself is not of before
		c.restart()
		c.refused(c.run(a, ""), pipeline.PolicyDenied)
	}
	// What cannot be noted is not shown.
	c := newWorld(t).counting(planned+`@id("after") forbid (principal, action in Action::"work", resource) when { context.session.labels.contains("found") };`, f)
	c.line.Upstream = forwarder(func(call *pipeline.Call) error {
		c.kept.broken.Store(true)
		call.Reply = pipeline.Reply{Status: 200, Result: []byte(`{"content":[{"type":"text","text":"sk_live_1"}]}`)}
		return nil
	})
	if call := c.run(a, ""); call.Denial == nil || call.Denial.Code != pipeline.ReplyWithheld || call.Reply.Result != nil {
		t.Errorf("%v %s", call.Denial, call.Reply.Result)
	}
}

func TestTheHighestScoreOfAllFiltersIsRead(t *testing.T) {
	score := func(name string, value int64) *unit {
		return &unit{name: name, request: func(_ string, v *wasm.Verdict) error {
			v.Scores = append(v.Scores, wasm.Score{Name: "injection", Value: value}, wasm.Score{Name: name, Value: 3})
			return nil
		}, response: func(_ string, v *wasm.Verdict) error {
			v.Scores = append(v.Scores, wasm.Score{Name: "late", Value: 1000})
			return nil
		}}
	}
	const suspicious = planned + `@id("suspicious") forbid (principal, action in Action::"work", resource)
		when { context.filters.scores has injection && context.filters.scores.injection > 500 && context.filters.scores has pii && context.filters.score == context.filters.scores.injection };`
	c := newWorld(t).counting(suspicious, score("pii", 700), score("other", 20))
	c.refused(c.run(a, ""), pipeline.PolicyDenied)
	c = newWorld(t).counting(suspicious, score("pii", 500), score("other", 20))
	c.passes(a)
	for name, bad := range map[string]wasm.Score{"high": {Name: "x", Value: 1001}, "low": {Name: "x", Value: -1}, "name": {Name: "X", Value: 1}, "empty": {Value: 1}} {
		c = newWorld(t).counting(planned, &unit{name: "f", request: func(_ string, v *wasm.Verdict) error {
			v.Scores = append(v.Scores, bad)
			return nil
		}})
		if call := c.run(a, ""); call.Denial == nil || call.Denial.Code != pipeline.FilterFailed {
			t.Errorf("%s: %v", name, call.Denial)
		}
	}
}

func TestWhatNobodyReadsIsNotCounted(t *testing.T) {
	c := newWorld(t).counting(planned)
	call := c.passes(a)
	if call.Ask.Session.Known || c.kept.writes.Load() != 0 {
		t.Errorf("%+v after %d writes", call.Ask.Session, c.kept.writes.Load())
	}
	// A policy that only a staged bundle has reads it too.
	b, err := policies.LoadBundle(fstest.MapFS{"rules.cedar": {Data: []byte(planned + `@mode("shadow") forbid (principal, action in Action::"work", resource) when { context.session.calls > 0 };`)}})
	c.must(err)
	staged, err := policies.Compile(b, c.tools.Defs("acme"))
	c.must(err)
	c.engines.Stage("acme", staged, policies.Mode{Shadow: true})
	if call := c.passes(a); !call.Ask.Session.Known {
		t.Error("a policy in shadow sees no session")
	}
}

// asked is the question beside a record, as JSON.
type asked struct {
	Action, Server, Tool, User, Addr string
	Approval                         *int
	Labels                           []string
	Scores                           map[string]int64
	Now                              int64
	TLS, Local                       bool
	Overlays                         []string
	Session                          *struct {
		Calls    int64
		ThisTool int64 `json:"this_tool"`
		Labels   []string
	}
	Plan *struct {
		Done, Step, Steps int
		Expires           int64
		ID                string
		IssuedUnder       string `json:"issued_under"`
	}
	Facts struct {
		ID, Kind, Tenant, Owner, Status string
		Trust                           int64
		Labels, Roles, Teams            []string
		TalksTo                         []string `json:"talks_to"`
	}
}

// ask is the question again, of nothing but the record.
func (q *asked) ask(args []byte) *policies.Ask {
	f := q.Facts
	a := &policies.Ask{
		Principal: &policies.Principal{Kind: f.Kind, ID: f.ID, Tenant: f.Tenant, Owner: f.Owner, Teams: f.Teams, Roles: f.Roles, Labels: f.Labels, TalksTo: f.TalksTo, Trust: f.Trust, Status: f.Status},
		User:      q.User, Action: q.Action, Server: q.Server, Tool: q.Tool, Args: args, ArgsKnown: true,
		TLS: q.TLS, Now: time.UnixMicro(q.Now), Labels: q.Labels, Local: q.Local,
	}
	a.IP, _ = netip.ParseAddr(q.Addr)
	for name, v := range q.Scores {
		a.Scores = append(a.Scores, policies.Score{Name: name, Value: v})
	}
	if s := q.Session; s != nil {
		a.Session = policies.SessionFacts{Known: true, Calls: s.Calls, ThisTool: s.ThisTool, Labels: s.Labels}
	}
	if p := q.Plan; p != nil {
		a.Plan = policies.PlanFacts{InPlan: true, ID: p.ID, Step: p.Step, Steps: p.Steps, Done: p.Done, Expires: time.Unix(p.Expires, 0), BundleAtIssue: p.IssuedUnder}
	}
	return a
}

func TestARecordHoldsAllThatPolicyRead(t *testing.T) {
	f := &unit{name: "f", request: func(_ string, v *wasm.Verdict) error {
		v.Labels, v.Scores = append(v.Labels, "src:web", "pii"), append(v.Scores, wasm.Score{Name: "pii", Value: 400}, wasm.Score{Name: "injection", Value: 9})
		return nil
	}}
	c := newWorld(t).counting(planned+`
		@id("reads") permit (principal, action in Action::"work", resource) when {
			context.session.calls == 1 && context.session.callsThisTool == 1 && context.session.labels == ["pii", "src:web"] && context.filters.score == 400 &&
			context.filters.scores has injection && context.filters.scores.injection == 9 && context.plan.next == false && context.plan.stepsDone == 1 &&
			context.plan.expires > context.now && principal.trust >= 0 && principal.status == Status::"active" };
		@id("third") forbid (principal, action in Action::"work", resource) when { context.session.calls >= 2 };`, f)
	c.line.Stages = slices.Clone(c.line.Stages)
	args := `{"path":"/a","limit":3}`
	for range 2 {
		c.passes(args)
	}
	c.refused(c.run(args, ""), pipeline.PolicyDenied)
	judged := 0
	for i := range c.book.records {
		r := &c.book.records[i]
		if r.Kind == ledger.Settled {
			continue
		}
		sealed, question, err := pipeline.Unseal(c.line.Subjects.(oneKey).AEAD, r)
		c.must(err)
		if same, err := canon.AppendCanonical(nil, question, canon.DefaultLimits()); err != nil || !bytes.Equal(same, question) {
			t.Errorf("not canonical: %s, %v", question, err)
		}
		var q asked
		in := json.NewDecoder(bytes.NewReader(question))
		c.must(in.Decode(&q))
		d := c.engine.Decide(q.ask(sealed))
		if d.Allowed() != (r.Verdict == "allow") || strings.Join(d.Policies(), "|") != strings.Join(r.Policies, "|") || len(d.Errors()) > 0 {
			t.Errorf("asked again: %v by %q (%q); on record %s by %q\n%s", d.Allowed(), d.Policies(), d.Errors(), r.Verdict, r.Policies, question)
		}
		judged++
	}
	if judged != 3 || !strings.Contains(strings.Join(c.book.records[2].Policies, ""), "reads") {
		t.Errorf("%d decisions, the second by %q", judged, c.book.records[2].Policies)
	}
}

// people is a register in which some calls are approved.
type people struct {
	given map[merkle.Hash]int
	asked int
}

func (p *people) ApprovedBy(_ string, digest merkle.Hash, approvals int, _ string) (string, bool) {
	p.asked++
	n := p.given[digest]
	return "apr_1", n > 0 && n >= approvals
}

func (p *people) Given(string, string) int {
	for _, n := range p.given {
		return n
	}
	return 0
}

func (p *people) Request(context.Context, approvals.Request) (approvals.View, error) {
	return approvals.View{ID: "apr_1"}, nil
}

func TestPolicyReadsHowManyApproved(t *testing.T) {
	w := newWorld(t)
	const two = planned + `@id("two") forbid (principal, action in Action::"work", resource) unless { context.approval.approved && context.approval.count >= 2 };`
	call := approvals.Call{Tenant: "acme", Op: "tools/call", Server: "files", Tool: "read", Args: []byte(`{"path":"/a"}`)}
	for given, want := range map[int]bool{0: false, 1: false, 2: true, 3: true} {
		w.engines.Swap("acme", w.engine(two))
		c := w.granted(`{"path":"/a"}`)
		call.User, call.Agent, call.PlanID = c.Caller.User(), c.Caller.Agent(), c.Planned().ID
		digest, err := call.Digest()
		w.must(err)
		p := &people{given: map[merkle.Hash]int{digest: given}}
		err = stages.Decide{Policies: &w.engines, Approvals: p}.Check(context.Background(), c)
		if (err == nil) != want || (c.Approval != "") != (given > 0) || c.Approvals != given {
			t.Errorf("%d approvals: %v, %q", given, err, c.Approval)
		}
		w.engines.Swap("acme", w.engine(planned))
		c = w.granted(`{"path":"/a"}`)
		w.must(stages.Decide{Policies: &w.engines, Approvals: p}.Check(context.Background(), c))
		if c.Approval != "" || p.asked != 1 {
			t.Errorf("an approval that no policy asks for is used: %q", c.Approval)
		}
	}
}

// A policy that reads approvals makes no other policy content with fewer people than it asks for.
func TestReadingAnApprovalDoesNotAnswerAHoldThatAsksForMore(t *testing.T) {
	w := newWorld(t)
	const both = planned + `@id("read") permit (principal, action in Action::"work", resource) when { context.approval.approved };
@id("three") @hold("three must look at it") @approvals("3") forbid (principal, action in Action::"work", resource);`
	call := approvals.Call{Tenant: "acme", Op: "tools/call", Server: "files", Tool: "read", Args: []byte(`{"path":"/a"}`)}
	for given, want := range map[int]bool{0: false, 1: false, 2: false, 3: true} {
		w.engines.Swap("acme", w.engine(both))
		c := w.granted(`{"path":"/a"}`)
		call.User, call.Agent, call.PlanID = c.Caller.User(), c.Caller.Agent(), c.Planned().ID
		digest, err := call.Digest()
		w.must(err)
		p := &people{given: map[merkle.Hash]int{digest: given}}
		err = stages.Decide{Policies: &w.engines, Approvals: p}.Check(context.Background(), c)
		var denial *pipeline.Denial
		switch {
		case (err == nil) != want || c.Decision.Allowed() != want || (c.Approval != "") != want:
			t.Errorf("%d approvals: %v, %q", given, err, c.Approval)
		case !want && (!errors.As(err, &denial) || denial.Code != pipeline.ApprovalRequired):
			t.Errorf("%d approvals: %v", given, err)
		}
	}
}

// Nor does it where a policy holds only what somebody has approved.
func TestAHoldThatAppliesToApprovedCallsIsAnsweredToo(t *testing.T) {
	w := newWorld(t)
	const both = planned + `@id("one") @hold("somebody must look at it") @approvals("1") forbid (principal, action in Action::"work", resource) unless { context.approval.approved };
@id("three") @hold("three must look at it") @approvals("3") forbid (principal, action in Action::"work", resource) when { context.approval.approved };`
	call := approvals.Call{Tenant: "acme", Op: "tools/call", Server: "files", Tool: "read", Args: []byte(`{"path":"/a"}`)}
	for given, want := range map[int]bool{0: false, 1: false, 2: false, 3: true} {
		w.engines.Swap("acme", w.engine(both))
		c := w.granted(`{"path":"/a"}`)
		call.User, call.Agent, call.PlanID = c.Caller.User(), c.Caller.Agent(), c.Planned().ID
		digest, err := call.Digest()
		w.must(err)
		err = stages.Decide{Policies: &w.engines, Approvals: &people{given: map[merkle.Hash]int{digest: given}}}.Check(context.Background(), c)
		if (err == nil) != want || c.Decision.Allowed() != want || (c.Approval != "") != want {
			t.Errorf("%d approvals: %v, %q", given, err, c.Approval)
		}
	}
}
