package intent_test

import (
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/intent"
)

// grown is a plan that grew out of a world's, and the delta that leads to it.
type grown struct {
	held *intent.Held
	ref  intent.PlanRef
	link *intent.Delta
}

// refOf is the world's own plan.
func (w *world) refOf() intent.PlanRef {
	c := w.claims
	return intent.PlanRef{ID: c.PlanID, Nonce: c.PlanNonce, Hash: c.PlanHash, Root: c.PlanRoot, Size: c.PlanSize, Expires: c.PlanExpires}
}

// grow makes a plan of n steps, which ends so many seconds from now, and leads to it.
func (w *world) grow(tb testing.TB, from intent.PlanRef, n int, ends int64) grown {
	tb.Helper()
	p, err := intent.ParseDraft([]byte(draftOf(n, "")), intent.DefaultLimits())
	if err != nil {
		tb.Fatal(err)
	}
	p.Tenant, p.User, p.Agent = who.Tenant, who.User, who.Agent
	for i := range p.Steps {
		p.Steps[i].Schema = w.schema
	}
	if err := p.Seal(&stream{n: uint64(100 + n)}); err != nil {
		tb.Fatal(err)
	}
	g := grown{}
	if g.held, err = intent.NewHeld(&p); err != nil {
		tb.Fatal(err)
	}
	g.ref = intent.PlanRef{ID: fmt.Sprint("pln_", n), Nonce: p.Nonce, Hash: g.held.Hash(), Root: g.held.Root(), Size: uint32(n), Expires: now.Unix() + ends}
	g.link = w.delta(tb, w.step(from, g.ref))
	return g
}

func (w *world) step(from, to intent.PlanRef) intent.DeltaClaims {
	return intent.DeltaClaims{ID: "dlt_" + to.ID, Kind: intent.DeltaReanchor, Tenant: who.Tenant, IssuedAt: now.Unix(), From: from, To: to}
}

// growth is a world whose plan of two steps grew to three and then to five.
func growth(tb testing.TB) (*world, grown, grown) {
	tb.Helper()
	w := newWorld(tb, draftOf(2, ""))
	b := w.grow(tb, w.refOf(), 3, 3600)
	return w, b, w.grow(tb, b.ref, 5, 3600)
}

func TestATokenFollowsItsPlan(t *testing.T) {
	w, b, c := growth(t)
	tok := w.token(t)
	last, err := w.verifier.Reanchor(tok, []*intent.Delta{b.link, c.link})
	if err != nil {
		t.Fatal(err)
	}
	want := w.claims
	want.PlanID, want.PlanNonce, want.PlanHash, want.PlanRoot, want.PlanSize = c.ref.ID, c.ref.Nonce, c.ref.Hash, c.ref.Root, c.ref.Size
	if got := last.Claims(); !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, want %+v", got, want)
	}
	g, err := w.verifier.GrantHeld(last, who, w.request("t4", ""), c.held, nil, now)
	if err != nil || g.Step() != 4 || g.PlanRoot() != c.ref.Root || g.PlanID() != c.ref.ID || g.TokenID() != "tok_1" || g.IssuedUnder() != w.claims.PolicyDigest.String() {
		t.Fatalf("%+v, %v", g, err)
	}
	_, err = w.verifier.GrantHeld(last, who, w.request("t1", ""), w.held, nil, now)
	refused(t, err, intent.PlanMismatch)
	_, err = w.verifier.GrantHeld(tok, who, w.request("t4", ""), c.held, nil, now) // the token itself stays where it is
	refused(t, err, intent.PlanMismatch)
	other := who
	other.KeyID = "key_2"
	refused(t, w.verifier.Bears(last, other, now), intent.BearerMismatch)

	middle, err := w.verifier.Reanchor(tok, []*intent.Delta{b.link})
	if err != nil || middle.PlanRoot() != b.ref.Root {
		t.Fatalf("%v, %v", middle, err)
	}
	again, err := w.verifier.Reanchor(middle, []*intent.Delta{c.link})
	if err != nil || !reflect.DeepEqual(again.Claims(), want) {
		t.Fatalf("in two stretches: %+v, %v", again, err)
	}
	if same, err := w.verifier.Reanchor(tok, nil); err != nil || same != tok {
		t.Fatalf("without a chain: %v, %v", same, err)
	}
}

func TestOnlyAContiguousChainOfReanchoringsIsFollowed(t *testing.T) {
	w, b, c := growth(t)
	tok := w.token(t)
	link := func(change func(*intent.DeltaClaims)) *intent.Delta {
		d := w.step(w.refOf(), b.ref)
		change(&d)
		return w.delta(t, d)
	}
	delegated := deltas()["delegate"]
	delegated.From = w.refOf()
	delegated.Steps = nil
	other := w.newVerifier()
	foreign, err := other.Delta([]byte(b.link.Raw()))
	if err != nil {
		t.Fatal(err)
	}
	second := intent.Signer{Issuer: "https://other.example", KeyID: keyID, Key: secret("other")}
	if err := w.keys.Add(second.Issuer, keyID, public("other"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	raw, err := second.MintDelta(w.step(w.refOf(), b.ref))
	if err != nil {
		t.Fatal(err)
	}
	issued, err := w.verifier.Delta([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		chain []*intent.Delta
		want  intent.Reason
	}{
		"a link left out":   {[]*intent.Delta{c.link}, intent.PlanMismatch},
		"in reverse":        {[]*intent.Delta{c.link, b.link}, intent.PlanMismatch},
		"a link twice":      {[]*intent.Delta{b.link, b.link}, intent.PlanMismatch},
		"a gap at the end":  {[]*intent.Delta{b.link, c.link, c.link}, intent.PlanMismatch},
		"nothing in it":     {[]*intent.Delta{nil}, intent.TokenMalformed},
		"the zero delta":    {[]*intent.Delta{new(intent.Delta)}, intent.TokenMalformed},
		"another verifier":  {[]*intent.Delta{foreign}, intent.TokenMalformed},
		"another issuer":    {[]*intent.Delta{issued}, intent.PlanMismatch},
		"a delegation":      {[]*intent.Delta{w.delta(t, delegated)}, intent.PlanMismatch},
		"another tenant":    {[]*intent.Delta{link(func(d *intent.DeltaClaims) { d.Tenant = "other" })}, intent.PlanMismatch},
		"another root":      {[]*intent.Delta{link(func(d *intent.DeltaClaims) { d.From.Root[0] ^= 1 })}, intent.PlanMismatch},
		"another hash":      {[]*intent.Delta{link(func(d *intent.DeltaClaims) { d.From.Hash[0] ^= 1 })}, intent.PlanMismatch},
		"another id":        {[]*intent.Delta{link(func(d *intent.DeltaClaims) { d.From.ID = "pln_9" })}, intent.PlanMismatch},
		"another nonce":     {[]*intent.Delta{link(func(d *intent.DeltaClaims) { d.From.Nonce = "n" })}, intent.PlanMismatch},
		"another size":      {[]*intent.Delta{link(func(d *intent.DeltaClaims) { d.From.Size++ })}, intent.PlanMismatch},
		"a plan long ended": {[]*intent.Delta{link(func(d *intent.DeltaClaims) { d.To.Expires = now.Unix() })}, intent.TokenLifetime},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				_, err := w.verifier.Reanchor(tok, x.chain)
				refused(t, err, x.want)
			}
		})
	}
	// What was led along the whole way is remembered, and makes no other chain pass.
	if _, err := w.verifier.Reanchor(tok, []*intent.Delta{b.link, c.link}); err != nil {
		t.Fatal(err)
	}
	for _, chain := range [][]*intent.Delta{{c.link}, {b.link, b.link}, {c.link, b.link}, {b.link, c.link, c.link}, {c.link, b.link, c.link}} {
		_, err := w.verifier.Reanchor(tok, chain)
		refused(t, err, intent.PlanMismatch)
	}
	for _, chain := range [][]*intent.Delta{nil, {b.link}} {
		_, err = w.verifier.Reanchor(nil, chain)
		refused(t, err, intent.TokenMalformed)
		_, err = other.Reanchor(tok, chain)
		refused(t, err, intent.TokenMalformed)
	}
}

func TestATokenForSomeStepsStaysWithItsPlan(t *testing.T) {
	w, b, _ := growth(t)
	tok, err := w.verifier.Token(w.mint(t, func(c *intent.Claims) { c.Steps = []uint32{0, 1} }), now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.verifier.Reanchor(tok, []*intent.Delta{b.link})
	refused(t, err, intent.PlanMismatch)
}

func TestAChainHas256LinksAtMost(t *testing.T) {
	w := newWorld(t, draftOf(1, ""))
	chain := make([]*intent.Delta, 257)
	from := w.refOf()
	for i := range chain {
		to := planRef(i)
		chain[i] = w.delta(t, w.step(from, to))
		from = to
	}
	tok := w.token(t)
	_, err := w.verifier.Reanchor(tok, chain)
	refused(t, err, intent.PlanMismatch)
	long, err := w.verifier.Reanchor(tok, chain[:256])
	if err != nil || long.PlanID() != "pln_255" {
		t.Fatalf("%v, %v", long, err)
	}
	_, err = w.verifier.Reanchor(long, chain[256:])
	refused(t, err, intent.PlanMismatch)
}

func TestARevocationAnywhereOnTheWayRefusesTheToken(t *testing.T) {
	for name, revoke := range map[string]func(*intent.Verifier, *world, grown, grown){
		"the token":      func(v *intent.Verifier, _ *world, _, _ grown) { v.Revoke("tok_1", now.Add(time.Hour)) },
		"a parent":       func(v *intent.Verifier, _ *world, _, _ grown) { v.Revoke("tok_0", now.Add(time.Hour)) },
		"the first plan": func(v *intent.Verifier, w *world, _, _ grown) { v.RevokePlan(w.held.Root(), now.Add(time.Hour)) },
		"the second":     func(v *intent.Verifier, _ *world, b, _ grown) { v.RevokePlan(b.ref.Root, now.Add(time.Hour)) },
		"the last":       func(v *intent.Verifier, _ *world, _, c grown) { v.RevokePlan(c.ref.Root, now.Add(time.Hour)) },
	} {
		t.Run(name, func(t *testing.T) {
			w, b, c := growth(t)
			raw := w.mint(t, func(c *intent.Claims) { c.Parents = []string{"tok_0"} })
			tok, err := w.verifier.Token(raw, now)
			if err != nil {
				t.Fatal(err)
			}
			chain := []*intent.Delta{b.link, c.link}
			before, err := w.verifier.Reanchor(tok, chain)
			if err != nil {
				t.Fatal(err)
			}
			revoke(w.verifier, w, b, c)
			reason := intent.PlanRevoked
			if name == "the token" || name == "a parent" {
				reason = intent.TokenRevoked
			}
			for range 2 {
				_, err = w.verifier.GrantHeld(before, who, w.request("t4", ""), c.held, nil, now)
				refused(t, err, reason)
				_, err = w.verifier.Reanchor(tok, chain)
				refused(t, err, reason)
			}
			_, err = w.verifier.Token(nil, now) // what has no text of its own leaves no refusal behind
			refused(t, err, intent.TokenMalformed)
			_, err = w.verifier.Token(raw, now)
			if own := name == "the second" || name == "the last"; own != (err == nil) {
				t.Fatalf("the token at its own plan: %v", err)
			}
		})
	}
}

func TestATokenEndsWithTheFirstPlanOnItsWayToEnd(t *testing.T) {
	w := newWorld(t, draftOf(2, ""))
	b := w.grow(t, w.refOf(), 3, 100)
	c := w.grow(t, b.ref, 5, 200)
	tok := w.token(t)
	for want, chain := range map[int64][]*intent.Delta{300: nil, 100: {b.link, c.link}} {
		next, err := w.verifier.Reanchor(tok, chain)
		if err != nil || next.Claims().Expires != now.Unix()+want {
			t.Fatalf("ends after %d, %v, want %d", next.Claims().Expires-now.Unix(), err, want)
		}
	}
	next, err := w.verifier.Reanchor(tok, []*intent.Delta{b.link, c.link})
	if err != nil || next.Claims().PlanExpires != c.ref.Expires {
		t.Fatal(err)
	}
	refused(t, w.verifier.Bears(next, who, now.Add(100*time.Second)), intent.TokenExpired)
}

func TestAChainHoldsAsLongAsTheKeysThatSignedIt(t *testing.T) {
	w := newWorld(t, draftOf(2, ""))
	first := w.signer
	w.signer = intent.Signer{Issuer: issuer, KeyID: "k2", Key: secret("next")}
	if err := w.keys.Add(issuer, "k2", public("next"), now.Add(60*time.Second)); err != nil {
		t.Fatal(err)
	}
	b := w.grow(t, w.refOf(), 3, 3600)
	w.signer = first
	tok := w.token(t)
	chain := []*intent.Delta{b.link}
	next, err := w.verifier.Reanchor(tok, chain)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.verifier.Bears(next, who, now.Add(60*time.Second)); err != nil {
		t.Fatal(err)
	}
	refused(t, w.verifier.Bears(next, who, now.Add(61*time.Second)), intent.TokenKey)
	if err := w.verifier.Bears(tok, who, now.Add(61*time.Second)); err != nil {
		t.Fatal(err)
	}
	w.keys.Remove(issuer, "k2")
	_, err = w.verifier.Reanchor(tok, chain)
	refused(t, err, intent.TokenKey)
	if err := w.keys.Add(issuer, "k2", public("somebody"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	_, err = w.verifier.Reanchor(tok, chain)
	refused(t, err, intent.TokenSignature)
}

func TestFollowingTheSameChainAgainCostsNothing(t *testing.T) {
	w, b, c := growth(t)
	tok, chain := w.token(t), []*intent.Delta{b.link, c.link}
	first, err := w.verifier.Reanchor(tok, chain)
	if err != nil {
		t.Fatal(err)
	}
	allocs := testing.AllocsPerRun(100, func() {
		if next, err := w.verifier.Reanchor(tok, chain); err != nil || next != first {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestReanchoringAndRevokingRunTogether(t *testing.T) {
	w, b, c := growth(t)
	tok := w.token(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 500 {
				chain := []*intent.Delta{b.link, c.link}[:1+i%2]
				next, err := w.verifier.Reanchor(tok, chain)
				if err == nil {
					err = w.verifier.Bears(next, who, now)
				}
				if err != nil && intent.ReasonOf(err) != intent.PlanRevoked {
					t.Errorf("%v", err)
				}
			}
		})
	}
	w.verifier.Revoke("tok_7", now)
	w.verifier.RevokePlan(c.ref.Root, now.Add(time.Hour))
	_, err := w.verifier.Reanchor(tok, []*intent.Delta{b.link, c.link})
	refused(t, err, intent.PlanRevoked)
	if _, err := w.verifier.Reanchor(tok, []*intent.Delta{b.link}); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}
