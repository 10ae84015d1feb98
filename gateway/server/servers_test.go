package server_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/plugins/demo/demotest"
)

// TestAServerIsHeldToItsPins: by the configuration and by the control API, and a server that has another key is told as such.
func TestAServerIsHeldToItsPins(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(demotest.Handler())
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(s.Certificate().RawSubjectPublicKeyInfo)
	url, right := s.URL+demotest.Path, "sha256/"+base64.StdEncoding.EncodeToString(digest[:])
	wrong := "sha256/" + strings.Repeat("A", 43) + "="
	o, out, log := options(t, func(c *config.Config) {
		c.Upstream.RootCAFile = file
		one := config.Server{Tenant: "demo", URL: url, Era: "auto", AllowPrivate: true, Header: "Authorization", PublicKeys: []string{right}}
		two := one
		two.PublicKeys = []string{wrong}
		c.Servers = map[string]config.Server{"one": one, "two": two}
	})
	r := run(t, o, out, log)
	admin := r.env["GATEWRIGHT_ADMIN_KEY"]
	tried := func(name string) (v struct {
		PublicKeys []string `json:"public_keys"`
		Health     struct {
			Tools int
			Error string
		}
	}) {
		t.Helper()
		r.control("GET", "/api/v1/servers/"+name, admin, "", 200, &v)
		return v
	}
	if v := tried("one"); v.Health.Tools == 0 || len(v.PublicKeys) != 1 || v.PublicKeys[0] != right {
		t.Errorf("with its key: %+v", v)
	}
	if v := tried("two"); v.Health.Tools != 0 || !strings.Contains(v.Health.Error, "pinned") {
		t.Errorf("with another: %+v", v)
	}
	at := func(pin string) string {
		return `"url":"` + url + `","allow_private":true,"public_keys":["` + pin + `"]}`
	}
	r.control("POST", "/api/v1/servers", admin, `{"name":"three",`+at(right), 201, nil)
	r.control("POST", "/api/v1/servers/three/refresh", admin, "", 200, nil)
	if v := tried("three"); v.Health.Tools == 0 || len(v.PublicKeys) != 1 {
		t.Errorf("with its key: %+v", v)
	}
	r.control("PUT", "/api/v1/servers/three", admin, `{`+at(wrong), 200, nil)
	for end := time.Now().Add(time.Minute); tried("three").Health.Error == "" && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if v := tried("three"); v.Health.Tools != 0 || !strings.Contains(v.Health.Error, "pinned") {
		t.Errorf("with another: %+v", v)
	}
}

// TestAServerThatIsAddedIsLookedAt: at once, and what is wrong with it stands in its health and in the log.
func TestAServerThatIsAddedIsLookedAt(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, func(c *config.Config) { b.serving(c) })
	r := run(t, o, out, log)
	admin := r.env["GATEWRIGHT_ADMIN_KEY"]
	type health struct {
		Health struct {
			Failures, Tools int
			Error           string
		}
	}
	looked := func(name string) (h health) {
		t.Helper()
		for end := time.Now().Add(time.Minute); h.Health.Failures+h.Health.Tools == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			r.control("GET", "/api/v1/servers/"+name, admin, "", 200, &h)
		}
		return h
	}
	r.control("POST", "/api/v1/servers", admin, `{"name":"inward","url":"`+b.url+`"}`, 201, nil)
	if h := looked("inward").Health; h.Failures == 0 || !strings.Contains(h.Error, "blocked_address") || !strings.Contains(h.Error, `"allow_private": true`) {
		t.Errorf("its health says %+v", h)
	}
	for end := time.Now().Add(time.Minute); !strings.Contains(log.String(), "server=inward") && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if !strings.Contains(log.String(), "server=inward") || !strings.Contains(log.String(), "did not list its tools") {
		t.Errorf("nobody was told: %s", log)
	}
	r.control("PUT", "/api/v1/servers/inward", admin, `{"url":"`+b.url+`","allow_private":true}`, 200, nil)
	if h := looked("inward").Health; h.Tools == 0 || h.Error != "" {
		t.Errorf("allowed it says %+v", h)
	}
}

// TestTheLogSaysWhatTheConfigurationNamesAndNobodyHas: an agent that is misspelt, or not made yet, and a secret that is not in the
// vault. The gateway serves, and refuses those.
func TestTheLogSaysWhatTheConfigurationNamesAndNobodyHas(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, func(c *config.Config) {
		b.serving(c)
		files := c.Servers["files"]
		files.Credential = "files-token"
		c.Servers["files"] = files
		s := config.DefaultAuthorizationServer()
		s.Tenant, s.Issuer, s.Agents = "demo", "https://auth.example", []string{"c1=nobody", "c2=demo-agent"}
		c.AuthorizationServers = map[string]config.AuthorizationServer{"corp": s}
	})
	run(t, o, out, log)
	for _, want := range []string{"agent that the configuration names does not exist", "authorization_server=corp client=c1 tenant=demo agent=nobody", `the vault has no secret \"files-token\"`, "PUT /api/v1/secrets/files-token"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
	if strings.Contains(log.String(), "agent=demo-agent") {
		t.Errorf("warned of an agent that is there: %s", log)
	}
}
