package intent_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle/intent"
)

func load[T any](t *testing.T, name string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(vector(t, name), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWycheproofEd25519(t *testing.T) {
	suite := load[struct {
		TestGroups []struct {
			PublicKey    struct{ PK string }
			PublicKeyJwk json.RawMessage
			Tests        []struct {
				TcID             int
				Msg, Sig, Result string
			}
		}
	}](t, "wycheproof/ed25519_test.json")
	n := 0
	for _, g := range suite.TestGroups {
		key := unhex(t, g.PublicKey.PK)
		keys := intent.NewKeys()
		if err := keys.AddJWKS(issuer, append(append([]byte(`{"keys":[`), g.PublicKeyJwk...), `]}`...)); err != nil {
			t.Fatalf("JWK of a usable key: %v", err)
		}
		for _, c := range g.Tests {
			n++
			if got := intent.VerifySignature(key, unhex(t, c.Msg), unhex(t, c.Sig)); got != (c.Result == "valid") {
				t.Errorf("case %d: verified %v, want %s", c.TcID, got, c.Result)
			}
		}
	}
	if n != 151 {
		t.Fatalf("%d cases, want 151", n)
	}
}

func TestCCTVEdgeCasesHaveTheStandardLibrarysVerdict(t *testing.T) {
	cases := load[[]struct {
		Number        int
		Key, Sig, Msg string
		Flags         []string
	}](t, "ed25519/cctv.json")
	weak := 0
	for _, c := range cases {
		key, sig := unhex(t, c.Key), unhex(t, c.Sig)
		want := len(key) == ed25519.PublicKeySize && len(sig) == ed25519.SignatureSize && ed25519.Verify(key, []byte(c.Msg), sig)
		if got := intent.VerifySignature(key, []byte(c.Msg), sig); got != want {
			t.Errorf("case %d: verified %v, crypto/ed25519 says %v", c.Number, got, want)
		}
		err := intent.NewKeys().Add(issuer, keyID, key, time.Time{})
		low := slices.Contains(c.Flags, "low_order_A")
		if low && err == nil {
			t.Errorf("case %d: a key of small order was pinned: %s", c.Number, c.Key)
		}
		if !low && !slices.Contains(c.Flags, "non_canonical_A") && err != nil {
			t.Errorf("case %d: an ordinary key was refused: %v", c.Number, err)
		}
		if low {
			weak++
		}
	}
	if len(cases) < 700 || weak == 0 {
		t.Fatalf("%d cases, %d of them weak keys", len(cases), weak)
	}
}

func TestSpeccheckHasTheStandardLibrarysVerdicts(t *testing.T) {
	cases := load[[]struct {
		Message   string
		PublicKey string `json:"pub_key"`
		Signature string
	}](t, "ed25519/speccheck.json")
	got := ""
	for _, c := range cases {
		if intent.VerifySignature(unhex(t, c.PublicKey), unhex(t, c.Message), unhex(t, c.Signature)) {
			got += "V"
		} else {
			got += "."
		}
	}
	if got != "VVVV.......V" {
		t.Fatalf("verdicts %s, want VVVV.......V", got)
	}
}

// None of these is an intent token, so every single one is refused, whatever the suite says of it, and
// none panics. With their own public keys pinned under every key id they name, the reason is never the
// lack of a key.
func TestWycheproofJSONWebSignaturesNeverPassAsIntentTokens(t *testing.T) {
	type group struct {
		Public, Private json.RawMessage
		Tests           []struct {
			TcID int
			JWS  json.RawMessage
		}
	}
	for _, name := range []string{"json_web_signature_test.json", "json_web_key_test.json"} {
		suite := load[struct{ TestGroups []group }](t, "wycheproof/"+name)
		w := newWorld(t, one(""))
		n := 0
		for _, g := range suite.TestGroups {
			for _, c := range g.Tests {
				n++
				raw := c.JWS
				var text string
				if json.Unmarshal(c.JWS, &text) == nil {
					raw = []byte(text)
				}
				if tok, err := w.verifier.Token(raw, now); err == nil {
					t.Errorf("%s case %d passed as %+v", name, c.TcID, tok.Claims())
				}
			}
		}
		if n < 26 {
			t.Fatalf("%d cases in %s", n, name)
		}
	}
}

// Their key sets are of symmetric, RSA and EC keys, mixed, private, or with doubled ids: none holds a
// key that may sign a token, and none is accepted.
func TestWycheproofKeySetsPinNothing(t *testing.T) {
	suite := load[struct {
		TestGroups []struct {
			Comment         string
			Public, Private json.RawMessage
		}
	}](t, "wycheproof/json_web_key_test.json")
	for _, g := range suite.TestGroups {
		for _, set := range []json.RawMessage{g.Public, g.Private} {
			if set == nil {
				continue
			}
			keys := intent.NewKeys()
			if err := keys.AddJWKS(issuer, set); err == nil {
				t.Errorf("%s: accepted %s", g.Comment, keys.JWKS(issuer))
			}
		}
	}
}

func jwk(id, name, more string) string {
	return `{"kty":"OKP","crv":"Ed25519","kid":"` + id + `","x":"` + base64.RawURLEncoding.EncodeToString(public(name)) + `"` + more + `}`
}

func TestKeySetsThatCannotBeTrustedAreRefusedWhole(t *testing.T) {
	good := jwk("a", "a", "")
	for name, set := range map[string]string{
		"not JSON": `{`, "no keys": `{}`, "keys not an array": `{"keys":{}}`, "empty": `{"keys":[]}`,
		"private part": `{"keys":[` + good + `,` + jwk("b", "b", `,"d":"AAAA"`) + `]}`, "symmetric": `{"keys":[` + good + `,{"kty":"oct","k":"AAAA","kid":"s"}]}`,
		"symmetric without k": `{"keys":[` + good + `,{"kty":"oct","kid":"s"}]}`, "doubled id": `{"keys":[` + good + `,` + jwk("a", "b", "") + `]}`,
		"doubled member": `{"keys":[{"kty":"RSA","kty":"OKP","crv":"Ed25519","kid":"a","x":"AA"}]}`, "no id": `{"keys":[` + jwk("", "a", "") + `]}`,
		"short key": `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AAAA"}]}`, "padded key": `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"` + base64.URLEncoding.EncodeToString(public("a")) + `"}]}`,
		"weak key":          `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"` + base64.RawURLEncoding.EncodeToString(make([]byte, 32)) + `"}]}`,
		"only another kind": `{"keys":[{"kty":"EC","crv":"P-256","kid":"e","x":"AA","y":"AA"}]}`, "only for encryption": `{"keys":[` + jwk("a", "a", `,"use":"enc"`) + `]}`,
		"another algorithm": `{"keys":[` + jwk("a", "a", `,"alg":"HS256"`) + `]}`, "not an object": `{"keys":["a"]}`,
		"too many": `{"keys":[` + string(bytes.Repeat([]byte(good+","), 64)) + good + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			keys := intent.NewKeys()
			if err := keys.AddJWKS(issuer, []byte(set)); err == nil {
				t.Fatal("accepted")
			}
			if got := string(keys.JWKS(issuer)); got != `{"keys":[]}` {
				t.Fatalf("something of it was pinned: %s", got)
			}
		})
	}
}

func TestKeySetsGoOutAndComeInAlike(t *testing.T) {
	keys := intent.NewKeys()
	mixed := `{"keys":[` + jwk("b", "b", `,"alg":"EdDSA","use":"sig","key_ops":["verify"],"x5t":"?"`) + `,{"kty":"EC","crv":"P-256","kid":"e","x":"AA","y":"AA"},` + jwk("a", "a", "") + `]}`
	if err := keys.AddJWKS(issuer, []byte(mixed)); err != nil {
		t.Fatal(err)
	}
	again := intent.NewKeys()
	if err := again.AddJWKS(issuer, keys.JWKS(issuer)); err != nil {
		t.Fatal(err)
	}
	if a, b := keys.JWKS(issuer), again.JWKS(issuer); !bytes.Equal(a, b) || !bytes.Contains(a, []byte(`"kid":"a"`)) || !bytes.Contains(a, []byte(`"kid":"b"`)) || bytes.Contains(a, []byte(`"e"`)) {
		t.Fatalf("%s\n%s", a, b)
	}
	if err := keys.Add(issuer, "a", public("other"), time.Time{}); err == nil {
		t.Fatal("a key id changed hands")
	}
}
