package pipeline_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// keeping is a house whose row keeps answers, with more stages behind.
func keeping(t *testing.T, row ...pipeline.Stage) *house {
	t.Helper()
	answers := &pipeline.Answers{}
	claim := stage{name: "retry", check: func(c *pipeline.Call) error { return answers.Claim(c, c.Started) }}
	return build(t, append([]pipeline.Stage{claim}, row...)...)
}

// again sends the same request under the same key.
func (h *house) again() *pipeline.Call {
	c := call()
	c.Retry, c.Args = "k1", []byte(`{}`)
	return h.run(c)
}

// TestAKeptAnswerIsGivenOnlyToWhomEveryStageLetsPass: what was permitted once may be forbidden by now.
func TestAKeptAnswerIsGivenOnlyToWhomEveryStageLetsPass(t *testing.T) {
	for name, c := range map[string]struct {
		then func(*pipeline.Call) error
		code pipeline.Code
	}{
		"policy denies":   {func(*pipeline.Call) error { return pipeline.Deny(pipeline.PolicyDenied, "") }, pipeline.PolicyDenied},
		"a plan ended":    {func(*pipeline.Call) error { return pipeline.Deny(pipeline.PlanInactive, "") }, pipeline.PlanInactive},
		"a stage panics":  {func(*pipeline.Call) error { panic("boom") }, pipeline.Internal},
		"a plan is asked": {func(c *pipeline.Call) error { c.Plan = true; return nil }, pipeline.IntentRequired},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			h := keeping(t, stage{name: "late", check: func(pc *pipeline.Call) error {
				if calls++; calls > 1 {
					return c.then(pc)
				}
				return nil
			}})
			if first := h.again(); first.Denial != nil {
				t.Fatal(first.Denial)
			}
			got := h.again()
			if got.Denial == nil || got.Denial.Code != c.code || got.Reply.Result != nil || got.Kept {
				t.Fatalf("given again: %v, %s", got.Denial, got.Reply.Result)
			}
			if k := h.book.kinds(); k != "admitted settled refused" || h.up.calls != 1 {
				t.Errorf("records %q, %d forwarded", k, h.up.calls)
			}
			if got.Record != h.book.last().ID {
				t.Errorf("told record %q, the refusal is %q", got.Record, h.book.last().ID)
			}
		})
	}
}

func TestARepeatWithoutADecisionIsGivenNothing(t *testing.T) {
	h := keeping(t)
	h.again()
	h.line.Stages = h.line.Stages[:2] // nobody decides any more
	if c := h.again(); c.Denial == nil || c.Denial.Code != pipeline.PolicyDenied || c.Reply.Result != nil {
		t.Fatalf("given again: %v", c.Denial)
	}
}

func TestAKeptAnswerPassesTheRepliersInForceNow(t *testing.T) {
	var reply func(*pipeline.Call) error
	h := keeping(t, stage{name: "s", reply: func(c *pipeline.Call) error {
		if reply == nil {
			return nil
		}
		return reply(c)
	}})
	first := h.again()
	reply = func(c *pipeline.Call) error { c.Reply.Result = []byte(`{"content":["[redacted]"]}`); return nil }
	changed := h.again()
	r := h.book.last()
	if changed.Denial != nil || string(changed.Reply.Result) != `{"content":["[redacted]"]}` || !changed.Kept {
		t.Fatalf("%v, %s", changed.Denial, changed.Reply.Result)
	}
	if changed.Record != r.ID || changed.Record == first.Record || string(changed.Receipt) != "receipt-of-"+r.ID || r.Reply.IsZero() || r.Outcome != "ok" {
		t.Errorf("an answer that is not the first one goes under record %q of %+v", changed.Record, r)
	}
	reply = func(*pipeline.Call) error {
		return pipeline.Deny(pipeline.PolicyDenied, "").WithReason("secret in reply")
	}
	withheld := h.again()
	r = h.book.last()
	if withheld.Denial == nil || withheld.Denial.Code != pipeline.ReplyWithheld || withheld.Reply.Result != nil {
		t.Fatalf("%v, %s", withheld.Denial, withheld.Reply.Result)
	}
	if r.Outcome != "withheld" || !strings.Contains(r.Detail, "secret in reply") || withheld.Record != r.ID {
		t.Errorf("record %q of %+v", withheld.Record, r)
	}
	reply = nil
	for _, r := range h.book.records[2:] {
		if !r.Plan.IsZero() || r.Step != -1 || !strings.HasPrefix(r.Detail, "kept answer of "+first.Record) {
			t.Errorf("on record %+v", r)
		}
	}
	if back := h.again(); back.Record != first.Record || string(back.Reply.Result) != string(first.Reply.Result) || string(back.Receipt) != string(first.Receipt) || back.Salt != first.Salt {
		t.Errorf("the first answer was changed: %+v", back)
	}
	if h.up.calls != 1 {
		t.Errorf("%d forwarded", h.up.calls)
	}
}

func TestAKeptAnswerIsNotGivenWithoutARecord(t *testing.T) {
	for _, kind := range []ledger.Kind{ledger.Admitted, ledger.Settled} {
		h := keeping(t)
		h.again()
		h.book.fail = func(k ledger.Kind) error {
			if k == kind {
				return context.DeadlineExceeded
			}
			return nil
		}
		if c := h.again(); c.Denial == nil || c.Denial.Code != pipeline.AuditUnavailable || c.Reply.Result != nil || c.Kept {
			t.Errorf("no %s record: %v, %s", kind, c.Denial, c.Reply.Result)
		}
	}
}

// TestAKeptAnswerIsOnRecordAsWhatItWas: who counts outcomes sees no success where there was none, however often the
// answer is asked for.
func TestAKeptAnswerIsOnRecordAsWhatItWas(t *testing.T) {
	uncertain := pipeline.Deny(pipeline.UpstreamTimeout, "")
	uncertain.Uncertain = true
	reply := func(r pipeline.Reply) func(*pipeline.Call) error {
		return func(c *pipeline.Call) error { c.Reply = r; return nil }
	}
	failed := reply(pipeline.Reply{Result: []byte(`{"content":[],"isError":true}`)})
	withhold := stage{name: "s", reply: func(*pipeline.Call) error { return pipeline.Deny(pipeline.FilterDenied, "") }}
	for name, c := range map[string]struct {
		answer  func(*pipeline.Call) error
		row     []pipeline.Stage
		outcome string
		code    pipeline.Code
	}{
		"done":            {nil, nil, "ok", ""},
		"a tool fails":    {failed, nil, "tool_error", ""},
		"a server errs":   {reply(pipeline.Reply{Error: []byte(`{"code":-32602,"message":"x"}`)}), nil, "tool_error", ""},
		"was not reached": {func(*pipeline.Call) error { return pipeline.Deny(pipeline.UpstreamDown, "") }, nil, "upstream_error", pipeline.UpstreamDown},
		"nobody knows":    {func(*pipeline.Call) error { return uncertain }, nil, "unknown", pipeline.UpstreamTimeout},
		"panics":          {func(*pipeline.Call) error { panic("boom") }, nil, "unknown", pipeline.Internal},
		"is withheld":     {nil, []pipeline.Stage{withhold}, "withheld", pipeline.ReplyWithheld},
	} {
		t.Run(name, func(t *testing.T) {
			h := keeping(t, c.row...)
			h.up.answer = c.answer
			first := h.again()
			for i := range 3 {
				r := h.book.last()
				if r.Kind != ledger.Settled || r.Outcome != c.outcome || r.Code != string(c.code) {
					t.Fatalf("answer %d is settled as %q, %q; want %q, %q", i, r.Outcome, r.Code, c.outcome, c.code)
				}
				again := h.again()
				if h.up.calls != 1 || !again.Kept || again.Record != first.Record || (again.Denial == nil) != (first.Denial == nil) {
					t.Fatalf("%d forwarded, %v", h.up.calls, again.Denial)
				}
				if again.Denial != nil && again.Denial.Code != c.code {
					t.Fatalf("given again: %v", again.Denial)
				}
			}
		})
	}
}

// TestAFilterMakesNoSuccessOfAKeptFailure: what filters make of the text today does not change what came of the call.
func TestAFilterMakesNoSuccessOfAKeptFailure(t *testing.T) {
	mend := false
	h := keeping(t, stage{name: "s", reply: func(c *pipeline.Call) error {
		if mend {
			c.Reply.Result = []byte(`{"content":["[redacted]"]}`)
		}
		return nil
	}})
	h.up.answer = func(c *pipeline.Call) error { c.Reply.Result = []byte(`{"content":["x"],"isError":true}`); return nil }
	h.again()
	mend = true
	if c := h.again(); c.Denial != nil || !c.Kept || h.book.last().Outcome != "tool_error" {
		t.Errorf("%v, settled as %q", c.Denial, h.book.last().Outcome)
	}
}

// TestWhatWasNeverSettledIsUnknownWhenGivenAgain: there is no first settled record to repeat.
func TestWhatWasNeverSettledIsUnknownWhenGivenAgain(t *testing.T) {
	h := keeping(t)
	h.book.fail = func(k ledger.Kind) error {
		if k == ledger.Settled {
			return context.DeadlineExceeded
		}
		return nil
	}
	h.again()
	h.book.fail = nil
	c := h.again()
	if r := h.book.last(); c.Denial == nil || r.Kind != ledger.Settled || r.Outcome != "unknown" || r.Code != string(pipeline.AuditUnavailable) {
		t.Errorf("%v, settled as %q, %q", c.Denial, r.Outcome, r.Code)
	}
}

// TestARepeatSpendsNoUse: the ledger counts admitted records with a plan, and takes those only with their use.
func TestARepeatSpendsNoUse(t *testing.T) {
	h := keeping(t)
	h.again()
	h.again()
	for _, r := range h.book.records[2:] {
		if !r.Plan.IsZero() || r.Step != -1 || len(r.After) > 0 {
			t.Errorf("the record %+v would spend a use when the ledger is read again", r)
		}
	}
	if r := h.book.records[2]; r.Kind != ledger.Admitted || r.Bundle.IsZero() || r.Ask.IsZero() || len(r.Policies) == 0 {
		t.Errorf("the record does not say what was decided: %+v", r)
	}
}

// TestAFaultIsCountedOnce: an operator who watches the counter sees as many faults as there were.
func TestAFaultIsCountedOnce(t *testing.T) {
	boom := func(*pipeline.Call) error { panic("boom") }
	odd := func(*pipeline.Call) error { return context.DeadlineExceeded }
	for name, c := range map[string]struct {
		row    []pipeline.Stage
		answer func(*pipeline.Call) error
		faults uint64
	}{
		"nothing":           {},
		"a refusal":         {row: []pipeline.Stage{stage{name: "s", check: func(*pipeline.Call) error { return pipeline.Deny(pipeline.RateLimited, "") }}}},
		"a filter fails":    {row: []pipeline.Stage{stage{name: "s", check: func(*pipeline.Call) error { return pipeline.Deny(pipeline.FilterFailed, "") }}}},
		"an upstream fails": {answer: func(*pipeline.Call) error { return pipeline.Deny(pipeline.UpstreamDown, "") }},
		"stage panics":      {row: []pipeline.Stage{stage{name: "s", check: boom}}, faults: 1},
		"stage errs":        {row: []pipeline.Stage{stage{name: "s", check: odd}}, faults: 1},
		"replier panics":    {row: []pipeline.Stage{stage{name: "s", reply: boom}}, faults: 1},
		"replier errs":      {row: []pipeline.Stage{stage{name: "s", reply: odd}}, faults: 1},
		"replier refuses":   {row: []pipeline.Stage{stage{name: "s", reply: func(*pipeline.Call) error { return pipeline.Deny(pipeline.FilterDenied, "") }}}},
		"upstream panics":   {answer: boom, faults: 1},
		"upstream errs":     {answer: odd, faults: 1},
	} {
		h := build(t, c.row...)
		h.up.answer = c.answer
		h.run(call())
		if n := h.line.Stats().Faults.Load(); n != c.faults {
			t.Errorf("%s: %d faults counted, want %d", name, n, c.faults)
		}
	}
}

// TestWhatFiltersDidIsOnRecord: their labels and what they rewrote, on both records; who withheld a reply, by its reason.
func TestWhatFiltersDidIsOnRecord(t *testing.T) {
	h := build(t, stage{
		name: "filter",
		check: func(c *pipeline.Call) error {
			c.Labels, c.Filtered = []string{"pii"}, "arguments rewritten by a@1"
			return nil
		},
		reply: func(c *pipeline.Call) error {
			c.Labels, c.Filtered = []string{"pii", "secret:jwt"}, "result rewritten by b@2"
			return nil
		},
	})
	h.run(call())
	out, back := h.book.records[0], h.book.records[1]
	if out.Detail != "arguments rewritten by a@1" || strings.Join(out.Labels, " ") != "pii" {
		t.Errorf("admitted: %q %q", out.Detail, out.Labels)
	}
	if back.Detail != "result rewritten by b@2" || strings.Join(back.Labels, " ") != "pii secret:jwt" {
		t.Errorf("settled: %q %q", back.Detail, back.Labels)
	}
}

func TestToWhomHasNoGrantAFilteredToolLooksUnknown(t *testing.T) {
	var told []string
	for _, code := range []pipeline.Code{pipeline.PolicyDenied, pipeline.NotFound, pipeline.FilterDenied, pipeline.FilterFailed} {
		h := build(t, stage{name: "s", check: func(c *pipeline.Call) error { c.Plan = true; return pipeline.Deny(code, "") }})
		c := h.run(call())
		told = append(told, string(c.Denial.Code)+c.Denial.Message+c.Denial.Hint)
		if told[len(told)-1] != told[0] || h.book.last().Detail != string(code) {
			t.Errorf("%s: told %q, on record %q", code, told[len(told)-1], h.book.last().Detail)
		}
	}
}

// TestARunningCallKeepsItsKeyHoweverLongItTakes: a retry must not have a second effect because the first is slow.
func TestARunningCallKeepsItsKeyHoweverLongItTakes(t *testing.T) {
	answers := &pipeline.Answers{Keep: time.Minute, MaxEntries: 1}
	h := build(t, stage{name: "retry", check: func(c *pipeline.Call) error { return answers.Claim(c, c.Started) }})
	start := time.Now()
	now := start
	h.line.Now = func() time.Time { return now }
	h.up.answer = func(c *pipeline.Call) error {
		for h.up.calls == 1 && now.Sub(start) < 3*time.Hour {
			now = now.Add(time.Hour)
			if second := h.again(); second.Denial == nil || second.Denial.Code != pipeline.InProgress {
				t.Errorf("while the first is running: %v", second.Denial)
			}
		}
		c.Reply.Result = []byte(`{"first":true}`)
		return nil
	}
	first := h.again()
	now = now.Add(59 * time.Second)
	if c := h.again(); !c.Kept || c.Record != first.Record || h.up.calls != 1 {
		t.Fatalf("the answer of a slow call was not kept for its time: %d forwarded, %v", h.up.calls, c.Denial)
	}
	h.up.answer = nil
	now = now.Add(time.Second)
	if c := h.again(); c.Kept || c.Denial != nil || h.up.calls != 2 {
		t.Errorf("the answer is not forgotten in time: %d forwarded, %v", h.up.calls, c.Denial)
	}
}

// TestACallSettlesItsOwnEntryOnly: not the one that stands under the key that the call happens to have at its end.
func TestACallSettlesItsOwnEntryOnly(t *testing.T) {
	answers := &pipeline.Answers{}
	claim := stage{name: "retry", check: func(c *pipeline.Call) error { return answers.Claim(c, c.Started) }}
	for name, refused := range map[string]bool{"answered": false, "refused": true} {
		h := build(t, claim, stage{name: "s", check: func(c *pipeline.Call) error {
			if c.Retry == "mine" {
				c.Retry = "theirs" // as a later writer of the field might
				if refused {
					return pipeline.Deny(pipeline.RateLimited, "")
				}
			}
			return nil
		}})
		other := func() *pipeline.Call { c := call(); c.Retry = "theirs"; return c }
		h.up.answer = func(c *pipeline.Call) error {
			c.Reply.Result = []byte(`{}`)
			if h.up.calls > 1 {
				return nil
			}
			mine := call()
			mine.Retry = "mine"
			h.run(mine)
			if third := h.run(other()); third.Denial == nil || third.Denial.Code != pipeline.InProgress {
				t.Errorf("%s: another call's end changed a running entry: %v", name, third.Denial)
			}
			return nil
		}
		h.run(other())
	}
}
