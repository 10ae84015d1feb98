package approvals_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/approvals"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

func TestAnApproverSeesWhatIsAskedAndTheLedgerDoesNot(t *testing.T) {
	w := newWorld(t, nil)
	q := pay()
	q.Local = true
	v := w.request(q)
	if v.Args != nil {
		t.Error("the agent is shown arguments")
	}
	if err := w.decide("usr_max", v.ID, true); err != nil {
		t.Fatal(err)
	}
	if err := w.Spend(t.Context(), "acme", v.ID, "rec_77"); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	got, err := w.Get(t.Context(), "acme", v.ID)
	if err != nil || string(got.Args) != `{"amount":5000,"to":"canary-41"}` || got.ArgsSize != len(got.Args) || got.Digest != digest(t, q) || got.Amount != "5000" {
		t.Fatalf("%+v %v", got, err)
	}
	if got.State != approvals.Executed || got.Record != "rec_77" || !got.Local || got.Reason != "above 1000" || got.Tenant != "acme" || got.Key != "key_a" ||
		got.Decisions[0] != (approvals.Decision{User: "usr_max", Key: "key_usr_max", Role: "manager", Approve: true, Reason: "because", At: w.clock.now().UTC()}) {
		t.Errorf("%+v", got)
	}
	_, err = w.Get(t.Context(), "other", v.ID)
	wants(t, err, approvals.ErrNotFound)
	want := []struct{ code, user, key, detail, body string }{
		{"requested", "usr_u", "key_a", "above 1000", `"given":0,"local":true}`}, {"approved", "usr_max", "key_usr_max", "because", `"for":"usr_u","given":1`},
		{"executed", "usr_u", "key_a", "", `"call":"rec_77"`},
	}
	if len(w.book.records) != len(want) {
		t.Fatal(w.book.acts(""))
	}
	for i, r := range w.book.records {
		if r.Code != want[i].code || r.User != want[i].user || r.Key != want[i].key || r.Detail != want[i].detail || !strings.Contains(string(r.Body), want[i].body) {
			t.Errorf("%s", r.AppendJSON(nil))
		}
		if r.Kind.String() != "approval" || r.Agent != "agt_a" || r.Server != "bank" || r.Tool != "pay" || r.PlanID != "pln_1" || r.Policies[0] != "pay-hold" || !strings.Contains(string(r.Body), digest(t, q).String()) {
			t.Errorf("%s", r.AppendJSON(nil))
		}
		if leaf := r.AppendJSON(nil); bytes.Contains(leaf, []byte("canary")) || bytes.Contains(leaf, []byte("5000")) {
			t.Errorf("arguments are in the ledger: %s", leaf)
		}
	}
}

func TestLargeArgumentsAreDecidedByTheirDigest(t *testing.T) {
	w := newWorld(t, nil)
	q := pay()
	q.Args = []byte(`{"amount":7,"text":"` + strings.Repeat("x", 64<<10) + `"}`)
	v := w.request(q)
	got, err := w.Get(t.Context(), "acme", v.ID)
	if err != nil || got.Args != nil || got.ArgsSize <= 64<<10 || got.Amount != "7" {
		t.Fatalf("%d bytes of %d, amount %s, %v", len(got.Args), got.ArgsSize, got.Amount, err)
	}
	if err := w.decide("usr_max", v.ID, true); err != nil || !w.approved(q) {
		t.Error(err)
	}
	q = pay()
	q.Reason = strings.Repeat("ä", 400)
	q.Policies = append(make([]string, 40), strings.Repeat("p", 300))
	v = w.request(q)
	if len(v.Reason) > 512 || !strings.HasSuffix(v.Reason, "ä...") || len(v.Policies) != 16 {
		t.Errorf("%d bytes, %d policies", len(v.Reason), len(v.Policies))
	}
}

func TestListsAreOfOneTenantInPages(t *testing.T) {
	w := newWorld(t, nil)
	var ids []string
	for i := range 5 {
		q := pay()
		q.PlanID = fmt.Sprintf("pln_%d", i)
		if i == 4 {
			q.Agent = "agt_b"
		}
		w.clock.move(time.Second)
		ids = append(ids, w.request(q).ID)
	}
	foreign := pay()
	foreign.Tenant = "other"
	w.request(foreign)
	if err := w.decide("usr_max", ids[1], true); err != nil {
		t.Fatal(err)
	}
	w.clock.move(30*time.Minute - 4*time.Second)
	for name, c := range map[string]struct {
		f    approvals.Filter
		want []string
	}{
		"all": {approvals.Filter{}, ids}, "page": {approvals.Filter{Limit: 2}, ids[:2]}, "next": {approvals.Filter{Limit: 2, After: ids[1]}, ids[2:4]},
		"agent": {approvals.Filter{Agent: "agt_b"}, ids[4:]}, "plan": {approvals.Filter{Plan: "pln_2"}, ids[2:3]},
		"expired": {approvals.Filter{State: approvals.Expired}, ids[:1]}, "approved": {approvals.Filter{State: approvals.Approved}, ids[1:2]},
	} {
		var got []string
		for _, v := range w.List("acme", c.f) {
			got = append(got, v.ID)
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestTheNewestOpenRequestIsFoundByWhatAClientKnows(t *testing.T) {
	w := newWorld(t, nil)
	q := pay()
	old := w.request(q)
	if err := w.decide("usr_max", old.ID, true); err != nil {
		t.Fatal(err)
	}
	q.Args = []byte(`{"amount":5000.50}`)
	w.clock.move(time.Second)
	young := w.request(q)
	q.Args = []byte(`{"amount":"much"}`)
	vague := w.request(q)
	q.Args, q.PlanID = nil, ""
	loose := w.request(q)
	base := approvals.Query{Tenant: "acme", Agent: "agt_a", User: "usr_u", PlanID: "pln_1"}
	with := func(change func(*approvals.Query)) approvals.Query {
		q := base
		change(&q)
		return q
	}
	for name, c := range map[string]struct {
		q    approvals.Query
		want string
	}{
		"newest":       {base, vague.ID},
		"amount":       {with(func(q *approvals.Query) { q.Amount, q.Tool = "5000.5", "pay" }), young.ID},
		"float":        {with(func(q *approvals.Query) { q.Amount = "5e3" }), old.ID},
		"approved":     {with(func(q *approvals.Query) { q.State, q.Server = approvals.Approved, "bank" }), old.ID},
		"no amount":    {with(func(q *approvals.Query) { q.Amount, q.PlanID = "0.0", "" }), loose.ID},
		"not a number": {with(func(q *approvals.Query) { q.Amount = "NaN" }), ""},
		"other amount": {with(func(q *approvals.Query) { q.Amount = "0" }), ""},
		"other user":   {with(func(q *approvals.Query) { q.User = "usr_x" }), ""},
		"other agent":  {with(func(q *approvals.Query) { q.Agent = "agt_b" }), ""},
		"other tenant": {with(func(q *approvals.Query) { q.Tenant = "other" }), ""},
		"other plan":   {with(func(q *approvals.Query) { q.PlanID = "pln_9" }), ""},
		"other server": {with(func(q *approvals.Query) { q.Server = "shop" }), ""},
		"other tool":   {with(func(q *approvals.Query) { q.Tool = "payx" }), ""},
		"ended":        {with(func(q *approvals.Query) { q.State = approvals.Rejected }), ""},
	} {
		if got, ok := w.Find(c.q); got.ID != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, want %q", name, got.ID, c.want)
		}
	}
}

func TestWhatEndedLongAgoIsForgottenInTheStoreToo(t *testing.T) {
	w := newWorld(t, nil)
	v, open := w.request(pay()), pay()
	open.PlanID = "pln_2"
	if err := w.decide("usr_max", v.ID, false); err != nil {
		t.Fatal(err)
	}
	w.clock.move(w.cfg.Keep - time.Second)
	w.Sweep(t.Context())
	if s := w.Stats(); s.Kept != 1 {
		t.Fatalf("%+v", s)
	}
	kept := w.request(open)
	w.clock.move(time.Second)
	w.store.Next(storetest.Persisted)
	w.Sweep(t.Context())
	w.Sweep(t.Context())
	if s := w.Stats(); s.Kept != 1 || s.Faults != 1 {
		t.Fatalf("%+v", s)
	}
	rows := 0
	err := w.inner.View(t.Context(), "acme", func(tx store.Txn) error {
		rows = 0
		for _, table := range []string{"approvals", "approval_args"} {
			if err := tx.Scan(table, "", func(key string, _ store.Value) error {
				if key == v.ID {
					t.Errorf("%s still has it", table)
				}
				rows++
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || rows != 2 {
		t.Errorf("%d rows, %v", rows, err)
	}
	w.reopen()
	if w.state(kept.ID) != approvals.Pending {
		t.Error("the wrong one went")
	}
}

func TestAskingForAnApprovalAllocatesNothing(t *testing.T) {
	w := newWorld(t, nil)
	v, d := w.request(pay()), digest(t, pay())
	if err := w.decide("usr_max", v.ID, true); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := w.ApprovedBy("acme", d, 1, "manager"); !ok {
			t.Error("not approved")
		}
		if _, ok := w.Approved("other", d); ok {
			t.Error("approved")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
