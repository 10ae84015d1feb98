package jws_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"testing"

	"github.com/gatewright/gatewright/gateway/identity/jws"
	"github.com/gatewright/gatewright/merkle/canon"
)

// RFC 8037, appendix A.4: a JWS whose payload is no JSON object, which is nothing that is read here.
const rfc8037 = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

func signed(t testing.TB, payload string) (string, ed25519.PublicKey) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	b64 := base64.RawURLEncoding
	msg := b64.EncodeToString([]byte(`{"alg":"EdDSA"}`)) + "." + b64.EncodeToString([]byte(payload))
	return msg + "." + b64.EncodeToString(ed25519.Sign(key, []byte(msg))), key.Public().(ed25519.PublicKey)
}

func TestOnlyTheNamedAlgorithmAndKeyVerify(t *testing.T) {
	if _, err := jws.Open([]byte(rfc8037), 1000); !errors.Is(err, jws.ErrMalformed) {
		t.Errorf("text for a payload: %v", err)
	}
	text, key := signed(t, `{"a":1}`)
	if _, err := jws.Open([]byte(text), len(text)-1); !errors.Is(err, jws.ErrMalformed) {
		t.Errorf("longer than allowed: %v", err)
	}
	m, err := jws.Open([]byte(text), len(text))
	if err != nil || string(m.Payload()) != `{"a":1}` || string(m.Header()) != `{"alg":"EdDSA"}` {
		t.Fatalf("got %v", err)
	}
	other := append(ed25519.PublicKey(nil), key...)
	other[0] ^= 1
	for _, c := range []struct {
		alg  jws.Algorithm
		key  any
		want error
	}{
		{jws.EdDSA, key, nil}, {jws.EdDSA, other, jws.ErrSignature}, {jws.EdDSA, nil, jws.ErrSignature}, {jws.EdDSA, []byte(key), jws.ErrSignature},
		{jws.HS256, []byte(key), jws.ErrAlgorithm}, {"none", key, jws.ErrAlgorithm}, {"", key, jws.ErrAlgorithm}, {"EdDSA ", key, jws.ErrAlgorithm},
	} {
		if err := m.Verify(c.alg, c.key); !errors.Is(err, c.want) {
			t.Errorf("%q: got %v, want %v", c.alg, err, c.want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	text, key := signed(f, `{"a":[1,{"b":null}]}`)
	f.Add(text)
	f.Add(rfc8037)
	f.Fuzz(func(t *testing.T, raw string) {
		m, err := jws.Open([]byte(raw), 4096)
		if err != nil {
			return
		}
		for _, part := range [][]byte{m.Header(), m.Payload()} {
			if canon.KindOf(part) != '{' || canon.Check(part, canon.DefaultLimits()) != nil {
				t.Fatalf("%q is no checked object", part)
			}
		}
		if m.Verify(jws.EdDSA, key) == nil && raw != text {
			t.Fatalf("%q verifies, which nobody signed", raw)
		}
	})
}
