package conformance_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// The gateway as a resource server: an unmodified client finds its way from the address alone to a token, and what is no token for
// this gateway opens nothing.

// authority is a small OAuth 2.1 authorization server: metadata, the code flow with PKCE for a client that is registered, and signed
// tokens for the resource that was asked for.
type authority struct {
	*httptest.Server
	key     ed25519.PrivateKey
	mu      sync.Mutex
	codes   map[string]url.Values // what was asked for with each code
	scopes  []string              // of each token, in the order of their making
	fetches int                   // of the keys
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{codes: map[string]url.Values{}}
	_, a.key, _ = ed25519.GenerateKey(rand.Reader)
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": a.URL, "authorization_endpoint": a.URL + "/authorize", "token_endpoint": a.URL + "/token", "jwks_uri": a.URL + "/keys",
			"response_types_supported": []string{"code"}, "code_challenge_methods_supported": []string{"S256"},
			"token_endpoint_auth_methods_supported": []string{"none"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		a.fetches++
		a.mu.Unlock()
		answer(w, map[string]any{"keys": []any{map[string]any{
			"kty": "OKP", "crv": "Ed25519", "kid": "k1", "use": "sig", "alg": "EdDSA", "x": base64.RawURLEncoding.EncodeToString(a.key.Public().(ed25519.PublicKey)),
		}}})
	})
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("client_id") != "client-1" || q.Get("code_challenge_method") != "S256" || q.Get("resource") == "" {
			http.Error(w, "invalid_request", http.StatusBadRequest)
			return
		}
		code := rand.Text()
		a.mu.Lock()
		a.codes[code] = q
		a.mu.Unlock()
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		q := a.codes[r.FormValue("code")]
		delete(a.codes, r.FormValue("code"))
		a.mu.Unlock()
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		if q == nil || base64.RawURLEncoding.EncodeToString(sum[:]) != q.Get("code_challenge") || r.FormValue("resource") != q.Get("resource") {
			w.WriteHeader(http.StatusBadRequest)
			answer(w, map[string]any{"error": "invalid_grant"})
			return
		}
		a.mu.Lock()
		a.scopes = append(a.scopes, q.Get("scope"))
		a.mu.Unlock()
		answer(w, map[string]any{
			"access_token": a.token(map[string]any{"aud": q.Get("resource"), "scope": q.Get("scope")}), "token_type": "Bearer", "expires_in": 600, "scope": q.Get("scope"),
		})
	})
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

// token is one of client-1 with these claims besides.
func (a *authority) token(more map[string]any) string {
	now := time.Now().Unix()
	claims := map[string]any{"iss": a.URL, "sub": "ann", "client_id": "client-1", "iat": now, "exp": now + 600, "jti": rand.Text()}
	maps.Copy(claims, more)
	return a.sign(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}, claims)
}

func (a *authority) sign(head, claims map[string]any) string {
	h, _ := json.Marshal(head)
	c, _ := json.Marshal(claims)
	text := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(a.key, []byte(text)))
}

// trusting is a gateway that trusts the authority, with an upstream that writes down what it is sent, and the agent "worker" that
// client-1 is.
func trusting(t *testing.T, a *authority, more string) (*Gateway, *hostile, agent) {
	t.Helper()
	h := newHostile(t, func(w http.ResponseWriter, _ *http.Request, id string) { answerRPC(w, id, goodResult) })
	g := start(t, Setup{HCL: fmt.Sprintf(`
authorization_server "corp" {
  tenant        = "demo"
  iss           = %q
  allow_private = true
  agents        = ["client-1=worker"]
  scopes        = ["mcp"]
  operations    = ["tools/call h/act=act"]
  %s
}
server "h" {
  tenant        = "demo"
  url           = %q
  allow_private = true
}
`, a.URL, more, h.url)})
	var made struct{ ID string }
	g.manage(t, g.Admin(), "POST", "/api/v1/agents", map[string]any{"name": "worker"}, &made)
	g.manage(t, g.Admin(), "PUT", "/api/v1/agents/"+made.ID+"/status", map[string]any{"status": "active"}, nil)
	return g, h, agent{g: g, id: made.ID, admin: g.Admin()}
}

// withIntent adds a plan's token to requests, once there is one.
type withIntent struct {
	mu    sync.Mutex
	token string
}

func (w *withIntent) set(token string) { w.mu.Lock(); defer w.mu.Unlock(); w.token = token }

func (w *withIntent) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r = r.Clone(r.Context()); w.token != "" {
		r.Header.Set("Gatewright-Intent", w.token)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// visit is a browser whose person says yes.
func visit(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, args.URL, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		return nil, errors.Join(err, errors.New(resp.Status))
	}
	return &auth.AuthorizationResult{Code: to.Query().Get("code"), State: to.Query().Get("state")}, nil
}

func TestAStockClientFindsItsWayFromTheAddressToACall(t *testing.T) {
	for _, path := range []string{"/mcp", "/mcp/h"} {
		t.Run(path, func(t *testing.T) {
			a := newAuthority(t)
			g, h, worker := trusting(t, a, "")
			handler, err := auth.NewAuthorizationCodeHandler(&auth.AuthorizationCodeHandlerConfig{
				PreregisteredClient: &oauthex.ClientCredentials{ClientID: "client-1"}, RedirectURL: "http://127.0.0.1/back", AuthorizationCodeFetcher: visit,
			})
			if err != nil {
				t.Fatal(err)
			}
			plan := &withIntent{}
			client := mcp.NewClient(&mcp.Implementation{Name: "stock", Version: "1"}, nil)
			session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
				Endpoint: g.URL + path, HTTPClient: &http.Client{Transport: plan}, OAuthHandler: handler,
			}, nil)
			if err != nil {
				t.Fatalf("connect: %v\n%s", err, g.Log())
			}
			defer session.Close()
			tool := "act"
			if path == "/mcp" {
				tool = "h__act"
			}
			list, err := session.ListTools(t.Context(), nil)
			if err != nil || !strings.Contains(fmt.Sprint(names(list)), tool) {
				t.Fatalf("list: %v %v", names(list), err)
			}
			// The plan is captured with a token for the whole gateway: one for /mcp/NAME opens that address alone.
			worker.key = a.token(map[string]any{"aud": g.URL, "scope": "mcp"})
			_, intent := worker.planned(t, step("h", "act", `{"n":1}`))
			plan.set(intent.Token)
			out, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: map[string]any{"n": 1}})
			if err != nil || out.IsError {
				t.Fatalf("call: %v %v\n%s", out, err, g.Log())
			}
			a.mu.Lock()
			scopes := a.scopes
			a.mu.Unlock()
			if len(scopes) != 2 || scopes[0] != "mcp" || !strings.Contains(scopes[1], "act") || !strings.Contains(scopes[1], "mcp") {
				t.Errorf("scopes asked for: %q, want mcp first and act with it at the call", scopes)
			}
			if h.calls() != 1 {
				t.Errorf("%d calls arrived", h.calls())
			}
			if sent := h.requests(); strings.Contains(sent, "eyJ") || strings.Contains(strings.ToLower(sent), "authorization") {
				t.Errorf("a token went upstream:\n%s", sent)
			}
			if strings.Contains(g.Log(), "eyJ") {
				t.Error("a token stands in the log")
			}
		})
	}
}

func names(l *mcp.ListToolsResult) (list []string) {
	if l != nil {
		for _, t := range l.Tools {
			list = append(list, t.Name)
		}
	}
	return list
}

func TestStrangersAreToldWhereToGetATokenAndNothingElse(t *testing.T) {
	a := newAuthority(t)
	g, _, _ := trusting(t, a, "")
	meta := g.URL + "/.well-known/oauth-protected-resource"
	for path, at := range map[string]string{"/mcp": "/mcp", "/mcp/h": "/mcp/h", "/mcp/nothing": "/mcp/nothing", "/mcp/": "/mcp", "/nowhere": "", "/api/v1/plans": ""} {
		ans := send(t, "POST", g.URL+path, head{"Content-Type": "application/json"}, `{}`)
		want := `Bearer realm="gatewright", resource_metadata="` + meta + at + `", scope="mcp"`
		if got := ans.Header.Get("WWW-Authenticate"); ans.Status != 401 || got != want {
			t.Errorf("%s: %d %s, want %s", path, ans.Status, got, want)
		}
		var doc struct {
			Resource string
			Servers  []string `json:"authorization_servers"`
			Scopes   []string `json:"scopes_supported"`
		}
		ans = send(t, "GET", meta+at, nil, "")
		if err := json.Unmarshal([]byte(ans.Body), &doc); err != nil || doc.Resource != g.URL+at || fmt.Sprint(doc.Servers, doc.Scopes) != fmt.Sprintf("[%s] [mcp act]", a.URL) {
			t.Errorf("metadata of %s: %v %s", path, err, ans)
		}
	}
	for _, path := range []string{"/api", "/mcp/h/x", "/mcpx"} {
		if ans := send(t, "GET", meta+path, nil, ""); ans.Status != 404 {
			t.Errorf("metadata of %s: %s", path, ans)
		}
	}
}

func TestWhatIsNoTokenForThisGatewayIsRefusedInTheSameWords(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	g, h, worker := trusting(t, a, "")
	good := map[string]any{"aud": g.URL + "/mcp", "scope": "mcp act"}
	worker.key = a.token(good)
	_, intent := worker.planned(t, step("h", "act", `{"n":1}`, `"uses":0`))
	now := time.Now().Unix()
	with := func(name string, v any) map[string]any {
		m := maps.Clone(good)
		m[name] = v
		return m
	}
	claims := with("iss", a.URL)
	maps.Copy(claims, map[string]any{"client_id": "client-1", "iat": now, "exp": now + 600})
	reasons := map[string]string{}
	bodies := map[string]bool{}
	for name, c := range map[string]struct{ token, why string }{
		"none":                  {a.sign(map[string]any{"alg": "none", "typ": "at+jwt", "kid": "k1"}, claims), "jwt_algorithm"},
		"a shared secret":       {a.sign(map[string]any{"alg": "HS256", "typ": "at+jwt", "kid": "k1"}, claims), "jwt_algorithm"},
		"an ID token":           {a.token(with("nonce", "n")), "jwt_type"},
		"another gateway":       {a.token(with("aud", "https://other.example/mcp")), "jwt_audience"},
		"another issuer":        {other.token(good), "jwt_malformed"},
		"signed by another":     {other.token(with("iss", a.URL)), "jwt_signature"},
		"unknown key":           {a.sign(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": "k2"}, claims), "jwt_key"},
		"expired by a second":   {a.token(with("exp", now-1)), "jwt_expired"},
		"far in the future":     {a.token(with("iat", now+3600)), "jwt_early"},
		"a client that is none": {a.token(with("client_id", "client-2")), "jwt_unmapped"},
		"another certificate":   {a.token(with("cnf", map[string]any{"x5t#S256": "x"})), "jwt_bound"},
	} {
		ans := send(t, "POST", g.URL+"/mcp", bearer(c.token, intent.Token).with(modern("h__act")), modernMessage("h__act", `{"n":1}`))
		if ans.Status != 401 || !strings.Contains(ans.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
			t.Errorf("%s: %s %s", name, ans, ans.Header.Get("WWW-Authenticate"))
		}
		bodies[ans.Body+ans.Header.Get("WWW-Authenticate")] = true
		reasons[c.why] = name
	}
	if len(bodies) != 1 {
		t.Errorf("%d different answers: %v", len(bodies), bodies)
	}
	both := bearer(a.token(good), intent.Token).with(modern("h__act")).with(head{"X-API-Key": g.Key()})
	if ans := send(t, "POST", g.URL+"/mcp", both, modernMessage("h__act", `{"n":1}`)); ans.Status != 401 {
		t.Errorf("two credentials: %s", ans)
	}
	if ans := send(t, "POST", g.URL+"/mcp?access_token="+a.token(good), bearer("", "").with(modern("h__act")), modernMessage("h__act", `{"n":1}`)); ans.Status != 401 {
		t.Errorf("token in the URL: %s", ans)
	}
	if ans := send(t, "POST", g.URL+"/mcp?access_token=x", bearer(a.token(good), intent.Token).with(modern("h__act")), modernMessage("h__act", `{"n":1}`)); ans.Status != 400 {
		t.Errorf("token in the URL beside a good one: %s", ans)
	}
	lacking := send(t, "POST", g.URL+"/mcp", bearer(a.token(with("scope", "mcp")), intent.Token).with(modern("h__act")), modernMessage("h__act", `{"n":1}`))
	if got := lacking.Header.Get("WWW-Authenticate"); lacking.Status != 403 || !strings.Contains(got, `error="insufficient_scope"`) || !strings.Contains(got, `scope="act mcp"`) {
		t.Errorf("without the scope: %s %s", lacking, got)
	}
	if h.calls() != 0 {
		t.Fatalf("%d calls arrived", h.calls())
	}
	a.mu.Lock()
	if a.fetches > 2 {
		t.Errorf("%d fetches of the keys", a.fetches)
	}
	a.mu.Unlock()
	if ans := send(t, "POST", g.URL+"/mcp", bearer(a.token(good), intent.Token).with(modern("h__act")), modernMessage("h__act", `{"n":1}`)); ans.Status != 200 || h.calls() != 1 {
		t.Fatalf("the good one: %s", ans)
	}
	g.manage(t, g.Admin(), "PUT", "/api/v1/agents/"+worker.id+"/status", map[string]any{"status": "suspended"}, nil)
	if ans := send(t, "POST", g.URL+"/mcp", bearer(a.token(good), intent.Token).with(modern("h__act")), modernMessage("h__act", `{"n":1}`)); ans.Status != 401 || h.calls() != 1 {
		t.Fatalf("its agent is suspended: %s", ans)
	}
}
