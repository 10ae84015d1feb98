package intent_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
)

const (
	issuer   = "https://gate.example"
	audience = "gate.example"
	keyID    = "k1"
)

var (
	now = time.Unix(1_800_000_000, 0)
	who = intent.Bearer{Tenant: "acme", User: "usr_1", Agent: "agt_1", KeyID: "key_1"}
)

// secret derives a key from a name: every run signs alike.
func secret(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(name string) ed25519.PublicKey { return secret(name).Public().(ed25519.PublicKey) }

// stream is endless, reproducible and never the same twice in a row.
type stream struct{ n uint64 }

func (s *stream) Read(p []byte) (int, error) {
	for i := range p {
		s.n = s.n*6364136223846793005 + 1442695040888963407
		p[i] = byte(s.n >> 56)
	}
	return len(p), nil
}

// world is one sealed plan, its token and a verifier that believes it.
type world struct {
	plan     *intent.Plan
	held     *intent.Held
	claims   intent.Claims
	signer   intent.Signer
	keys     *intent.Keys
	verifier *intent.Verifier
	schema   merkle.Hash
}

func newWorld(tb testing.TB, draft string) *world {
	tb.Helper()
	p, err := intent.ParseDraft([]byte(draft), intent.DefaultLimits())
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{schema: sha256.Sum256([]byte("schema"))}
	p.Tenant, p.User, p.Agent = who.Tenant, who.User, who.Agent
	for i := range p.Steps {
		p.Steps[i].Schema = w.schema
	}
	if err := p.Seal(&stream{n: 7}); err != nil {
		tb.Fatal(err)
	}
	w.plan = &p
	if w.held, err = intent.NewHeld(&p); err != nil {
		tb.Fatal(err)
	}
	w.claims = intent.Claims{
		Issuer: issuer, Subject: who.User, Audience: audience, ID: "tok_1", Tenant: who.Tenant, Agent: who.Agent, KeyID: who.KeyID,
		PlanID: "pln_1", PlanNonce: p.Nonce, PlanHash: w.held.Hash(), PlanRoot: w.held.Root(), PlanSize: uint32(w.held.Size()),
		PolicyDigest: sha256.Sum256([]byte("bundle")),
		IssuedAt:     now.Unix(), NotBefore: now.Unix(), Expires: now.Unix() + 300, PlanExpires: now.Unix() + 3600,
	}
	w.signer = intent.Signer{Issuer: issuer, KeyID: keyID, Key: secret("issuer")}
	w.keys = intent.NewKeys()
	if err := w.keys.Add(issuer, keyID, public("issuer"), time.Time{}); err != nil {
		tb.Fatal(err)
	}
	w.verifier = w.newVerifier()
	return w
}

func (w *world) newVerifier() *intent.Verifier {
	return intent.NewVerifier(intent.VerifierConfig{Audience: audience, Keys: w.keys, CacheEntries: 1024, Leeway: 30 * time.Second, MaxLifetime: time.Hour})
}

// mint signs the world's claims after change.
func (w *world) mint(tb testing.TB, change func(*intent.Claims)) []byte {
	tb.Helper()
	c := w.claims
	if change != nil {
		change(&c)
	}
	raw, err := w.signer.Mint(c)
	if err != nil {
		tb.Fatal(err)
	}
	return []byte(raw)
}

func (w *world) token(tb testing.TB) *intent.Token {
	tb.Helper()
	t, err := w.verifier.Token(w.mint(tb, nil), now)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func (w *world) request(tool, args string) intent.Request {
	r := intent.Request{Op: "tools/call", Server: "files", Tool: tool, Schema: w.schema}
	if args != "" {
		r.Args = []byte(args)
	}
	return r
}

func (w *world) grantHeld(tb testing.TB, r intent.Request) (intent.Grant, error) {
	tb.Helper()
	return w.verifier.GrantHeld(w.token(tb), who, r, w.held, nil, now)
}

func (w *world) leaf(tb testing.TB, i int) *intent.Leaf {
	tb.Helper()
	l, err := w.verifier.Leaf([]byte(intent.EncodeLeaf(w.plan.LeafData(i))))
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// sign makes a compact JWS of any header and claims.
func sign(head, body string, key ed25519.PrivateKey) []byte {
	b64 := base64.RawURLEncoding
	signed := b64.EncodeToString([]byte(head)) + "." + b64.EncodeToString([]byte(body))
	return []byte(signed + "." + b64.EncodeToString(ed25519.Sign(key, []byte(signed))))
}

// body returns the claims of a token as JSON text.
func body(tb testing.TB, raw []byte) string {
	tb.Helper()
	b, err := base64.RawURLEncoding.DecodeString(string(bytes.Split(raw, []byte("."))[1]))
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

const header = `{"alg":"EdDSA","kid":"k1","typ":"intent+jwt"}`

// refused fails unless err has the reason, and unless nothing secret stands in its text.
func refused(tb testing.TB, err error, want intent.Reason) {
	tb.Helper()
	if err == nil {
		tb.Fatalf("accepted, want %s", want)
	}
	if got := intent.ReasonOf(err); got != want {
		tb.Fatalf("refused with %v, want %s", err, want)
	}
	if !errors.Is(err, &intent.Error{Reason: want}) {
		tb.Fatalf("errors.Is does not know %s", want)
	}
}

// vector reads an outside test vector, or skips the test where the folder is absent.
func vector(tb testing.TB, name string) []byte {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			tb.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	b, err := os.ReadFile(filepath.Join(dir, "..", "shared", "vectors", name))
	if err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatal(err)
		}
		tb.Skipf("outside vectors absent: %v", err)
	}
	return b
}

// draftOf writes a draft of n steps, tool t0, t1, ..., each with the given members.
func draftOf(n int, rest string) string {
	var b strings.Builder
	b.WriteString(`{"goal":"test","steps":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"server":"files","tool":"t%d"%s}`, i, rest)
	}
	return b.String() + `]}`
}

// one is a plan of a single step of tool "t" with the given members.
func one(rest string) string {
	if rest != "" {
		rest = "," + rest
	}
	return `{"steps":[{"server":"files","tool":"t"` + rest + `}]}`
}
