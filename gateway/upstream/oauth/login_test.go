package oauth_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/gateway/upstream/oauth"
)

func TestAUserConsentsOnceAndForThemselvesAlone(t *testing.T) {
	p, w := newPlace(t), newWorld(t)
	s := p.settings(oauth.AuthorizationCode)
	if shown, err := w.use(t.Context(), s, ada, no); shown != "" || !said(err, "run: gatewright connector login docs") {
		t.Fatalf("before: %q %v", shown, err)
	}
	b, err := w.Login(t.Context(), s, ada.User)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(b.URL)
	q := u.Query()
	for name, want := range map[string]string{
		"response_type": "code", "client_id": "client-1", "redirect_uri": w.o.Callback, "resource": s.URL, "scope": "read", "code_challenge_method": "S256",
	} {
		if q.Get(name) != want {
			t.Errorf("%s is %q", name, q.Get(name))
		}
	}
	if len(q.Get("state")) < 40 || len(q.Get("code_challenge")) != 43 {
		t.Errorf("state %q, challenge %q", q.Get("state"), q.Get("code_challenge"))
	}
	word, server, err := w.Return(p.back(t, b))
	if err != nil || server != "docs" || len(word) != 9 || p.asked() != 0 {
		t.Fatalf("%q %q %v", word, server, err)
	}
	if _, err := w.Finish(t.Context(), s, ada.User, strings.ToLower(word)); err != nil {
		t.Fatal(err)
	}
	if f := p.lastForm(); f.Get("code") != "sekret-code" || f.Get("redirect_uri") != w.o.Callback || f.Get("resource") != s.URL || len(f.Get("code_verifier")) != 43 {
		t.Errorf("%v", f)
	}
	w.again(t)
	if shown, err := w.use(t.Context(), s, ada); err != nil || shown != "Authorization: Bearer sekret-access-1" {
		t.Errorf("%q %v", shown, err)
	}
	if shown, err := w.use(t.Context(), s, bob, no); shown != "" || !said(err, "nobody has let the gateway use docs for usr_bob") {
		t.Errorf("bob: %q %v", shown, err)
	}
	if shown, err := w.use(t.Context(), s, upstream.Subject{}, no); shown != "" || err == nil {
		t.Errorf("nobody: %q %v", shown, err)
	}
}

// Mix-up (RFC 9207), a state that is another's, used or unknown, an answer without a code: nothing is asked of a token endpoint.
func TestAnAnswerThatIsNotToOurQuestionEndsTheLogin(t *testing.T) {
	for what, c := range map[string]struct {
		bend func(*place)
		set  func(url.Values)
	}{
		"another issuer":                       {set: func(q url.Values) { q.Set("iss", "https://evil.example") }},
		"the issuer with a slash":              {set: func(q url.Values) { q.Set("iss", q.Get("iss")+"/") }},
		"no issuer, though announced":          {set: func(q url.Values) { q.Del("iss") }},
		"an empty one":                         {set: func(q url.Values) { q.Set("iss", "") }},
		"another issuer, though not announced": {bend: func(p *place) { p.meta["authorization_response_iss_parameter_supported"] = false }, set: func(q url.Values) { q.Set("iss", "https://evil.example") }},
		"an error":                             {set: func(q url.Values) { q.Set("error", "access_denied"); q.Set("error_description", "sekret") }},
		"no code":                              {set: func(q url.Values) { q.Del("code") }},
		"a code without end":                   {set: func(q url.Values) { q.Set("code", strings.Repeat("c", 5000)) }},
	} {
		p, w := newPlace(t), newWorld(t)
		if c.bend != nil {
			p.bend(func() { c.bend(p) })
		}
		b, err := w.Login(t.Context(), p.settings(oauth.AuthorizationCode), ada.User)
		if err != nil {
			t.Fatal(err)
		}
		good, bad := p.back(t, b), p.back(t, b)
		c.set(bad)
		if word, _, err := w.Return(bad); word != "" || !errors.Is(err, oauth.ErrLogin) || !said(err, "begin again") {
			t.Errorf("%s: %q %v", what, word, err)
		}
		if word, _, err := w.Return(good); word != "" || !errors.Is(err, oauth.ErrLogin) {
			t.Errorf("%s: the state is good still: %q %v", what, word, err)
		}
		if p.asked() != 0 {
			t.Errorf("%s: a token was asked for", what)
		}
	}
}

// Whoever is made to consent for somebody else's login (session fixation) sees a word that only the one who began can use, and
// the one who began does not see it.
func TestALoginIsFinishedByWhoBeganItAndWhoSawTheWord(t *testing.T) {
	p, w := newPlace(t), newWorld(t)
	s := p.settings(oauth.AuthorizationCode)
	b, err := w.Login(t.Context(), s, ada.User)
	if err != nil {
		t.Fatal(err)
	}
	back := p.back(t, b)
	for _, q := range []url.Values{{}, {"state": {""}, "code": {"x"}, "iss": {p.URL}}, {"state": {"guess"}, "code": {"x"}, "iss": {p.URL}}} {
		if word, _, err := w.Return(q); word != "" || !errors.Is(err, oauth.ErrLogin) {
			t.Errorf("%v: %q %v", q, word, err)
		}
	}
	if _, err := w.Finish(t.Context(), s, ada.User, "BCDF-GHJK"); !errors.Is(err, oauth.ErrLogin) {
		t.Errorf("before anybody came back: %v", err)
	}
	word, _, err := w.Return(back)
	if err != nil {
		t.Fatal(err)
	}
	if again, _, err := w.Return(back); again != "" || err == nil {
		t.Errorf("a second time: %q %v", again, err)
	}
	other := s
	other.Server = "other"
	for what, f := range map[string]func() error{
		"another user":   func() error { _, err := w.Finish(t.Context(), s, bob.User, word); return err },
		"another server": func() error { _, err := w.Finish(t.Context(), other, ada.User, word); return err },
		"another tenant": func() error {
			o := s
			o.Tenant = "evil"
			_, err := w.Finish(t.Context(), o, ada.User, word)
			return err
		},
	} {
		if err := f(); !errors.Is(err, oauth.ErrLogin) || p.asked() != 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
	for range 3 {
		if _, err := w.Finish(t.Context(), s, ada.User, "XXXX-XXXX"); !errors.Is(err, oauth.ErrLogin) {
			t.Errorf("a wrong word: %v", err)
		}
	}
	if _, err := w.Finish(t.Context(), s, ada.User, word); !errors.Is(err, oauth.ErrLogin) || p.asked() != 0 {
		t.Errorf("the right word after three wrong ones: %v", err)
	}
}

func TestALoginIsOverAfterItsTimeAndWhenTheServerChanges(t *testing.T) {
	p, w := newPlace(t), newWorld(t)
	s := p.settings(oauth.AuthorizationCode)
	b, err := w.Login(t.Context(), s, ada.User)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.move(11 * time.Minute)
	if _, _, err := w.Return(p.back(t, b)); !errors.Is(err, oauth.ErrLogin) {
		t.Errorf("too late: %v", err)
	}
	if b, err = w.Login(t.Context(), s, ada.User); err != nil {
		t.Fatal(err)
	}
	word, _, err := w.Return(p.back(t, b))
	if err != nil {
		t.Fatal(err)
	}
	changed := s
	changed.Scopes = "read"
	if _, err := w.Finish(t.Context(), changed, ada.User, word); !errors.Is(err, oauth.ErrLogin) || p.asked() != 0 {
		t.Errorf("other settings: %v", err)
	}
	for range 12 {
		if _, err := w.Login(t.Context(), s, bob.User); err != nil {
			t.Fatalf("a user's oldest login makes room: %v", err)
		}
	}
}

func TestAConsentIsRenewedAndEnds(t *testing.T) {
	p, w := newPlace(t), newWorld(t)
	s := p.settings(oauth.AuthorizationCode)
	if _, err := w.login(t, p, s, ada.User); err != nil {
		t.Fatal(err)
	}
	w.clock.move(2 * time.Hour)
	if shown, err := w.use(t.Context(), s, ada); err != nil || shown != "Authorization: Bearer sekret-access-2" {
		t.Fatalf("%q %v", shown, err)
	}
	if f := p.lastForm(); f.Get("grant_type") != "refresh_token" || f.Get("refresh_token") != "sekret-refresh-1" || f.Get("resource") != s.URL {
		t.Errorf("%v", f)
	}
	if shown, err := w.use(t.Context(), s, ada, no); err != nil || shown != "Authorization: Bearer sekret-access-3" || p.lastForm().Get("refresh_token") != "sekret-refresh-2" {
		t.Errorf("after a refusal: %q %v", shown, err)
	}
	p.bend(func() { p.fail = "invalid_grant" })
	w.clock.move(2 * time.Hour)
	if shown, err := w.use(t.Context(), s, ada); err != nil || shown != "" {
		t.Errorf("a grant that is good no more: %q %v", shown, err)
	}
	if shown, err := w.use(t.Context(), s, ada, no); shown != "" || !said(err, "gatewright connector login docs") {
		t.Errorf("%q %v", shown, err)
	}
	p.bend(func() { p.fail = "" })
	if _, err := w.login(t, p, s, ada.User); err != nil {
		t.Fatal(err)
	}
	if err := w.Logout(t.Context(), s, ada.User); err != nil {
		t.Fatal(err)
	}
	if len(p.revoked) != 1 || !strings.HasPrefix(p.revoked[0].Get("token"), "sekret-refresh-") || p.revoked[0].Get("client_id") != "client-1" {
		t.Errorf("revoked %v", p.revoked)
	}
	if err := w.Logout(t.Context(), s, ada.User); !errors.Is(err, oauth.ErrUnknown) {
		t.Errorf("twice: %v", err)
	}
}

// The gateway registers only where the authorization server offers nothing else, once for each issuer.
func TestHowTheGatewayIsKnown(t *testing.T) {
	const document = "https://gw.example/oauth/client.json"
	known := func(o *oauth.Options) { o.ClientDocument = document }
	for what, c := range map[string]struct {
		meta map[string]any
		set  func(*oauth.Settings)
		want string
	}{
		"registered by the operator": {meta: map[string]any{"client_id_metadata_document_supported": true}, set: func(s *oauth.Settings) { s.ClientID = "mine" }, want: "mine"},
		"by its document":            {meta: map[string]any{"client_id_metadata_document_supported": true}, want: document},
		"by a registration":          {want: "client-1"},
		"not at all":                 {meta: map[string]any{"registration_endpoint": nil}},
	} {
		p, w := newPlace(t), newWorld(t, known)
		p.bend(func() { p.meta = c.meta })
		s := p.settings(oauth.AuthorizationCode)
		if c.set != nil {
			c.set(&s)
		}
		for range 2 {
			b, err := w.Login(t.Context(), s, ada.User)
			if c.want == "" {
				if !said(err, "configure client_id") {
					t.Errorf("%s: %v", what, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if u, _ := url.Parse(b.URL); u.Query().Get("client_id") != c.want {
				t.Errorf("%s: %s", what, u.Query().Get("client_id"))
			}
			w.again(t)
		}
		if want := map[bool]int{true: 1}[c.want == "client-1"]; p.registers != want {
			t.Errorf("%s: %d registrations", what, p.registers)
		}
	}
	w := newWorld(t, known)
	if d := w.Document(); d["client_id"] != document || d["token_endpoint_auth_method"] != "none" {
		t.Errorf("%v", d)
	}
}
