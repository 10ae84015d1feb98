package armoriq

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/intent"
)

func newDialect(t *testing.T) *Dialect {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &Dialect{Signer: intent.Signer{Issuer: "gatewright", KeyID: "k1", Key: key}, JSON: canon.DefaultLimits(), Now: time.Now}
}

// issue is a token object of the dialect's, as JSON by member.
func issue(t *testing.T, d *Dialect, id string, policy string) map[string]json.RawMessage {
	t.Helper()
	now := time.Now().Unix()
	c := intent.Claims{
		Subject: "usr_1", Audience: "gatewright", ID: id, Tenant: "demo", Agent: "agt_1", KeyID: "key_1", PlanID: "pln_1", PlanNonce: strings.Repeat("A", 22),
		PlanHash: merkle.LeafHash([]byte("hash")), PlanRoot: merkle.LeafHash([]byte("root")), PlanSize: 1, IssuedAt: now, NotBefore: now, Expires: now + 60, PlanExpires: now + 600,
	}
	jwt, err := d.Signer.Mint(c)
	if err != nil {
		t.Fatal(err)
	}
	var p []byte
	if policy != "" {
		p = []byte(policy)
	}
	o, err := d.sealOuter(jwt, c, "usr_1|agt_1", p)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]json.RawMessage{}
	if err := json.Unmarshal(asJSON(t, o), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func opened(t *testing.T, d *Dialect, v any) (string, error) {
	t.Helper()
	return d.openToken(asJSON(t, v), "/token")
}

func isSignature(err error) bool {
	var d *pipeline.Denial
	return errors.As(err, &d) && d.Code == "token_signature"
}

// TestATokenObjectIsTakenAsItWasIssued: in each of the places where a client carries it, and in whatever order.
func TestATokenObjectIsTakenAsItWasIssued(t *testing.T) {
	for _, policy := range []string{"", `{}`, `{"deny":["a/*"],"rate_limit":5,"x":{"b":1,"a":[0.5,"é\u0000😀"]}}`} {
		d := newDialect(t)
		o := issue(t, d, "tok_1", policy)
		var want string
		if err := json.Unmarshal(o["jwt"], &want); err != nil {
			t.Fatal(err)
		}
		for name, v := range map[string]any{
			"the object": o, "its compact form": want, "an answer around it": map[string]any{"token": o, "plan_id": "pln_1", "jwt_token": want},
			"an answer around that": map[string]any{"token": map[string]any{"token": o}}, "compact alone": map[string]any{"jwt_token": want}, "compact in an object": map[string]any{"jwt": want},
		} {
			for range 2 { // the second time from memory
				if got, err := opened(t, d, v); err != nil || got != want {
					t.Errorf("%s with policy %s: %q, %v", name, policy, got, err)
				}
			}
		}
		if got, err := d.openToken([]byte("{ }"), "/token"); err != nil || got != "" {
			t.Errorf("{} is %q, %v", got, err)
		}
		for _, raw := range []string{`5`, `[]`, `true`} {
			if _, err := d.openToken([]byte(raw), "/token"); !isRefused(err, "/token") {
				t.Errorf("%s: %v", raw, err)
			}
		}
	}
}

// TestATokenObjectThatWasChangedIsRefused: in any member that is signed, by another key, stripped of what grants, or put
// together from two.
func TestATokenObjectThatWasChangedIsRefused(t *testing.T) {
	d, evil := newDialect(t), newDialect(t)
	good, second, forged := issue(t, d, "tok_1", `{"deny":["a"]}`), issue(t, d, "tok_2", ""), issue(t, evil, "tok_1", `{"deny":["a"]}`)
	if _, err := opened(t, d, good); err != nil {
		t.Fatal(err)
	}
	change := func(name string, v any) map[string]json.RawMessage {
		out := maps.Clone(good)
		if v == nil {
			delete(out, name)
		} else {
			out[name] = asJSON(t, v)
		}
		return out
	}
	for name, v := range map[string][]any{
		"plan_hash": {strings.Repeat("0", 64), "", nil}, "issued_at": {1, 1.5, nil}, "expires_at": {9999999999, 1e300, nil}, "policy": {map[string]any{}, []any{}, nil, "x"},
		"identity": {"usr_2|agt_1", "", nil}, "public_key": {evil.publicKey(), "", "x", nil}, "version": {"1.1", "", nil},
		"signature": {strings.Repeat("0", 128), "", "x", nil, forged["signature"]}, "jwt": {"", "a.b.c", "x", nil, forged["jwt"]},
	} {
		for _, to := range v {
			changed := change(name, to)
			if name == "jwt" && string(changed["jwt"]) == string(forged["jwt"]) {
				continue // as good as any: the line verifies it, and its signature is not ours
			}
			if got, err := opened(t, d, changed); !isSignature(err) {
				t.Errorf("%s as %v: %q, %v", name, to, got, err)
			}
		}
	}
	if _, err := opened(t, d, forged); !isSignature(err) {
		t.Errorf("another gateway's object: %v", err)
	}
	mine := change("public_key", d.publicKey())
	mine["signature"] = forged["signature"]
	if _, err := opened(t, d, mine); !isSignature(err) {
		t.Errorf("another's signature under our key's name: %v", err)
	}
	delete(second, "jwt")
	for _, wrapped := range []any{map[string]any{"token": forged}, map[string]any{"token": change("expires_at", 9999999999)}, map[string]any{"token": map[string]any{"token": second}}} {
		if _, err := opened(t, d, wrapped); !isSignature(err) {
			t.Errorf("inside an answer: %v", err)
		}
	}
	sum, err := hex.DecodeString(strings.Trim(string(good["signature"]), `"`))
	if err != nil || len(sum) != ed25519.SignatureSize {
		t.Errorf("the signature is %s", good["signature"])
	}
}

// TestTwoTokensThatDifferAreRefused, wherever in a request they stand.
func TestTwoTokensThatDifferAreRefused(t *testing.T) {
	d := newDialect(t)
	one, two := issue(t, d, "tok_1", ""), issue(t, d, "tok_2", "")
	read := func(body any) (string, error) {
		w := wanted{token: shown{d: d}}
		err := readObject(asJSON(t, body), "", fields{"token": w.token.at, "csrg_token": w.token.at, "intent_token": w.intentToken, "jwt_token": w.token.at})
		return w.token.jwt, err
	}
	for name, body := range map[string]any{
		"object and object":     map[string]any{"token": one, "csrg_token": two},
		"object and compact":    map[string]any{"token": one, "jwt_token": two["jwt"]},
		"object and inner":      map[string]any{"token": one, "intent_token": map[string]any{"token": two}},
		"inner and compact":     map[string]any{"intent_token": map[string]any{"token": one, "jwt_token": two["jwt"]}},
		"compact and compact":   map[string]any{"intent_token": map[string]any{"jwt_token": one["jwt"]}, "jwt_token": two["jwt"]},
		"text and object":       map[string]any{"intent_token": one["jwt"], "token": two},
		"both in one":           map[string]any{"token": map[string]any{"jwt": one["jwt"], "jwt_token": two["jwt"]}},
		"around another":        map[string]any{"token": map[string]any{"token": one, "jwt_token": two["jwt"]}},
		"around another, twice": map[string]any{"token": map[string]any{"token": map[string]any{"token": one}, "jwt": two["jwt"]}},
	} {
		if got, err := read(body); !isRefused(err, "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	same := map[string]any{"token": one, "csrg_token": one, "intent_token": map[string]any{"token": one, "jwt_token": one["jwt"]}, "jwt_token": one["jwt"]}
	if got, err := read(same); err != nil || got != strings.Trim(string(one["jwt"]), `"`) {
		t.Errorf("one token in each place: %q, %v", got, err)
	}
}

// TestWhatTheirClientsPrintDifferentlyIsNotSigned: the two of them would check two texts.
func TestWhatTheirClientsPrintDifferentlyIsNotSigned(t *testing.T) {
	d := newDialect(t)
	for _, policy := range []string{`{"a":1.0}`, `{"a":1e3}`, `{"a":-0}`, `{"a":9007199254740993}`, `{"a":0.0000001}`, `{"😀":1}`} {
		if _, err := d.sealOuter("a.b.c", intent.Claims{}, "x", []byte(policy)); !isRefused(err, "/policy") {
			t.Errorf("%s: %v", policy, err)
		}
	}
}

// TestMemoryOfTokensIsBounded.
func TestMemoryOfTokensIsBounded(t *testing.T) {
	var s outers
	for i := range maxOuters + 10 {
		s.put([32]byte{byte(i), byte(i >> 8)}, "x")
	}
	if len(s.seen) > maxOuters || len(s.seen) == 0 {
		t.Errorf("%d are remembered", len(s.seen))
	}
}
