package gatewright_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/merkle/ledger"
)

const (
	agentKey = "ak_test_key0000000000000000000000000_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmU"
	token    = "eyJhbGciOiJFZERTQSJ9.e30.c2ln"
)

// gateway is a fake of the routes this client uses. Each test sets the handlers it needs.
type gateway struct {
	*http.ServeMux
	url string
}

func newGateway(t testing.TB) *gateway {
	t.Helper()
	g := &gateway{ServeMux: http.NewServeMux()}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+agentKey {
			answer(w, 401, `{"code":"unauthenticated","message":"no valid credential","hint":"send a key"}`)
			return
		}
		g.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	g.url = srv.URL
	return g
}

func (g *gateway) client(t testing.TB) *gatewright.Client {
	t.Helper()
	c, err := gatewright.New(gatewright.Config{URL: g.url, Key: agentKey})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (g *gateway) admin(t testing.TB) *gatewright.Admin {
	t.Helper()
	a, err := gatewright.NewAdmin(gatewright.Config{URL: g.url, Key: agentKey})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// on answers one route with a fixed status and body.
func (g *gateway) on(pattern string, status int, body string) {
	g.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { answer(w, status, body) })
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// sealed is a plan as a gateway captures it, with its answer.
func sealed(t testing.TB, draft string) (*intent.Plan, string) {
	t.Helper()
	p, err := intent.ParseDraft([]byte(draft), intent.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	p.Tenant, p.User, p.Agent = "demo", "usr_1", "agt_1"
	if err := p.Seal(strings.NewReader(strings.Repeat("0123456789abcdef", 8))); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{
		"id": "pln_1", "root": p.Tree().Root(), "hash": p.Hash(), "size": len(p.Steps), "state": "active",
		"expires": "2030-01-01T00:00:00Z", "plan": json.RawMessage(p.AppendJSON(nil)),
		"steps": []map[string]any{{"index": 0, "server": "files", "tool": "read", "uses": 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &p, string(body)
}

const (
	twoSteps = `{"goal":"g","steps":[{"server":"files","tool":"read","args":{"path":"/a"}},{"server":"files","tool":"list","after":[0]}]}`
	salt     = "AAECAwQFBgcICQoLDA0ODw"
)

// signed makes a receipt over a batch of two records, and the keys that verify it.
func signed(t testing.TB, args string) (receipt string, keys gatewright.Keys) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	origin := ledger.Origin("gatewright.local", ledger.InstanceTenant, "main")
	vk, err := ledger.NewVerifierKey(origin, key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(salt)
	if err != nil {
		t.Fatal(err)
	}
	rec := ledger.Record{
		ID: "rec_06f4k3m1v8q2c7x9z5n0b2w4ht", Time: 1_750_000_000_000_000, Tenant: "demo", Instance: "main", Kind: ledger.Settled, Step: -1,
		Op: "tools/call", Server: "files", Tool: "read", Outcome: "ok", Request: sha256.Sum256(append(raw, args...)),
	}
	r := ledger.Receipt{Origin: origin, KeyHash: vk.Hash, Index: 0, Size: 2, Leaf: rec.AppendJSON(nil), Proof: []merkle.Hash{merkle.LeafHash([]byte("other"))}}
	root, err := merkle.RootFromInclusion(r.LeafHash(), 0, 2, r.Proof)
	if err != nil {
		t.Fatal(err)
	}
	copy(r.Signature[:], ed25519.Sign(key, ledger.AppendReceiptMessage(nil, origin, 2, root)))
	return string(r.AppendText(nil)), gatewright.Keys{vk}
}
