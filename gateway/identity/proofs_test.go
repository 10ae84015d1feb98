package identity_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/merkle/intent"
)

const target = "https://gate.example/invoke"

var shown = []byte("an.intent.token")

// delegate is somebody who holds a key and makes proofs with it.
type delegate struct {
	issuer
	print string
}

func newDelegate() *delegate {
	public, key, _ := ed25519.GenerateKey(rand.Reader)
	return &delegate{
		issuer: issuer{
			sign: func(msg []byte) []byte { return ed25519.Sign(key, msg) },
			head: map[string]any{"typ": "dpop+jwt", "alg": "EdDSA", "jwk": map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64.EncodeToString(public)}},
		},
		print: intent.KeyThumbprint(public),
	}
}

func ath(token []byte) string {
	sum := sha256.Sum256(token)
	return b64.EncodeToString(sum[:])
}

// proof is a good one, changed as asked; nil takes a member out.
func (d *delegate) proof(change map[string]any) []byte {
	c := map[string]any{"jti": rand.Text(), "htm": "POST", "htu": target, "iat": start.Unix(), "ath": ath(shown)}
	for k, v := range change {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return []byte(d.raw(encode(d.head), encode(c)))
}

func TestAProofOfAnythingElseIsRefused(t *testing.T) {
	d, p := newDelegate(), identity.NewProofs(time.Minute, 1000)
	head, jwk := d.head, d.head["jwk"].(map[string]any)
	with := func(name string, v any) []byte {
		m := map[string]any{}
		maps.Copy(m, head)
		if m[name] = v; v == nil {
			delete(m, name)
		}
		other := *d
		other.head = m
		return other.proof(nil)
	}
	key := func(name string, v any) []byte {
		m := map[string]any{}
		maps.Copy(m, jwk)
		if m[name] = v; v == nil {
			delete(m, name)
		}
		return with("jwk", m)
	}
	good := string(d.proof(nil))
	other := newDelegate()
	for what, proof := range map[string][]byte{
		"empty": nil, "no JWS": []byte("x"), "cut": []byte(good[:len(good)-20]), "padded": []byte(good + "="), "huge": d.proof(map[string]any{"x": strings.Repeat("a", 5000)}),
		"a token": with("typ", "JWT"), "no typ": with("typ", nil), "an intent token": with("typ", "intent+jwt"), "typ in capitals": with("typ", "DPOP+JWT"),
		"alg none": with("alg", "none"), "alg HS256": with("alg", "HS256"), "alg ES256": with("alg", "ES256"), "no alg": with("alg", nil), "crit": with("crit", []string{"x"}), "another member": with("kid", "x"),
		"no key": with("jwk", nil), "key no object": with("jwk", "x"), "a private key": key("d", b64.EncodeToString(make([]byte, 32))), "a secret": key("k", "AAAA"), "another kty": key("kty", "EC"), "another curve": key("crv", "X25519"),
		"no x": key("x", nil), "short x": key("x", b64.EncodeToString(make([]byte, 31))), "padded x": key("x", jwk["x"].(string)+"="), "x of small order": key("x", b64.EncodeToString(append([]byte{1}, make([]byte, 31)...))),
		"another's key":  key("x", other.head["jwk"].(map[string]any)["x"]),
		"another method": d.proof(map[string]any{"htm": "GET"}), "method in small letters": d.proof(map[string]any{"htm": "post"}), "no method": d.proof(map[string]any{"htm": nil}),
		"another host": d.proof(map[string]any{"htu": "https://evil.example/invoke"}), "another scheme": d.proof(map[string]any{"htu": "http://gate.example/invoke"}), "another path": d.proof(map[string]any{"htu": target + "/"}),
		"escaped path": d.proof(map[string]any{"htu": "https://gate.example/%69nvoke"}), "capital host": d.proof(map[string]any{"htu": "https://GATE.example/invoke"}), "port": d.proof(map[string]any{"htu": "https://gate.example:443/invoke"}),
		"with a query": d.proof(map[string]any{"htu": target + "?a=b"}), "with a fragment": d.proof(map[string]any{"htu": target + "#a"}), "no url": d.proof(map[string]any{"htu": nil}),
		"no jti": d.proof(map[string]any{"jti": nil}), "empty jti": d.proof(map[string]any{"jti": ""}), "long jti": d.proof(map[string]any{"jti": strings.Repeat("j", 257)}), "jti no text": d.proof(map[string]any{"jti": 1}),
		"no iat": d.proof(map[string]any{"iat": nil}), "iat text": d.proof(map[string]any{"iat": fmt.Sprint(start.Unix())}), "old": d.proof(map[string]any{"iat": start.Unix() - 61}), "early": d.proof(map[string]any{"iat": start.Unix() + 61}),
		"no ath": d.proof(map[string]any{"ath": nil}), "another token's": d.proof(map[string]any{"ath": ath([]byte("another"))}), "hex ath": d.proof(map[string]any{"ath": fmt.Sprintf("%x", sha256.Sum256(shown))}),
	} {
		if print, err := p.Verify(proof, "POST", target, shown, start); !errors.Is(err, identity.ErrProof) || print != "" {
			t.Errorf("%s: got %q, %v", what, print, err)
		}
	}
	for what, v := range map[string][2]string{"no method": {"", target}, "no url": {"POST", ""}} {
		if _, err := p.Verify(d.proof(map[string]any{"htm": v[0], "htu": v[1]}), v[0], v[1], shown, start); !errors.Is(err, identity.ErrProof) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	if n := p.Remembered(); n != 0 {
		t.Errorf("%d refused proofs are remembered", n)
	}
	for what, proof := range map[string][]byte{
		"plain": []byte(good), "key with its use": key("use", "sig"), "just old enough": d.proof(map[string]any{"iat": start.Unix() - 60}), "just ahead": d.proof(map[string]any{"iat": start.Unix() + 60}),
	} {
		if print, err := p.Verify(proof, "POST", target+"?a=b", shown, start); err != nil || print != d.print {
			t.Errorf("%s: got %q, %v", what, print, err)
		}
	}
}

func TestAProofIsGoodOnce(t *testing.T) {
	d, p := newDelegate(), identity.NewProofs(time.Minute, 1000)
	ahead := d.proof(map[string]any{"iat": start.Unix() + 60, "jti": "one"})
	verify := func(proof []byte, at time.Duration, want error) {
		t.Helper()
		if _, err := p.Verify(proof, "POST", target, shown, start.Add(at)); !errors.Is(err, want) {
			t.Errorf("after %s: got %v, want %v", at, err, want)
		}
	}
	verify(ahead, 0, nil)
	for _, at := range []time.Duration{0, time.Minute, 2 * time.Minute} {
		verify(ahead, at, identity.ErrProofSeen)
	}
	verify(ahead, 2*time.Minute+time.Second, identity.ErrProof)
	verify(d.proof(map[string]any{"jti": "one", "iat": start.Unix() + 121}), 121*time.Second, nil) // the first is beyond its end
	verify(newDelegate().proof(map[string]any{"jti": "one", "iat": start.Unix() + 121}), 121*time.Second, nil)

	var passed atomic.Int32
	var wg sync.WaitGroup
	same, at := d.proof(map[string]any{"iat": start.Unix() + 121}), start.Add(121*time.Second)
	for range 8 {
		wg.Go(func() {
			if _, err := p.Verify(same, "POST", target, shown, at); err == nil {
				passed.Add(1)
			}
		})
	}
	wg.Wait()
	if passed.Load() != 1 {
		t.Errorf("one proof passed %d times", passed.Load())
	}
}

func TestAStrangersProofIsNotRemembered(t *testing.T) {
	d, p := newDelegate(), identity.NewProofs(time.Minute, 1000)
	if err := p.VerifyKey(d.print, newDelegate().proof(nil), "POST", target, shown, start); !errors.Is(err, identity.ErrProof) {
		t.Errorf("got %v", err)
	}
	if err := p.VerifyKey("", d.proof(nil), "POST", target, shown, start); !errors.Is(err, identity.ErrProof) {
		t.Errorf("no key asked for: got %v", err)
	}
	if n := p.Remembered(); n != 0 {
		t.Errorf("%d are remembered", n)
	}
	proof := d.proof(nil)
	if err := p.VerifyKey(d.print, proof, "POST", target, shown, start); err != nil {
		t.Errorf("got %v", err)
	}
	if err := p.VerifyKey(d.print, proof, "POST", target, shown, start); !errors.Is(err, identity.ErrProofSeen) {
		t.Errorf("got %v", err)
	}
}

// RFC 8037, appendix A.3.
func TestTheThumbprintIsTheRFCs(t *testing.T) {
	h, ctx := build(t), t.Context()
	key, _ := b64.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if c := h.accepted(h.acme.text); c.Thumbprint() != "" {
		t.Errorf("an agent without a key has thumbprint %q", c.Thumbprint())
	}
	h.must(h.RotateAgentKey(ctx, "acme", h.acme.agent.ID, key))
	for range 2 {
		c := h.accepted(h.acme.text)
		if got := c.Thumbprint(); got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
			t.Errorf("got %q", got)
		}
		if got := h.accepted(h.acme.adminText).Thumbprint(); got != "" {
			t.Errorf("a user has thumbprint %q", got)
		}
		if n := testing.AllocsPerRun(100, func() { _ = c.Thumbprint() }); n > 0 {
			t.Errorf("%v allocations", n)
		}
		h.reopen()
	}
}

func FuzzProof(f *testing.F) {
	d, p := newDelegate(), identity.NewProofs(time.Minute, 16)
	f.Add(d.proof(nil))
	f.Add([]byte("a.b.c"))
	f.Fuzz(func(t *testing.T, proof []byte) {
		if print, err := p.Verify(proof, "POST", target, shown, start); (err == nil) != (print != "") {
			t.Fatalf("%q, %v", print, err)
		}
	})
}
