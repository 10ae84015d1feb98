package oauth_test

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/gateway/upstream/oauth"
)

// Whatever is wrong with what a server or its authorization server says, no token is asked for, and the error says what to do.
func TestNothingIsAskedOfAnAuthorizationServerThatIsNotTheRightOne(t *testing.T) {
	const meta = "/.well-known/oauth-authorization-server"
	for what, c := range map[string]struct {
		bend func(*place)
		set  func(*oauth.Settings)
		say  string
	}{
		"metadata of another resource":     {bend: func(p *place) { p.resource = "https://evil.example/mcp" }, say: "about another resource"},
		"a resource with a slash more":     {bend: func(p *place) { p.resource = p.URL + "/mcp/" }, say: "about another resource"},
		"metadata of another issuer":       {bend: func(p *place) { p.meta["issuer"] = p.URL + "/" }, say: "another issuer"},
		"a redirect":                       {bend: func(p *place) { p.redirect = meta }, say: "redirect"},
		"a redirect of the token endpoint": {bend: func(p *place) { p.redirect = "/token" }, say: "redirect"},
		"no token endpoint":                {bend: func(p *place) { p.meta["token_endpoint"] = "" }, say: "no token endpoint"},
		"a token endpoint in the clear":    {bend: func(p *place) { p.meta["token_endpoint"] = "http://as.example/token" }, say: "names an address"},
		"a scheme that is none":            {bend: func(p *place) { p.meta["revocation_endpoint"] = "javascript:alert(1)" }, say: "names an address"},
		"a password in an address":         {bend: func(p *place) { p.meta["token_endpoint"] = "https://u:sekret@as.example/token" }, say: "names an address"},
		"a member twice":                   {bend: func(p *place) { p.raw[meta] = `{"issuer":"a","issuer":"b"}` }, say: "not one JSON object"},
		"a list":                           {bend: func(p *place) { p.raw[meta] = `[]` }, say: "not one JSON object"},
		"an answer without end":            {bend: func(p *place) { p.raw[meta] = `{"a":"` + strings.Repeat("x", 1<<20) + `"}` }, say: "not one JSON object"},
		"another token type":               {bend: func(p *place) { p.answer["token_type"] = "mac" }, say: "another type than Bearer"},
		"a token that splits a header":     {bend: func(p *place) { p.answer["access_token"] = "a\r\nX-Evil: 1" }, say: "cannot be sent"},
		"a refusal":                        {bend: func(p *place) { p.fail = "invalid_client" }, say: "invalid_client"},
		"private addresses not allowed":    {set: func(s *oauth.Settings) { s.AllowPrivate = false }, say: "not https"},
		"a place that is not there":        {set: func(s *oauth.Settings) { s.URL = strings.TrimSuffix(s.URL, "/mcp") + "/other" }, say: "set its issuer"},
		"an issuer that is not its own":    {set: func(s *oauth.Settings) { s.Issuer = "https://as.example" }, say: "mend its issuer"},
		"a method that is not taken":       {bend: func(p *place) { p.meta["token_endpoint_auth_methods_supported"] = []string{"private_key_jwt"} }, say: "does not take client_secret_basic"},
		"a secret that is not there":       {set: func(s *oauth.Settings) { s.ClientSecret = "gone" }, say: "not in the vault"},
		"scopes beyond the configured":     {set: func(s *oauth.Settings) { s.Scopes = "other" }, bend: func(*place) {}, say: "add them to its scopes"},
	} {
		t.Run(what, func(t *testing.T) {
			p, w := newPlace(t), newWorld(t)
			s := p.settings(oauth.ClientCredentials)
			if c.set != nil {
				c.set(&s)
			}
			if c.bend != nil {
				p.bend(func() { c.bend(p) })
			}
			r := no
			if what == "scopes beyond the configured" {
				r.Challenges = []string{`Bearer scope="read write"`}
			}
			shown, err := w.use(t.Context(), s, upstream.Subject{}, r)
			if shown != "" || !said(err, c.say) {
				t.Errorf("%q %v, want %q", shown, err, c.say)
			}
			if left := w.log.String(); strings.Contains(left, "sekret") {
				t.Errorf("logged: %s", left)
			}
		})
	}
}

func TestALoginIsRefusedWithoutPKCE(t *testing.T) {
	for what, methods := range map[string]any{"none": nil, "plain alone": []string{"plain"}} {
		p, w := newPlace(t), newWorld(t)
		p.bend(func() { p.meta["code_challenge_methods_supported"] = methods })
		if _, err := w.Login(t.Context(), p.settings(oauth.AuthorizationCode), ada.User); !said(err, "PKCE with S256") {
			t.Errorf("%s: %v", what, err)
		}
		if p.registers != 0 {
			t.Errorf("%s: the gateway registered", what)
		}
	}
}

// A 403 that does not speak of scopes is the server's own answer, and no reason for another token.
func TestARefusalThatAsksForNothingMoreStays(t *testing.T) {
	p, w := newPlace(t), newWorld(t)
	s := p.settings(oauth.ClientCredentials)
	if shown, err := w.use(t.Context(), s, upstream.Subject{}, upstream.Refusal{Status: 403, Challenges: []string{`Bearer error="forbidden"`}}); shown != "" || err != nil || p.asked() != 0 {
		t.Errorf("%q %v", shown, err)
	}
}

func TestStepUpUnitesScopesAndEndsWhereNothingMoreCanBeGranted(t *testing.T) {
	p, w := newPlace(t), newWorld(t)
	s := p.settings(oauth.ClientCredentials)
	lacking := upstream.Refusal{Status: 403, Challenges: []string{`Bearer error="insufficient_scope", scope="write"`}}
	if _, err := w.use(t.Context(), s, upstream.Subject{}, no, lacking); err != nil {
		t.Fatal(err)
	}
	if got := p.lastForm().Get("scope"); got != "read write" {
		t.Errorf("asked for %q", got)
	}
	before := p.asked()
	if _, err := w.use(t.Context(), s, upstream.Subject{}, lacking); !said(err, "scopes that are granted") || p.asked() != before {
		t.Errorf("%v after %d requests", err, p.asked()-before)
	}
}
