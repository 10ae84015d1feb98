package intent_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/intent"
)

func TestARevokedTokenIsRefusedWarmColdAndInFlight(t *testing.T) {
	w := newWorld(t, one(`"args":{}`))
	raw := w.mint(t, nil)
	other := w.mint(t, func(c *intent.Claims) { c.ID = "tok_2" })
	tok, err := w.verifier.Token(raw, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.verifier.Token(other, now); err != nil {
		t.Fatal(err)
	}
	w.verifier.Revoke("tok_1", now.Add(time.Hour))
	for range 3 {
		_, err = w.verifier.Token(raw, now)
		refused(t, err, intent.TokenRevoked)
	}
	_, err = w.verifier.GrantHeld(tok, who, w.request("t", ""), w.held, nil, now)
	refused(t, err, intent.TokenRevoked)
	if n := intent.CachedTokens(w.verifier); n != 1 {
		t.Fatalf("%d tokens cached, want only the one that was not revoked", n)
	}
	if _, err := w.verifier.Token(other, now); err != nil {
		t.Fatalf("another token of the plan fell with it: %v", err)
	}
}

func TestARevokedPlanTakesAllItsTokensWithIt(t *testing.T) {
	w := newWorld(t, one(`"args":{}`))
	first, second := w.mint(t, nil), w.mint(t, func(c *intent.Claims) { c.ID = "tok_2" })
	if _, err := w.verifier.Token(first, now); err != nil {
		t.Fatal(err)
	}
	w.verifier.RevokePlan(w.held.Root(), now.Add(time.Hour))
	for _, raw := range [][]byte{first, second, first, second} {
		_, err := w.verifier.Token(raw, now)
		refused(t, err, intent.PlanRevoked)
	}
}

func TestRevocationsAreForgottenOnlyLongAfterTheyMatter(t *testing.T) {
	w := newWorld(t, one(""))
	w.verifier.Revoke("tok_1", now.Add(5*time.Minute))
	w.verifier.RevokePlan(w.held.Root(), now.Add(time.Hour))
	w.verifier.Revoke("tok_forever", time.Time{})
	later := func(d time.Duration, id string) []byte {
		return w.mint(t, func(c *intent.Claims) {
			at := now.Add(d).Unix()
			c.ID, c.PlanRoot, c.IssuedAt, c.NotBefore, c.Expires, c.PlanExpires = id, [32]byte{1}, at, at, at+60, at+60
		})
	}
	_, _ = w.verifier.Token(later(23*time.Hour, "a"), now.Add(23*time.Hour))
	_, err := w.verifier.Token(w.mint(t, nil), now.Add(time.Minute)) // the clock was set back
	refused(t, err, intent.TokenRevoked)
	if n := intent.Revocations(w.verifier); n != 3 {
		t.Fatalf("%d revocations kept, want 3", n)
	}
	_, _ = w.verifier.Token(later(48*time.Hour, "b"), now.Add(48*time.Hour))
	if n := intent.Revocations(w.verifier); n != 1 {
		t.Fatalf("%d revocations kept, want the one without an end", n)
	}
}

func TestUnpinningAKeyRefusesTokensVerifiedBefore(t *testing.T) {
	w := newWorld(t, one(`"args":{}`))
	raw := w.mint(t, nil)
	for range 2 {
		if _, err := w.verifier.Token(raw, now); err != nil {
			t.Fatal(err)
		}
	}
	next := intent.Signer{Issuer: issuer, KeyID: "k2", Key: secret("next")}
	rotated, err := next.Mint(w.claims)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.verifier.Token([]byte(rotated), now)
	refused(t, err, intent.TokenKey)
	if err := w.keys.Add(issuer, "k2", public("next"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	for _, good := range [][]byte{raw, []byte(rotated)} { // overlap: both hold; a refusal remembered before does not stick
		if _, err := w.verifier.Token(good, now); err != nil {
			t.Fatal(err)
		}
	}
	w.keys.Remove(issuer, keyID)
	_, err = w.verifier.Token(raw, now)
	refused(t, err, intent.TokenKey)
	w.keys.Remove(issuer, "k2")
	_, err = w.verifier.Token([]byte(rotated), now)
	refused(t, err, intent.TokenIssuer)
}

func TestAKeyPastItsLastDayRefusesEvenRememberedTokens(t *testing.T) {
	w := newWorld(t, one(""))
	end := now.Add(100 * time.Second)
	if err := w.keys.Add(issuer, keyID, public("issuer"), end); err != nil {
		t.Fatal(err)
	}
	raw := w.mint(t, nil)
	if _, err := w.verifier.Token(raw, end); err != nil {
		t.Fatal(err)
	}
	_, err := w.verifier.Token(raw, end.Add(time.Second))
	refused(t, err, intent.TokenKey)
	_, err = w.newVerifier().Token(raw, end.Add(time.Second))
	refused(t, err, intent.TokenKey)
}

func TestTheTokenCacheIsBoundedAndForgettingChangesNoVerdict(t *testing.T) {
	w := newWorld(t, one(""))
	v := intent.NewVerifier(intent.VerifierConfig{Audience: audience, Keys: w.keys, CacheEntries: 16, MaxLifetime: time.Hour})
	var all [][]byte
	for i := range 200 {
		raw := w.mint(t, func(c *intent.Claims) { c.ID = fmt.Sprint("tok_", i) })
		all = append(all, raw)
		if _, err := v.Token(raw, now); err != nil {
			t.Fatal(err)
		}
		bad := append([]byte(nil), raw...)
		bad[len(bad)-10] ^= 1
		if _, err := v.Token(bad, now); err == nil {
			t.Fatal("a forged token passed")
		}
	}
	if n := intent.CachedTokens(v); n > 16 {
		t.Fatalf("%d tokens cached, want at most 16", n)
	}
	for i, raw := range all {
		tok, err := v.Token(raw, now)
		if err != nil || tok.ID() != fmt.Sprint("tok_", i) {
			t.Fatalf("token %d: %v", i, err)
		}
	}
}

func TestACallerMayReuseItsBufferAfterVerification(t *testing.T) {
	w := newWorld(t, one(""))
	// Eight entries are one group: every look-up compares with every token remembered. With 128 that holds for
	// the refusals remembered.
	for _, n := range []int{8, 128} {
		checkBuffers(t, w, intent.NewVerifier(intent.VerifierConfig{Audience: audience, Keys: w.keys, CacheEntries: n, MaxLifetime: time.Hour}))
	}
}

func checkBuffers(t *testing.T, w *world, v *intent.Verifier) {
	t.Helper()
	first, second := w.mint(t, nil), w.mint(t, func(c *intent.Claims) { c.ID = "tok_2" })
	buf := append([]byte(nil), first...)
	if _, err := v.Token(buf, now); err != nil {
		t.Fatal(err)
	}
	copy(buf, second)
	tok, err := v.Token(buf, now)
	if err != nil || tok.ID() != "tok_2" {
		t.Fatalf("the cache followed the caller's buffer: %v", err)
	}
	buf[len(buf)-5] ^= 1
	for range 2 {
		if _, err := v.Token(buf, now); err == nil {
			t.Fatal("a forged token passed as a remembered one")
		}
	}
	copy(buf, w.mint(t, func(c *intent.Claims) { c.ID = "tok_3" }))
	if tok, err := v.Token(buf, now); err != nil || tok.ID() != "tok_3" {
		t.Fatalf("a refusal followed the caller's buffer: %v", err)
	}
}

func TestTokensRevocationsAndRotationsRunTogether(t *testing.T) {
	w := newWorld(t, one(`"args":{}`))
	raws := make([][]byte, 40)
	for i := range raws {
		raws[i] = w.mint(t, func(c *intent.Claims) { c.ID = fmt.Sprint("tok_", i) })
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 400 {
				n := (i + g) % len(raws)
				tok, err := w.verifier.Token(raws[n], now)
				if err == nil {
					_, _ = w.verifier.GrantHeld(tok, who, w.request("t", ""), w.held, nil, now)
				}
			}
		})
	}
	for i := 0; i < len(raws); i += 2 {
		w.verifier.Revoke(fmt.Sprint("tok_", i), now.Add(time.Hour))
		if err := w.keys.Add(issuer, fmt.Sprint("extra", i), public("extra"), time.Time{}); err != nil {
			t.Fatal(err)
		}
		_, err := w.verifier.Token(raws[i], now)
		refused(t, err, intent.TokenRevoked)
	}
	wg.Wait()
	for i, raw := range raws {
		_, err := w.verifier.Token(raw, now)
		if revoked := i%2 == 0; revoked != (intent.ReasonOf(err) == intent.TokenRevoked) || !revoked && err != nil {
			t.Fatalf("token %d: %v", i, err)
		}
	}
}
