package approvals_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/approvals"
	"github.com/gatewright/gatewright/store/storetest"
)

func TestAConfigurationWithoutBoundsIsRefused(t *testing.T) {
	if err := approvals.DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*approvals.Config){
		"none required": func(c *approvals.Config) { c.Required = 0 }, "many required": func(c *approvals.Config) { c.Required = 17 },
		"no ttl": func(c *approvals.Config) { c.TTL = 0 }, "long ttl": func(c *approvals.Config) { c.TTL = 31 * 24 * time.Hour },
		"none open": func(c *approvals.Config) { c.MaxOpen = 0 }, "fewer in all": func(c *approvals.Config) { c.MaxAll = c.MaxOpen - 1 },
		"too many": func(c *approvals.Config) { c.MaxAll = 1<<20 + 1 }, "kept for ever": func(c *approvals.Config) { c.Keep = 11 * 365 * 24 * time.Hour },
		"viewers decide": func(c *approvals.Config) { c.Approver = "viewer" }, "anybody decides": func(c *approvals.Config) { c.Approver = "" },
		"limit of nobody": func(c *approvals.Config) { c.Limits = map[string]string{"owner": "5"} },
		"limit of Admin":  func(c *approvals.Config) { c.Limits = map[string]string{"Admin": "5"} },
		"no number":       func(c *approvals.Config) { c.Limits = map[string]string{"admin": "5k"} },
		"negative":        func(c *approvals.Config) { c.Limits = map[string]string{"admin": "-1"} },
	} {
		c := approvals.DefaultConfig()
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s is taken", name)
		}
		if r, err := approvals.Open(t.Context(), c, approvals.Deps{}); err == nil {
			r.Close()
			t.Errorf("%s opens", name)
		}
	}
}

func TestARequestThatBreaksABoundIsRefusedAndLeavesNothing(t *testing.T) {
	w := newWorld(t, nil)
	for name, change := range map[string]func(*approvals.Request){
		"no user": func(q *approvals.Request) { q.User = "" }, "no agent": func(q *approvals.Request) { q.Agent = "" }, "no key": func(q *approvals.Request) { q.Key = "" },
		"no tenant": func(q *approvals.Request) { q.Tenant = "" }, "the gateway's own": func(q *approvals.Request) { q.Tenant = "_instance" },
		"too many": func(q *approvals.Request) { q.Approvals = 17 }, "negative": func(q *approvals.Request) { q.Approvals = -1 },
		"viewers": func(q *approvals.Request) { q.Approver = "viewer" }, "arguments": func(q *approvals.Request) { q.Args = []byte(`{`) },
		"long tool": func(q *approvals.Request) { q.Tool = strings.Repeat("x", 513) },
	} {
		q := pay()
		change(&q)
		if v, err := w.Request(t.Context(), q); v.ID != "" {
			t.Errorf("%s: %+v", name, v)
		} else {
			wants(t, err, approvals.ErrInvalid)
		}
	}
	if s := w.Stats(); s != (approvals.Stats{}) || len(w.book.records) != 0 {
		t.Errorf("%+v, %d records", s, len(w.book.records))
	}
}

func TestNobodyDecidesWhoMayNot(t *testing.T) {
	w := newWorld(t, nil)
	v := w.request(pay())
	ctx := t.Context()
	for name, by := range map[string]approvals.Approver{
		"viewer": person("usr_vi"), "member": person("usr_mo"), "stranger": person("usr_x"), "nobody": {Tenant: "acme", Key: "k"}, "no key": {Tenant: "acme", User: "usr_ada"},
	} {
		for _, approve := range []bool{true, false} {
			if _, err := w.Decide(ctx, by, v.ID, approve, ""); err == nil {
				t.Errorf("%s decided %v", name, approve)
			} else {
				wants(t, err, approvals.ErrForbidden)
			}
		}
	}
	other := person("usr_ada")
	other.Tenant = "other"
	_, err := w.Decide(ctx, other, v.ID, true, "")
	wants(t, err, approvals.ErrNotFound)
	wants(t, w.decide("usr_ada", "apr_x", true), approvals.ErrNotFound)
	_, err = w.Decide(ctx, person("usr_ada"), v.ID, true, strings.Repeat("x", 257))
	wants(t, err, approvals.ErrInvalid)
	_, err = w.Decide(ctx, person("usr_ada"), v.ID, true, "\xff")
	wants(t, err, approvals.ErrInvalid)
	w.people.fail = errDirectory
	wants(t, w.decide("usr_ada", v.ID, true), errDirectory)
	w.people.fail = nil
	if w.approved(pay()) || w.state(v.ID) != approvals.Pending {
		t.Error(w.state(v.ID))
	}

	// The role is the one of now, not of then.
	w.people.roles["usr_max"], w.people.roles["usr_mo"] = "Member", "MANAGER"
	wants(t, w.decide("usr_max", v.ID, true), approvals.ErrForbidden)
	if err := w.decide("usr_mo", v.ID, true); err != nil || !w.approved(pay()) {
		t.Error(err, w.state(v.ID))
	}
}

func TestAPolicyMayAskForAdminsAndForSeveral(t *testing.T) {
	w := newWorld(t, nil)
	q := pay()
	q.Approvals, q.Approver = 2, "manager"
	v := w.request(q)
	if err := w.decide("usr_max", v.ID, true); err != nil || w.approved(q) {
		t.Fatal(err, "one was enough")
	}
	wants(t, w.Spend(t.Context(), "acme", v.ID, "rec_1"), approvals.ErrPending)
	if err := w.decide("usr_max", v.ID, true); !errors.Is(err, approvals.ErrDecided) || errors.Is(err, approvals.ErrEnough) {
		t.Errorf("a second time: %v", err)
	}
	if err := w.decide("usr_mia", v.ID, true); err != nil || !w.approved(q) {
		t.Fatal(err, w.state(v.ID))
	}
	wants(t, w.decide("usr_ada", v.ID, true), approvals.ErrEnough)
	wants(t, approvals.ErrEnough, approvals.ErrDecided)

	q.PlanID, q.Approvals, q.Approver = "pln_2", 1, "admin"
	v = w.request(q)
	wants(t, w.decide("usr_max", v.ID, true), approvals.ErrForbidden)
	if err := w.decide("usr_ada", v.ID, true); err != nil || !w.approved(q) {
		t.Fatal(err)
	}
}

func TestAPolicyMayNotAskForLessThanIsConfigured(t *testing.T) {
	w := newWorld(t, func(c *approvals.Config) { c.Required, c.Approver = 2, "Admin" })
	q := pay()
	q.Approvals, q.Approver = 1, "member"
	if v := w.request(q); v.Approvals != 2 || v.Approver != "admin" {
		t.Errorf("%+v", v)
	}
}

func TestOneRejectionEndsItAlsoAfterItWasApproved(t *testing.T) {
	w := newWorld(t, nil)
	q := pay()
	q.Approvals = 2
	v := w.request(q)
	if err := w.decide("usr_max", v.ID, true); err != nil {
		t.Fatal(err)
	}
	if err := w.decide("usr_mia", v.ID, false); err != nil {
		t.Fatal(err)
	}
	wants(t, w.decide("usr_ada", v.ID, true), approvals.ErrRejected)
	wants(t, w.Spend(t.Context(), "acme", v.ID, "rec_1"), approvals.ErrRejected)
	next := w.request(q)
	if next.ID == v.ID || next.State != approvals.Pending || next.Given != 0 {
		t.Fatalf("%+v", next)
	}
	for _, user := range []string{"usr_max", "usr_mia"} {
		if err := w.decide(user, next.ID, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.decide("usr_ada", next.ID, false); err != nil || w.approved(q) {
		t.Fatal(err, w.state(next.ID))
	}
	got, err := w.Look("acme", next.ID)
	if err != nil || got.State != approvals.Rejected || len(got.Decisions) != 3 || got.Decisions[2].Role != "admin" || got.Decisions[2].Approve || got.Ended == nil {
		t.Errorf("%+v %v", got, err)
	}
}

// TestWhoApprovedMayStillReject: until the call has used it, and then nobody takes it back, and nobody approves it again.
func TestWhoApprovedMayStillReject(t *testing.T) {
	w := newWorld(t, nil)
	q := pay()
	v := w.request(q)
	if err := w.decide("usr_max", v.ID, true); err != nil || !w.approved(q) {
		t.Fatal(err, "not approved")
	}
	if err := w.decide("usr_max", v.ID, false); err != nil || w.approved(q) {
		t.Fatal(err, "a mistaken approval cannot be taken back")
	}
	wants(t, w.Spend(t.Context(), "acme", v.ID, "rec_1"), approvals.ErrRejected)
	wants(t, w.decide("usr_max", v.ID, true), approvals.ErrRejected)
	wants(t, w.decide("usr_max", v.ID, false), approvals.ErrRejected)
	got, err := w.Look("acme", v.ID)
	if err != nil || got.State != approvals.Rejected || got.Given != 0 || len(got.Decisions) != 2 || !got.Decisions[0].Approve || got.Decisions[1].Approve {
		t.Errorf("%+v %v", got, err)
	}
	if acts := w.book.acts(v.ID); acts != "requested approved rejected" {
		t.Errorf("recorded %q", acts)
	}

	q.Approvals = 2
	half := w.request(q)
	for _, approve := range []bool{true, false} {
		if err := w.decide("usr_max", half.ID, approve); err != nil {
			t.Fatal(err)
		}
	}
	if w.state(half.ID) != approvals.Rejected {
		t.Errorf("one of two approvals, taken back: %s", w.state(half.ID))
	}

	q.Approvals = 1
	used := w.request(q)
	if err := w.decide("usr_max", used.ID, true); err != nil {
		t.Fatal(err)
	}
	if err := w.Spend(t.Context(), "acme", used.ID, "rec_1"); err != nil {
		t.Fatal(err)
	}
	wants(t, w.decide("usr_max", used.ID, false), approvals.ErrSpent)
}

func TestAnAmountAboveTheRolesLimitIsRefused(t *testing.T) {
	w := newWorld(t, func(c *approvals.Config) {
		c.Limits, c.Approver = map[string]string{"member": "0", "manager": "5000.00", "admin": ""}, "member"
	})
	n := 0
	for _, c := range []struct {
		args string
		ok   map[string]bool
	}{
		{`{"amount":5000}`, map[string]bool{"usr_max": true, "usr_ada": true}},
		{`{"amount":5000.01}`, map[string]bool{"usr_ada": true}},
		{`{"amount":-5000.01}`, map[string]bool{"usr_ada": true}},
		{`{"amount":"6000"}`, map[string]bool{"usr_ada": true}},
		{`{"amount":"a lot"}`, map[string]bool{"usr_ada": true}},
		{`{"amount":{"units":1}}`, map[string]bool{"usr_ada": true}},
		{`{"to":"x"}`, map[string]bool{"usr_mo": true, "usr_max": true, "usr_ada": true}},
	} {
		for _, user := range []string{"usr_mo", "usr_max", "usr_ada"} {
			n++
			q := pay()
			q.Agent, q.PlanID, q.Args = "agt_b", "pln_"+strings.Repeat("x", n), []byte(c.args)
			v := w.request(q)
			if err := w.decide(user, v.ID, true); (err == nil) != c.ok[user] || w.approved(q) != c.ok[user] {
				t.Errorf("%s by %s: %v", c.args, user, err)
			}
			if !c.ok[user] { // saying no has no limit
				if err := w.decide(user, v.ID, false); err != nil {
					t.Errorf("%s by %s: %v", c.args, user, err)
				}
			}
		}
	}
}

func TestTheAgentsOwnerMayNotDecideWhenDutiesAreSeparate(t *testing.T) {
	w := newWorld(t, func(c *approvals.Config) { c.Separate = true })
	q := pay()
	q.User = "usr_ada"
	v := w.request(q)
	wants(t, w.decide("usr_max", v.ID, true), approvals.ErrOwn) // owns the agent
	wants(t, w.decide("usr_ada", v.ID, true), approvals.ErrOwn) // it acts for her
	wants(t, w.decide("usr_max", v.ID, false), approvals.ErrForbidden)
	wants(t, approvals.ErrOwn, approvals.ErrForbidden)
	delete(w.people.owners, "agt_a")
	wants(t, w.decide("usr_mia", v.ID, true), approvals.ErrForbidden) // nobody can say whose it is
	w.people.owners["agt_a"] = "usr_mo"
	if err := w.decide("usr_mia", v.ID, true); err != nil {
		t.Fatal(err)
	}
	together := newWorld(t, nil)
	if err := together.decide("usr_max", together.request(pay()).ID, true); err != nil {
		t.Fatal(err)
	}
}

func TestAnApprovalIsForOneCallAndForOneUse(t *testing.T) {
	w := newWorld(t, nil)
	v := w.request(pay())
	wants(t, w.Spend(t.Context(), "acme", v.ID, "rec_1"), approvals.ErrPending)
	if err := w.decide("usr_max", v.ID, true); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*approvals.Request){
		"user": func(q *approvals.Request) { q.User = "usr_x" }, "agent": func(q *approvals.Request) { q.Agent = "agt_b" },
		"plan": func(q *approvals.Request) { q.PlanID = "pln_2" }, "tool": func(q *approvals.Request) { q.Tool = "pay2" },
		"args": func(q *approvals.Request) { q.Args = []byte(`{"amount":5000}`) }, "tenant": func(q *approvals.Request) { q.Tenant = "other" },
	} {
		q := pay()
		change(&q)
		if w.approved(q) {
			t.Errorf("another %s is approved too", name)
		}
	}
	if _, ok := w.Approved("other", digest(t, pay())); ok {
		t.Error("approved for another tenant")
	}
	id, ok := w.Approved("acme", digest(t, pay()))
	if !ok || id != v.ID {
		t.Fatal(id, ok)
	}
	if again := w.request(pay()); again.ID != v.ID || again.State != approvals.Approved {
		t.Errorf("%+v", again)
	}
	wants(t, w.Spend(t.Context(), "other", id, "rec_1"), approvals.ErrNotFound)
	wants(t, w.Spend(t.Context(), "acme", id, ""), approvals.ErrInvalid)
	if err := w.Spend(t.Context(), "acme", id, "rec_1"); err != nil || w.approved(pay()) {
		t.Fatal(err)
	}
	wants(t, w.Spend(t.Context(), "acme", id, "rec_2"), approvals.ErrSpent)
	wants(t, w.decide("usr_ada", id, false), approvals.ErrSpent)
	if next := w.request(pay()); next.ID == id {
		t.Error("a used approval is asked for again")
	}
	w.reopen()
	wants(t, w.Spend(t.Context(), "acme", id, "rec_2"), approvals.ErrSpent)
}

func TestTimeEndsWhatIsOpen(t *testing.T) {
	w := newWorld(t, nil)
	q := pay()
	q.PlanID = "pln_2"
	pending, given := w.request(pay()), w.request(q)
	if err := w.decide("usr_max", given.ID, true); err != nil {
		t.Fatal(err)
	}
	w.clock.move(30*time.Minute - time.Second)
	if !w.approved(q) {
		t.Fatal("expired early")
	}
	w.clock.move(time.Second)
	if w.approved(q) || w.state(pending.ID) != approvals.Expired {
		t.Fatal("not expired")
	}
	wants(t, w.Spend(t.Context(), "acme", given.ID, "rec_1"), approvals.ErrExpired)
	wants(t, w.decide("usr_max", pending.ID, true), approvals.ErrExpired)
	wants(t, w.decide("usr_mia", given.ID, false), approvals.ErrExpired)
	if _, ok := w.Find(approvals.Query{Tenant: "acme", Agent: "agt_a", User: "usr_u", PlanID: "pln_1"}); ok {
		t.Error("an expired one is found")
	}
	fresh := w.request(pay()) // before the sweep
	if fresh.ID == pending.ID || fresh.State != approvals.Pending {
		t.Fatalf("%+v", fresh)
	}
	w.Sweep(t.Context())
	w.Sweep(t.Context())
	if a, b := w.book.acts(pending.ID), w.book.acts(given.ID); a != "requested expired" || b != "requested approved expired" {
		t.Errorf("%s; %s", a, b)
	}
	if last := w.book.last(); last.Key != "" || last.Agent != "agt_a" {
		t.Errorf("%+v", last)
	}
	if w.state(fresh.ID) != approvals.Pending || w.request(pay()).ID != fresh.ID {
		t.Error("the sweep took the fresh one too")
	}
}

func TestACallThatTakesMoreNowRaisesWhatIsOpen(t *testing.T) {
	w := newWorld(t, nil)
	q := pay()
	v := w.request(q)
	if err := w.decide("usr_max", v.ID, true); err != nil {
		t.Fatal(err)
	}
	for _, need := range []struct {
		n    int
		role string
		ok   bool
	}{{0, "", true}, {1, "manager", true}, {2, "", false}, {0, "admin", false}, {1, "owner", false}} {
		if _, ok := w.ApprovedBy("acme", digest(t, q), need.n, need.role); ok != need.ok {
			t.Errorf("%+v", need)
		}
	}
	q.Approvals, q.Approver, q.Policies = 1, "admin", []string{"stricter"}
	w.book.next(1, false)
	if _, err := w.Request(t.Context(), q); err == nil {
		t.Fatal("raised without a record")
	}
	raised := w.request(q)
	if raised.ID != v.ID || raised.State != approvals.Pending || raised.Approver != "admin" || raised.Given != 0 || raised.Policies[0] != "stricter" || w.approved(q) {
		t.Fatalf("%+v", raised)
	}
	w.reopen()
	wants(t, w.decide("usr_mia", v.ID, true), approvals.ErrForbidden)
	if err := w.decide("usr_ada", v.ID, true); err != nil || !w.approved(q) {
		t.Fatal(err)
	}
	if lower := w.request(pay()); lower.Approver != "admin" || lower.State != approvals.Approved {
		t.Errorf("asking for less lowers it: %+v", lower)
	}
	if got := w.book.acts(v.ID); got != "requested approved requested approved" {
		t.Error(got)
	}
}

func TestAPolicysReasonReplacesTheAgentsOwn(t *testing.T) {
	w := newWorld(t, nil)
	own := pay()
	own.Policies, own.Reason = nil, "trust me"
	v := w.request(own)
	if held := w.request(pay()); held.ID != v.ID || held.Reason != "above 1000" || len(held.Policies) != 1 {
		t.Errorf("%+v", held)
	}
	if again := w.request(own); again.Reason != "above 1000" || w.book.acts(v.ID) != "requested requested" {
		t.Errorf("the agent talked over the policy: %+v", again)
	}
}

func TestOpenRequestsAndAllThatIsKeptAreBounded(t *testing.T) {
	w := newWorld(t, func(c *approvals.Config) { c.MaxOpen, c.MaxAll = 2, 3 })
	of := func(agent, plan string) approvals.Request {
		q := pay()
		q.Agent, q.PlanID = agent, plan
		return q
	}
	first, second := w.request(of("agt_a", "1")), w.request(of("agt_a", "2"))
	_, err := w.Request(t.Context(), of("agt_a", "3"))
	wants(t, err, approvals.ErrLimit)
	if again := w.request(of("agt_a", "2")); again.ID != second.ID {
		t.Error("an open one is not found at the bound")
	}
	w.request(of("agt_b", "1"))
	_, err = w.Request(t.Context(), of("agt_b", "2"))
	wants(t, err, approvals.ErrLimit) // three are kept, and all are open
	w.clock.move(time.Second)
	if err := w.decide("usr_max", first.ID, false); err != nil {
		t.Fatal(err)
	}
	w.store.Next(storetest.Failed)
	if _, err = w.Request(t.Context(), of("agt_b", "2")); err == nil {
		t.Fatal("room was made that was not")
	}
	w.request(of("agt_b", "2"))
	_, err = w.Look("acme", first.ID)
	wants(t, err, approvals.ErrNotFound)
	w.clock.move(30 * time.Minute)
	w.Sweep(t.Context())
	w.request(of("agt_a", "4")) // what has expired counts no more
	if s := w.Stats(); s.Kept > 3 || s.Pending != 1 {
		t.Errorf("%+v", s)
	}
	w.reopen()
	if s := w.Stats(); s.Kept > 3 || s.Pending != 1 {
		t.Errorf("%+v", s)
	}
}

func TestAskingFindsTheExpiredRoomOfAnAgentWithoutASweep(t *testing.T) {
	w := newWorld(t, func(c *approvals.Config) { c.MaxOpen = 1 })
	w.request(pay())
	w.clock.move(30 * time.Minute)
	q := pay()
	q.PlanID = "pln_2"
	w.request(q)
}
