package bearer_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity/bearer"
)

var (
	edKey  = sync.OnceValue(func() ed25519.PrivateKey { _, k, _ := ed25519.GenerateKey(rand.Reader); return k })
	ecKey  = sync.OnceValue(func() *ecdsa.PrivateKey { k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); return k })
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey { k, _ := rsa.GenerateKey(rand.Reader, 2048); return k })
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func object(v any) []byte { b, _ := json.Marshal(v); return b }

// issuer is an authorization server of a test: metadata and keys over HTTP, each counted.
type issuer struct {
	*httptest.Server
	mu      sync.Mutex
	keys    []map[string]any
	answer  http.HandlerFunc // in place of the keys
	meta    map[string]any
	fetched atomic.Int64
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		switch r.URL.Path {
		case "/.well-known/oauth-authorization-server":
			_, _ = w.Write(object(i.meta))
		case "/keys":
			i.fetched.Add(1)
			if i.answer != nil {
				i.answer(w, r)
				return
			}
			_, _ = w.Write(object(map[string]any{"keys": i.keys}))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(i.Close)
	i.meta = map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"}
	point, _ := ecKey().PublicKey.Bytes()
	i.keys = []map[string]any{
		{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(edKey().Public().(ed25519.PublicKey))},
		{"kty": "EC", "crv": "P-256", "kid": "ec", "x": b64(point[1:33]), "y": b64(point[33:])},
		{"kty": "RSA", "kid": "rsa", "n": b64(rsaKey().N.Bytes()), "e": b64(big.NewInt(int64(rsaKey().E)).Bytes())},
	}
	return i
}

func (i *issuer) set(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

// sign makes a token. The header's alg says how.
func sign(head, claims map[string]any) []byte {
	msg := b64(object(head)) + "." + b64(object(claims))
	sum := sha256.Sum256([]byte(msg))
	var sig []byte
	switch head["alg"] {
	case "EdDSA":
		sig = ed25519.Sign(edKey(), []byte(msg))
	case "ES256":
		r, s, _ := ecdsa.Sign(rand.Reader, ecKey(), sum[:])
		sig = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case "RS256":
		sig, _ = rsa.SignPKCS1v15(rand.Reader, rsaKey(), crypto.SHA256, sum[:])
	case "PS256":
		sig, _ = rsa.SignPSS(rand.Reader, rsaKey(), crypto.SHA256, sum[:], nil)
	case "HS256": // with the public key for a secret: who confuses the two takes it
		m := hmac.New(sha256.New, edKey().Public().(ed25519.PublicKey))
		m.Write([]byte(msg))
		sig = m.Sum(nil)
	}
	return []byte(msg + "." + b64(sig))
}

// world is a set that trusts one issuer, under a clock of its own.
type world struct {
	t      *testing.T
	issuer *issuer
	set    *bearer.Set
	clock  atomic.Int64
}

const gate = "https://gate.example"

func (w *world) now() time.Time { return time.Unix(w.clock.Load(), 0) }

func (w *world) server() bearer.Server {
	return bearer.Server{
		Name: "corp", Tenant: "acme", Issuer: w.issuer.URL, AllowPrivate: true, Algorithms: []string{"EdDSA", "ES256", "RS256", "PS256"},
		Types: []string{"at+jwt", "JWT"}, AgentClaim: "client_id", Agents: map[string]string{"client-1": "bot"},
		MaxAge: time.Hour, Leeway: 5 * time.Second, Refresh: 15 * time.Minute, Stale: time.Hour,
	}
}

func newWorld(t *testing.T, change func(*bearer.Server)) *world {
	t.Helper()
	w := &world{t: t, issuer: newIssuer(t)}
	w.clock.Store(1_800_000_000)
	s := w.server()
	if change != nil {
		change(&s)
	}
	w.set = w.trust(s)
	return w
}

func (w *world) trust(list ...bearer.Server) *bearer.Set {
	w.t.Helper()
	way := http.DefaultTransport.(*http.Transport).Clone()
	w.t.Cleanup(way.CloseIdleConnections)
	set, err := bearer.New(bearer.Options{
		Resource: gate, Now: w.now, Log: slog.New(slog.DiscardHandler), Transport: func(bool) (http.RoundTripper, error) { return way, nil },
	}, list)
	if err != nil {
		w.t.Fatal(err)
	}
	return set
}

// token is a good one with these changes; a nil value takes a member out.
func (w *world) token(head, claims map[string]any) []byte {
	h := map[string]any{"alg": "EdDSA", "kid": "ed", "typ": "at+jwt"}
	c := map[string]any{"iss": w.issuer.URL, "aud": gate + "/mcp", "client_id": "client-1", "iat": w.clock.Load(), "exp": w.clock.Load() + 600}
	maps.Copy(h, head)
	maps.Copy(c, claims)
	for _, m := range []map[string]any{h, c} {
		maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	}
	return sign(h, c)
}

func (w *world) show(raw []byte) (*bearer.Token, error) {
	return w.set.Verify(context.Background(), bearer.Shown{Raw: raw, Path: "/mcp"}, w.now())
}

// refused checks that a token is refused for this reason.
func (w *world) refused(name string, raw []byte, want bearer.Reason) {
	w.t.Helper()
	if got, err := w.show(raw); got != nil || err != want { //nolint:errorlint // the very value
		w.t.Errorf("%s: got %v, want %v", name, err, want)
	}
}

func (w *world) taken(name string, raw []byte) *bearer.Token {
	w.t.Helper()
	got, err := w.show(raw)
	if err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	return got
}
