package intent_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/intent"
)

const deltaHeader = `{"alg":"EdDSA","kid":"k1","typ":"trust-delta+jwt"}`

// planRef names a plan made up from n.
func planRef(n int) intent.PlanRef {
	return intent.PlanRef{
		ID: fmt.Sprint("pln_", n), Nonce: fmt.Sprint("nonce_", n), Hash: sha256.Sum256(fmt.Append(nil, "hash", n)), Root: sha256.Sum256(fmt.Append(nil, "root", n)),
		Size: uint32(n + 1), Expires: now.Unix() + 3600,
	}
}

// deltas returns one delta of each kind.
func deltas() map[string]intent.DeltaClaims {
	base := intent.DeltaClaims{Issuer: issuer, ID: "dlt_1", Tenant: who.Tenant, IssuedAt: now.Unix(), From: planRef(3)}
	re, de, rv := base, base, base
	re.Kind, re.To, re.Reason = intent.DeltaReanchor, planRef(4), "plan has grown\nby one"
	de.Kind, de.Token, de.Child, de.Thumbprint, de.Steps = intent.DeltaDelegate, "tok_1", "tok_2", intent.KeyThumbprint(public("holder")), []uint32{0, 2}
	rv.Kind, rv.Token, rv.Revoked, rv.Reason = intent.DeltaRevoke, "tok_1", []string{"tok_2", "tok_3"}, "lost"
	return map[string]intent.DeltaClaims{"reanchor": re, "delegate": de, "revoke": rv}
}

func (w *world) delta(tb testing.TB, c intent.DeltaClaims) *intent.Delta {
	tb.Helper()
	raw, err := w.signer.MintDelta(c)
	if err != nil {
		tb.Fatal(err)
	}
	d, err := w.verifier.Delta([]byte(raw))
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func TestDeltasComeBackAsMinted(t *testing.T) {
	w := newWorld(t, one(""))
	all := deltas()
	plain := all["delegate"]
	plain.Steps = nil
	all["delegate all"] = plain
	alone := all["revoke"]
	alone.Revoked, alone.Reason = nil, ""
	all["revoke one"] = alone
	for name, want := range all {
		raw, err := w.signer.MintDelta(want)
		if err != nil {
			t.Fatal(name, err)
		}
		buf := []byte(raw)
		d, err := w.verifier.Delta(buf)
		clear(buf)
		if err != nil || !reflect.DeepEqual(d.Claims(), want) || d.Raw() != raw {
			t.Fatalf("%s: %+v, %v", name, d, err)
		}
		if c := d.Claims(); c.Steps != nil {
			c.Steps[0]++ // a copy
		}
		if !reflect.DeepEqual(d.Claims(), want) {
			t.Fatalf("%s changed", name)
		}
	}
}

func TestADeltaIsNeverATokenNorTheOtherWayRound(t *testing.T) {
	w := newWorld(t, one(""))
	token := w.mint(t, nil)
	_, err := w.verifier.Delta(token)
	refused(t, err, intent.TokenType)
	// The same claims under the other's header.
	_, err = w.verifier.Delta(sign(deltaHeader, body(t, token), secret("issuer")))
	refused(t, err, intent.TokenMalformed)
	for _, c := range deltas() {
		raw, err := w.signer.MintDelta(c)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_, err = w.verifier.Token([]byte(raw), now)
			refused(t, err, intent.TokenType)
		}
		_, err = w.verifier.Token(sign(header, body(t, []byte(raw)), secret("issuer")), now)
		refused(t, err, intent.TokenMalformed)
		_, err = w.verifier.Delta(sign(header, body(t, []byte(raw)), secret("issuer")))
		refused(t, err, intent.TokenType)
	}
}

func TestDeltasWithAnythingMissingOrTooMuchAreRefused(t *testing.T) {
	w := newWorld(t, one(""))
	all := deltas()
	for name, c := range map[string]struct {
		kind   string
		change func(*intent.DeltaClaims)
	}{
		"no kind":            {"revoke", func(c *intent.DeltaClaims) { c.Kind = "" }},
		"unknown kind":       {"revoke", func(c *intent.DeltaClaims) { c.Kind = "Revoke" }},
		"no id":              {"revoke", func(c *intent.DeltaClaims) { c.ID = "" }},
		"no tenant":          {"revoke", func(c *intent.DeltaClaims) { c.Tenant = "" }},
		"control character":  {"revoke", func(c *intent.DeltaClaims) { c.Tenant = "a\nb" }},
		"no time":            {"revoke", func(c *intent.DeltaClaims) { c.IssuedAt = 0 }},
		"long reason":        {"revoke", func(c *intent.DeltaClaims) { c.Reason = strings.Repeat("r", 2049) }},
		"no plan":            {"revoke", func(c *intent.DeltaClaims) { c.From = intent.PlanRef{} }},
		"plan without root":  {"revoke", func(c *intent.DeltaClaims) { c.From.Root = [32]byte{} }},
		"plan without hash":  {"revoke", func(c *intent.DeltaClaims) { c.From.Hash = [32]byte{} }},
		"plan without size":  {"revoke", func(c *intent.DeltaClaims) { c.From.Size = 0 }},
		"plan too large":     {"revoke", func(c *intent.DeltaClaims) { c.From.Size = intent.MaxSteps + 1 }},
		"plan without end":   {"revoke", func(c *intent.DeltaClaims) { c.From.Expires = 0 }},
		"plan without nonce": {"revoke", func(c *intent.DeltaClaims) { c.From.Nonce = "" }},

		"reanchor to nowhere":      {"reanchor", func(c *intent.DeltaClaims) { c.To = intent.PlanRef{} }},
		"reanchor to half a plan":  {"reanchor", func(c *intent.DeltaClaims) { c.To.ID = "" }},
		"reanchor to itself":       {"reanchor", func(c *intent.DeltaClaims) { c.To = c.From }},
		"reanchor with token":      {"reanchor", func(c *intent.DeltaClaims) { c.Token = "tok_1" }},
		"reanchor with child":      {"reanchor", func(c *intent.DeltaClaims) { c.Child = "tok_1" }},
		"reanchor with thumbprint": {"reanchor", func(c *intent.DeltaClaims) { c.Thumbprint = all["delegate"].Thumbprint }},
		"reanchor with steps":      {"reanchor", func(c *intent.DeltaClaims) { c.Steps = []uint32{0} }},
		"reanchor with revoked":    {"reanchor", func(c *intent.DeltaClaims) { c.Revoked = []string{"tok_1"} }},

		"delegate without parent": {"delegate", func(c *intent.DeltaClaims) { c.Token = "" }},
		"delegate without child":  {"delegate", func(c *intent.DeltaClaims) { c.Child = "" }},
		"delegate to itself":      {"delegate", func(c *intent.DeltaClaims) { c.Child = c.Token }},
		"delegate without key":    {"delegate", func(c *intent.DeltaClaims) { c.Thumbprint = "" }},
		"delegate to no key":      {"delegate", func(c *intent.DeltaClaims) { c.Thumbprint = "holder" }},
		"delegate no steps":       {"delegate", func(c *intent.DeltaClaims) { c.Steps = []uint32{} }},
		"delegate unknown steps":  {"delegate", func(c *intent.DeltaClaims) { c.Steps = []uint32{4} }},
		"delegate with revoked":   {"delegate", func(c *intent.DeltaClaims) { c.Revoked = []string{"tok_1"} }},
		"delegate to a plan":      {"delegate", func(c *intent.DeltaClaims) { c.To = planRef(4) }},

		"revoke nothing":         {"revoke", func(c *intent.DeltaClaims) { c.Token = "" }},
		"revoke an empty list":   {"revoke", func(c *intent.DeltaClaims) { c.Revoked = []string{} }},
		"revoke an empty id":     {"revoke", func(c *intent.DeltaClaims) { c.Revoked = []string{""} }},
		"revoke too many":        {"revoke", func(c *intent.DeltaClaims) { c.Revoked = make([]string, 4097) }},
		"revoke with child":      {"revoke", func(c *intent.DeltaClaims) { c.Child = "tok_9" }},
		"revoke with thumbprint": {"revoke", func(c *intent.DeltaClaims) { c.Thumbprint = all["delegate"].Thumbprint }},
		"revoke with steps":      {"revoke", func(c *intent.DeltaClaims) { c.Steps = []uint32{0} }},
		"revoke to a plan":       {"revoke", func(c *intent.DeltaClaims) { c.To = planRef(4) }},
	} {
		t.Run(name, func(t *testing.T) {
			claims := all[c.kind]
			c.change(&claims)
			raw, err := w.signer.MintDelta(claims)
			if err == nil {
				t.Fatalf("minted %s", raw)
			}
			// Somebody with the key signs it anyway.
			_, err = w.verifier.Delta([]byte(intent.SignDelta(w.signer, claims)))
			refused(t, err, intent.TokenMalformed)
		})
	}
	broken := all["revoke"]
	broken.Reason = "\xff"
	if raw, err := w.signer.MintDelta(broken); err == nil {
		t.Fatalf("minted %s", raw)
	}
	for _, s := range []intent.Signer{{}, {Issuer: issuer, KeyID: keyID}, {Issuer: issuer, Key: secret("issuer")}, {KeyID: keyID, Key: secret("issuer")}} {
		if raw, err := s.MintDelta(all["revoke"]); err == nil {
			t.Fatalf("minted %s", raw)
		}
	}
}

func TestDeltasInAnyOtherSpellingAreRefused(t *testing.T) {
	w := newWorld(t, one(""))
	raw, err := w.signer.MintDelta(deltas()["delegate"])
	if err != nil {
		t.Fatal(err)
	}
	good := body(t, []byte(raw))
	if _, err := w.verifier.Delta(sign(deltaHeader, good, secret("issuer"))); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{`{"child"`, ` {"child"`}, {`{"child"`, `{"Child"`}, {`{"child"`, `{"admin":true,"child"`}, {`{"child":"tok_2"`, `{"child":"\u0074ok_2"`}, {`{"child":"tok_2"`, `{"child":2`},
		{`{"child":"tok_2"`, `{"child":"tok_2","child":"tok_2"`}, {`"steps":[0,2]`, `"steps":[0,2.0]`}, {`"steps":[0,2]`, `"steps":[]`}, {`"steps":[0,2]`, `"steps":[2,0]`}, {`"steps":[0,2]`, `"steps":null`},
		{`,"tenant"`, `,"revoked":[],"tenant"`}, {`,"tenant"`, `,"reason":"","tenant"`}, {`,"token"`, `,"to":{},"token"`}, {`,"token"`, `,"to":null,"token"`}, {`"from":{"exp"`, `"from":{"x":1,"exp"`},
		{`"size":4`, `"size":4294967300`}, {`"size":4`, `"size":"4"`}, {`"iat":1800000000`, `"iat":1.8e9`}, {`"iat":1800000000,`, ``}, {`"kind":"delegate"`, `"kind":["delegate"]`}, {`,"token":"tok_1"`, ``},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Fatalf("%s is not in %s", change[0], good)
		}
		if _, err := w.verifier.Delta(sign(deltaHeader, bad, secret("issuer"))); intent.ReasonOf(err) != intent.TokenMalformed {
			t.Errorf("%s: %v", change[1], err)
		}
	}
	for _, bad := range []string{"{}", "[]", "null", "", good + "{}", good[:len(good)-1]} {
		_, err := w.verifier.Delta(sign(deltaHeader, bad, secret("issuer")))
		refused(t, err, intent.TokenMalformed)
	}
	for _, bad := range []string{"", "..", raw + "=", raw + "\n", " " + raw, raw + ".x", strings.Repeat("A", 256<<10) + "." + raw} {
		_, err := w.verifier.Delta([]byte(bad))
		refused(t, err, intent.TokenMalformed)
	}
}

func TestOnlyThePinnedKeySignsDeltas(t *testing.T) {
	w := newWorld(t, one(""))
	c := deltas()["reanchor"]
	raw, err := w.signer.MintDelta(c)
	if err != nil {
		t.Fatal(err)
	}
	good := body(t, []byte(raw))
	_, err = w.verifier.Delta(sign(deltaHeader, good, secret("somebody")))
	refused(t, err, intent.TokenSignature)
	_, err = w.verifier.Delta(sign(strings.Replace(deltaHeader, "k1", "k2", 1), good, secret("issuer")))
	refused(t, err, intent.TokenKey)
	_, err = w.verifier.Delta(sign(deltaHeader, strings.Replace(good, issuer, "https://other.example", 1), secret("issuer")))
	refused(t, err, intent.TokenIssuer)
	for _, head := range []string{`{"alg":"none","kid":"k1","typ":"trust-delta+jwt"}`, `{"alg":"HS256","kid":"k1","typ":"trust-delta+jwt"}`} {
		_, err = w.verifier.Delta(sign(head, good, secret("issuer")))
		refused(t, err, intent.TokenAlg)
	}
	_, err = w.verifier.Delta(sign(`{"alg":"EdDSA","crit":[],"kid":"k1","typ":"trust-delta+jwt"}`, good, secret("issuer")))
	refused(t, err, intent.TokenMalformed)
	for i := range raw {
		bad := []byte(raw)
		bad[i] ^= 1 << (i % 8)
		if _, err := w.verifier.Delta(bad); err == nil {
			t.Fatalf("accepted with bit %d of byte %d flipped", i%8, i)
		}
	}
	if _, err := intent.NewVerifier(intent.VerifierConfig{Audience: audience, MaxLifetime: time.Hour}).Delta([]byte(raw)); err == nil {
		t.Fatal("a verifier without keys accepts")
	}
}

// FuzzDelta: no bytes panic the reader, and what passes is one of the deltas really signed, as minted.
func FuzzDelta(f *testing.F) {
	w := newWorld(f, one(""))
	signed := make(map[string]intent.DeltaClaims)
	for _, c := range deltas() {
		raw, err := w.signer.MintDelta(c)
		if err != nil {
			f.Fatal(err)
		}
		signed[raw] = c
		f.Add([]byte(raw))
		f.Add([]byte(body(f, []byte(raw))))
	}
	f.Add([]byte("e30.e30."))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, b := range [][]byte{raw, sign(deltaHeader, string(raw), secret("issuer"))} { // as it is, and as claims that somebody signed
			d, err := w.verifier.Delta(b)
			if err != nil {
				if intent.ReasonOf(err) == "" {
					t.Fatalf("a refusal without a reason: %v", err)
				}
				continue
			}
			again, err := w.signer.MintDelta(d.Claims())
			if err != nil || again != string(b) {
				t.Fatalf("%s passes, but would be minted as %s, %v", b, again, err)
			}
			if want, ok := signed[string(raw)]; ok && !reflect.DeepEqual(d.Claims(), want) || !ok && bytes.Equal(b, raw) {
				t.Fatalf("a delta nobody signed passed: %q", raw)
			}
		}
	})
}

// FuzzClaims: whatever claims somebody signs, what passes is what minting them again would sign, but for its spelling.
func FuzzClaims(f *testing.F) {
	w := newWorld(f, draftOf(4, ""))
	f.Add([]byte(body(f, w.mint(f, nil))))
	f.Add([]byte(body(f, w.mint(f, derived))))
	f.Fuzz(func(t *testing.T, claims []byte) {
		if len(claims) > 2900 {
			return
		}
		tok, err := w.verifier.Token(sign(header, string(claims), secret("issuer")), now)
		if err != nil {
			if intent.ReasonOf(err) == "" {
				t.Fatalf("a refusal without a reason: %v", err)
			}
			return
		}
		raw, err := w.signer.Mint(tok.Claims())
		if err != nil {
			t.Fatalf("%s passes, but is not minted: %v", claims, err)
		}
		again, err := w.verifier.Token([]byte(raw), now)
		if err != nil || !reflect.DeepEqual(again.Claims(), tok.Claims()) {
			t.Fatalf("%s is minted as %s", claims, base64.RawURLEncoding.EncodeToString([]byte(raw)))
		}
	})
}
