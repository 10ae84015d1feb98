package plans_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/store/storetest"
)

// keyOf is somebody's Ed25519 key.
func keyOf(name string) ed25519.PublicKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
}

var bob = plans.Owner{Tenant: "acme", User: "usr_b", Agent: "agt_b", KeyID: "key_b"}

func bearer(o plans.Owner, key string) intent.Bearer {
	b := intent.Bearer{Tenant: o.Tenant, User: o.User, Agent: o.Agent, KeyID: o.KeyID}
	if key != "" {
		b.Thumbprint = intent.KeyThumbprint(keyOf(key))
	}
	return b
}

// delegate derives a token for somebody's key, from one that its owner bears with a key of theirs.
func (w *world) delegate(o plans.Owner, key, parent, to string, steps ...int) (plans.Issued, string, error) {
	w.t.Helper()
	w.clock.move(time.Millisecond) // ids sort by it
	t, err := w.stand(o.Tenant, parent)
	if err != nil {
		return plans.Issued{}, "", err
	}
	return w.Delegate(w.t.Context(), o, t, plans.Delegation{Key: keyOf(to), Steps: steps, Bearer: bearer(o, key)})
}

func (w *world) delegated(o plans.Owner, key, parent, to string, steps ...int) plans.Issued {
	w.t.Helper()
	i, _, err := w.delegate(o, key, parent, to, steps...)
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

// use asks for a read with a token shown by somebody who proves a key.
func (w *world) use(who intent.Bearer, token, path string) error {
	w.t.Helper()
	now := w.clock.now()
	t, err := w.stand(who.Tenant, token)
	if err != nil {
		return err
	}
	h, state, _ := w.Held(who.Tenant, t.PlanRoot())
	if !state.Active() {
		return plans.ErrInactive
	}
	req := intent.Request{Op: "tools/call", Server: "files", Tool: "read", Schema: readSchema, Args: fmt.Appendf(nil, `{"path":%q}`, path)}
	_, err = w.verifier.GrantHeld(t, who, req, h, nil, now)
	return err
}

func TestOnlyATokensBearerDelegatesIt(t *testing.T) {
	w := newWorld(t, nil)
	p := w.captured("/a", "/b")
	tok := w.token(alice, p.ID)
	parent, err := w.verifier.Token([]byte(tok.Token), w.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	second := alice
	second.KeyID = "key_2"
	abroad := alice
	abroad.Tenant = "umbrella"
	good := plans.Delegation{Key: keyOf("bob"), Bearer: bearer(alice, "")}
	for name, c := range map[string]struct {
		who  plans.Owner
		by   intent.Bearer
		want any
	}{
		"another key":       {second, bearer(second, ""), intent.BearerMismatch},
		"another agent":     {bob, bearer(bob, ""), intent.BearerMismatch},
		"another tenant":    {abroad, bearer(abroad, ""), intent.BearerMismatch},
		"by another's key":  {second, bearer(alice, ""), plans.ErrForbidden},
		"in another's name": {bob, bearer(alice, ""), plans.ErrForbidden},
		"nobody":            {plans.Owner{Tenant: "acme"}, bearer(alice, ""), plans.ErrForbidden},
	} {
		d := good
		d.Bearer = c.by
		got, delta, err := w.Delegate(t.Context(), c.who, parent, d)
		if reason, ok := c.want.(intent.Reason); got.Token != "" || delta != "" || ok && intent.ReasonOf(err) != reason {
			t.Errorf("%s: %v", name, err)
		} else if !ok {
			wants(t, err, c.want.(error))
		}
	}
	for name, c := range map[string]struct {
		change func(*plans.Delegation)
		want   intent.Reason
	}{
		"no key":             {func(d *plans.Delegation) { d.Key = nil }, intent.PlanInvalid},
		"short key":          {func(d *plans.Delegation) { d.Key = d.Key[:31] }, intent.PlanInvalid},
		"key of small order": {func(d *plans.Delegation) { d.Key = make([]byte, 32) }, intent.PlanInvalid},
		"no steps":           {func(d *plans.Delegation) { d.Steps = []int{} }, intent.StepUnknown},
		"step above":         {func(d *plans.Delegation) { d.Steps = []int{0, 2} }, intent.StepUnknown},
		"step below":         {func(d *plans.Delegation) { d.Steps = []int{-1} }, intent.StepUnknown},
		"too short":          {func(d *plans.Delegation) { d.TTL = time.Millisecond }, intent.TokenLifetime},
		"negative":           {func(d *plans.Delegation) { d.TTL = -time.Hour }, intent.TokenLifetime},
	} {
		d := good
		c.change(&d)
		if got, _, err := w.Delegate(t.Context(), alice, parent, d); intent.ReasonOf(err) != c.want || got.Token != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := w.Delegate(t.Context(), alice, nil, good); intent.ReasonOf(err) != intent.TokenMalformed {
		t.Fatal(err)
	}
	foreign, err := w.signer.Mint(func() intent.Claims { c := parent.Claims(); c.ID = "tok_unknown"; return c }())
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = w.delegate(alice, "", foreign, "bob")
	wants(t, err, plans.ErrNotFound)
	if got := w.book.acts(); got != "plan captured, token issued" {
		t.Fatalf("recorded %s", got)
	}
}

func TestADelegateDoesWhatWasDelegatedAndNoMore(t *testing.T) {
	w := newWorld(t, nil)
	p := w.captured("/a", "/b", "/c")
	tok := w.token(alice, p.ID)
	some, delta, err := w.delegate(alice, "", tok.Token, "bob", 2, 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	d, err := w.verifier.Delta([]byte(delta))
	if c := d.Claims(); err != nil || c.Kind != intent.DeltaDelegate || c.Token != tok.ID || c.Child != some.ID || c.From.Root != p.Root || !slices.Equal(c.Steps, []uint32{0, 2}) {
		t.Fatalf("%v", err)
	}
	for _, again := range []string{"at once", "after a restart"} {
		for path, want := range map[string]intent.Reason{"/a": "", "/c": "", "/b": intent.ToolMismatch} {
			err := w.use(bearer(bob, "bob"), some.Token, path)
			if (err == nil) != (want == "") {
				t.Fatalf("%s: %s: %v", again, path, err)
			}
		}
		for name, who := range map[string]intent.Bearer{"the parent's key": bearer(alice, ""), "another key": bearer(bob, "carol"), "no proof": bearer(bob, "")} {
			if err := w.use(who, some.Token, "/a"); intent.ReasonOf(err) != intent.BearerMismatch {
				t.Fatalf("%s: %s: %v", again, name, err)
			}
		}
		l := w.Tokens("acme", plans.Filter{Plan: p.ID})
		if len(l) != 2 || l[1].Delegate != intent.KeyThumbprint(keyOf("bob")) || !slices.Equal(l[1].Parents, []string{tok.ID}) || !slices.Equal(l[1].Steps, []uint32{0, 2}) || l[1].Agent != "agt_a" || l[0].Delegate != "" {
			t.Fatalf("%s: %+v", again, l)
		}
		w.reopen()
	}
	r := w.book.records[2]
	if r.Code != "delegated" || r.Token != some.ID || r.Agent != "agt_a" || r.Key != "key_a" || !strings.Contains(string(r.Body), tok.ID) {
		t.Fatalf("%+v", r)
	}
}

func TestDelegatingAgainNarrowsAndIsBounded(t *testing.T) {
	w := newWorld(t, nil)
	p := w.captured("/a", "/b", "/c")
	tok := w.token(alice, p.ID)
	some := w.delegated(alice, "", tok.Token, "bob", 0, 1)
	less := w.delegated(bob, "bob", some.Token, "carol", 1, 2) // of these only 1 is bob's
	if err := w.use(bearer(bob, "carol"), less.Token, "/b"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/a", "/c"} {
		if w.use(bearer(bob, "carol"), less.Token, path) == nil {
			t.Fatal(path)
		}
	}
	if _, _, err := w.delegate(bob, "bob", some.Token, "carol", 2); intent.ReasonOf(err) != intent.StepUnknown {
		t.Fatal(err)
	}
	all := w.delegated(bob, "bob", some.Token, "carol")
	if v, err := w.verifier.Token([]byte(all.Token), w.clock.now()); err != nil || !slices.Equal(v.Claims().Steps, []uint32{0, 1}) || !slices.Equal(v.Claims().Parents, []string{tok.ID, some.ID}) {
		t.Fatalf("%v", err)
	}
	last := tok.Token
	by, key := alice, ""
	for range 8 {
		last, by, key = w.delegated(by, key, last, "bob").Token, bob, "bob"
	}
	_, _, err := w.delegate(bob, "bob", last, "bob")
	wants(t, err, plans.ErrLimit)
}

func TestADelegatedTokenNeverOutlivesItsParentAndCounts(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.TokenTTL, c.MaxTokenTTL, c.TokensPerPlan = 5*time.Minute, 10*time.Minute, 6 })
	p := w.captured("/a")
	tok := w.token(alice, p.ID)
	parent, err := w.verifier.Token([]byte(tok.Token), w.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	for ttl, want := range map[time.Duration]time.Duration{0: 5 * time.Minute, time.Minute: time.Minute, time.Hour: 5 * time.Minute, 1 << 62: 5 * time.Minute} {
		d := plans.Delegation{Key: keyOf("bob"), TTL: ttl, Bearer: bearer(alice, "")}
		got, _, err := w.Delegate(t.Context(), alice, parent, d)
		if err != nil || !got.Expires.Equal(w.clock.now().Truncate(time.Second).Add(want)) {
			t.Fatalf("%v: %v, %v", ttl, got.Expires, err)
		}
	}
	w.delegated(alice, "", tok.Token, "bob")
	_, _, err = w.delegate(alice, "", tok.Token, "bob")
	wants(t, err, plans.ErrLimit)
	w.clock.move(5 * time.Minute)
	if _, _, err = w.Delegate(t.Context(), alice, parent, plans.Delegation{Key: keyOf("bob"), Bearer: bearer(alice, "")}); intent.ReasonOf(err) != intent.TokenExpired {
		t.Fatal(err)
	}
}

func TestADelegatedTokenDoesNotGrowWithThePlan(t *testing.T) {
	w := newWorld(t, nil)
	p := w.captured("/a")
	tok := w.token(alice, p.ID)
	all := w.delegated(alice, "", tok.Token, "bob")
	second, _ := w.grow(p.ID, "/a", "/b")
	for _, again := range []string{"at once", "after a restart"} {
		if err := w.use(bearer(bob, "bob"), all.Token, "/a"); err != nil {
			t.Fatalf("%s: the plan it was made for: %v", again, err)
		}
		if w.use(bearer(bob, "bob"), all.Token, "/b") == nil {
			t.Fatalf("%s: grew", again)
		}
		w.reopen()
	}
	// What is delegated after the plan grew is of the grown plan.
	more := w.delegated(alice, "", tok.Token, "bob", 1)
	if err := w.use(bearer(bob, "bob"), more.Token, "/b"); err != nil {
		t.Fatal(err)
	}
	if l := w.Tokens("acme", plans.Filter{Plan: second.ID}); len(l) != 1 || l[0].ID != more.ID {
		t.Fatalf("%+v", l)
	}
	// Ending the chain ends both, and so does revoking the parent.
	if err := w.RevokeToken(t.Context(), mine(alice), tok.ID, ""); err != nil {
		t.Fatal(err)
	}
	for _, c := range []plans.Issued{all, more} {
		if err := w.use(bearer(bob, "bob"), c.Token, "/a"); intent.ReasonOf(err) != intent.TokenRevoked {
			t.Fatal(err)
		}
	}
	_, _, err := w.delegate(bob, "bob", more.Token, "carol")
	if intent.ReasonOf(err) != intent.TokenRevoked {
		t.Fatal(err)
	}
}

func TestNothingIsDelegatedUnderEndedPlansOrRevokedTokens(t *testing.T) {
	w := newWorld(t, nil)
	p := w.captured("/a")
	tok, gone := w.token(alice, p.ID), w.token(alice, p.ID)
	parent, err := w.verifier.Token([]byte(gone.Token), w.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.RevokeToken(t.Context(), mine(alice), gone.ID, ""); err != nil {
		t.Fatal(err)
	}
	d := plans.Delegation{Key: keyOf("bob"), Bearer: bearer(alice, "")}
	if _, _, err := w.Delegate(t.Context(), alice, parent, d); intent.ReasonOf(err) != intent.TokenRevoked {
		t.Fatal(err)
	}
	if err := w.SetState(t.Context(), mine(alice), p.ID, plans.Completed, ""); err != nil {
		t.Fatal(err)
	}
	_, _, err = w.delegate(alice, "", tok.Token, "bob")
	wants(t, err, plans.ErrInactive)
}

func TestATokenThatCannotNameItsStepsIsRefused(t *testing.T) {
	w := newWorld(t, func(c *plans.Config) { c.Steps, c.DraftBytes = 1000, 2<<20 })
	paths := make([]string, 1000)
	for i := range paths {
		paths[i] = fmt.Sprint("/", i)
	}
	tok := w.token(alice, w.captured(paths...).ID)
	if _, _, err := w.delegate(alice, "", tok.Token, "bob"); intent.ReasonOf(err) != intent.PlanInvalid || !strings.Contains(err.Error(), "1000 steps") {
		t.Fatal(err)
	}
	w.delegated(alice, "", tok.Token, "bob", 999)
}

// tree is a token with two children and a grandchild, and one beside them.
func (w *world) tree() (root, left, right, grand, apart plans.Issued) {
	p := w.captured("/a", "/b")
	root, apart = w.token(alice, p.ID), w.token(alice, p.ID)
	left, right = w.delegated(alice, "", root.Token, "bob"), w.delegated(alice, "", root.Token, "carol")
	grand = w.delegated(bob, "bob", left.Token, "dave")
	return root, left, right, grand, apart
}

func TestRevokingATreeRefusesAllOfItAndListsIt(t *testing.T) {
	for _, cascade := range []bool{true, false} {
		t.Run(fmt.Sprint(cascade), func(t *testing.T) {
			w := newWorld(t, nil)
			root, left, right, grand, apart := w.tree()
			before := len(w.book.records)
			var first plans.Revocation
			for _, again := range []string{"at once", "asked again", "after a restart"} {
				got, err := w.RevokeTree(t.Context(), mine(alice), root.ID, "lost", cascade)
				if err != nil || got.Token != root.ID {
					t.Fatal(err)
				}
				if first.Token == "" {
					first = got
				}
				want := []string{}
				if cascade {
					want = append(want, left.ID, right.ID, grand.ID)
					slices.Sort(want)
				}
				if got.Cascaded == nil || !slices.Equal(got.Cascaded, want) {
					t.Fatalf("%s: %v, want %v", again, got.Cascaded, want)
				}
				d, err := w.verifier.Delta([]byte(got.Delta))
				if err != nil || d.Claims().Kind != intent.DeltaRevoke || d.Claims().Token != root.ID || d.Claims().Reason != "lost" || !slices.Equal(d.Claims().Revoked, want) {
					t.Fatalf("%s: %v", again, err)
				}
				for key, c := range map[string]plans.Issued{"bob": left, "carol": right, "dave": grand} {
					if err := w.use(bearer(bob, key), c.Token, "/a"); intent.ReasonOf(err) != intent.TokenRevoked {
						t.Fatalf("%s: %s: %v", again, key, err)
					}
				}
				if err := w.call(alice, root.Token, `{"path":"/a"}`); intent.ReasonOf(err) != intent.TokenRevoked {
					t.Fatalf("%s: %v", again, err)
				}
				if err := w.call(alice, apart.Token, `{"path":"/a"}`); err != nil {
					t.Fatalf("%s: %v", again, err)
				}
				if again == "asked again" {
					w.reopen()
				}
			}
			count := strings.Count(w.book.acts(), "token revoked")
			if want := 1 + len(first.Cascaded); count != want || len(w.book.records) != before+want {
				t.Fatalf("%d records, want %d", count, want)
			}
			if cascade && string(w.book.records[before+1].Body) != `{"with":"`+root.ID+`"}` {
				t.Fatalf("%s", w.book.records[before+1].Body)
			}
		})
	}
}

func TestABranchIsRevokedByWhoGaveItAndByNobodyElse(t *testing.T) {
	w := newWorld(t, nil)
	root, left, right, grand, _ := w.tree()
	ctx := t.Context()
	carol := plans.Owner{Tenant: "acme", User: "usr_c", Agent: "agt_c", KeyID: "key_c"}
	for _, o := range []plans.Actor{mine(carol), admin("umbrella"), mine(plans.Owner{Tenant: "umbrella", User: "usr_a", Agent: "agt_a"})} {
		_, err := w.RevokeTree(ctx, o, grand.ID, "", true)
		wants(t, err, plans.ErrNotFound)
	}
	_, err := w.RevokeTree(ctx, mine(bob), left.ID, "", true) // it was given to bob, not by him
	wants(t, err, plans.ErrNotFound)
	if _, err := w.RevokeTree(ctx, mine(bob), grand.ID, strings.Repeat("x", 257), true); intent.ReasonOf(err) != intent.PlanInvalid {
		t.Fatal(err)
	}
	if got, err := w.RevokeTree(ctx, mine(bob), grand.ID, "", true); err != nil || len(got.Cascaded) != 0 {
		t.Fatal(err)
	}
	if err := w.use(bearer(bob, "bob"), left.Token, "/a"); err != nil {
		t.Fatalf("the parent: %v", err)
	}
	got, err := w.RevokeTree(ctx, admin("acme"), left.ID, "", true)
	if err != nil || len(got.Cascaded) != 0 { // grand was revoked before, by its own name
		t.Fatalf("%v, %v", got, err)
	}
	if err := w.use(bearer(bob, "carol"), right.Token, "/a"); err != nil {
		t.Fatalf("the branch beside: %v", err)
	}
	if got, err = w.RevokeTree(ctx, mine(alice), root.ID, "", true); err != nil || !slices.Equal(got.Cascaded, []string{right.ID}) {
		t.Fatalf("%v, %v", got, err)
	}
}

func TestNothingIsDelegatedThatIsNotRecordedAndKept(t *testing.T) {
	for name, breaks := range map[string]func(*world){
		"ledger down":                func(w *world) { w.book.fail = 1 },
		"store failed":               func(w *world) { w.store.Next(storetest.Failed) },
		"store failed but persisted": func(w *world) { w.store.Next(storetest.Persisted) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			tok := w.token(alice, w.captured("/a").ID)
			breaks(w)
			if got, delta, err := w.delegate(alice, "", tok.Token, "bob"); err == nil || got.Token != "" || delta != "" {
				t.Fatal("answered")
			}
			if n := len(w.Tokens("acme", plans.Filter{})); n != 1 {
				t.Fatalf("%d tokens", n)
			}
		})
	}
}

func TestATreeIsRevokedWholeWhateverFails(t *testing.T) {
	for name, breaks := range map[string]func(*world){
		"ledger down":                func(w *world) { w.book.fail = 1 },
		"third record":               func(w *world) { n := 0; w.book.onAppend = func() bool { n++; return n == 3 } },
		"store failed":               func(w *world) { w.store.Next(storetest.Failed) },
		"store failed but persisted": func(w *world) { w.store.Next(storetest.Persisted) },
	} {
		for _, how := range []string{"asked again", "swept after a restart"} {
			t.Run(name+", "+how, func(t *testing.T) {
				w := newWorld(t, nil)
				root, left, right, grand, apart := w.tree()
				breaks(w)
				if got, err := w.RevokeTree(t.Context(), mine(alice), root.ID, "why", true); err == nil || got.Delta != "" {
					t.Fatal("answered")
				}
				w.book.onAppend = nil
				refused := func() {
					t.Helper()
					if err := w.call(alice, root.Token, `{"path":"/a"}`); intent.ReasonOf(err) != intent.TokenRevoked {
						t.Fatal(err)
					}
					for key, c := range map[string]plans.Issued{"bob": left, "carol": right, "dave": grand} {
						if err := w.use(bearer(bob, key), c.Token, "/a"); intent.ReasonOf(err) != intent.TokenRevoked {
							t.Fatal(key, err)
						}
					}
				}
				refused()
				if how == "asked again" || name == "store failed" { // what nothing kept is lost with the process, and was not answered
					if got, err := w.RevokeTree(t.Context(), mine(alice), root.ID, "why", true); err != nil || len(got.Cascaded) != 3 {
						t.Fatal(err)
					}
				}
				w.reopen()
				w.Sweep(t.Context())
				refused()
				if err := w.call(alice, apart.Token, `{"path":"/a"}`); err != nil {
					t.Fatal(err)
				}
				if got := w.book.acts(); strings.Count(got, "token revoked") != 4 {
					t.Fatalf("recorded %s", got)
				}
			})
		}
	}
}
