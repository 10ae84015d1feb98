package control_test

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

const goodUser = `{"name":"Ann","role":"Member"}`

func TestAHostileBodyIsRefusedAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	before := len(w.users())
	for name, c := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"empty":             {"", 400, "body_invalid"},
		"not JSON":          {"name=Ann", 400, "body_invalid"},
		"truncated":         {`{"name":"Ann"`, 400, "body_invalid"},
		"trailing":          {goodUser + `{}`, 400, "body_invalid"},
		"duplicate name":    {`{"name":"Ann","role":"Member","role":"Admin"}`, 400, "body_invalid"},
		"escaped duplicate": {`{"name":"Ann","role":"Member","r\u006fle":"Admin"}`, 400, "body_invalid"},
		"other case":        {`{"name":"Ann","role":"Member","ROLE":"Admin"}`, 422, "request_invalid"},
		"only other case":   {`{"name":"Ann","Role":"Member"}`, 422, "request_invalid"},
		"folding letter":    {`{"name":"Ann","role":"Member","ro\u017fe":"Admin"}`, 422, "request_invalid"},
		"unknown member":    {`{"name":"Ann","role":"Member","tenant":"other"}`, 422, "request_invalid"},
		"tenant smuggled":   {`{"name":"Ann","role":"Member","organisation":"other"}`, 422, "request_invalid"},
		"unknown role":      {`{"name":"Ann","role":"Root"}`, 422, "request_invalid"},
		"part of a role":    {`{"name":"Ann","role":"admi"}`, 422, "request_invalid"},
		"more than a role":  {`{"name":"Ann","role":"admin "}`, 422, "request_invalid"},
		"folded role":       {`{"name":"Ann","role":"Viewer\u017f"}`, 422, "request_invalid"},
		"null role":         {`{"name":"Ann","role":null}`, 422, "request_invalid"},
		"retyped":           {`{"name":["Ann"],"role":"Member"}`, 422, "request_invalid"},
		"missing member":    {`{"name":"Ann"}`, 422, "request_invalid"},
		"array":             {`[` + goodUser + `]`, 400, "body_invalid"},
		"string":            {`"Ann"`, 400, "body_invalid"},
		"null":              {`null`, 400, "body_invalid"},
		"invalid UTF-8":     {"{\"name\":\"A\xff\",\"role\":\"Member\"}", 400, "body_invalid"},
		"lone surrogate":    {`{"name":"\ud800","role":"Member"}`, 400, "body_invalid"},
		"byte order mark":   {"\ufeff" + goodUser, 400, "body_invalid"},
		"deep":              {strings.Repeat(`{"name":`, 50) + `1` + strings.Repeat(`}`, 50), 400, "body_invalid"},
		"many values":       {`{"name":[` + strings.Repeat("1,", 5000) + `1]}`, 400, "body_invalid"},
		"huge":              {`{"name":"` + strings.Repeat("a", 300<<10) + `"}`, 413, "body_too_large"},
		"long name":         {`{"name":"` + strings.Repeat("a", 1000) + `","role":"Member"}`, 422, "request_invalid"},
		"empty name":        {`{"name":"","role":"Member"}`, 422, "request_invalid"},
	} {
		a := w.call("POST", "/api/v1/users", w.admin, c.body)
		if a.status != c.status || a.code() != c.code {
			t.Errorf("%s: %d %s, want %d %s", name, a.status, a.body, c.status, c.code)
		}
		if a.header.Get("Content-Type") != "application/problem+json" || a.problem()["record"] == nil {
			t.Errorf("%s: not a problem with a record: %s", name, a.body)
		}
	}
	if after := len(w.users()); after != before {
		t.Errorf("%d users, before %d", after, before)
	}
	for _, r := range w.log.of(demo) {
		if strings.Contains(string(r.Body), `"phase":"intent"`) {
			t.Errorf("a refused body came to an intent: %s", r.Body)
		}
	}
}

func TestABodyMustSayWhatItIs(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		change func(*http.Request)
		status int
		code   string
	}{
		"no type":       {func(r *http.Request) { r.Header.Del("Content-Type") }, 415, "content_type_refused"},
		"form":          {func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }, 415, "content_type_refused"},
		"plain text":    {func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 415, "content_type_refused"},
		"suffix":        {func(r *http.Request) { r.Header.Set("Content-Type", "application/x+json") }, 415, "content_type_refused"},
		"two types":     {func(r *http.Request) { r.Header["Content-Type"] = []string{"application/json", "text/plain"} }, 415, "content_type_refused"},
		"charset":       {func(r *http.Request) { r.Header.Set("Content-Type", "application/json; charset=utf-7") }, 415, "content_type_refused"},
		"encoding":      {func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 415, "content_type_refused"},
		"chunked":       {func(r *http.Request) { r.TransferEncoding, r.ContentLength = []string{"chunked"}, -1 }, 411, "length_required"},
		"length short":  {func(r *http.Request) { r.ContentLength = 5 }, 400, "body_invalid"},
		"length beyond": {func(r *http.Request) { r.ContentLength = 5000 }, 400, "body_invalid"},
	} {
		r := w.request("POST", "/api/v1/users", w.admin, goodUser)
		c.change(r)
		a := w.do(r)
		if a.status != c.status || a.code() != c.code {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	r := w.request("POST", "/api/v1/users", w.admin, goodUser)
	r.Header.Set("Content-Type", `application/json; charset="UTF-8"`)
	if a := w.do(r); a.status != http.StatusCreated {
		t.Errorf("with charset: %d %s", a.status, a.body)
	}
	for _, method := range []string{"GET", "DELETE"} {
		w.call(method, "/api/v1/users/usr_x", w.admin, goodUser).refused(t, 400, "body_refused")
	}
	w.call("POST", "/api/v1/bundles/reload", w.admin, `{}`).refused(t, 400, "body_refused")
}

func TestAnAnswerNeverRepeatsWhatWasSent(t *testing.T) {
	w := newWorld(t)
	const canary = "canary-3f9a"
	for _, c := range [][3]string{
		{"PUT", "/api/v1/secrets/a", `{"value":"` + canary + `","x":1}`},
		{"PUT", "/api/v1/secrets/a", `{"value":["` + canary + `"]}`},
		{"PUT", "/api/v1/secrets/a", `{"value":"` + canary + `"`},
		{"PUT", "/api/v1/secrets/a", `{"value":"` + canary + `"}`},
		{"POST", "/api/v1/users", `{"name":"` + strings.Repeat(canary, 100) + `","role":"` + canary + `"}`},
	} {
		a := w.call(c[0], c[1], w.admin, c[2])
		if strings.Contains(a.body, canary) {
			t.Errorf("%s %s %d: %s", c[0], c[1], a.status, a.body)
		}
	}
	for _, r := range w.log.of(demo) {
		if strings.Contains(string(r.AppendJSON(nil)), canary) {
			t.Errorf("ledger: %s", r.AppendJSON(nil))
		}
		if r.Route == "/api/v1/secrets/{name}" && !r.Request.IsZero() {
			t.Error("the digest of a secret stands in the ledger")
		}
	}
	if strings.Contains(w.slog.String(), canary) {
		t.Errorf("log: %s", w.slog.String())
	}
}

func TestAChunkedRequestEndsItsConnection(t *testing.T) {
	w := newWorld(t)
	addr := strings.TrimPrefix(w.listen(t), "http://")
	const smuggled = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for path, status := range map[string]string{"/api/v1/users": "411", "/healthz": "401", "/nowhere": "404"} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+w.keyFor(path)+
			"\r\nContent-Type: application/json\r\nContent-Length: "+strconv.Itoa(5+len(smuggled))+"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+smuggled)
		if err != nil {
			t.Fatal(err)
		}
		answers, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answers), "HTTP/1.1 "+status+" ") || strings.Count(string(answers), "HTTP/1.1 ") != 1 {
			t.Errorf("%s: %v: %s", path, err, answers)
		}
		_ = conn.Close()
	}
}

// keyFor leaves /healthz without a key that works.
func (w *world) keyFor(path string) string {
	if path == "/healthz" {
		return "none"
	}
	return w.admin
}

func TestARequestWithALargeHeaderIsBoundedByTheServer(t *testing.T) {
	w := newWorld(t)
	srv := w.listen(t)
	r, err := http.NewRequest("GET", srv+"/api/v1/whoami", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 64 {
		r.Header.Set("X-Filler-"+strconv.Itoa(i), strings.Repeat("a", 1024))
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}
