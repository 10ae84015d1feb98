package conformance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What follows stands a real MCP server behind a real authorization server, and looks at what reaches both of them.

// guarded is an MCP server that takes the tokens of its authorization server alone. Both are on one address.
type guarded struct {
	*httptest.Server
	mcp http.Handler

	mu     sync.Mutex
	keys   string            // where the gateway's keys are
	tokens map[string]string // token to whose it is
	claims []map[string]any  // of the subject tokens
	forms  []url.Values
	shown  []string // every Authorization that came
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	p := &guarded{tokens: map[string]string{}}
	s := mcp.NewServer(&mcp.Implementation{Name: "guarded", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "whose", Description: "says whose token came"}, func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		whose := p.tokens[strings.TrimPrefix(r.Extra.Header.Get("Authorization"), "Bearer ")]
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "called by " + whose}}}, nil, nil
	})
	p.mcp = mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true})
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	reply := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/mcp":
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		p.mu.Lock()
		p.shown = append(p.shown, fmt.Sprint(r.Header))
		_, known := p.tokens[token]
		p.mu.Unlock()
		if !known {
			w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+p.URL+`/about", scope="use"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		p.mcp.ServeHTTP(w, r)
	case "/about":
		reply(map[string]any{"resource": p.URL + "/mcp", "authorization_servers": []string{p.URL}})
	case "/.well-known/oauth-authorization-server":
		reply(map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "registration_endpoint": p.URL + "/register",
			"code_challenge_methods_supported": []string{"S256"}, "authorization_response_iss_parameter_supported": true,
		})
	case "/register":
		reply(map[string]any{"client_id": "registered"})
	case "/authorize":
		q := r.URL.Query()
		back := url.Values{"code": {"code-1"}, "state": {q.Get("state")}, "iss": {p.URL}}
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
	case "/token":
		_ = r.ParseForm()
		token, err := p.grant(r.PostForm)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			reply(map[string]any{"error": "invalid_request"})
			return
		}
		reply(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3600})
	default:
		http.NotFound(w, r)
	}
}

// grant gives a token for a consent, or for an agent whom the gateway vouches for with a key that it publishes.
func (p *guarded) grant(form url.Values) (string, error) {
	whose := "a user"
	claims := map[string]any{}
	if subject := form.Get("subject_token"); subject != "" {
		keysAt := ""
		for range 500 { // the test is told where the gateway is once it serves
			if p.mu.Lock(); p.keys != "" {
				keysAt = p.keys
			}
			if p.mu.Unlock(); keysAt != "" {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		resp, err := http.Get(keysAt) //nolint:noctx // an authorization server's own
		if err != nil {
			return "", err
		}
		defer func() { _ = resp.Body.Close() }()
		var keys jose.JSONWebKeySet
		if err := json.NewDecoder(resp.Body).Decode(&keys); err != nil || len(keys.Keys) != 1 {
			return "", fmt.Errorf("keys %v: %w", keys, err)
		}
		signed, err := jose.ParseSignedCompact(subject, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			return "", err
		}
		payload, err := signed.Verify(keys.Keys[0])
		if err != nil || json.Unmarshal(payload, &claims) != nil {
			return "", fmt.Errorf("verify: %w", err)
		}
		whose = fmt.Sprint(claims["sub"])
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forms, p.claims = append(p.forms, form), append(p.claims, claims)
	token := fmt.Sprint("upstream-token-", len(p.forms))
	p.tokens[token] = whose
	return token, nil
}

func (p *guarded) hcl(kind, more string) string {
	return fmt.Sprintf("demo {\n  server = false\n}\nserver \"crm\" {\n  tenant = \"demo\"\n  url = %q\n  allow_private = true\n  auth = %q\n  %s\n}\n", p.URL+"/mcp", kind, more)
}

// call plans and calls the server's one tool as the agent does.
func (g *Gateway) call(t *testing.T) ran {
	t.Helper()
	plan := strings.TrimSpace(g.run(t, "", nil, "plan", "--quiet", "--uses", "0", "--tool", "crm/whose").out)
	token := strings.TrimSpace(g.run(t, "", nil, "token", plan).out)
	return g.run(t, "", []string{"GATEWRIGHT_INTENT=" + token}, "call", "crm/whose")
}

func TestAnAgentsCallGoesOnWithATokenThatWasExchangedForItAlone(t *testing.T) {
	p := newGuarded(t)
	g := start(t, Setup{HCL: p.hcl("token_exchange", "client_id = \"gw\"")})
	p.mu.Lock()
	p.keys = g.Control + "/oauth/jwks.json"
	p.mu.Unlock()
	for range 500 { // the gateway reads the tools by itself, once the other side can look up its keys
		if g.run(t, "", nil, "plan", "--quiet", "--tool", "crm/whose").code == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if o := g.call(t); o.code != 0 || !strings.Contains(o.out, "called by agt_") {
		t.Fatalf("%+v", o)
	}
	p.mu.Lock()
	asked := len(p.forms)
	claims, form := p.claims[asked-1], p.forms[asked-1]
	shown := strings.Join(p.shown, "\n")
	p.mu.Unlock()
	if claims["aud"] != p.URL || claims["tenant"] != "demo" || !strings.HasPrefix(fmt.Sprint(claims["sub"]), "agt_") || !strings.HasPrefix(fmt.Sprint(claims["user"]), "usr_") || form.Get("resource") != p.URL+"/mcp" || form.Get("scope") != "use" {
		t.Errorf("%v %v", claims, form)
	}
	for _, own := range []string{g.Key(), g.Admin(), form.Get("subject_token")} {
		if strings.Contains(shown, own) {
			t.Errorf("the server was shown what is the gateway's own")
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+form.Get("subject_token"))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a token about an agent opens the gateway: %s", resp.Status)
	}
	g.Stop(t)
	g.Restart(t)
	if o := g.call(t); o.code != 0 || !strings.Contains(o.out, "called by agt_") {
		t.Fatalf("after a start: %+v", o)
	}
	if p.mu.Lock(); len(p.forms) != asked {
		t.Errorf("after a start %d tokens were asked for", len(p.forms)-asked)
	}
	p.mu.Unlock()
	for _, secret := range []string{"upstream-token-", form.Get("subject_token")} {
		if strings.Contains(g.Log()+g.Out(), secret) {
			t.Errorf("the gateway logs %.20s", secret)
		}
	}
}

func TestAUserLetsTheGatewayInFromTheCommandLine(t *testing.T) {
	p := newGuarded(t)
	g := start(t, Setup{HCL: p.hcl("authorization_code", "")})
	if o := g.run(t, "", nil, "call", "crm/whose"); o.code == 0 {
		t.Fatalf("before anybody consented: %+v", o)
	}
	begun := g.run(t, "", nil, "connector", "login", "crm")
	_, rest, _ := strings.Cut(begun.out, "agree there:")
	if begun.code == 0 || len(strings.Fields(rest)) == 0 || !strings.Contains(begun.err, "--word") {
		t.Fatalf("%+v", begun)
	}
	page := browse(t, strings.Fields(rest)[0])
	_, rest, _ = strings.Cut(page, "Type this word there:")
	if len(strings.Fields(rest)) == 0 {
		t.Fatal(page)
	}
	if o := g.run(t, "", nil, "connector", "login", "crm", "--word", "XXXX-XXXX"); o.code != 1 || !strings.Contains(o.err, "login_refused") {
		t.Errorf("a wrong word: %+v", o)
	}
	if o := g.run(t, "", nil, "connector", "login", "crm", "--word", strings.Fields(rest)[0]); o.code != 0 || !strings.Contains(o.out, "the gateway may use crm for you, with use") {
		t.Fatalf("%+v", o)
	}
	if o := g.call(t); o.code != 0 || !strings.Contains(o.out, "called by a user") {
		t.Fatalf("%+v", o)
	}
	if o := g.run(t, "", nil, "connector", "logout", "crm"); o.code != 0 {
		t.Fatalf("%+v", o)
	}
	if o := g.call(t); o.code != 1 || !strings.Contains(o.err, "login_required") || !strings.Contains(o.err, "gatewright connector login crm") || strings.Contains(o.err, "state=") {
		t.Errorf("after logout: %+v", o)
	}
}

// browse follows an address as a person's browser does, to a page.
func browse(t *testing.T, address string) string {
	t.Helper()
	resp, err := http.Get(address) //nolint:noctx // a person's browser
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}
