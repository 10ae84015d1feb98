package plans_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
)

func TestBuiltPlansAreHeldToWhatDraftsAreHeldTo(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.Steps, c.DraftBytes = 4, 1024 })
	good := func(change func(*plans.Draft)) plans.Draft {
		d := w.draft("/a")
		change(&d)
		return d
	}
	step := func(server, tool string, args string) intent.Step {
		var values map[string]json.RawMessage
		if err := json.Unmarshal([]byte(args), &values); err != nil {
			t.Fatal(err)
		}
		return intent.Step{Op: "tools/call", Server: server, Tool: tool, Args: intent.ConstArgs(values), Uses: 1}
	}
	add := func(s ...intent.Step) func(*plans.Draft) {
		return func(d *plans.Draft) { d.Plan.Steps = append(d.Plan.Steps, s...) }
	}
	local := step("files", "read", `{}`)
	local.Local = true
	for name, c := range map[string]struct {
		draft plans.Draft
		at    string
	}{
		"no plan":           {plans.Draft{}, ""},
		"no steps":          {good(func(d *plans.Draft) { d.Plan.Steps = nil }), "/steps"},
		"too many steps":    {good(func(d *plans.Draft) { add(d.Plan.Steps[0], d.Plan.Steps[0], d.Plan.Steps[0], d.Plan.Steps[0])(d) }), "/steps"},
		"no such tool":      {good(add(step("files", "delete", `{}`))), "/steps/1/tool"},
		"no such server":    {good(add(step("other", "read", `{}`))), "/steps/1/tool"},
		"breaks the schema": {good(add(step("files", "write", `{"text":1}`))), "/steps/1/args"},
		"with AllowLocal":   {good(func(d *plans.Draft) { d.AllowLocal = true; add(step("files", "write", `{"text":1}`))(d) }), "/steps/1/args"},
		"local":             {good(add(local)), "/steps/1"},
		"after itself":      {good(func(d *plans.Draft) { d.Plan.Steps[0].After = []int{0} }), "/steps/0/after/0"},
		"sealed":            {good(func(d *plans.Draft) { d.Plan.Nonce = "AAAA" }), ""},
		"of another tenant": {good(func(d *plans.Draft) { d.Plan.Tenant = "umbrella" }), ""},
		"of another user":   {good(func(d *plans.Draft) { d.Plan.User = "usr_b" }), ""},
		"of another agent":  {good(func(d *plans.Draft) { d.Plan.Agent = "agt_b" }), ""},
		"too large":         {good(func(d *plans.Draft) { d.Plan.Goal = strings.Repeat("x", 4096) }), ""},
		"no canonical form": {good(func(d *plans.Draft) { d.Plan.Metadata = json.RawMessage(`{"a":1,"a":2}`) }), ""},
		"no time":           {good(func(d *plans.Draft) { d.TTL = time.Millisecond }), ""},
		"negative time":     {good(func(d *plans.Draft) { d.TTL = -time.Hour }), ""},
	} {
		_, err := w.CapturePlan(t.Context(), alice, c.draft)
		var e *intent.Error
		if !errors.As(err, &e) || e.Reason != intent.PlanInvalid || c.at != "" && e.Pointer != c.at {
			t.Errorf("%s: %v, want plan_invalid at %q", name, err, c.at)
		}
	}
	_, err := w.CapturePlan(t.Context(), plans.Owner{Tenant: "acme", User: "u", Agent: "a"}, w.draft("/a"))
	wants(t, err, plans.ErrForbidden)
	if got, s := w.book.acts(), w.Stats(); got != "" || s.Plans != 0 {
		t.Fatalf("recorded %q, %+v", got, s)
	}
}

func TestAPlanAStartCouldNotReadIsNotCaptured(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.DraftBytes = 2 << 20 })
	d := w.draft("/a")
	d.Plan.Steps[0].Args.Params = map[string]intent.Constraint{}
	for i := range 5000 { // more than a stored plan may have
		d.Plan.Steps[0].Args.Params[fmt.Sprint("p", i)] = intent.Constraint{Open: true, Optional: true}
	}
	if _, err := w.CapturePlan(t.Context(), alice, d); intent.ReasonOf(err) != intent.PlanInvalid {
		t.Fatalf("%v", err)
	}
	w.reopen()
}

func TestABuiltPlanIsWhatADraftWouldHaveBeen(t *testing.T) {
	w := newWorld(t, nil)
	d := plans.Draft{Plan: w.plan(draft), TTL: time.Minute}
	p, err := w.CapturePlan(t.Context(), alice, d)
	if err != nil {
		t.Fatal(err)
	}
	if d.Plan.Nonce != "" || d.Plan.Agent != "" || d.Plan.Steps[0].Salt != "" || d.Plan.Steps[0].Schema != (merkle.Hash{}) {
		t.Fatal("the caller's plan was changed")
	}
	d.Plan.Steps[0].Tool = "write" // nothing that is held follows
	if err := w.call(alice, w.token(alice, p.ID).Token, `{"path":"/a"}`); err != nil {
		t.Fatal(err)
	}
	if want := w.clock.now().Add(time.Minute); !p.Expires.Equal(want) {
		t.Fatalf("expires %v, want %v", p.Expires, want)
	}
	long := w.draft("/a")
	long.TTL = 1000 * time.Hour
	if q, err := w.CapturePlan(t.Context(), alice, long); err != nil || !q.Expires.Equal(w.clock.now().Add(w.cfg.PlanTTL)) {
		t.Fatalf("a longer life than configured: %v, %v", q.Expires, err)
	}
	doc, err := intent.ParsePlan(p.Plan)
	if err != nil || doc.Agent != "agt_a" || doc.Steps[0].Schema != readSchema || doc.Steps[0].Local {
		t.Fatalf("%+v, %v", doc, err)
	}
}

func TestStepsOfUnknownServersAreLocalOnlyWhenAllowed(t *testing.T) {
	w := newWorld(t, nil)
	text := `{"steps":[{"server":"files","tool":"read"},{"server":"shell","tool":"run"},{"server":"files","tool":"delete"}]}`
	p, err := w.CapturePlan(t.Context(), alice, plans.Draft{Plan: w.plan(text), AllowLocal: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []string{"at once", "after a restart"} {
		h, _, _ := w.Held("acme", p.Root)
		for i, want := range []bool{false, true, true} {
			if s := h.Plan().Steps[i]; s.Local != want || s.Schema.IsZero() != want {
				t.Fatalf("%s: step %d: local %v, schema %v", again, i, s.Local, s.Schema)
			}
		}
		w.reopen()
	}
}

func TestFindTakesTheNewestActivePlanOfTheSameAgentAndUser(t *testing.T) {
	w := newWorld(t, nil)
	find := func(o plans.Owner, tool string) string {
		id, step, ok := w.Find(o, "tools/call", "files", tool)
		if !ok {
			return ""
		}
		return fmt.Sprint(id, " ", step)
	}
	if got := find(alice, "read"); got != "" {
		t.Fatal(got)
	}
	first := w.capture(alice)
	second := w.captured("/a", "/b")
	for name, o := range map[string]plans.Owner{
		"tenant": {Tenant: "umbrella", User: "usr_a", Agent: "agt_a"}, "user": {Tenant: "acme", User: "usr_b", Agent: "agt_a"}, "agent": {Tenant: "acme", User: "usr_a", Agent: "agt_b"},
	} {
		if got := find(o, "read"); got != "" {
			t.Fatalf("another %s found %s", name, got)
		}
	}
	if got := find(alice, "delete"); got != "" {
		t.Fatal(got)
	}
	for _, again := range []string{"at once", "after a restart"} {
		if a, b := find(alice, "read"), find(alice, "write"); a != second.ID+" 0" || b != first.ID+" 1" {
			t.Fatalf("%s: %s, %s", again, a, b)
		}
		w.reopen()
	}
	if err := w.SetState(t.Context(), mine(alice), second.ID, plans.Failed, ""); err != nil {
		t.Fatal(err)
	}
	if got := find(alice, "read"); got != first.ID+" 0" {
		t.Fatalf("after the newest ended: %s", got)
	}
	grown, _ := w.grow(first.ID, "/c")
	if a, b := find(alice, "read"), find(alice, "write"); a != grown.ID+" 0" || b != "" {
		t.Fatalf("after re-anchoring: %s, %s", a, b)
	}
	w.clock.move(time.Hour)
	if got := find(alice, "read"); got != "" {
		t.Fatalf("expired: %s", got)
	}
}

func TestActivePlansAreTheOwnersHeadsNewestFirst(t *testing.T) {
	w := newWorld(t, nil)
	first, second, over := w.captured("/a"), w.captured("/b"), w.captured("/c")
	grown, _ := w.grow(first.ID, "/d")
	if err := w.SetState(t.Context(), mine(alice), over.ID, plans.Completed, ""); err != nil {
		t.Fatal(err)
	}
	for _, again := range []string{"at once", "after a restart"} {
		list := w.Active(alice, 10)
		if len(list) != 2 || list[0].Root() != grown.Root || list[1].Root() != second.Root {
			t.Fatalf("%s: %d plans", again, len(list))
		}
		if list = w.Active(alice, 1); len(list) != 1 || list[0].Root() != grown.Root {
			t.Fatalf("%s: %d plans, want the newest", again, len(list))
		}
		if len(w.Active(bob, 10)) != 0 || len(w.Active(alice, 0)) != 0 {
			t.Fatalf("%s: somebody else's", again)
		}
		w.reopen()
	}
	w.clock.move(time.Hour)
	if len(w.Active(alice, 10)) != 0 {
		t.Fatal("expired")
	}
}

func TestATokenThatMayBeShownAloneSaysSo(t *testing.T) {
	w := newWorld(t, nil)
	p := w.capture(alice)
	tok, err := w.Token(t.Context(), alice, p.ID, plans.TokenOptions{Alone: true})
	if err != nil || tok.IssuedAt != w.clock.now().Unix() {
		t.Fatalf("%+v, %v", tok, err)
	}
	v, err := w.verifier.Token([]byte(tok.Token), w.clock.now())
	if err != nil || !v.Claims().Alone || v.Claims().IssuedAt != tok.IssuedAt {
		t.Fatalf("%v", err)
	}
	if b, _ := json.Marshal(tok); strings.Contains(string(b), "IssuedAt") {
		t.Fatalf("%s", b)
	}
	w.reopen()
	if l := w.Tokens("acme", plans.Filter{}); len(l) != 1 || !l[0].Alone {
		t.Fatalf("%+v", l)
	}
}
