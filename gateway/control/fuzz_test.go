package control_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzRequest sends whatever is made up, with an operator's key: nothing may panic, nothing may answer as a fault of
// ours, and what is refused is refused as a problem.
func FuzzRequest(f *testing.F) {
	w := newWorld(f)
	for _, seed := range [][3]string{
		{"POST", "/api/v1/users", goodUser}, {"GET", "/api/v1/users?limit=1&cursor=AAAA", ""}, {"PUT", "/api/v1/secrets/a", `{"value":"x"}`},
		{"POST", "/api/v1/revocations", `{"kind":"plan","id":"pln_0"}`}, {"GET", "/api/v1/ledger/records?from=1", ""}, {"DELETE", "/api/v1/users/%2e%2e", ""},
		{"POST", "/api/v1/servers", `{"name":"s","url":"https://mcp.example/mcp","labels":["a"]}`}, {"HEAD", "//healthz", ""}, {"GET", "/debug/pprof/nothing", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, target, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Path == "/debug/pprof/profile" || u.Path == "/debug/pprof/trace" || u.Path == "/metrics" {
			return // not a target, or one that takes its time
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:8081/", strings.NewReader(body))
		if err != nil {
			return // not a method
		}
		r.URL, r.RemoteAddr = u, "127.0.0.1:5000"
		r.Header = http.Header{"Authorization": {"Bearer " + w.operator}, "Content-Type": {"application/json"}}
		a := w.do(r)
		if a.status >= 500 || a.status >= 400 && a.header.Get("Content-Type") != "application/problem+json" && method != http.MethodHead {
			t.Errorf("%s %q %q: %d %s", method, target, body, a.status, a.body)
		}
	})
}
