package intent_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/intent"
)

func TestTokensWithAnotherAlgorithmAreRefusedWhateverTheirSignature(t *testing.T) {
	w := newWorld(t, one(""))
	good := body(t, w.mint(t, nil))
	b64 := base64.RawURLEncoding
	der, err := x509.MarshalPKIXPublicKey(public("issuer"))
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string][]byte{
		"raw": public("issuer"), "der": der, "pem": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "empty": nil,
	}
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "", "HS256", "HS512", "RS256", "ES256", "eddsa", "EDDSA", "Ed25519", "Ed448"} {
		head := `{"alg":"` + alg + `","kid":"k1","typ":"intent+jwt"}`
		signed := b64.EncodeToString([]byte(head)) + "." + b64.EncodeToString([]byte(good))
		_, err := w.verifier.Token([]byte(signed+"."), now)
		refused(t, err, intent.TokenAlg)
		_, err = w.verifier.Token(sign(head, good, secret("issuer")), now)
		refused(t, err, intent.TokenAlg)
		for _, key := range secrets {
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(signed))
			_, err := w.verifier.Token([]byte(signed+"."+b64.EncodeToString(mac.Sum(nil))), now)
			refused(t, err, intent.TokenAlg)
		}
	}
	// The same MAC under a header that claims EdDSA: the key is never used as a shared secret.
	signed := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(good))
	mac := hmac.New(sha256.New, public("issuer"))
	mac.Write([]byte(signed))
	for _, sig := range [][]byte{mac.Sum(nil), append(mac.Sum(nil), mac.Sum(nil)...), make([]byte, 64)} {
		_, err := w.verifier.Token([]byte(signed+"."+b64.EncodeToString(sig)), now)
		refused(t, err, intent.TokenSignature)
	}
}

func TestTokenHeadersHoldExactlyAlgKidAndTyp(t *testing.T) {
	w := newWorld(t, one(""))
	good := body(t, w.mint(t, nil))
	for head, want := range map[string]intent.Reason{
		`{"alg":"EdDSA","kid":"k1","typ":"JWT"}`:                                     intent.TokenType,
		`{"alg":"EdDSA","kid":"k1","typ":"Intent+JWT"}`:                              intent.TokenType,
		`{"alg":"EdDSA","kid":"k1"}`:                                                 intent.TokenType,
		`{"kid":"k1","typ":"intent+jwt"}`:                                            intent.TokenAlg,
		`{"alg":"EdDSA","typ":"intent+jwt"}`:                                         intent.TokenMalformed,
		`{"alg":"EdDSA","kid":"k2","typ":"intent+jwt"}`:                              intent.TokenKey,
		`{"alg":"EdDSA","kid":"K1","typ":"intent+jwt"}`:                              intent.TokenKey,
		`{"alg":"EdDSA","kid":"../k1","typ":"intent+jwt"}`:                           intent.TokenKey,
		`{"alg":"EdDSA","kid":1,"typ":"intent+jwt"}`:                                 intent.TokenMalformed,
		`{"alg":["EdDSA"],"kid":"k1","typ":"intent+jwt"}`:                            intent.TokenMalformed,
		`{"alg":"none","alg":"EdDSA","kid":"k1","typ":"intent+jwt"}`:                 intent.TokenMalformed,
		`{"alg":"EdDSA","alg":"none","kid":"k1","typ":"intent+jwt"}`:                 intent.TokenMalformed,
		`{"alg":"EdDSA","\u0061lg":"none","kid":"k1","typ":"intent+jwt"}`:            intent.TokenMalformed,
		`{"alg":"EdDSA","crit":["b64"],"b64":false,"kid":"k1","typ":"intent+jwt"}`:   intent.TokenMalformed,
		`{"alg":"EdDSA","crit":["x"],"x":1,"kid":"k1","typ":"intent+jwt"}`:           intent.TokenMalformed,
		`{"alg":"EdDSA","crit":[],"kid":"k1","typ":"intent+jwt"}`:                    intent.TokenMalformed,
		`{"alg":"EdDSA","jwk":{"kty":"OKP"},"kid":"k1","typ":"intent+jwt"}`:          intent.TokenMalformed,
		`{"alg":"EdDSA","jku":"https://evil.example","kid":"k1","typ":"intent+jwt"}`: intent.TokenMalformed,
		`{"alg":"EdDSA","zip":"DEF","kid":"k1","typ":"intent+jwt"}`:                  intent.TokenMalformed,
		`{"Alg":"EdDSA","alg":"EdDSA","kid":"k1","typ":"intent+jwt"}`:                intent.TokenMalformed,
		`["EdDSA"]`:  intent.TokenMalformed,
		`null`:       intent.TokenMalformed,
		``:           intent.TokenMalformed,
		`{`:          intent.TokenMalformed,
		header + ` `: "",
		header:       "",
	} {
		t.Run(head, func(t *testing.T) {
			_, err := w.verifier.Token(sign(head, good, secret("issuer")), now)
			if want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			refused(t, err, want)
		})
	}
}

func TestTokensInAnyOtherSpellingAreRefused(t *testing.T) {
	w := newWorld(t, one(""))
	good := string(w.mint(t, nil))
	part := strings.Split(good, ".")
	// 64 signature bytes leave four unused bits in the last character: another letter there means the
	// same bytes to a lax decoder.
	last := part[2][len(part[2])-1]
	var stray string
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		if byte(c) != last {
			lax, err := base64.RawURLEncoding.DecodeString(part[2][:len(part[2])-1] + string(c))
			strict, _ := base64.RawURLEncoding.DecodeString(part[2])
			if err == nil && string(lax) == string(strict) {
				stray = part[2][:len(part[2])-1] + string(c)
			}
		}
	}
	for name, raw := range map[string]string{
		"empty": "", "dots only": "..", "two parts": part[0] + "." + part[1], "four parts": good + ".x", "trailing dot": good + ".",
		"leading dot": "." + good, "padded signature": good + "==", "padded claims": part[0] + "." + part[1] + "=." + part[2],
		"line feed at the end": good + "\n", "line feed inside": good[:40] + "\n" + good[40:], "carriage return inside": good[:40] + "\r" + good[40:],
		"blank before": " " + good, "blank after": good + " ", "standard alphabet": part[0] + "." + part[1] + "." + strings.NewReplacer("-", "+", "_", "/").Replace(part[2]) + "+",
		"stray bits": part[0] + "." + part[1] + "." + stray, "null byte": good + "\x00", "too long": part[0] + "." + strings.Repeat("A", 4096) + "." + part[2],
		"json serialization": `{"protected":"` + part[0] + `","payload":"` + part[1] + `","signature":"` + part[2] + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.verifier.Token([]byte(raw), now)
			refused(t, err, intent.TokenMalformed)
		})
	}
}

func TestEveryClaimStandsOnceAndHasItsType(t *testing.T) {
	w := newWorld(t, one(""))
	good := body(t, w.mint(t, nil))
	replace := func(old, new string) string {
		out := strings.Replace(good, old, new, 1)
		if out == good {
			t.Fatalf("%q is not in the claims", old)
		}
		return out
	}
	for _, bad := range []string{
		`{}`, `[]`, `null`, `""`, `1`, good + `{}`, good[:len(good)-1],
		replace(`{"agent"`, `{"agent":"agt_2","agent"`), replace(`{"agent"`, `{"\u0061gent":"agt_2","agent"`),
		replace(`,"tenant":"acme"`, ``), replace(`"tenant":"acme"`, `"tenant":""`), replace(`"tenant":"acme"`, `"tenant":null`), replace(`"tenant":"acme"`, `"Tenant":"acme"`),
		replace(`"aud":"gate.example"`, `"aud":["gate.example"]`), replace(`"cnf":{"kid":"key_1"}`, `"cnf":{}`), replace(`"cnf":{"kid":"key_1"}`, `"cnf":"key_1"`),
		replace(`"cnf":{"kid":"key_1"}`, `"cnf":{"kid":"key_1","jwk":{}}`), replace(`"cnf":{"kid":"key_1"}`, `"cnf":{"kid":"key_1","jkt":"x"}`), replace(`"cnf":{"kid":"key_1"}`, `"cnf":{"jkt":"key_1"}`), replace(`"exp":1800000300`, `"exp":"1800000300"`), replace(`"exp":1800000300`, `"exp":1800000300.5`),
		replace(`"exp":1800000300`, `"exp":1.8e9`), replace(`"exp":1800000300`, `"exp":-1`), replace(`"exp":1800000300`, `"exp":null`),
		replace(`"plan_size":1`, `"plan_size":0`), replace(`"plan_size":1`, `"plan_size":65537`), replace(`"plan_size":1`, `"plan_size":4294967297`),
		replace(`"plan_root":"`, `"plan_root":"00`), replace(`{"agent"`, `{"admin":true,"agent"`), replace(`"jti":"tok_1"`, `"jti":"tok_1\u0000"`),
		replace(`"sub":"usr_1"`, `"sub":"`+strings.Repeat("u", 513)+`"`), replace(`"plan_root":"`+w.held.Root().String(), `"plan_root":"`+strings.Repeat("0", 64)),
		replace(`"plan_hash":"`+w.held.Hash().String(), `"plan_hash":"`+strings.ToUpper(w.held.Hash().String())),
	} {
		_, err := w.verifier.Token(sign(header, bad, secret("issuer")), now)
		refused(t, err, intent.TokenMalformed)
	}
	spaced := strings.Replace(good, `"tenant":"acme"`, ` "tenant" : "\u0061cme" `, 1)
	tok, err := w.verifier.Token(sign(header, spaced, secret("issuer")), now)
	if err != nil || !reflect.DeepEqual(tok.Claims(), w.claims) {
		t.Fatalf("equal claims in another spelling: %+v, %v", tok, err)
	}
}

func TestOnlyThePinnedKeyOfThePinnedIssuerSigns(t *testing.T) {
	w := newWorld(t, one(""))
	good := w.mint(t, nil)
	_, err := w.verifier.Token(sign(header, body(t, good), secret("somebody")), now)
	refused(t, err, intent.TokenSignature)

	other := intent.Signer{Issuer: "https://other.example", KeyID: keyID, Key: secret("other")}
	raw, err := other.Mint(w.claims)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.verifier.Token([]byte(raw), now)
	refused(t, err, intent.TokenIssuer)

	// Both issuers pinned, with the same key id: each key signs for its own issuer only.
	if err := w.keys.Add(other.Issuer, keyID, public("other"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.verifier.Token([]byte(raw), now); err != nil {
		t.Fatal(err)
	}
	cross := intent.Signer{Issuer: issuer, KeyID: keyID, Key: secret("other")}
	if raw, err = cross.Mint(w.claims); err != nil {
		t.Fatal(err)
	}
	_, err = w.verifier.Token([]byte(raw), now)
	refused(t, err, intent.TokenSignature)
}

func TestAnyChangedBitOfATokenIsRefused(t *testing.T) {
	w := newWorld(t, one(""))
	good := w.mint(t, nil)
	if _, err := w.verifier.Token(good, now); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1 << (i % 8)
		if _, err := w.verifier.Token(bad, now); err == nil {
			t.Fatalf("accepted with bit %d of byte %d flipped", i%8, i)
		}
		if _, err := w.verifier.Token(good[:i], now); err == nil {
			t.Fatalf("accepted when cut to %d bytes", i)
		}
	}
}

func TestAMalleatedSignatureIsRefused(t *testing.T) {
	w := newWorld(t, one(""))
	part := strings.Split(string(w.mint(t, nil)), ".")
	sig, err := base64.RawURLEncoding.DecodeString(part[2])
	if err != nil {
		t.Fatal(err)
	}
	// S + L is the same scalar: RFC 8032 section 5.1.7 demands S < L.
	order := []byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 31: 0x10}
	carry := 0
	for i := range order {
		sum := int(sig[32+i]) + int(order[i]) + carry
		sig[32+i], carry = byte(sum), sum>>8
	}
	_, err = w.verifier.Token([]byte(part[0]+"."+part[1]+"."+base64.RawURLEncoding.EncodeToString(sig)), now)
	refused(t, err, intent.TokenSignature)
}

func TestTokensHoldOnlyInTheirTime(t *testing.T) {
	w := newWorld(t, one(""))
	at := now.Unix()
	for name, c := range map[string]struct {
		change func(*intent.Claims)
		at     time.Time
		want   intent.Reason
	}{
		"last second":               {at: now.Add(299 * time.Second)},
		"expired this second":       {at: now.Add(300 * time.Second), want: intent.TokenExpired},
		"expired by one second":     {at: now.Add(301 * time.Second), want: intent.TokenExpired},
		"expired long ago":          {at: now.Add(1e6 * time.Second), want: intent.TokenExpired},
		"not before within leeway":  {change: func(c *intent.Claims) { c.NotBefore = at + 30 }},
		"not before beyond leeway":  {change: func(c *intent.Claims) { c.NotBefore = at + 31 }, want: intent.TokenNotYet},
		"issued in the far future":  {change: func(c *intent.Claims) { c.IssuedAt, c.Expires, c.PlanExpires = at+1000, at+1300, at+9999 }, want: intent.TokenNotYet},
		"issued beyond leeway":      {change: func(c *intent.Claims) { c.IssuedAt = at + 31 }, want: intent.TokenNotYet},
		"clock set back":            {at: now.Add(-31 * time.Second), want: intent.TokenNotYet},
		"as long as allowed":        {change: func(c *intent.Claims) { c.Expires, c.PlanExpires = at+3600, at+3600 }},
		"one second too long":       {change: func(c *intent.Claims) { c.Expires, c.PlanExpires = at+3601, at+3601 }, want: intent.TokenLifetime},
		"backdated to look shorter": {change: func(c *intent.Claims) { c.IssuedAt, c.NotBefore = at-3500, at-3500 }, want: intent.TokenLifetime},
		"for another audience":      {change: func(c *intent.Claims) { c.Audience = "gate.example.evil" }, want: intent.TokenAudience},
		"audience in capitals":      {change: func(c *intent.Claims) { c.Audience = "Gate.Example" }, want: intent.TokenAudience},
	} {
		t.Run(name, func(t *testing.T) {
			if c.at.IsZero() {
				c.at = now
			}
			raw := w.mint(t, c.change)
			for _, pass := range []string{"cold", "warm"} {
				_, err := w.verifier.Token(raw, c.at)
				if c.want == "" && err != nil {
					t.Fatal(pass, err)
				}
				if c.want != "" {
					refused(t, err, c.want)
				}
			}
		})
	}
	// What Mint refuses to sign is refused when somebody signs it anyway.
	for _, bad := range []string{`"exp":1800003601`, `"exp":1800000000`, `"exp":1799999999`} {
		text := strings.Replace(body(t, w.mint(t, nil)), `"exp":1800000300`, bad, 1)
		_, err := w.verifier.Token(sign(header, text, secret("issuer")), now.Add(-time.Hour))
		refused(t, err, intent.TokenLifetime)
	}
}

func TestMintRefusesWhatVerifiersWould(t *testing.T) {
	w := newWorld(t, one(""))
	for name, change := range map[string]func(*intent.Claims, *intent.Signer){
		"no tenant":         func(c *intent.Claims, _ *intent.Signer) { c.Tenant = "" },
		"no key id":         func(c *intent.Claims, _ *intent.Signer) { c.KeyID = "" },
		"no steps":          func(c *intent.Claims, _ *intent.Signer) { c.PlanSize = 0 },
		"outlives its plan": func(c *intent.Claims, _ *intent.Signer) { c.Expires = c.PlanExpires + 1 },
		"never valid":       func(c *intent.Claims, _ *intent.Signer) { c.Expires = c.IssuedAt },
		"no signing key":    func(_ *intent.Claims, s *intent.Signer) { s.Key = nil },
		"short signing key": func(_ *intent.Claims, s *intent.Signer) { s.Key = ed25519.PrivateKey(make([]byte, 32)) },
		"no kid":            func(_ *intent.Claims, s *intent.Signer) { s.KeyID = "" },
		"no issuer":         func(_ *intent.Claims, s *intent.Signer) { s.Issuer = "" },
		"zero root":         func(c *intent.Claims, _ *intent.Signer) { c.PlanRoot = [32]byte{} },
		"control character": func(c *intent.Claims, _ *intent.Signer) { c.Agent = "a\nb" },
	} {
		t.Run(name, func(t *testing.T) {
			c, s := w.claims, w.signer
			change(&c, &s)
			if raw, err := s.Mint(c); err == nil {
				t.Fatalf("minted %s", raw)
			}
		})
	}
}

func TestAVerifierWithoutConfigurationRefusesEverything(t *testing.T) {
	w := newWorld(t, one(""))
	raw := w.mint(t, nil)
	for _, c := range []intent.VerifierConfig{
		{}, {Audience: audience, Keys: w.keys}, {Keys: w.keys, MaxLifetime: time.Hour}, {Audience: audience, MaxLifetime: time.Hour},
	} {
		if _, err := intent.NewVerifier(c).Token(raw, now); err == nil {
			t.Fatalf("%+v accepts", c)
		}
	}
	if _, err := intent.NewVerifier(intent.VerifierConfig{Audience: audience, Keys: w.keys, MaxLifetime: time.Hour}).Token(raw, now); err != nil {
		t.Fatalf("without a cache: %v", err)
	}
}
