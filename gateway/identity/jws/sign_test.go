package jws_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/gatewright/gatewright/gateway/identity/jws"
)

func pemOf(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestWhatIsSignedOpensUnderThePublishedKey(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(nil)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rs, _ := rsa.GenerateKey(rand.Reader, 2048)
	for alg, key := range map[jws.Algorithm]crypto.Signer{jws.EdDSA: ed, jws.ES256: ec, jws.RS256: rs} {
		read, err := jws.ReadPrivateKey(pemOf(t, key))
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		token, err := jws.Sign(read, "kind+jwt", map[string]any{"aud": "https://as.example"})
		if err != nil {
			t.Fatal(err)
		}
		set, err := jws.PublicSet(read)
		if err != nil || bytes.Contains(set, []byte(`"d"`)) {
			t.Fatalf("%s %v", set, err)
		}
		keys, err := jws.ReadKeys(set, alg)
		if err != nil || len(keys) != 1 {
			t.Fatalf("%v %v", keys, err)
		}
		m, err := jws.Open([]byte(token), 8<<10)
		if err != nil {
			t.Fatal(err)
		}
		id, _ := jws.Text(m.Header(), "kid")
		typ, _ := jws.Text(m.Header(), "typ")
		if err := m.Verify(alg, keys[id]); err != nil || typ != "kind+jwt" {
			t.Errorf("%s: %v, %q", alg, err, typ)
		}
	}
}

func TestAPrivateKeyThatIsWeakOrNoneIsRefused(t *testing.T) {
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	for what, text := range map[string][]byte{
		"nothing": nil, "no PEM": []byte("sekret"), "another block": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("sekret")}),
		"no key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("sekret")}), "another curve": pemOf(t, p384),
	} {
		if _, err := jws.ReadPrivateKey(text); err == nil || bytes.Contains([]byte(err.Error()), []byte("sekret")) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestASeedIsAlwaysTheSameKey(t *testing.T) {
	for _, seed := range [][]byte{bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{0xff}, 32), make([]byte, 32)} {
		a, err := jws.SeededKey(seed)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := jws.SeededKey(seed); err != nil || !a.Equal(b) {
			t.Errorf("%x: %v", seed, err)
		}
	}
	if _, err := jws.SeededKey([]byte("short")); err == nil {
		t.Error("a short seed is taken")
	}
}
