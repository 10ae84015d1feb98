package conformance_test

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The primitives that the house stands on come from the standard library. These outside vectors hold its verdicts; those
// of Ed25519, JWS, RFC 8785, JSON parsing and RFC 6962 stand beside the packages that use them.

// wycheproof is one file of C2SP/wycheproof, testvectors_v1.
type wycheproof struct {
	NumberOfTests int
	TestGroups    []struct {
		KeySize, TagSize, IvSize int
		PublicKeyDer             string
		Tests                    []struct {
			TcID                                    int `json:"tcId"`
			Key, Msg, Tag, Iv, Aad, Ct, Sig, Result string
			Flags                                   []string
		}
	}
}

func suite(t *testing.T, name string) wycheproof {
	t.Helper()
	path := filepath.Join(root(t), "..", "shared", "vectors", "wycheproof", name)
	b, err := os.ReadFile(path)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("outside vectors are missing: %v", err)
		}
		t.Skipf("outside vectors are missing: %v", err)
	}
	var w wycheproof
	if err := json.Unmarshal(b, &w); err != nil || w.NumberOfTests == 0 {
		t.Fatalf("%s: %d tests, %v", name, w.NumberOfTests, err)
	}
	return w
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// verdict compares with the file's. "acceptable" leaves both open.
func verdict(t *testing.T, id int, result string, ok bool) {
	t.Helper()
	if result == "acceptable" {
		return
	}
	if ok != (result == "valid") {
		t.Errorf("case %d: accepted %v, the file says %s", id, ok, result)
	}
}

func TestWycheproofHMACSHA256(t *testing.T) {
	for _, g := range suite(t, "hmac_sha256_test.json").TestGroups {
		for _, c := range g.Tests {
			m := hmac.New(sha256.New, unhex(t, c.Key))
			m.Write(unhex(t, c.Msg))
			verdict(t, c.TcID, c.Result, hmac.Equal(m.Sum(nil)[:g.TagSize/8], unhex(t, c.Tag)))
		}
	}
}

func TestWycheproofAESGCM(t *testing.T) {
	ran := 0
	for _, g := range suite(t, "aes_gcm_test.json").TestGroups {
		if g.IvSize != 96 || g.TagSize != 128 {
			continue // no other form is used here
		}
		for _, c := range g.Tests {
			block, err := aes.NewCipher(unhex(t, c.Key))
			if err != nil {
				verdict(t, c.TcID, c.Result, false)
				continue
			}
			aead, err := cipher.NewGCM(block)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := aead.Open(nil, unhex(t, c.Iv), append(unhex(t, c.Ct), unhex(t, c.Tag)...), unhex(t, c.Aad))
			verdict(t, c.TcID, c.Result, err == nil && hex.EncodeToString(plain) == c.Msg)
			ran++
		}
	}
	if ran == 0 {
		t.Error("no case ran")
	}
}

func TestWycheproofSignatures(t *testing.T) {
	for _, name := range []string{"ecdsa_secp256r1_sha256_test.json", "rsa_signature_2048_sha256_test.json"} {
		for _, g := range suite(t, name).TestGroups {
			key, err := x509.ParsePKIXPublicKey(unhex(t, g.PublicKeyDer))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, c := range g.Tests {
				sum := sha256.Sum256(unhex(t, c.Msg))
				ok := false
				switch key := key.(type) {
				case *ecdsa.PublicKey:
					ok = ecdsa.VerifyASN1(key, sum[:], unhex(t, c.Sig))
				case *rsa.PublicKey:
					ok = rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], unhex(t, c.Sig)) == nil
				}
				verdict(t, c.TcID, c.Result, ok)
			}
		}
	}
}
