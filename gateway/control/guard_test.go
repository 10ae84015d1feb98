package control_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
)

func TestAForeignHostIsRefusedBeforeTheKeyIsLookedAt(t *testing.T) {
	w := newWorld(t)
	for _, host := range []string{"evil.example", "localhost.evil.example", "localhost.", "127.0.0.1.nip.io", "", "10.0.0.1:8081", "[::ffff:10.0.0.1]", "control.example.evil", "user@localhost", "0.0.0.0"} {
		r := w.request("GET", "/api/v1/whoami", w.admin, "")
		r.Host = host
		a := w.do(r)
		a.refused(t, http.StatusMisdirectedRequest, "host_refused")
	}
	if n := len(w.log.of(demo)); n != 0 {
		t.Errorf("%d records for refused hosts", n)
	}
	for _, host := range []string{"localhost", "LOCALHOST:1", "127.0.0.1:8081", "[::1]:9", "127.9.9.9", "control.example", "Control.Example:443"} {
		r := w.request("GET", "/api/v1/whoami", w.admin, "")
		r.Host = host
		if a := w.do(r); a.status != http.StatusOK {
			t.Errorf("host %q: %d", host, a.status)
		}
	}
}

func TestAPageOfAnotherOriginIsRefused(t *testing.T) {
	w := newWorld(t)
	bad := []http.Header{
		{"Origin": {"https://evil.example"}}, {"Origin": {"null"}}, {"Origin": {""}},
		{"Origin": {"https://127.0.0.1:8081"}}, // another scheme is another origin
		{"Origin": {"http://127.0.0.1:9999"}},
		{"Origin": {"http://127.0.0.1:8081", "http://evil.example"}},
		{"Sec-Fetch-Site": {"cross-site"}}, {"Sec-Fetch-Site": {"same-site"}}, {"Sec-Fetch-Site": {"none", "cross-site"}},
	}
	for _, h := range bad {
		for _, path := range []string{"/api/v1/whoami", "/healthz", "/metrics", "/openapi.json"} {
			r := w.request("GET", path, w.admin, "")
			maps.Copy(r.Header, h)
			w.do(r).refused(t, http.StatusForbidden, "origin_refused")
		}
	}
	for _, h := range []http.Header{{"Origin": {"http://127.0.0.1:8081"}}, {"Origin": {"https://console.example"}}, {"Sec-Fetch-Site": {"same-origin"}}, {"Sec-Fetch-Site": {"none"}}} {
		r := w.request("GET", "/api/v1/whoami", w.admin, "")
		maps.Copy(r.Header, h)
		if a := w.do(r); a.status != http.StatusOK {
			t.Errorf("%v: %d %s", h, a.status, a.body)
		}
	}
}

func TestAPreflightIsNotAnswered(t *testing.T) {
	w := newWorld(t)
	r := w.request("OPTIONS", "/api/v1/users", "", "")
	r.Header.Set("Origin", "http://127.0.0.1:8081")
	a := w.do(r)
	a.refused(t, http.StatusUnauthorized, "unauthenticated")
	if a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("an origin was allowed")
	}
}

func TestOnlyOneSpellingOfAPathIsRead(t *testing.T) {
	w := newWorld(t)
	for _, target := range []string{
		"/api/v1/../v1/whoami", "/api//v1/whoami", "/api/v1/whoami/", "/api/v1/./whoami", "/api/v1/%77hoami", "/api/v1/users/a%2fb",
		"/api/v1/users/..%2f..%2fmetrics", "/api/v1/users/%2e%2e", "/api/v1/users/a;b", "/api/v1/users/a%00", "/api/v1/users/a%5cb",
		"//evil.example/api/v1/whoami", "/api/v1/users/ü", "/api/v1/users/" + strings.Repeat("a", 600), "/healthz/../api/v1/whoami", "/debug/pprof/../../metrics",
		"http://evil.example/api/v1/whoami",
	} {
		r := w.request("GET", "/", w.admin, "")
		u, err := r.URL.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(target, "/") { // Parse resolves dots; a server does not
			if u, err = u.Parse("http://x/"); err != nil {
				t.Fatal(err)
			}
			u.Scheme, u.Host = "", ""
			u.Path, u.RawPath = unescape(t, target), target
		}
		r.URL = u
		w.do(r).refused(t, http.StatusBadRequest, "path_invalid")
	}
}

func TestAQueryParameterGivenTwiceOrUnknownIsRefused(t *testing.T) {
	w := newWorld(t)
	for query, want := range map[string]string{
		"limit=1&limit=2": "query_invalid", "limit=1;limit=2": "query_invalid", "limit=%zz": "query_invalid", "limit=1&%6cimit=9": "query_invalid",
		"x=" + strings.Repeat("a", 2000): "query_invalid",
		"tenant=other":                   "request_invalid", "limit=0": "request_invalid", "limit=-1": "request_invalid", "limit=1e9": "request_invalid",
		"limit=99999999999999999999": "request_invalid", "cursor=abc": "cursor_invalid",
	} {
		a := w.call("GET", "/api/v1/users?"+query, w.admin, "")
		if a.status/100 != 4 || a.code() != want {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

func TestForwardedForIsBelievedOnlyFromAListedProxy(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ peer, header, want string }{
		{"192.0.2.1:5", "198.51.100.7", "192.0.2.1"},
		{"10.1.2.3:5", "198.51.100.7", "198.51.100.7"},
		{"10.1.2.3:5", "203.0.113.9, 198.51.100.7", "198.51.100.7"}, // the left one is the caller's own claim
		{"10.1.2.3:5", "203.0.113.9, 198.51.100.7, 10.9.9.9", "198.51.100.7"},
		{"10.1.2.3:5", "nonsense", "10.1.2.3"},
		{"10.1.2.3:5", "", "10.1.2.3"},
		{"10.1.2.3:5", "fe80::1%eth0", "10.1.2.3"},
		{"10.1.2.3:5", "::ffff:198.51.100.7", "198.51.100.7"},
		{"10.1.2.3:5", strings.Repeat("10.1.1.1,", 40) + "10.1.1.1", "10.1.1.1"},
	} {
		r := w.request("GET", "/api/v1/whoami", w.admin, "")
		r.RemoteAddr = c.peer
		if c.header != "" {
			r.Header.Set("X-Forwarded-For", c.header)
		}
		if a := w.do(r); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if got := w.log.last(demo).Addr; got != c.want {
			t.Errorf("peer %s, header %q: recorded %s, want %s", c.peer, c.header, got, c.want)
		}
	}
}

func TestMetricsAndProfilesAreForAdminsAndForThisMachine(t *testing.T) {
	w := newWorld(t)
	from := func(peer, path, key string, set ...string) *reply {
		r := w.request("GET", path, key, "")
		r.RemoteAddr = peer
		for i := 0; i+1 < len(set); i += 2 {
			r.Header.Set(set[i], set[i+1])
		}
		return w.do(r)
	}
	for _, path := range []string{"/metrics", "/debug/pprof/goroutine"} {
		if a := from("127.0.0.1:5", path, ""); a.status != http.StatusOK {
			t.Errorf("%s from this machine: %d %s", path, a.status, a.body)
		}
		from("192.0.2.1:5", path, "").refused(t, http.StatusUnauthorized, "unauthenticated")
		from("127.0.0.1:5", path, "", "X-Forwarded-For", "127.0.0.1").refused(t, http.StatusUnauthorized, "unauthenticated")
		from("127.0.0.1:5", path, "", "Forwarded", "for=127.0.0.1").refused(t, http.StatusUnauthorized, "unauthenticated")
		from("10.1.2.3:5", path, "", "X-Forwarded-For", "127.0.0.1").refused(t, http.StatusUnauthorized, "unauthenticated")
		from("192.0.2.1:5", path, w.runtime).refused(t, http.StatusForbidden, "wrong_key_kind")
		from("192.0.2.1:5", path, w.viewer).refused(t, http.StatusForbidden, "role_denied")
	}
	if a := from("192.0.2.1:5", "/metrics", w.admin); a.status != http.StatusOK || a.header.Get("Gatewright-Record") == "" {
		t.Errorf("metrics for an admin: %d, record %q", a.status, a.header.Get("Gatewright-Record"))
	}
	from("192.0.2.1:5", "/debug/pprof/heap", w.admin).refused(t, http.StatusForbidden, "instance_only")
	if a := from("192.0.2.1:5", "/debug/pprof/heap", w.operator); a.status != http.StatusOK {
		t.Errorf("profile for an operator: %d", a.status)
	}
	for _, path := range []string{"/debug/pprof/cmdline", "/debug/pprof/nothing"} {
		from("127.0.0.1:5", path, "").refused(t, http.StatusUnauthorized, "unauthenticated")
		from("127.0.0.1:5", path, w.operator).refused(t, http.StatusNotFound, "not_found")
	}
}
