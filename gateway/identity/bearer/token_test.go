package bearer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"reflect"
	"testing"

	"github.com/gatewright/gatewright/gateway/identity/bearer"
)

type m = map[string]any

func TestATokenOfEachAlgorithmIsForItsAgent(t *testing.T) {
	w := newWorld(t, nil)
	for alg, kid := range map[string]string{"EdDSA": "ed", "ES256": "ec", "RS256": "rsa", "PS256": "rsa"} {
		got := w.taken(alg, w.token(m{"alg": alg, "kid": kid}, nil))
		if got.Agent() != "bot" || got.Tenant() != "acme" || got.Server() != "corp" || got.User() != "" {
			t.Errorf("%s: %s of %s by %s for %q", alg, got.Agent(), got.Tenant(), got.Server(), got.User())
		}
	}
	if n := w.issuer.fetched.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestWhatIsNotExactlyATokenForThisGatewayIsRefused(t *testing.T) {
	w := newWorld(t, func(s *bearer.Server) { s.Algorithms = []string{"EdDSA", "RS256"} })
	now := w.clock.Load()
	good := w.token(nil, nil)
	other := newWorld(t, nil)
	for _, c := range []struct {
		name         string
		head, claims m
		want         bearer.Reason
	}{
		{"alg none", m{"alg": "none"}, nil, bearer.Malformed},
		{"the public key as a secret", m{"alg": "HS256"}, nil, bearer.Algorithm},
		{"an algorithm that is not allowed", m{"alg": "ES256", "kid": "ec"}, nil, bearer.Algorithm},
		{"a key of another algorithm", m{"alg": "RS256", "kid": "ed"}, nil, bearer.Key},
		{"no kid", m{"kid": nil}, nil, bearer.Key},
		{"a key that it brings", m{"jwk": m{"kty": "OKP"}}, nil, bearer.Malformed},
		{"a key that it points to", m{"jku": "https://evil.example"}, nil, bearer.Malformed},
		{"critical extension", m{"crit": []string{"b64"}}, nil, bearer.Malformed},
		{"no typ", m{"typ": nil}, nil, bearer.Type},
		{"another typ", m{"typ": "logout+jwt"}, nil, bearer.Type},
		{"an ID token", nil, m{"nonce": "n"}, bearer.Type},
		{"another issuer", nil, m{"iss": other.issuer.URL}, bearer.Issuer},
		{"an issuer with a slash more", nil, m{"iss": w.issuer.URL + "/"}, bearer.Issuer},
		{"no issuer", nil, m{"iss": nil}, bearer.Issuer},
		{"two issuers", nil, m{"iss": []string{w.issuer.URL}}, bearer.Issuer},
		{"another gateway", nil, m{"aud": "https://other.example/mcp"}, bearer.Audience},
		{"a gateway whose name begins like this one's", nil, m{"aud": gate + ".evil.example/mcp"}, bearer.Audience},
		{"one server, on the path of all", nil, m{"aud": gate + "/mcp/docs"}, bearer.Audience},
		{"no audience", nil, m{"aud": nil}, bearer.Claims},
		{"an audience that is no text", nil, m{"aud": []any{gate, 1}}, bearer.Claims},
		{"expired this second", nil, m{"exp": now}, bearer.Expired},
		{"expired by a second", nil, m{"exp": now - 1}, bearer.Expired},
		{"no expiry", nil, m{"exp": nil}, bearer.Claims},
		{"expiry as text", nil, m{"exp": "2100000000"}, bearer.Claims},
		{"no iat", nil, m{"iat": nil}, bearer.Claims},
		{"made in the future", nil, m{"iat": now + 6}, bearer.Early},
		{"made far in the future", nil, m{"iat": now + 1e9, "exp": now + 2e9}, bearer.Early},
		{"made in the future, valid since long", nil, m{"iat": now + 6, "nbf": now - 60}, bearer.Early},
		{"not valid yet", nil, m{"nbf": now + 6}, bearer.Early},
		{"too old, whatever exp says", nil, m{"iat": now - 3600, "exp": now + 3600}, bearer.Expired},
		{"a client that is nobody", nil, m{"client_id": "client-2"}, bearer.Unmapped},
		{"no client", nil, m{"client_id": nil}, bearer.Unmapped},
		{"an empty client", nil, m{"client_id": ""}, bearer.Claims},
		{"azp is another client", nil, m{"azp": "client-2"}, bearer.Claims},
		{"a client that is no text", nil, m{"client_id": []string{"client-1"}}, bearer.Claims},
		{"bound to a DPoP key", nil, m{"cnf": m{"jkt": "x"}}, bearer.Bound},
		{"bound to a certificate that is not shown", nil, m{"cnf": m{"x5t#S256": "x"}}, bearer.Bound},
		{"bound to nothing", nil, m{"cnf": m{}}, bearer.Bound},
		{"bound to what is no object", nil, m{"cnf": "x"}, bearer.Claims},
	} {
		w.refused(c.name, w.token(c.head, c.claims), c.want)
	}
	w.taken("the good one", good)
	w.taken("azp alone", w.token(nil, m{"client_id": nil, "azp": "client-1"}))
	for i := range good {
		bad := bytes.Clone(good)
		if bad[i] ^= 1; bad[i] == '.' || good[i] == '.' {
			continue
		}
		if got, err := w.show(bad); err == nil {
			t.Fatalf("byte %d changed, and taken: %v", i, got)
		}
	}
}

func TestATokenIsForTheAddressThatItNames(t *testing.T) {
	w := newWorld(t, func(s *bearer.Server) { s.Audiences = []string{"api://gate"} })
	for _, c := range []struct {
		aud, path string
		want      bool
	}{
		{gate, "/mcp", true}, {gate + "/", "/mcp/docs", true}, {gate + "/mcp", "/mcp/docs", true}, {gate + "/mcp", "/api/v1/plans", true},
		{gate + "/mcp/docs", "/mcp/docs", true}, {gate + "/mcp/docs", "/mcp/mail", false}, {gate + "/mcp/docs", "/mcp", false},
		{gate + "/mcp/docs", "/api/v1/plans", false}, {gate + "/mcp/docs", "", false}, {gate + "/mcp/docs/", "/mcp/docs", false},
		{gate + "/api", "/api", false}, {"api://gate", "/mcp", true}, {"api://gate/", "/mcp", false}, {"", "/mcp", false},
	} {
		_, err := w.set.Verify(context.Background(), bearer.Shown{Raw: w.token(nil, m{"aud": []string{"https://other.example", c.aud}}), Path: c.path}, w.now())
		if (err == nil) != c.want {
			t.Errorf("%s at %s: %v", c.aud, c.path, err)
		}
	}
}

func TestARememberedTokenEndsWithItsTime(t *testing.T) {
	w := newWorld(t, nil)
	raw := w.token(nil, m{"exp": w.clock.Load() + 10})
	w.taken("first", raw)
	w.clock.Add(9)
	w.taken("in its last second", raw)
	w.clock.Add(1)
	w.refused("after it", raw, bearer.Expired)
}

func TestOneIssuerOfTwoOrganisationsOpensTheOneThatTheTokenNames(t *testing.T) {
	w := newWorld(t, nil)
	acme, beta, loose := w.server(), w.server(), w.server()
	acme.Claims = map[string]string{"org_id": "a"}
	beta.Name, beta.Tenant, beta.Claims = "beta", "beta", map[string]string{"org_id": "b"}
	w.set = w.trust(acme, beta)
	if got := w.taken("b", w.token(nil, m{"org_id": "b"})); got.Tenant() != "beta" {
		t.Errorf("tenant %s", got.Tenant())
	}
	w.refused("no organisation", w.token(nil, nil), bearer.Issuer)
	w.refused("a third", w.token(nil, m{"org_id": "c"}), bearer.Issuer)
	w.refused("both", w.token(nil, m{"org_id": []string{"a", "b"}}), bearer.Issuer)
	loose.Name, loose.Tenant = "loose", "loose"
	w.set = w.trust(acme, loose)
	w.refused("one that is for two", w.token(nil, m{"org_id": "a"}), bearer.Issuer)
}

func TestABoundTokenNeedsItsCertificate(t *testing.T) {
	w := newWorld(t, nil)
	mine, theirs := []byte("my certificate"), []byte("another")
	print := sha256.Sum256(mine)
	raw := w.token(nil, m{"cnf": m{"x5t#S256": b64(print[:])}})
	for _, c := range []struct {
		name string
		cert []byte
		ok   bool
	}{{"its own", mine, true}, {"another", theirs, false}, {"none", nil, false}, {"its own again", mine, true}} {
		if _, err := w.set.Verify(context.Background(), bearer.Shown{Raw: raw, Path: "/mcp", Certificate: c.cert}, w.now()); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	raw = w.token(nil, m{"cnf": m{"x5t#S256": b64(print[:]), "jkt": "x"}})
	if _, err := w.set.Verify(context.Background(), bearer.Shown{Raw: raw, Path: "/mcp", Certificate: mine}, w.now()); err == nil {
		t.Error("a binding that nobody checked was passed over")
	}
}

func TestScopesThatAnOperationNeedsAreNamedTogether(t *testing.T) {
	w := newWorld(t, func(s *bearer.Server) {
		s.Scopes = []string{"mcp"}
		s.Operations = []bearer.Need{{Op: "tools/call", Scopes: []string{"call"}}, {Op: "tools/call", Server: "bank", Name: "pay", Scopes: []string{"pay"}}}
	})
	for _, c := range []struct {
		scope        any
		op, on, name string
		want         []string
	}{
		{"mcp", "tools/list", "", "", nil},
		{nil, "tools/list", "", "", []string{"mcp"}},
		{"mcp", "tools/call", "docs", "read", []string{"call", "mcp"}},
		{"mcp call", "tools/call", "docs", "read", nil},
		{"mcp call other", "tools/call", "bank", "pay", []string{"call", "mcp", "pay"}},
		{"pay mcp", "tools/call", "docs", "read", []string{"call", "mcp", "pay"}},
		{[]string{"mcp", "call", "pay"}, "tools/call", "bank", "pay", nil},
		{"mcp callpay", "tools/call", "bank", "pay", []string{"call", "mcp", "pay"}},
		{1, "tools/list", "", "", []string{"mcp"}},
	} {
		got := w.taken("token", w.token(nil, m{"scope": c.scope})).Lacks(c.op, c.on, c.name)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v for %s %s/%s: %v, want %v", c.scope, c.op, c.on, c.name, got, c.want)
		}
	}
}
