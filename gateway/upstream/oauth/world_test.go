package oauth_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/gateway/upstream/oauth"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

// place is an MCP server and its authorization server, on loopback. Its fields are what a test bends.
type place struct {
	*httptest.Server
	mu        sync.Mutex
	resource  string            // what its metadata is about; "": itself
	meta      map[string]any    // over the authorization server's metadata
	answer    map[string]any    // over the token endpoint's answers
	fail      string            // error of the token endpoint
	slow      time.Duration     // of the token endpoint
	redirect  string            // path that answers with a redirect
	raw       map[string]string // path to a whole answer
	forms     []url.Values      // what came to the token endpoint
	auths     []string          // and with which Authorization
	revoked   []url.Values
	registers int
	tokens    int
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{meta: map[string]any{}, answer: map[string]any{}, raw: map[string]string{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *place) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	reply := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	if text, ok := p.raw[r.URL.Path]; ok {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, text)
		return
	}
	if p.redirect == r.URL.Path {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		return
	}
	switch r.URL.Path {
	case "/.well-known/oauth-protected-resource/mcp":
		about := p.resource
		if about == "" {
			about = p.URL + "/mcp"
		}
		reply(200, map[string]any{"resource": about, "authorization_servers": []string{p.URL}, "scopes_supported": []string{"read"}})
	case "/.well-known/oauth-authorization-server":
		m := map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "registration_endpoint": p.URL + "/register",
			"revocation_endpoint": p.URL + "/revoke", "code_challenge_methods_supported": []string{"S256"}, "authorization_response_iss_parameter_supported": true,
			"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"},
		}
		maps.Copy(m, p.meta)
		reply(200, m)
	case "/register":
		p.registers++
		reply(201, map[string]any{"client_id": fmt.Sprint("client-", p.registers), "token_endpoint_auth_method": "none"})
	case "/revoke":
		_ = r.ParseForm()
		p.revoked = append(p.revoked, r.PostForm)
	case "/token":
		p.token(reply, r)
	default:
		reply(404, map[string]any{})
	}
}

func (p *place) token(reply func(int, any), r *http.Request) {
	_ = r.ParseForm()
	p.forms, p.auths = append(p.forms, r.PostForm), append(p.auths, r.Header.Get("Authorization"))
	time.Sleep(p.slow)
	if p.fail != "" {
		reply(400, map[string]any{"error": p.fail, "error_description": "sekret-description"})
		return
	}
	p.tokens++
	m := map[string]any{"access_token": fmt.Sprint("sekret-access-", p.tokens), "token_type": "Bearer", "expires_in": 3600}
	if g := r.PostForm.Get("grant_type"); g == "authorization_code" || g == "refresh_token" {
		m["refresh_token"] = fmt.Sprint("sekret-refresh-", p.tokens)
	}
	maps.Copy(m, p.answer)
	reply(200, m)
}

// bend changes what the place does.
func (p *place) bend(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *place) lastForm() url.Values {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.forms[len(p.forms)-1]
}

func (p *place) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.forms)
}

// clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a broker over a real vault, whose store can be looked at.
type world struct {
	*oauth.Broker
	clock *clock
	vault *vault.Vault
	store store.Store
	log   *strings.Builder
	o     oauth.Options
}

func newWorld(t *testing.T, change ...func(*oauth.Options)) *world {
	t.Helper()
	w := &world{clock: &clock{now: time.Now()}, store: storetest.NewMemory(), log: &strings.Builder{}}
	var err error
	if w.vault, err = vault.Open(t.Context(), w.store, []byte(strings.Repeat("k", 32)), rand.Reader); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"pw", "key"} {
		if err := w.vault.Put(t.Context(), "acme", secret, []byte("sekret-"+secret)); err != nil {
			t.Fatal(err)
		}
	}
	w.o = oauth.Options{
		Transport: func(private bool) (http.RoundTripper, error) {
			return upstream.Transport(upstream.DefaultConfig(), nil, private)
		},
		Secrets: w.vault, Keep: w.vault, Absent: vault.ErrNotFound,
		Sign: func(pem []byte, claims map[string]any) (string, error) {
			return fmt.Sprintf("signed(%s,%v)", pem, claims["aud"]), nil
		},
		Identity: func(tenant string, s upstream.Subject, audience string) (string, error) {
			return "identity:" + tenant + ":" + s.Agent + ":" + audience, nil
		},
		Callback: "http://127.0.0.1:8081/oauth/callback", Now: w.clock.Now, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(w.log, nil)),
	}
	for _, c := range change {
		c(&w.o)
	}
	w.again(t)
	return w
}

// again starts the broker anew over the same vault.
func (w *world) again(t *testing.T) {
	t.Helper()
	var err error
	if w.Broker, err = oauth.New(w.o); err != nil {
		t.Fatal(err)
	}
}

func (p *place) settings(kind string) oauth.Settings {
	s := oauth.Settings{Tenant: "acme", Server: "docs", URL: p.URL + "/mcp", AllowPrivate: true, Kind: kind}
	if kind != oauth.AuthorizationCode {
		s.ClientID, s.ClientSecret = "gw", "pw"
	}
	return s
}

var (
	ada = upstream.Subject{User: "usr_ada", Agent: "agt_1"}
	bob = upstream.Subject{User: "usr_bob", Agent: "agt_2"}
	no  = upstream.Refusal{Status: 401}
)

// use is one call's way: what is shown first, and again after a refusal.
func (w *world) use(ctx context.Context, s oauth.Settings, by upstream.Subject, refusals ...upstream.Refusal) (string, error) {
	p := w.Bind(s, by)
	var t upstream.Target
	p.Fit(&t)
	if err := p.Ready(ctx); err != nil {
		return "", err
	}
	for _, r := range refusals {
		again, err := t.Refused(ctx, r)
		if err != nil {
			return "", err
		}
		if !again {
			return "", nil
		}
	}
	shown := ""
	t.Headers(func(name, value string) { shown = name + ": " + value })
	return shown, nil
}

// login is a user's whole consent, and back is what the authorization server sends the browser back with.
func (w *world) login(t *testing.T, p *place, s oauth.Settings, user string) (*oauth.Done, error) {
	t.Helper()
	b, err := w.Login(t.Context(), s, user)
	if err != nil {
		return nil, err
	}
	word, _, err := w.Return(p.back(t, b))
	if err != nil {
		return nil, err
	}
	return w.Finish(t.Context(), s, user, word)
}

func (p *place) back(t *testing.T, b *oauth.Begun) url.Values {
	t.Helper()
	u, err := url.Parse(b.URL)
	if err != nil || !strings.HasPrefix(b.URL, p.URL+"/authorize?") {
		t.Fatalf("%s: %v", b.URL, err)
	}
	return url.Values{"code": {"sekret-code"}, "state": {u.Query().Get("state")}, "iss": {p.URL}}
}

func said(err error, parts ...string) bool {
	if err == nil || strings.Contains(err.Error(), "sekret") {
		return false
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			return false
		}
	}
	return true
}
