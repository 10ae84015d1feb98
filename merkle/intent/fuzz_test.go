package intent_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
)

// FuzzToken: no bytes panic the reader, and what passes is exactly one of the tokens really signed.
func FuzzToken(f *testing.F) {
	w := newWorld(f, one(`"args":{"a":1}`))
	good := w.mint(f, nil)
	f.Add(good)
	f.Add([]byte("e30.e30."))
	f.Add(sign(`{"alg":"none","kid":"k1","typ":"intent+jwt"}`, "{}", secret("issuer")))
	f.Add(bytes.Repeat([]byte("."), 10))
	f.Fuzz(func(t *testing.T, raw []byte) {
		first, err := w.verifier.Token(raw, now)
		again, err2 := w.verifier.Token(raw, now)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("cold %v, warm %v", err, err2)
		}
		if err != nil {
			if intent.ReasonOf(err) == "" {
				t.Fatalf("a refusal without a reason: %v", err)
			}
			return
		}
		if !bytes.Equal(raw, good) || !reflect.DeepEqual(first.Claims(), again.Claims()) {
			t.Fatalf("a token nobody signed passed: %q", raw)
		}
	})
}

// FuzzPlan: no draft panics; what is accepted seals, is stored, reads back to the same hashes, and every
// leaf parses to itself.
func FuzzPlan(f *testing.F) {
	for _, s := range []string{full, one(""), draftOf(3, `,"after":[],"uses":0`), one(`"where":{"a":{"pattern":"[a-z]+"},"b":{"schema":{"type":"object"}}},"redactable":["/a"]`)} {
		f.Add([]byte(s))
	}
	for _, c := range argumentCases {
		f.Add([]byte(one(c.step)))
	}
	lim := intent.DefaultLimits()
	lim.Bytes, lim.Steps = 1<<14, 64
	f.Fuzz(func(t *testing.T, draft []byte) {
		p, err := intent.ParseDraft(draft, lim)
		if err != nil {
			if intent.ReasonOf(err) != intent.PlanInvalid {
				t.Fatalf("a refusal of another kind: %v", err)
			}
			return
		}
		if err := p.Seal(&stream{}); err != nil {
			t.Fatalf("accepted but not sealable: %v", err)
		}
		h, err := intent.NewHeld(&p)
		if err != nil {
			t.Fatalf("accepted but not holdable: %v", err)
		}
		again, err := intent.ParsePlan(p.AppendJSON(nil))
		if err != nil || again.Hash() != h.Hash() || again.Tree().Root() != h.Root() {
			t.Fatalf("reads back differently: %v", err)
		}
		for i := range p.Steps {
			leaf := p.LeafData(i)
			s, index, count, nonce, err := intent.ParseLeaf(leaf)
			if err != nil && len(leaf) < 12<<10 || err == nil && (index != i || count != len(p.Steps) || nonce != p.Nonce || s.Tool != p.Steps[i].Tool) {
				t.Fatalf("leaf %d: %v\n%s", i, err, leaf)
			}
		}
	})
}

// FuzzArgs: whatever constraint meets whatever arguments, nothing panics, the three ways of asking agree,
// the canonical spelling of the arguments fares like the one sent, and what was granted is covered.
func FuzzArgs(f *testing.F) {
	for _, c := range argumentCases {
		f.Add([]byte("{"+c.step+"}"), []byte(c.args))
	}
	lim := intent.DefaultLimits()
	lim.Bytes = 1 << 14
	f.Fuzz(func(t *testing.T, step, args []byte) {
		if len(step) < 2 || step[0] != '{' || step[len(step)-1] != '}' || len(args) > 1<<14 || canon.Check(args, canon.DefaultLimits()) != nil {
			return
		}
		draft := one(string(step[1 : len(step)-1]))
		p, err := intent.ParseDraft([]byte(draft), lim)
		if err != nil || len(p.Steps) != 1 {
			return
		}
		p.Tenant, p.User, p.Agent = who.Tenant, who.User, who.Agent
		if err := p.Seal(&stream{}); err != nil {
			t.Fatal(err)
		}
		h, err := intent.NewHeld(&p)
		if err != nil {
			t.Fatal(err)
		}
		tok, v := tokenFor(t, h)
		s := p.Steps[0]
		ask := func(args []byte) (intent.Grant, error) {
			r := intent.Request{Op: s.Op, Server: s.Server, Tool: s.Tool, Schema: s.Schema, Args: args}
			g, err := v.GrantHeld(tok, who, r, h, nil, now)
			_, err2 := v.Grant(tok, who, r, &s, 0, nil, now)
			if (err == nil) != (err2 == nil) {
				t.Fatalf("held %v, explicit %v", err, err2)
			}
			return g, err
		}
		g, err := ask(args)
		same, cerr := canon.AppendCanonical(nil, args, canon.DefaultLimits())
		if cerr != nil {
			t.Fatal(cerr)
		}
		if _, err2 := ask(same); (err == nil) != (err2 == nil) {
			t.Fatalf("%s: %v, but its canonical form %s: %v", args, err, same, err2)
		}
		if err != nil {
			if intent.ReasonOf(err) != intent.ArgsMismatch {
				t.Fatal(err)
			}
			return
		}
		if err := g.Covers(same); err != nil {
			t.Fatalf("granted but not covered: %v", err)
		}
	})
}

// tokenFor signs a token for any held plan.
func tokenFor(t *testing.T, h *intent.Held) (*intent.Token, *intent.Verifier) {
	t.Helper()
	s := intent.Signer{Issuer: issuer, KeyID: keyID, Key: secret("issuer")}
	raw, err := s.Mint(intent.Claims{
		Subject: who.User, Audience: audience, ID: "tok", Tenant: who.Tenant, Agent: who.Agent, KeyID: who.KeyID, PlanID: "pln",
		PlanNonce: h.Plan().Nonce, PlanHash: h.Hash(), PlanRoot: h.Root(), PlanSize: uint32(h.Size()),
		IssuedAt: now.Unix(), NotBefore: now.Unix(), Expires: now.Unix() + 60, PlanExpires: now.Unix() + 60,
	})
	if err != nil {
		t.Fatal(err)
	}
	keys := intent.NewKeys()
	if err := keys.Add(issuer, keyID, public("issuer"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	v := intent.NewVerifier(intent.VerifierConfig{Audience: audience, Keys: keys, MaxLifetime: time.Hour})
	tok, err := v.Token([]byte(raw), now)
	if err != nil {
		t.Fatal(err)
	}
	return tok, v
}
