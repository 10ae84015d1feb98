package intent_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/intent"
)

func TestOptionalClaimsAreAbsentOrMeanSomething(t *testing.T) {
	w := newWorld(t, draftOf(4, ""))
	good := body(t, w.mint(t, nil))
	for _, name := range []string{"alone", "parents", "steps", "jkt"} {
		if strings.Contains(good, `"`+name+`"`) {
			t.Fatalf("%s stands in a token without it: %s", name, good)
		}
	}
	jkt := intent.KeyThumbprint(public("holder"))
	for _, bad := range []string{
		`"alone":false`, `"alone":null`, `"alone":1`, `"alone":"true"`, `"alone":true,"alone":true`, `"Alone":true`,
		`"steps":[]`, `"steps":null`, `"steps":0`, `"steps":[4]`, `"steps":[1,0]`, `"steps":[1,1]`, `"steps":[-1]`, `"steps":[0.5]`, `"steps":[1e0]`, `"steps":["1"]`, `"steps":[[1]]`, `"steps":{"0":1}`,
		`"steps":[4294967296]`, `"steps":[0,4294967297]`, `"steps":[9007199254740991]`,
		`"parents":[]`, `"parents":null`, `"parents":"tok_0"`, `"parents":[""]`, `"parents":[1]`, `"parents":["tok_1"]`, `"parents":["a","a"]`, `"parents":["a","\u0061"]`, `"parents":["a\u0000"]`,
		`"parents":["1","2","3","4","5","6","7","8","9"]`, `"parents":["` + strings.Repeat("p", 513) + `"]`, `"parent":["a"]`,
	} {
		_, err := w.verifier.Token(sign(header, `{`+bad+`,`+good[1:], secret("issuer")), now)
		refused(t, err, intent.TokenMalformed)
	}
	for _, cnf := range []string{
		`{"jkt":""}`, `{"jkt":"` + jkt[:42] + `"}`, `{"jkt":"` + jkt + `="}`, `{"jkt":"` + jkt + `A"}`, `{"jkt":"` + stray(jkt) + `"}`, `{"jkt":1}`, `{"jkt":"` + jkt[:20] + `\n` + jkt[20:] + `"}`,
		`{"jkt":"` + jkt + `","kid":"key_1"}`, `{"kid":""}`, `{"jwk":{}}`, `[]`, `null`,
	} {
		_, err := w.verifier.Token(sign(header, strings.Replace(good, `{"kid":"key_1"}`, cnf, 1), secret("issuer")), now)
		refused(t, err, intent.TokenMalformed)
	}
}

// stray changes the bits of the last character that no byte has.
func stray(text string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	n := len(text) - 1
	return text[:n] + string(alphabet[strings.IndexByte(alphabet, text[n])^1])
}

func TestMintRefusesOptionalClaimsThatVerifiersWould(t *testing.T) {
	w := newWorld(t, draftOf(4, ""))
	for name, change := range map[string]func(*intent.Claims){
		"no steps at all": func(c *intent.Claims) { c.Steps = []uint32{} }, "steps of another plan": func(c *intent.Claims) { c.Steps = []uint32{4} },
		"steps out of order": func(c *intent.Claims) { c.Steps = []uint32{2, 1} }, "a step twice": func(c *intent.Claims) { c.Steps = []uint32{1, 1} },
		"no parents at all": func(c *intent.Claims) { c.Parents = []string{} }, "its own parent": func(c *intent.Claims) { c.Parents = []string{"tok_1"} },
		"too many parents": func(c *intent.Claims) { c.Parents = strings.Split("abcdefghi", "") }, "a parent twice": func(c *intent.Claims) { c.Parents = []string{"a", "a"} },
		"an empty parent": func(c *intent.Claims) { c.Parents = []string{""} }, "key id and thumbprint": func(c *intent.Claims) { c.Thumbprint = intent.KeyThumbprint(public("holder")) },
		"no confirmation": func(c *intent.Claims) { c.KeyID = "" }, "no thumbprint": func(c *intent.Claims) { c.KeyID, c.Thumbprint = "", "thumb" },
		"too long": func(c *intent.Claims) {
			c.PlanSize = intent.MaxSteps
			for i := range uint32(2000) {
				c.Steps = append(c.Steps, i)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.claims
			change(&c)
			if raw, err := w.signer.Mint(c); err == nil {
				t.Fatalf("minted %s", raw)
			}
		})
	}
}

// derived is a token for the holder of a key, for some steps.
func derived(c *intent.Claims) {
	c.ID, c.KeyID, c.Thumbprint = "tok_2", "", intent.KeyThumbprint(public("holder"))
	c.Steps, c.Parents, c.Alone = []uint32{1, 3}, []string{"tok_0", "tok_1"}, true
}

func TestOptionalClaimsComeBackAsMinted(t *testing.T) {
	w := newWorld(t, draftOf(4, ""))
	want := w.claims
	derived(&want)
	want.Parents = strings.Split("abcdefgh", "")
	raw, err := w.signer.Mint(want)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		tok, err := w.verifier.Token([]byte(raw), now)
		if err != nil || !reflect.DeepEqual(tok.Claims(), want) || tok.Thumbprint() != want.Thumbprint || !tok.Alone() {
			t.Fatalf("%+v, %v, want %+v", tok, err, want)
		}
		c := tok.Claims()
		c.Steps[0], c.Parents[0] = 0, "x" // a copy: the token stays as it is
	}
	// A token without them is read after one with them: nothing of the other's is left in a pooled reader.
	tok, err := w.newVerifier().Token(w.mint(t, nil), now)
	if err != nil || !reflect.DeepEqual(tok.Claims(), w.claims) || tok.Alone() || tok.Thumbprint() != "" {
		t.Fatalf("%+v, %v", tok, err)
	}
}

func TestAKeysThumbprintIsThatOfRFC8037(t *testing.T) {
	key, err := hex.DecodeString("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := intent.KeyThumbprint(key), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	weak := make([]byte, 32)
	weak[0] = 1
	for _, bad := range []ed25519.PublicKey{nil, {}, key[:31], append(key[:32:32], 0), weak} {
		if got := intent.KeyThumbprint(bad); got != "" {
			t.Errorf("%x has the thumbprint %s", bad, got)
		}
	}
}

func TestATokenForTheHolderOfAKeyIsBorneByNobodyElse(t *testing.T) {
	w := newWorld(t, draftOf(4, ""))
	tok, err := w.verifier.Token(w.mint(t, derived), now)
	if err != nil {
		t.Fatal(err)
	}
	jkt := intent.KeyThumbprint(public("holder"))
	for name, b := range map[string]intent.Bearer{
		"whose credential asked": who, "another key": {Tenant: who.Tenant, Thumbprint: intent.KeyThumbprint(public("other"))}, "nobody": {}, "the tenant": {Tenant: who.Tenant},
		"another tenant": {Tenant: "other", Thumbprint: jkt}, "no tenant": {Thumbprint: jkt}, "the key id of that name": {Tenant: who.Tenant, User: who.User, Agent: who.Agent, KeyID: jkt},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, w.verifier.Bears(tok, b, now), intent.BearerMismatch)
			_, err := w.verifier.GrantHeld(tok, b, w.request("t1", ""), w.held, nil, now)
			refused(t, err, intent.BearerMismatch)
			_, err = w.verifier.GrantLeaf(tok, b, w.request("t1", ""), w.leaf(t, 1), w.held.AppendProof(nil, 1), now)
			refused(t, err, intent.BearerMismatch)
		})
	}
	holder := intent.Bearer{Tenant: who.Tenant, User: "usr_9", Agent: "agt_9", KeyID: "key_9", Thumbprint: jkt}
	if err := w.verifier.Bears(tok, holder, now); err != nil {
		t.Fatal(err)
	}
	if g, err := w.verifier.GrantHeld(tok, holder, w.request("t1", ""), w.held, nil, now); err != nil || g.Step() != 1 {
		t.Fatal(err)
	}
	// A proved key adds nothing to a token that was issued to a credential.
	plain := w.token(t)
	refused(t, w.verifier.Bears(plain, holder, now), intent.BearerMismatch)
	both := who
	both.Thumbprint = jkt
	if err := w.verifier.Bears(plain, both, now); err != nil {
		t.Fatal(err)
	}
}

func TestBearsLooksAtTimesAndRevocationToo(t *testing.T) {
	w := newWorld(t, one(""))
	tok := w.token(t)
	refused(t, w.verifier.Bears(nil, who, now), intent.TokenMalformed)
	refused(t, w.newVerifier().Bears(tok, who, now), intent.TokenMalformed)
	refused(t, w.verifier.Bears(tok, who, now.Add(300*time.Second)), intent.TokenExpired)
	w.verifier.Revoke("tok_1", now.Add(time.Hour))
	refused(t, w.verifier.Bears(tok, who, now), intent.TokenRevoked)
}

func TestATokenForSomeStepsGrantsNoOthers(t *testing.T) {
	w := newWorld(t, draftOf(4, ""))
	some := []uint32{1, 3}
	tok, err := w.verifier.Token(w.mint(t, func(c *intent.Claims) { c.Steps = some }), now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		r := w.request(fmt.Sprint("t", i), "")
		g, held := w.verifier.GrantHeld(tok, who, r, w.held, nil, now)
		_, step := w.verifier.GrantStep(tok, who, r, w.held, i, now)
		_, leaf := w.verifier.GrantLeaf(tok, who, r, w.leaf(t, i), w.held.AppendProof(nil, i), now)
		_, explicit := w.verifier.Grant(tok, who, r, &w.plan.Steps[i], i, w.held.AppendProof(nil, i), now)
		if i == 1 || i == 3 {
			if held != nil || step != nil || leaf != nil || explicit != nil || g.Step() != i {
				t.Fatalf("step %d: %v, %v, %v, %v", i, held, step, leaf, explicit)
			}
			continue
		}
		refused(t, held, intent.ToolMismatch)
		refused(t, step, intent.StepUnknown)
		refused(t, leaf, intent.StepUnknown)
		refused(t, explicit, intent.StepUnknown)
		// A leaf that was proved with a token for all steps is remembered, and still not covered.
		if _, err := w.verifier.GrantLeaf(w.token(t), who, r, w.leaf(t, i), w.held.AppendProof(nil, i), now); err != nil {
			t.Fatal(err)
		}
		_, leaf = w.verifier.GrantLeaf(tok, who, r, w.leaf(t, i), w.held.AppendProof(nil, i), now)
		refused(t, leaf, intent.StepUnknown)
	}
}

func TestUncoveredStepsNeitherGrantNorHideCoveredOnes(t *testing.T) {
	w := newWorld(t, `{"steps":[{"server":"files","tool":"t","args":{"a":1}},{"server":"files","tool":"t","where":{"a":{"open":true}},"uses":1},{"server":"files","tool":"t","args":{"a":2}}]}`)
	tok, err := w.verifier.Token(w.mint(t, func(c *intent.Claims) { c.Steps = []uint32{1, 2} }), now)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(args string, used map[int]uint32) (intent.Grant, error) {
		return w.verifier.GrantHeld(tok, who, w.request("t", args), w.held, func(i int) uint32 { return used[i] }, now)
	}
	for args, want := range map[string]int{`{"a":1}`: 1, `{"a":2}`: 1, `{"a": 3}`: 1} {
		if g, err := ask(args, nil); err != nil || g.Step() != want {
			t.Errorf("%s takes step %d, %v; want %d", args, g.Step(), err, want)
		}
	}
	if g, err := ask(`{"a":2}`, map[int]uint32{1: 1}); err != nil || g.Step() != 2 {
		t.Errorf("step %d, %v", g.Step(), err)
	}
	_, err = ask(`{"a":1}`, map[int]uint32{1: 1}) // step 0 has uses left, for other tokens
	refused(t, err, intent.StepUsed)

	only, err := w.verifier.Token(w.mint(t, func(c *intent.Claims) { c.Steps = []uint32{2} }), now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.verifier.GrantHeld(only, who, w.request("t", `{"a":1}`), w.held, nil, now) // step 0 fits exactly, and does not answer for step 2
	refused(t, err, intent.ArgsMismatch)
}

func TestRevokingAParentRevokesWhatWasDerivedFromIt(t *testing.T) {
	for _, id := range []string{"tok_0", "tok_1", "tok_2"} {
		w := newWorld(t, draftOf(4, ""))
		raw := w.mint(t, derived)
		tok, err := w.verifier.Token(raw, now)
		if err != nil {
			t.Fatal(err)
		}
		other := w.mint(t, func(c *intent.Claims) { derived(c); c.ID, c.Parents = "tok_3", []string{"tok_x"} })
		w.verifier.Revoke(id, now.Add(time.Hour))
		holder := intent.Bearer{Tenant: who.Tenant, Thumbprint: intent.KeyThumbprint(public("holder"))}
		refused(t, w.verifier.Bears(tok, holder, now), intent.TokenRevoked)
		for range 2 {
			_, err = w.verifier.Token(raw, now)
			refused(t, err, intent.TokenRevoked)
		}
		if _, err := w.verifier.Token(other, now); err != nil {
			t.Fatalf("a token of other parents fell with it: %v", err)
		}
	}
}

func TestAChangedBitOfADerivedTokenIsRefused(t *testing.T) {
	w := newWorld(t, draftOf(4, ""))
	good := w.mint(t, derived)
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1 << (i % 8)
		if _, err := w.verifier.Token(bad, now); err == nil {
			t.Fatalf("accepted with bit %d of byte %d flipped", i%8, i)
		}
	}
	var claims string
	if b, err := base64.RawURLEncoding.DecodeString(strings.Split(string(good), ".")[1]); err == nil {
		claims = string(b)
	}
	_, err := w.verifier.Token(sign(header, strings.Replace(claims, `,"steps":[1,3]`, "", 1), secret("somebody")), now)
	refused(t, err, intent.TokenSignature)
}
