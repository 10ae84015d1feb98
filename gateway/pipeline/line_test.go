package pipeline_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/store/storetest"
)

// book is a ledger that keeps what it is given, or fails when told to.
type book struct {
	mu      sync.Mutex
	records []ledger.Record
	fail    func(ledger.Kind) error
}

func (b *book) Append(_ context.Context, r *ledger.Record) (wal.Mark, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		if err := b.fail(r.Kind); err != nil {
			return wal.Mark{}, err
		}
	}
	c := *r
	c.Policies, c.Stages = append([]string(nil), r.Policies...), append([]ledger.StageTime(nil), r.Stages...)
	b.records = append(b.records, c)
	return wal.Mark{Tenant: r.Tenant, Index: uint64(len(b.records))}, nil
}

func (b *book) Admit(ctx context.Context, r *ledger.Record, _ wal.Use) (wal.Mark, error) {
	return b.Append(ctx, r)
}

func (b *book) Settle(ctx context.Context, r *ledger.Record, receipt []byte) (wal.Mark, []byte, error) {
	m, err := b.Append(ctx, r)
	if err != nil {
		return m, receipt, err
	}
	return m, append(receipt, "receipt-of-"+r.ID...), nil
}

func (b *book) kinds() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for i := range b.records {
		out = append(out, b.records[i].Kind.String())
	}
	return strings.Join(out, " ")
}

func (b *book) last() ledger.Record { return b.records[len(b.records)-1] }

// stage is a stage that does what the test says, on the way out and on the way back.
type stage struct {
	name  string
	check func(*pipeline.Call) error
	reply func(*pipeline.Call) error
}

func (s stage) Name() string { return s.name }

func (s stage) Check(_ context.Context, c *pipeline.Call) error {
	if s.check == nil {
		return nil
	}
	return s.check(c)
}

func (s stage) CheckReply(_ context.Context, c *pipeline.Call) error {
	if s.reply == nil {
		return nil
	}
	return s.reply(c)
}

// upstream answers every call and counts them.
type upstream struct {
	calls  int
	answer func(*pipeline.Call) error
}

func (u *upstream) Forward(_ context.Context, c *pipeline.Call) error {
	u.calls++
	if u.answer != nil {
		return u.answer(c)
	}
	c.Reply = pipeline.Reply{Status: 200, Result: []byte(`{"content":[]}`)}
	return nil
}

// house is a line with a real caller and a real policy engine around what the test puts into the row.
type house struct {
	line   *pipeline.Line
	book   *book
	up     *upstream
	caller identity.Caller
	engine *policies.Engine
}

func build(t *testing.T, row ...pipeline.Stage) *house {
	t.Helper()
	people, err := identity.Open(t.Context(), identity.DefaultConfig(), storetest.NewMemory(), make([]byte, 32), time.Now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	seeded, err := people.Bootstrap(t.Context(), "acme", identity.Seed{OrgName: "Acme", Admin: "admin", Agent: "agent", Mode: identity.Test})
	if err != nil {
		t.Fatal(err)
	}
	caller, err := people.Authenticate([]byte(seeded.RuntimeKey), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	engine, err := policies.Compile(policies.Default(), []policies.ToolDef{{Server: "s", Name: "t", InputSchema: []byte(`{"type":"object"}`)}})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{book: &book{}, up: &upstream{}, caller: caller, engine: engine}
	know := stage{name: "identify", check: func(c *pipeline.Call) error { c.Caller = caller; return nil }}
	decide := stage{name: "decide", check: func(c *pipeline.Call) error {
		c.Ask = c.BuildAsk(0)
		c.Decision = engine.Decide(&c.Ask)
		return nil
	}}
	h.line = &pipeline.Line{
		Stages: append(append([]pipeline.Stage{know}, row...), decide), Ledger: h.book, Upstream: h.up, Strangers: &pipeline.Strangers{},
		Instance: "test", Receipts: true, Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
	}
	return h
}

// call is one that policy permits without a plan.
func call() *pipeline.Call {
	return &pipeline.Call{Route: "/mcp", Op: "tools/list", Action: "list_tools", Remote: netip.MustParseAddr("127.0.0.1")}
}

func (h *house) run(c *pipeline.Call) *pipeline.Call {
	h.line.Run(context.Background(), c)
	return c
}

func TestACallThatEveryStageLetsPassIsAdmittedForwardedAndSettled(t *testing.T) {
	h := build(t)
	c := h.run(call())
	if c.Denial != nil {
		t.Fatalf("refused: %v", c.Denial)
	}
	if got := h.book.kinds(); got != "admitted settled" || h.up.calls != 1 {
		t.Fatalf("records %q, %d forwarded", got, h.up.calls)
	}
	if h.book.records[1].Of != h.book.records[0].ID || h.book.last().Outcome != "ok" {
		t.Errorf("the settled record does not name the admitted one: %+v", h.book.last())
	}
	if c.Record != h.book.last().ID || string(c.Receipt) != "receipt-of-"+c.Record {
		t.Errorf("record %q, receipt %q", c.Record, c.Receipt)
	}
}

// TestRunFailsClosed is the law: any denial, fault, panic, timeout, unknown state or missing record is a refusal, and
// nothing is forwarded unless its record is durable.
func TestRunFailsClosed(t *testing.T) {
	fault := errors.New("disk on fire at /secret/path")
	for name, c := range map[string]struct {
		change  func(*house)
		row     []pipeline.Stage
		code    pipeline.Code
		records string
		calls   int
	}{
		"denial":           {row: []pipeline.Stage{stage{name: "s", check: func(*pipeline.Call) error { return pipeline.Deny(pipeline.PolicyDenied, "") }}}, code: pipeline.PolicyDenied, records: "refused"},
		"wrapped denial":   {row: []pipeline.Stage{stage{name: "s", check: func(*pipeline.Call) error { return errors.Join(pipeline.Deny(pipeline.StepUsed, "")) }}}, code: pipeline.StepUsed, records: "refused"},
		"fault":            {row: []pipeline.Stage{stage{name: "s", check: func(*pipeline.Call) error { return fault }}}, code: pipeline.Internal, records: "refused"},
		"nil denial":       {row: []pipeline.Stage{stage{name: "s", check: func(*pipeline.Call) error { return (*pipeline.Denial)(nil) }}}, code: pipeline.Internal, records: "refused"},
		"unknown code":     {row: []pipeline.Stage{stage{name: "s", check: func(*pipeline.Call) error { return &pipeline.Denial{Code: "made_up"} }}}, code: pipeline.Internal, records: "refused"},
		"panic":            {row: []pipeline.Stage{stage{name: "s", check: func(*pipeline.Call) error { panic("boom") }}}, code: pipeline.Internal, records: "refused"},
		"caller forgotten": {row: []pipeline.Stage{stage{name: "s", check: func(c *pipeline.Call) error { c.Caller = identity.Caller{}; return nil }}}, code: pipeline.Unauthenticated},
		"plan needed":      {row: []pipeline.Stage{stage{name: "s", check: func(c *pipeline.Call) error { c.Plan = true; return nil }}}, code: pipeline.IntentRequired, records: "refused"},
		"no decision":      {change: func(h *house) { h.line.Stages = h.line.Stages[:1] }, code: pipeline.PolicyDenied, records: "refused"},
		"decided otherwise": {change: func(h *house) {
			h.line.Stages = append(h.line.Stages, stage{name: "late", check: func(c *pipeline.Call) error { c.Labels = []string{"late"}; return nil }})
		}, code: pipeline.PolicyDenied, records: "refused"},
		"args changed late": {change: func(h *house) {
			h.line.Stages = append(h.line.Stages, stage{name: "late", check: func(c *pipeline.Call) error { c.Args = []byte(`{"a":1}`); return nil }})
		}, code: pipeline.PolicyDenied, records: "refused"},
		"judged too long": {change: func(h *house) { h.line.Limit = time.Nanosecond }, code: pipeline.Timeout, records: "refused"},
		"no admitted record": {change: func(h *house) {
			h.book.fail = func(k ledger.Kind) error {
				if k == ledger.Admitted {
					return fault
				}
				return nil
			}
		}, code: pipeline.AuditUnavailable, records: "refused"},
		"no record at all": {change: func(h *house) { h.book.fail = func(ledger.Kind) error { return fault } }, code: pipeline.AuditUnavailable},
		"no settled record": {change: func(h *house) {
			h.book.fail = func(k ledger.Kind) error {
				if k == ledger.Settled {
					return fault
				}
				return nil
			}
		}, code: pipeline.AuditUnavailable, records: "admitted", calls: 1},
		"use spent": {change: func(h *house) {
			h.book.fail = func(k ledger.Kind) error {
				if k == ledger.Admitted {
					return wal.ErrUsed
				}
				return nil
			}
		}, code: pipeline.StepUsed, records: "refused"},
		"upstream fault":        {change: func(h *house) { h.up.answer = func(*pipeline.Call) error { return fault } }, code: pipeline.Internal, records: "admitted settled", calls: 1},
		"upstream panic":        {change: func(h *house) { h.up.answer = func(*pipeline.Call) error { panic("boom") } }, code: pipeline.Internal, records: "admitted settled", calls: 1},
		"upstream says nothing": {change: func(h *house) { h.up.answer = func(*pipeline.Call) error { return nil } }, code: pipeline.Internal, records: "admitted settled", calls: 1},
		"reply refused":         {row: []pipeline.Stage{stage{name: "s", reply: func(*pipeline.Call) error { return pipeline.Deny(pipeline.PolicyDenied, "") }}}, code: pipeline.ReplyWithheld, records: "admitted settled", calls: 1},
		"replier panics":        {row: []pipeline.Stage{stage{name: "s", reply: func(*pipeline.Call) error { panic("boom") }}}, code: pipeline.ReplyWithheld, records: "admitted settled", calls: 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := build(t, c.row...)
			if c.change != nil {
				c.change(h)
			}
			got := h.run(call())
			if got.Denial == nil || got.Denial.Code != c.code {
				t.Fatalf("denial %v, want %s", got.Denial, c.code)
			}
			if got.Reply.Result != nil || got.Reply.Error != nil {
				t.Error("a reply came with the refusal")
			}
			if k := h.book.kinds(); k != c.records {
				t.Errorf("records %q, want %q", k, c.records)
			}
			if h.up.calls != c.calls {
				t.Errorf("%d calls forwarded, want %d", h.up.calls, c.calls)
			}
			if strings.Contains(got.Denial.Message+got.Denial.Hint, "secret") {
				t.Error("the fault's text reached the caller")
			}
			if c.records == "" && len(got.Receipt) > 0 {
				t.Error("a receipt without a record")
			}
		})
	}
}

func TestWhatTheUpstreamDidIsOnRecordWhenItsReplyIsWithheld(t *testing.T) {
	h := build(t, stage{name: "s", reply: func(*pipeline.Call) error {
		return pipeline.Deny(pipeline.PolicyDenied, "").WithReason("secret in reply")
	}})
	c := h.run(call())
	r := h.book.last()
	if r.Outcome != "withheld" || r.Reply.IsZero() || c.Record != r.ID {
		t.Fatalf("outcome %q, reply digest %v, record %q of %q", r.Outcome, r.Reply, c.Record, r.ID)
	}
}

func TestStrangersAreCountedAndNotRecordedOneByOne(t *testing.T) {
	h := build(t)
	h.line.Stages = []pipeline.Stage{stage{name: "identify", check: func(*pipeline.Call) error { return pipeline.Deny(pipeline.Unauthenticated, "") }}}
	for range 1000 {
		if c := h.run(call()); c.Record != "" {
			t.Fatal("a stranger was given a record")
		}
	}
	if n := len(h.book.records); n != 0 {
		t.Fatalf("%d records before the flush", n)
	}
	h.book.fail = func(ledger.Kind) error { return errors.New("full") }
	if err := h.line.Strangers.Flush(t.Context(), h.line); err == nil {
		t.Fatal("the flush hides the ledger's error")
	}
	h.book.fail = nil
	if err := h.line.Strangers.Flush(t.Context(), h.line); err != nil {
		t.Fatal(err)
	}
	if len(h.book.records) != 1 || h.book.last().Tenant != pipeline.InstanceTenant || !strings.Contains(string(h.book.last().Body), `"count":1000`) {
		t.Fatalf("records %+v", h.book.records)
	}
}

func TestTheLedgerIsToldWhyACredentialWasRefused(t *testing.T) {
	h := build(t)
	for _, why := range []string{"jwt_expired", "jwt_audience", "jwt_expired"} {
		h.line.Strangers.NoteWhy(call().Remote, pipeline.Unauthenticated, why, time.Now())
	}
	if err := h.line.Strangers.Flush(t.Context(), h.line); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range h.book.records {
		got[r.Detail] = string(r.Body)
	}
	if len(got) != 2 || !strings.Contains(got["jwt_expired"], `"count":2`) || !strings.Contains(got["jwt_audience"], `"count":1`) {
		t.Errorf("records %v", got)
	}
}

func TestAFloodFromManySourcesStaysBounded(t *testing.T) {
	var s pipeline.Strangers
	h := build(t)
	for i := range 5000 {
		s.Note(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), pipeline.Unauthenticated, time.Now())
	}
	if err := s.Flush(t.Context(), h.line); err != nil {
		t.Fatal(err)
	}
	if n := len(h.book.records); n > pipeline.MaxSources+1 {
		t.Fatalf("%d records", n)
	}
}

func TestATenantsRefusalsLookAlikeWithoutAGrant(t *testing.T) {
	var told []string
	for _, code := range []pipeline.Code{pipeline.PolicyDenied, pipeline.NotFound} {
		h := build(t, stage{name: "s", check: func(c *pipeline.Call) error { c.Plan = true; return pipeline.Deny(code, "") }})
		c := h.run(call())
		told = append(told, string(c.Denial.Code)+c.Denial.Message+c.Denial.Hint)
		if h.book.last().Detail != string(code) {
			t.Errorf("the ledger says %q, want %q", h.book.last().Detail, code)
		}
	}
	if told[0] != told[1] {
		t.Errorf("denied and unknown can be told apart: %q", told)
	}
}

func TestARetryGetsTheFirstAnswerAndHasNoSecondEffect(t *testing.T) {
	answers := &pipeline.Answers{}
	claim := stage{name: "retry", check: func(c *pipeline.Call) error { return answers.Claim(c, c.Started) }}
	h := build(t, claim)
	retry := func(args string) *pipeline.Call {
		c := call()
		c.Retry, c.Args = "k1", []byte(args)
		return h.run(c)
	}
	first := retry(`{}`)
	again := retry(`{}`)
	if h.up.calls != 1 || !again.Kept || again.Record != first.Record || string(again.Receipt) != string(first.Receipt) || string(again.Reply.Result) != string(first.Reply.Result) {
		t.Fatalf("forwarded %d times; first %+v, again %+v", h.up.calls, first.Reply, again.Reply)
	}
	if k := h.book.kinds(); k != "admitted settled admitted settled" || !strings.Contains(h.book.last().Detail, first.Record) {
		t.Errorf("records %q, the last says %q: that an answer was given again is not on record", k, h.book.last().Detail)
	}
	if other := retry(`{"a":1}`); other.Denial == nil || other.Denial.Code != pipeline.RetryMismatch {
		t.Fatalf("another request under the key: %v", other.Denial)
	}
}

func TestARetryOfARunningCallIsRefused(t *testing.T) {
	answers := &pipeline.Answers{}
	claim := stage{name: "retry", check: func(c *pipeline.Call) error { return answers.Claim(c, c.Started) }}
	h := build(t, claim)
	h.up.answer = func(c *pipeline.Call) error {
		second := call()
		second.Retry = "k"
		h.line.Run(context.Background(), second)
		if second.Denial == nil || second.Denial.Code != pipeline.InProgress {
			t.Errorf("while running: %v", second.Denial)
		}
		c.Reply.Result = []byte(`{}`)
		return nil
	}
	c := call()
	c.Retry = "k"
	h.run(c)
	if h.up.calls != 1 {
		t.Fatalf("forwarded %d times", h.up.calls)
	}
}

func TestARefusalBeforeTheEffectMayBeTriedAgain(t *testing.T) {
	answers := &pipeline.Answers{}
	refuse := true
	h := build(t, stage{name: "retry", check: func(c *pipeline.Call) error { return answers.Claim(c, c.Started) }},
		stage{name: "s", check: func(*pipeline.Call) error {
			if refuse {
				return pipeline.Deny(pipeline.RateLimited, "")
			}
			return nil
		}})
	c := call()
	c.Retry = "k"
	h.run(c)
	refuse = false
	c = call()
	c.Retry = "k"
	if h.run(c); c.Denial != nil || h.up.calls != 1 {
		t.Fatalf("second try: %v, %d forwarded", c.Denial, h.up.calls)
	}
}

func TestKeptAnswersAreBounded(t *testing.T) {
	answers := &pipeline.Answers{MaxEntries: 10}
	h := build(t, stage{name: "retry", check: func(c *pipeline.Call) error { return answers.Claim(c, c.Started) }})
	run := func(key string) {
		c := call()
		c.Retry = key
		h.run(c)
	}
	for i := range 100 {
		run(string(rune('a' + i)))
	}
	calls := h.up.calls
	run("a") // long forgotten: a new request
	if h.up.calls != calls+1 {
		t.Error("the oldest answer is still kept")
	}
}

func TestEveryCodeHasAStatusAndAHint(t *testing.T) {
	for _, code := range []pipeline.Code{pipeline.Unauthenticated, pipeline.RateLimited, pipeline.Internal, pipeline.StepUsed} {
		if d := pipeline.Deny(code, ""); d.Status() < 400 || d.Hint == "" || d.Message == "" {
			t.Errorf("%s: status %d, %q, %q", code, d.Status(), d.Message, d.Hint)
		}
	}
	if d := pipeline.Deny("made_up", "text"); d.Code != pipeline.Internal {
		t.Errorf("an unknown code is told as %s", d.Code)
	}
}

// TestEveryIntentReasonIsACode: what the intent package refuses with is told to the caller under its own name.
func TestEveryIntentReasonIsACode(t *testing.T) {
	for _, r := range []intent.Reason{
		intent.TokenMalformed, intent.TokenAlg, intent.TokenType, intent.TokenSignature, intent.TokenIssuer, intent.TokenKey,
		intent.TokenAudience, intent.TokenExpired, intent.TokenNotYet, intent.TokenLifetime, intent.TokenRevoked, intent.BearerMismatch,
		intent.PlanMismatch, intent.PlanRevoked, intent.PlanExpired, intent.PlanInactive, intent.LeafMalformed, intent.ProofLength,
		intent.ProofMismatch, intent.StepUnknown, intent.ToolMismatch, intent.SchemaChanged, intent.ArgsMismatch, intent.StepUsed, intent.StepOrder,
	} {
		if d := pipeline.Deny(pipeline.Code(r), ""); d.Code != pipeline.Code(r) || d.Status() < 400 || d.Hint == "" {
			t.Errorf("%s is told as %s, status %d", r, d.Code, d.Status())
		}
	}
}
