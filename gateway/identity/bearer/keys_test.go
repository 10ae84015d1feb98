package bearer_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity/bearer"
)

func TestAFloodOfUnknownKeysCostsTheIssuerNextToNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.taken("first", w.token(nil, nil))
	var all sync.WaitGroup
	for i := range 500 {
		all.Go(func() { w.refused("unknown", w.token(m{"kid": fmt.Sprint("made-up-", i)}, nil), bearer.Key) })
	}
	all.Wait()
	if n := w.issuer.fetched.Load(); n != 1 {
		t.Errorf("%d fetches within the same moment as the first", n)
	}
	for range 60 {
		w.clock.Add(1)
		w.refused("one kid, again and again", w.token(m{"kid": "made-up"}, nil), bearer.Key)
	}
	if n := w.issuer.fetched.Load(); n > 3 {
		t.Errorf("%d fetches in a minute for one kid", n)
	}
	before := w.issuer.fetched.Load()
	for i := range 60 {
		w.clock.Add(1)
		w.refused("a new kid each second", w.token(m{"kid": fmt.Sprint("new-", i)}, nil), bearer.Key)
	}
	if n := w.issuer.fetched.Load() - before; n > 6 {
		t.Errorf("%d fetches in a minute, six are allowed", n)
	}
}

func TestTheFirstTokensShareOneFetch(t *testing.T) {
	w := newWorld(t, nil)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { w.taken("first", w.token(nil, nil)) })
	}
	all.Wait()
	if n := w.issuer.fetched.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestATokenOfNobodyIsNotWorthAFetch(t *testing.T) {
	w := newWorld(t, nil)
	w.refused("another issuer", w.token(nil, m{"iss": "https://evil.example"}), bearer.Issuer)
	w.refused("none", w.token(m{"alg": "none"}, nil), bearer.Malformed)
	w.refused("a shared secret", w.token(m{"alg": "HS256"}, nil), bearer.Algorithm)
	if n := w.issuer.fetched.Load(); n != 0 {
		t.Errorf("%d fetches", n)
	}
}

func TestKeysRotateWithoutARestart(t *testing.T) {
	w := newWorld(t, nil)
	old := w.token(nil, nil)
	w.taken("under the old key", old)
	w.issuer.set(func() { w.issuer.keys[0]["kid"] = "ed-2" })
	w.clock.Add(11)
	w.taken("under the new one", w.token(m{"kid": "ed-2"}, nil))
	w.clock.Add(11)
	w.refused("remembered, and its key was withdrawn", old, bearer.Key)
}

func TestKeysAreUsedWhileTheIssuerIsDownForABoundedTime(t *testing.T) {
	w := newWorld(t, func(s *bearer.Server) { s.MaxAge = 24 * time.Hour })
	raw := func() []byte { return w.token(nil, nil) }
	w.taken("first", raw())
	w.issuer.set(func() { w.issuer.answer = func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(503) } })
	w.clock.Add(20 * 60)
	w.taken("old, and the issuer is down", raw())
	w.clock.Add(54 * 60)
	w.taken("in the last minute", raw())
	w.clock.Add(2 * 60)
	w.refused("too old", raw(), bearer.Key)
	w.issuer.set(func() { w.issuer.answer = nil })
	w.clock.Add(11)
	w.taken("the issuer is back", raw())
}

func TestWhatIsNoSetOfKeysOpensNothing(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"redirect":     func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/elsewhere", http.StatusFound) },
		"not found":    func(rw http.ResponseWriter, r *http.Request) { http.NotFound(rw, r) },
		"no JSON":      func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("keys")) },
		"two readings": func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(`{"keys":[],"keys":[]}`)) },
		"none":         func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(`{"keys":[]}`)) },
		"endless": func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = rw.Write([]byte(`{"keys":[` + strings.Repeat(" ", 300<<10) + `]}`))
		},
		"a private key": func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = rw.Write([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"` + b64(edKey()[32:]) + `","d":"` + b64(edKey()[:32]) + `"}]}`))
		},
	} {
		w := newWorld(t, nil)
		w.issuer.set(func() { w.issuer.answer = answer })
		w.refused(name, w.token(nil, nil), bearer.Key)
	}
}

func TestMetadataOfAnotherIssuerAreNotBelieved(t *testing.T) {
	for name, change := range map[string]func(*issuer){
		"another issuer":  func(i *issuer) { i.meta["issuer"] = "https://other.example" },
		"plain HTTP":      func(i *issuer) { i.meta["jwks_uri"] = "http://keys.example/keys" },
		"no address":      func(i *issuer) { delete(i.meta, "jwks_uri") },
		"a local file":    func(i *issuer) { i.meta["jwks_uri"] = "file:///etc/passwd" },
		"with a password": func(i *issuer) { i.meta["jwks_uri"] = "https://u:p@keys.example/" },
	} {
		w := newWorld(t, nil)
		w.issuer.set(func() { change(w.issuer) })
		w.refused(name, w.token(nil, nil), bearer.Key)
		if n := w.issuer.fetched.Load(); n != 0 {
			t.Errorf("%s: %d fetches of keys", name, n)
		}
	}
}

func TestSettingsThatWouldTakeAnythingAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	for name, change := range map[string]func(*bearer.Server){
		"HS256":            func(s *bearer.Server) { s.Algorithms = []string{"HS256"} },
		"none":             func(s *bearer.Server) { s.Algorithms = []string{"none"} },
		"no algorithm":     func(s *bearer.Server) { s.Algorithms = nil },
		"no agent":         func(s *bearer.Server) { s.AgentClaim = "" },
		"plain HTTP":       func(s *bearer.Server) { s.AllowPrivate = false },
		"HTTP, not local":  func(s *bearer.Server) { s.JWKS = "http://keys.example/" },
		"no organisation":  func(s *bearer.Server) { s.Tenant = "" },
		"keys without end": func(s *bearer.Server) { s.Refresh = 0 },
	} {
		s := w.server()
		change(&s)
		if _, err := bearer.New(bearer.Options{Resource: gate, Transport: func(bool) (http.RoundTripper, error) { return nil, nil }}, []bearer.Server{s}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
