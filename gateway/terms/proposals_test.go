package terms_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/terms"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies/armoriq"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

func TestOnlyAgentsOfAnOrganisationPropose(t *testing.T) {
	w := newWorld(t, nil)
	ctx := t.Context()
	for _, who := range []terms.Who{{}, {Tenant: "acme", User: "u", Key: "k"}, {Tenant: "acme", Agent: "a"}, {Tenant: store.Instance, Agent: "a", Key: "k"}, {Tenant: "A B", Agent: "a", Key: "k"}} {
		_, err1 := w.Propose(ctx, who, "")
		_, err2 := w.ProposeServer(ctx, who, "mcp", []byte(`{}`))
		_, err3 := w.Withdraw(ctx, who)
		for _, err := range []error{w.Draft(ctx, who, []byte(`{}`)), err1, err2, err3} {
			wants(t, err, terms.ErrForbidden)
		}
	}
}

func TestWhatIsNotWellFormedIsRefused(t *testing.T) {
	w := newWorld(t, func(c *terms.Config) { c.Bytes = 1 << 10 })
	ctx := t.Context()
	for _, bad := range []string{``, `null`, `"x"`, `{"a":1,"a":2}`, `{"a":1e400}`, `{"a":"` + strings.Repeat("x", 1<<10) + `"}`, strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40)} {
		wants(t, w.Draft(ctx, alice, []byte(bad)), terms.ErrInvalid)
		_, err := w.ProposeServer(ctx, alice, "mcp", []byte(bad))
		wants(t, err, terms.ErrInvalid)
	}
	for _, form := range []string{"", "MCP", "a b", strings.Repeat("x", 33)} {
		_, err := w.ProposeServer(ctx, alice, form, []byte(`{}`))
		wants(t, err, terms.ErrInvalid)
	}
	w.must(w.Draft(ctx, alice, []byte(profile("x"))))
	for _, reason := range []string{strings.Repeat("x", 257), "\xff"} {
		_, err := w.Propose(ctx, alice, reason)
		wants(t, err, terms.ErrInvalid)
	}
	same(t, w.book.acts(), "")
}

func TestAProfileThatCannotBeSaidExactlyIsNoProposal(t *testing.T) {
	w := newWorld(t, nil)
	w.must(w.Draft(t.Context(), alice, []byte(profile("x"))))
	for range 2 { // whether there is a draft before it or not
		err := w.Draft(t.Context(), alice, []byte(spoiled))
		wants(t, err, terms.ErrPolicy)
		if p, ok := errors.AsType[armoriq.Problem](err); !ok || p.Pointer == "" || err.Error() != p.Error() {
			t.Errorf("not in the words of the problem alone: %v", err)
		}
		_, err = w.Propose(t.Context(), alice, "")
		wants(t, err, terms.ErrNotFound) // nor the draft that it was to replace
	}
	_, err := w.Propose(t.Context(), bob, "")
	wants(t, err, terms.ErrNotFound) // a draft is its agent's own
	same(t, w.states(), "")
	same(t, w.book.acts(), "")
}

func TestAProfileComesIntoForceByAnAdminsWordOnly(t *testing.T) {
	w := newWorld(t, nil)
	ctx := t.Context()
	id := w.propose(alice, profile("drop"))
	same(t, w.active(), "")
	if again := w.propose(alice, strings.ReplaceAll(profile("drop"), " ", "  ")); again != id {
		t.Error("the same is proposed twice")
	}
	if r := w.book.last(); r.Kind != ledger.Bundle || r.Agent != "agt_a" || r.User != "usr_a" || r.Key != "key_a" || r.Detail != "why not" || fact(r, "proposal") != id || fact(r, "digest") == "" {
		t.Errorf("%+v %s", r, r.Body)
	}
	shown, err := w.Proposal(ctx, "acme", id)
	w.must(err)
	if !strings.Contains(shown.Cedar, "forbid") || len(shown.Lines) == 0 || shown.Problem != "" || !strings.Contains(string(shown.Content), `"drop"`) {
		t.Errorf("%+v", shown)
	}
	for name, by := range map[string]terms.Actor{"other tenant": {Tenant: "evil", User: "usr_m", Key: "k"}, "nowhere": {Tenant: "none", User: "usr_m", Key: "k"}} {
		if _, err := w.Decide(ctx, by, id, true, ""); !errors.Is(err, terms.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := w.Proposal(ctx, by.Tenant, id); !errors.Is(err, terms.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	done, err := w.Decide(ctx, root, id, true, "fine")
	w.must(err)
	if done.State != terms.Approved || done.By != "usr_root" || done.Note != "fine" || done.Decided == nil {
		t.Errorf("%+v", done)
	}
	p, ok := w.Profile("acme")
	if !ok || p.Version != 1 || p.Proposal != id || p.By != "usr_root" || p.Cedar != shown.Cedar || p.Digest != shown.Digest || string(p.Policy) != string(shown.Content) {
		t.Errorf("%+v", p)
	}
	r := w.book.last()
	if r.Code != "profile" || r.Kind != ledger.Bundle || r.User != "usr_root" || r.Key != "key_root" || fact(r, "digest") != shown.Digest.String() || !strings.Contains(string(r.Body), `"policy":{"defaults"`) {
		t.Errorf("%+v %s", r, r.Body)
	}
	for _, approve := range []bool{true, false} {
		_, err := w.Decide(ctx, root, id, approve, "")
		wants(t, err, terms.ErrDecided)
	}
	if _, _, ok := w.Active("evil"); ok {
		t.Error("another tenant's too")
	}
}

func TestTheNextProfileReplacesTheOneBefore(t *testing.T) {
	w := newWorld(t, nil)
	w.approve(profile("one"))
	first := w.active()
	rejected := w.propose(bob, profile("two"))
	if _, err := w.Decide(t.Context(), root, rejected, false, "no"); err != nil {
		t.Fatal(err)
	}
	same(t, w.active(), first)
	w.approve(profile("three"))
	if !strings.Contains(w.active(), "three") || fact(w.book.last(), "replaces") == "" {
		t.Errorf("%s, recorded %s", w.active(), w.book.last().Body)
	}
	w.must(w.Remove(t.Context(), root, "enough"))
	same(t, w.active(), "")
	if r := w.book.last(); r.Code != "profile" || fact(r, "act") != "removed" || r.Detail != "enough" || fact(r, "replaces") == "" {
		t.Errorf("%+v", r)
	}
	wants(t, w.Remove(t.Context(), root, ""), terms.ErrNotFound)
	wants(t, w.Remove(t.Context(), terms.Actor{Tenant: "evil"}, ""), terms.ErrNotFound)
	w.open()
	same(t, w.active(), "")
	w.approve(profile("four"))
	if p, _ := w.Profile("acme"); p.Version != 3 {
		t.Errorf("version %d", p.Version)
	}
	same(t, w.book.acts(), "proposal proposed, profile approved, proposal proposed, proposal rejected, proposal proposed, profile approved, profile removed, proposal proposed, profile approved")
}

func TestEverythingSurvivesARestart(t *testing.T) {
	w := newWorld(t, nil)
	w.approve(strings.Replace(profile("one"), `"name":"p"`, `"name":"<p> & \u00e9"`, 1))
	w.propose(bob, profile("two"))
	w.at = w.at.Add(time.Second)
	_, err := w.ProposeServer(t.Context(), alice, "auto-register", []byte(`{"mcpName":"x","source":"https://x.example/mcp"}`))
	w.must(err)
	w.must(w.Draft(t.Context(), bob, []byte(profile("three"))))
	before, states := w.active(), w.states()
	_, digest, _ := w.Active("acme")
	w.open()
	same(t, w.active(), before)
	same(t, w.states(), states)
	if _, got, _ := w.Active("acme"); got != digest {
		t.Error("the profile has another digest")
	}
	p, err := w.Propose(t.Context(), bob, "")
	w.must(err)
	if s := w.Stats(); s.Proposals != 4 || s.Profiles != 1 || s.Broken != 0 || !strings.Contains(string(p.Content), "three") {
		t.Errorf("%+v", s)
	}
}

func TestApprovingAServerMakesNone(t *testing.T) {
	w := newWorld(t, nil)
	p, err := w.ProposeServer(t.Context(), alice, "auto-register", []byte(`{"mcpName":"x","token":"hush"}`))
	w.must(err)
	done, err := w.Decide(t.Context(), root, p.ID, true, "made by hand")
	w.must(err)
	if done.Kind != terms.KindServer || done.State != terms.Approved || done.Form != "auto-register" || string(done.Content) != `{"mcpName":"x","token":"hush"}` || done.Cedar != "" {
		t.Errorf("%+v", done)
	}
	same(t, w.active(), "")
	same(t, w.book.acts(), "proposal proposed, proposal approved")
	for i := range w.book.records {
		if body := string(w.book.records[i].Body); strings.Contains(body, "hush") || strings.Contains(body, p.Digest.String()) {
			t.Errorf("a secret, or what lets one be guessed, is recorded: %s", body)
		}
	}
}

func TestAnAgentWithdrawsItsOwnProfilesOnly(t *testing.T) {
	w := newWorld(t, nil)
	w.propose(alice, profile("one"))
	w.propose(alice, profile("two"))
	w.propose(bob, profile("three"))
	w.at = w.at.Add(time.Second)
	_, err := w.ProposeServer(t.Context(), alice, "mcp", []byte(`{}`))
	w.must(err)
	n, err := w.Withdraw(t.Context(), alice)
	if err != nil || n != 2 {
		t.Fatal(n, err)
	}
	same(t, w.states(), "0 profile withdrawn, 1 profile withdrawn, 2 profile pending, 3 server pending")
	if n, err := w.Withdraw(t.Context(), mal); n != 0 || err != nil {
		t.Error(n, err)
	}
	list := func(f terms.Filter) (out string) {
		for _, p := range w.Proposals("acme", f) {
			out += fmt.Sprint(p.Agent, " ", p.Kind, " ", p.State, len(p.Content), "; ")
		}
		return out
	}
	same(t, list(terms.Filter{State: terms.Pending, Limit: 1}), "agt_b profile pending0; ")
	same(t, list(terms.Filter{Agent: "agt_a", Kind: terms.KindServer}), "agt_a server pending0; ")
	same(t, list(terms.Filter{After: w.Proposals("acme", terms.Filter{})[2].ID}), "agt_a server pending0; ")
}

func TestBoundsAreHeldAndOldDecisionsMakeRoom(t *testing.T) {
	w := newWorld(t, func(c *terms.Config) { c.PendingPerAgent, c.Proposals, c.All, c.Keep = 2, 3, 4, time.Hour })
	ctx := t.Context()
	server := func(who terms.Who, n int) error {
		w.at = w.at.Add(time.Second)
		_, err := w.ProposeServer(ctx, who, "mcp", fmt.Appendf(nil, `{"n":%d}`, n))
		return err
	}
	w.must(server(alice, 1))
	w.must(server(alice, 2))
	wants(t, server(alice, 3), terms.ErrLimit)
	w.must(server(alice, 2)) // one there is
	w.must(server(bob, 1))
	wants(t, server(bob, 2), terms.ErrLimit) // the organisation's
	w.must(server(mal, 1))
	wants(t, server(mal, 2), terms.ErrLimit) // the gateway's
	if _, err := w.Decide(ctx, root, w.Proposals("acme", terms.Filter{})[0].ID, false, ""); err != nil {
		t.Fatal(err)
	}
	wants(t, server(alice, 3), terms.ErrLimit)
	w.at = w.at.Add(time.Hour)
	w.must(server(alice, 3))
	w.open()
	same(t, w.states(), "0 server pending, 1 server pending, 2 server pending")
	if n := w.Stats().Proposals; n != 4 {
		t.Errorf("%d proposals", n)
	}
}

func TestAConfigWithoutBoundsIsRefused(t *testing.T) {
	for i, change := range []func(*terms.Config){
		func(c *terms.Config) { c.Bytes = 0 }, func(c *terms.Config) { c.Bytes = 1 << 20 }, func(c *terms.Config) { c.PendingPerAgent = 0 },
		func(c *terms.Config) { c.Proposals = 1 }, func(c *terms.Config) { c.All = 1 }, func(c *terms.Config) { c.Keep = -1 },
		func(c *terms.Config) { c.Plans = 0 }, func(c *terms.Config) { c.Counters = 0 },
	} {
		cfg := terms.DefaultConfig()
		change(&cfg)
		if _, err := terms.Open(t.Context(), cfg, terms.Deps{}); err == nil || strings.Contains(err.Error(), "dependency") {
			t.Errorf("change %d: %v", i, err)
		}
	}
	if _, err := terms.Open(t.Context(), terms.DefaultConfig(), terms.Deps{}); err == nil {
		t.Error("nothing to work with is enough")
	}
}

// TestWhateverBreaksNothingIsInForceThatIsNotRecorded breaks ledger and store under every change.
func TestWhateverBreaksNothingIsInForceThatIsNotRecorded(t *testing.T) {
	for name, breaks := range map[string]func(*world){
		"ledger down":                func(w *world) { w.book.fail = 1 },
		"store failed":               func(w *world) { w.store.Next(storetest.Failed) },
		"store failed but persisted": func(w *world) { w.store.Next(storetest.Persisted) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			ctx := t.Context()
			w.approve(profile("one"))
			one := w.active()

			breaks(w)
			if _, err := w.ProposeServer(ctx, alice, "mcp", []byte(`{}`)); err == nil {
				t.Fatal("proposed")
			}
			id := w.propose(alice, profile("two"))
			breaks(w)
			if _, err := w.Decide(ctx, root, id, true, ""); err == nil {
				t.Fatal("approved")
			}
			same(t, w.active(), one) // the last good one
			if _, err := w.Decide(ctx, root, id, true, ""); err != nil && !errors.Is(err, terms.ErrDecided) {
				t.Fatal(err)
			}
			two := w.active()
			if !strings.Contains(two, "two") {
				t.Fatal(two)
			}
			breaks(w)
			if err := w.Remove(ctx, root, ""); err == nil {
				t.Fatal("removed")
			}
			same(t, w.active(), two)
			if err := w.Remove(ctx, root, ""); err != nil && !errors.Is(err, terms.ErrNotFound) {
				t.Fatal(err)
			}
			same(t, w.active(), "")
			id = w.propose(alice, profile("three"))
			breaks(w)
			if _, err := w.Decide(ctx, root, id, false, ""); err == nil {
				t.Fatal("rejected")
			}
			_, _ = w.Decide(ctx, root, id, false, "")
			states := w.states()
			if !strings.Contains(states, "rejected") {
				t.Fatal(states)
			}
			w.open()
			same(t, w.states(), states)
			same(t, w.active(), "")
			if n := strings.Count(w.book.acts(), "profile removed"); n == 0 {
				t.Error("removed without a record")
			}
		})
	}
}

// TestARejectionAfterALostApprovalIsNotUndoneByARestart: a commit that failed may be there all the same.
func TestARejectionAfterALostApprovalIsNotUndoneByARestart(t *testing.T) {
	w := newWorld(t, nil)
	id := w.propose(alice, profile("one"))
	w.store.Next(storetest.Persisted)
	if _, err := w.Decide(t.Context(), root, id, true, ""); err == nil {
		t.Fatal("answered")
	}
	_, err := w.Decide(t.Context(), root, id, false, "")
	wants(t, err, terms.ErrDecided)
	now := w.active()
	w.open()
	same(t, w.active(), now)
	if now == "" {
		t.Error("what is kept and recorded is not in force")
	}
}
