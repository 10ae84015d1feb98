package control_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/upstream"
	"github.com/gatewright/gatewright/gateway/upstream/oauth"
)

// signIns knows the servers of the catalogue; what a login is, package oauth tests.
type signIns struct {
	all interface {
		Server(tenant, name string) (catalogue.Server, bool)
	}
}

func (s signIns) know(tenant, server string) error {
	if _, ok := s.all.Server(tenant, server); !ok {
		return catalogue.ErrUnknown
	}
	return nil
}

func (s signIns) Begin(_ context.Context, tenant, server, user string) (string, time.Time, error) {
	return "https://login.example/authorize?state=sekret-state-" + user, time.Unix(2e9, 0), s.know(tenant, server)
}

func (s signIns) Finish(_ context.Context, tenant, server, word string, _ identity.Caller) ([]string, time.Time, error) {
	switch err := s.know(tenant, server); {
	case err != nil:
		return nil, time.Time{}, err
	case word == "XXXX-XXXX":
		return nil, time.Time{}, fmt.Errorf("%w: no such word", oauth.ErrLogin)
	case word == "ZZZZ-ZZZZ":
		return nil, time.Time{}, upstream.NoCredential("the authorization server refuses")
	}
	return []string{"read"}, time.Time{}, nil
}

func (s signIns) End(_ context.Context, tenant, server, _ string) error {
	return s.know(tenant, server)
}

func (s signIns) Return(q map[string][]string) (word, server string, err error) {
	if len(q["state"]) == 1 && q["state"][0] == "good" && q["iss"][0] == "https://login.example" {
		return "BCDF-GHJK", "docs", nil
	}
	return "", "", fmt.Errorf("%w: not known; begin again", oauth.ErrLogin)
}

func (signIns) Document() map[string]any {
	return map[string]any{"client_id": "https://gw.example/oauth/client.json"}
}
func (signIns) Keys() ([]byte, error) { return []byte(`{"keys":[]}`), nil }

func TestABrowserComesBackFromAnotherSiteAndIsShownAWordAndNothingItBrought(t *testing.T) {
	w := newWorld(t)
	ask := func(method, target string, head ...string) *reply {
		r := w.request(method, target, "", "")
		for i := 0; i < len(head); i += 2 {
			if r.Header.Set(head[i], head[i+1]); head[i] == "Host" {
				r.Host = head[i+1]
			}
		}
		return w.do(r)
	}
	good := "/oauth/callback?code=sekret-code&state=good&iss=https%3A%2F%2Flogin.example"
	a := ask("GET", good, "Sec-Fetch-Site", "cross-site")
	if a.status != http.StatusOK || !strings.Contains(a.body, "BCDF-GHJK") || strings.Contains(a.body, "sekret") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if got := a.header.Get("Content-Type"); got != "text/plain; charset=utf-8" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("%q %v", got, a.header)
	}
	for what, target := range map[string]string{
		"no state": "/oauth/callback?code=x", "markup": "/oauth/callback?state=%3Cscript%3Ealert(1)%3C%2Fscript%3E&code=x", "twice": good + "&state=good",
		"broken": "/oauth/callback?state=%zz",
	} {
		if a := ask("GET", target); a.status != http.StatusBadRequest || strings.Contains(a.body, "script") || strings.Contains(a.body, "BCDF") || !strings.Contains(a.body, "begin again") {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	for what, a := range map[string]*reply{
		"another host": ask("GET", good, "Host", "evil.example"), "a post": ask("POST", good), "another path": ask("GET", "/oauth/other"),
		"a long query": ask("GET", good+"&x="+strings.Repeat("a", 9000)), "a path below": ask("GET", "/oauth/callback/x"),
	} {
		if a.status < 400 || strings.Contains(a.body, "BCDF") {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	for path, want := range map[string]string{"/oauth/client.json": "client_id", "/oauth/jwks.json": "keys"} {
		if a := ask("GET", path); a.status != http.StatusOK || !strings.Contains(a.body, want) || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

func TestALoginsAddressAndWordLieInNoRecord(t *testing.T) {
	w := newWorld(t)
	path := "/api/v1/servers/" + w.ids[demo].server + "/login"
	if a := w.call("POST", path, w.admin, ""); a.status != http.StatusOK || !strings.Contains(a.body, "sekret-state-") {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := w.call("POST", path+"/finish", w.admin, `{"word":"BCDF-GHJK"}`); a.status != http.StatusOK || !strings.Contains(a.body, `"read"`) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	w.call("POST", path+"/finish", w.admin, `{"word":"XXXX-XXXX"}`).refused(t, http.StatusConflict, "login_refused")
	w.call("POST", path+"/finish", w.admin, `{"word":"ZZZZ-ZZZZ"}`).refused(t, http.StatusBadGateway, "upstream_failed")
	for _, r := range w.log.of(demo) {
		if text := fmt.Sprintf("%+v %s", r, r.Body); strings.Contains(text, "sekret-state") || strings.Contains(text, "BCDF-GHJK") {
			t.Errorf("a record holds it: %s", text)
		}
	}
}
