package intent_test

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
)

func TestTheZeroGrantRefuses(t *testing.T) {
	var g intent.Grant
	if g.Valid() || g.Step() != -1 || g.PlanID() != "" || g.PlanSize() != 0 || !g.PlanRoot().IsZero() || g.After() != nil || g.Local() || g.Uses() != 0 || g.TokenID() != "" {
		t.Fatalf("%+v", g)
	}
	refused(t, g.Covers(nil), intent.GrantInvalid)
	refused(t, g.Covers([]byte(`{}`)), intent.GrantInvalid)
}

func TestOnlyTheBearerTheTokenWasIssuedToMayShowIt(t *testing.T) {
	w := newWorld(t, one(`"args":{}`))
	for name, change := range map[string]func(*intent.Bearer){
		"tenant": func(b *intent.Bearer) { b.Tenant = "other" }, "user": func(b *intent.Bearer) { b.User = "usr_2" }, "agent": func(b *intent.Bearer) { b.Agent = "agt_2" },
		"key": func(b *intent.Bearer) { b.KeyID = "key_2" }, "nobody": func(b *intent.Bearer) { *b = intent.Bearer{} }, "no key": func(b *intent.Bearer) { b.KeyID = "" },
		"capitals": func(b *intent.Bearer) { b.Agent = "AGT_1" },
	} {
		t.Run(name, func(t *testing.T) {
			b := who
			change(&b)
			tok, r := w.token(t), w.request("t", "")
			_, err := w.verifier.GrantHeld(tok, b, r, w.held, nil, now)
			refused(t, err, intent.BearerMismatch)
			_, err = w.verifier.GrantStep(tok, b, r, w.held, 0, now)
			refused(t, err, intent.BearerMismatch)
			_, err = w.verifier.GrantLeaf(tok, b, r, w.leaf(t, 0), nil, now)
			refused(t, err, intent.BearerMismatch)
			_, err = w.verifier.Grant(tok, b, r, &w.plan.Steps[0], 0, nil, now)
			refused(t, err, intent.BearerMismatch)
		})
	}
}

func TestTokensOfNobodyExpiredOrVerifiedElsewhereGrantNothing(t *testing.T) {
	w := newWorld(t, one(`"args":{}`))
	r := w.request("t", "")
	_, err := w.verifier.GrantHeld(nil, who, r, w.held, nil, now)
	refused(t, err, intent.TokenMalformed)
	_, err = w.verifier.GrantHeld(new(intent.Token), who, r, w.held, nil, now)
	refused(t, err, intent.TokenMalformed)
	_, err = w.newVerifier().GrantHeld(w.token(t), who, r, w.held, nil, now)
	refused(t, err, intent.TokenMalformed)
	_, err = w.verifier.GrantHeld(w.token(t), who, r, w.held, nil, now.Add(300*time.Second))
	refused(t, err, intent.TokenExpired)
	_, err = w.verifier.GrantLeaf(w.token(t), who, r, w.leaf(t, 0), nil, now.Add(300*time.Second))
	refused(t, err, intent.TokenExpired)
}

func TestATokenGrantsNothingOfAnotherPlan(t *testing.T) {
	w := newWorld(t, draftOf(4, ""))
	twin, err := intent.ParseDraft([]byte(draftOf(4, "")), intent.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	twin.Tenant, twin.User, twin.Agent = who.Tenant, who.User, who.Agent
	for i := range twin.Steps {
		twin.Steps[i].Schema = w.schema
	}
	if err := twin.Seal(&stream{n: 99}); err != nil {
		t.Fatal(err)
	}
	h, err := intent.NewHeld(&twin)
	if err != nil {
		t.Fatal(err)
	}
	tok, r := w.token(t), w.request("t1", "")
	_, err = w.verifier.GrantHeld(tok, who, r, h, nil, now)
	refused(t, err, intent.PlanMismatch)
	_, err = w.verifier.GrantHeld(tok, who, r, nil, nil, now)
	refused(t, err, intent.PlanMismatch)
	l, err := w.verifier.Leaf([]byte(intent.EncodeLeaf(twin.LeafData(1))))
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.verifier.GrantLeaf(tok, who, r, l, h.AppendProof(nil, 1), now)
	refused(t, err, intent.PlanMismatch)
	_, err = w.verifier.GrantLeaf(tok, who, r, l, w.held.AppendProof(nil, 1), now)
	refused(t, err, intent.PlanMismatch)
	_, err = w.verifier.Grant(tok, who, r, &twin.Steps[1], 1, w.held.AppendProof(nil, 1), now)
	refused(t, err, intent.ProofMismatch)

	// A token whose signer was talked into a plan of another agent.
	stolen, err := w.verifier.Token(w.mint(t, func(c *intent.Claims) { c.ID, c.Agent = "tok_2", "agt_2" }), now)
	if err != nil {
		t.Fatal(err)
	}
	b := who
	b.Agent = "agt_2"
	_, err = w.verifier.GrantHeld(stolen, b, r, w.held, nil, now)
	refused(t, err, intent.PlanMismatch)
	for name, change := range map[string]func(*intent.Claims){
		"size": func(c *intent.Claims) { c.PlanSize = 5 }, "hash": func(c *intent.Claims) { c.PlanHash[0] ^= 1 }, "root": func(c *intent.Claims) { c.PlanRoot[0] ^= 1 },
	} {
		tok, err := w.verifier.Token(w.mint(t, change), now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = w.verifier.GrantHeld(tok, who, r, w.held, nil, now); intent.ReasonOf(err) != intent.PlanMismatch {
			t.Errorf("token of another %s: %v", name, err)
		}
	}
}

func TestProofsHoldForTheirIndexAndLengthOnly(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 8, 13, 64} {
		w := newWorld(t, draftOf(n, ""))
		tok := w.token(t)
		for i := range n {
			r := w.request("t"+itoa(i), "")
			l, proof := w.leaf(t, i), w.held.AppendProof(nil, i)
			g, err := w.verifier.GrantLeaf(tok, who, r, l, proof, now)
			if err != nil || g.Step() != i || g.PlanRoot() != w.held.Root() {
				t.Fatalf("step %d of %d: %v", i, n, err)
			}
			if g, err = w.verifier.Grant(tok, who, r, &w.plan.Steps[i], i, proof, now); err != nil || g.Step() != i {
				t.Fatalf("step %d of %d: %v", i, n, err)
			}
			l = w.leaf(t, i) // what was proved is remembered now: the right proof still holds, and no other
			if g, err = w.verifier.GrantLeaf(tok, who, r, l, proof, now); err != nil || g.Step() != i {
				t.Fatalf("step %d of %d again: %v", i, n, err)
			}
			_, err = w.verifier.GrantLeaf(tok, who, r, l, append(slices.Clip(proof), merkle.Hash{}), now)
			refused(t, err, intent.ProofLength)
			if len(proof) > 0 {
				_, err = w.verifier.GrantLeaf(tok, who, r, l, proof[:len(proof)-1], now)
				refused(t, err, intent.ProofLength)
				_, err = w.verifier.GrantLeaf(tok, who, r, l, nil, now)
				refused(t, err, intent.ProofLength)
				bad := append([]merkle.Hash(nil), proof...)
				bad[len(bad)/2][7] ^= 4
				_, err = w.verifier.GrantLeaf(tok, who, r, l, bad, now)
				refused(t, err, intent.ProofMismatch)
			}
			for k := range n {
				if k == i || n > 13 && k != i^1 && k != n-1-i && k%16 != 0 {
					continue
				}
				_, err = w.verifier.Grant(tok, who, r, &w.plan.Steps[i], k, w.held.AppendProof(nil, k), now)
				refused(t, err, intent.ProofMismatch)
				if other := w.held.AppendProof(nil, k); len(other) == len(proof) {
					_, err = w.verifier.GrantLeaf(tok, who, r, l, other, now)
					refused(t, err, intent.ProofMismatch)
				}
			}
		}
		for _, k := range []int{-1, n, n + 1, 1 << 20} {
			_, err := w.verifier.Grant(tok, who, w.request("t0", ""), &w.plan.Steps[0], k, nil, now)
			refused(t, err, intent.StepUnknown)
			_, err = w.verifier.GrantStep(tok, who, w.request("t0", ""), w.held, k, now)
			refused(t, err, intent.StepUnknown)
		}
		_, err := w.verifier.Grant(tok, who, w.request("t0", ""), nil, 0, nil, now)
		refused(t, err, intent.StepUnknown)
		_, err = w.verifier.GrantLeaf(tok, who, w.request("t0", ""), nil, nil, now)
		refused(t, err, intent.StepUnknown)
	}
}

func itoa(i int) string { return string(appendInt(nil, i)) }

func appendInt(dst []byte, i int) []byte {
	if i >= 10 {
		dst = appendInt(dst, i/10)
	}
	return append(dst, byte('0'+i%10))
}

func TestAnInnerNodeIsNoLeafAndALeafOfAnySizeNeedsTheTokensSize(t *testing.T) {
	w := newWorld(t, draftOf(4, ""))
	h := w.held
	// The inner node over leaves 0 and 1, shown as if it were leaf data with the shorter proof.
	node := append(append([]byte(nil), hashOf(w, 0)...), hashOf(w, 1)...)
	for _, data := range [][]byte{node, append([]byte{1}, node...)} {
		_, err := w.verifier.Leaf([]byte(base64.RawURLEncoding.EncodeToString(data)))
		refused(t, err, intent.LeafMalformed)
	}
	// A leaf that claims a tree of two, with the two-leaf proof.
	small := w.plan.Steps[0]
	half := intent.Plan{Nonce: w.plan.Nonce, Tenant: who.Tenant, User: who.User, Agent: who.Agent, Steps: []intent.Step{small, w.plan.Steps[1]}}
	l, err := w.verifier.Leaf([]byte(intent.EncodeLeaf(half.LeafData(0))))
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.verifier.GrantLeaf(w.token(t), who, w.request("t0", ""), l, h.AppendProof(nil, 0), now)
	refused(t, err, intent.PlanMismatch)
}

func hashOf(w *world, i int) []byte {
	h := merkle.LeafHash(w.plan.LeafData(i))
	return h[:]
}

func TestAnyChangeOfALeafBreaksItsProof(t *testing.T) {
	w := newWorld(t, draftOf(4, `,"args":{"a":1},"uses":2`))
	leaf := string(w.plan.LeafData(2))
	tok, r, proof := w.token(t), w.request("t2", `{"a":1}`), w.held.AppendProof(nil, 2)
	for _, change := range [][2]string{
		{`"const":1`, `"const":2`}, {`"uses":2`, `"uses":0`}, {`"tool":"t2"`, `"tool":"t3"`}, {`"server":"files"`, `"server":"mails"`}, {`"op":"tools/call"`, `"op":"prompts/get"`},
		{`"additional":false`, `"additional":true`}, {`"redactable":[]`, `"redactable":["/a"]`}, {`"after":[]`, `"after":[0]`}, {`"salt":"`, `"salt":"x`}, {`"schema":"`, `"schema":"f`},
		{`"index":2`, `"index":3`}, {`"count":4`, `"count":5`}, {`"plan":"`, `"plan":"x`}, {`"typ":"intent-step/v1"`, `"typ":"intent-step/v2"`}, {`{"const":1}`, `{"open":true}`},
		{`"uses":2`, `"uses":2,"x":1`}, {`"uses":2`, `"uses": 2`}, {`"index":2`, `"index":2,"index":2`}, {`{"after"`, ` {"after"`}, {`"index":2,`, ``}, {`"count":4`, `"count":2`},
	} {
		bad := strings.Replace(leaf, change[0], change[1], 1)
		if bad == leaf {
			t.Fatalf("%s is not in the leaf", change[0])
		}
		l, err := w.verifier.Leaf([]byte(intent.EncodeLeaf([]byte(bad))))
		if err != nil {
			refused(t, err, intent.LeafMalformed)
			continue
		}
		req := r
		if change[1] == `"tool":"t3"` {
			req.Tool = "t3"
		}
		if g, err := w.verifier.GrantLeaf(tok, who, req, l, proof, now); err == nil {
			t.Errorf("granted step %d with %s", g.Step(), change[1])
		}
	}
	if _, err := w.verifier.GrantLeaf(tok, who, r, w.leaf(t, 2), proof, now); err != nil {
		t.Fatal(err)
	}
	for _, spelling := range []string{strings.Replace(leaf, `"uses":2`, `"uses": 2`, 1), strings.Replace(leaf, `"const":1`, `"const":1.0`, 1), leaf + " ", strings.Replace(leaf, `"tool"`, `"t\u006fol"`, 1)} {
		_, _, _, _, err := intent.ParseLeaf([]byte(spelling))
		refused(t, err, intent.LeafMalformed)
	}
}

func TestProofTextsInAnyOtherSpellingAreRefused(t *testing.T) {
	w := newWorld(t, draftOf(5, ""))
	want := w.held.AppendProof(nil, 1)
	text := intent.EncodeProof(want)
	got, err := intent.AppendProof(nil, []byte(text))
	if err != nil || len(got) != len(want) || got[0] != want[0] || got[2] != want[2] {
		t.Fatalf("%v, %v", got, err)
	}
	if got, err := intent.AppendProof(nil, nil); err != nil || len(got) != 0 {
		t.Fatalf("the empty proof: %v, %v", got, err)
	}
	for _, bad := range []string{text + "=", text + "\n", " " + text, text[:len(text)-1], text[:len(text)-4], text + "A", strings.Repeat(text, 9), "!", strings.Repeat("A", 1<<20)} {
		if _, err := intent.AppendProof(nil, []byte(bad)); err == nil {
			t.Errorf("accepted %.40q", bad)
		}
	}
	for _, bad := range []string{"", "=", "e30", "W10", "bnVsbA", intent.EncodeLeaf(w.plan.LeafData(0)) + "=", intent.EncodeLeaf(w.plan.LeafData(0)) + "\n", strings.Repeat("A", 1<<20)} {
		if _, err := w.verifier.Leaf([]byte(bad)); intent.ReasonOf(err) != intent.LeafMalformed {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}

func TestRefusalsTellToolSchemaArgumentsAndUsesApart(t *testing.T) {
	w := newWorld(t, `{"steps":[
		{"server":"files","tool":"t","args":{"a":1}},{"server":"files","tool":"t","args":{"a":2}},{"server":"files","tool":"t","args":{"a":1}},
		{"op":"resources/read","server":"files","tool":"r"},{"server":"files","tool":"free","uses":0},{"server":"files","tool":"twice","uses":2,"after":[0,1]}]}`)
	used := map[int]uint32{}
	ask := func(op, server, tool, args string) (intent.Grant, error) {
		r := w.request(tool, args)
		r.Op, r.Server = op, server
		return w.verifier.GrantHeld(w.token(t), who, r, w.held, func(i int) uint32 { return used[i] }, now)
	}
	for _, c := range [][4]string{{"tools/call", "files", "T", ""}, {"tools/call", "other", "t", `{"a":1}`}, {"resources/read", "files", "t", `{"a":1}`}, {"tools/call", "files", "r", ""}, {"", "", "", ""}} {
		_, err := ask(c[0], c[1], c[2], c[3])
		refused(t, err, intent.ToolMismatch)
	}
	_, err := ask("tools/call", "files", "t", `{"a":3}`)
	refused(t, err, intent.ArgsMismatch)
	take := func(args string, want int) {
		t.Helper()
		g, err := ask("tools/call", "files", "t", args)
		if err != nil || g.Step() != want {
			t.Fatalf("%s: step %d, %v; want %d", args, g.Step(), err, want)
		}
		used[want]++
	}
	take(`{"a":1}`, 0)
	take(`{"a":1}`, 2)
	_, err = ask("tools/call", "files", "t", `{"a":1}`)
	refused(t, err, intent.StepUsed)
	take(`{"a":2}`, 1)
	_, err = ask("tools/call", "files", "t", `{"a":3}`)
	refused(t, err, intent.ArgsMismatch)
	used[4] = 1 << 31
	if g, err := ask("tools/call", "files", "free", ""); err != nil || g.Uses() != 0 {
		t.Fatalf("a step without limit: %v", err)
	}
	used[5] = 1
	g, err := ask("tools/call", "files", "twice", "")
	if err != nil || g.Uses() != 2 || len(g.After()) != 2 {
		t.Fatalf("%+v, %v", g, err)
	}
	used[5] = 2
	_, err = ask("tools/call", "files", "twice", "")
	refused(t, err, intent.StepUsed)

	r := w.request("t", `{"a":1}`)
	r.Schema[3] ^= 1
	for _, how := range []string{"held", "leaf", "step"} {
		_, err := grantBy(t, w, how, r)
		refused(t, err, intent.SchemaChanged)
	}
	r.Schema = merkle.Hash{}
	_, err = w.grantHeld(t, r)
	refused(t, err, intent.SchemaChanged)
}

func TestTheLowestStepThatFitsIsTakenHoweverItSaysSo(t *testing.T) {
	w := newWorld(t, `{"steps":[{"server":"files","tool":"t","args":{"a":2}},{"server":"files","tool":"t","where":{"a":{"open":true}}},{"server":"files","tool":"t","args":{"a":1}}]}`)
	for args, want := range map[string]int{`{"a":1}`: 1, `{"a": 1}`: 1, `{"a":2}`: 0, `{"a":2.0}`: 0, `{"a":3}`: 1} {
		if g, err := w.grantHeld(t, w.request("t", args)); err != nil || g.Step() != want {
			t.Errorf("%s takes step %d, %v; want %d", args, g.Step(), err, want)
		}
	}
}

func TestAGrantTellsWhatTheLineNeeds(t *testing.T) {
	w := newWorld(t, one(`"args":{"a":1},"uses":3`))
	g, err := w.grantHeld(t, w.request("t", `{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	c := w.claims
	if !g.Valid() || g.Step() != 0 || g.PlanID() != c.PlanID || g.PlanRoot() != c.PlanRoot || g.PlanSize() != 1 || g.PlanExpires() != c.PlanExpires ||
		g.Expires() != c.Expires || g.TokenID() != c.ID || g.IssuedUnder() != c.PolicyDigest.String() || g.Uses() != 3 || g.Local() {
		t.Fatalf("%+v", g)
	}
	// Changing the plan afterwards changes nothing that was granted.
	w.plan.Steps[0].Args.Params["a"] = intent.Constraint{Open: true}
	refused(t, g.Covers([]byte(`{"a":2}`)), intent.ArgsMismatch)
}

func TestAStepChangedAfterCaptureIsAnotherLeaf(t *testing.T) {
	w := newWorld(t, draftOf(2, `,"args":{"a":1}`))
	s := w.plan.Steps[0]
	s.Uses = 0
	_, err := w.verifier.Grant(w.token(t), who, w.request("t0", `{"a":1}`), &s, 0, w.held.AppendProof(nil, 0), now)
	refused(t, err, intent.ProofMismatch)
	s = w.plan.Steps[0]
	s.Args = intent.Args{Additional: true}
	_, err = w.verifier.Grant(w.token(t), who, w.request("t0", `{"a":2}`), &s, 0, w.held.AppendProof(nil, 0), now)
	refused(t, err, intent.ProofMismatch)
	s.Args = intent.Args{Params: map[string]intent.Constraint{"a": {}}}
	_, err = w.verifier.Grant(w.token(t), who, w.request("t0", `{"a":2}`), &s, 0, w.held.AppendProof(nil, 0), now)
	refused(t, err, intent.LeafMalformed)
	if _, ok := errors.AsType[*intent.Error](err); !ok {
		t.Fatal(err)
	}
}
