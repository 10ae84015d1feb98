package cli_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestPeopleAndTheirKeysAreMadeOverTheControlPort(t *testing.T) {
	h := newHouse(t)
	one := `{"id":"usr_1","name":"Max\u001b[2J","email":"max@example.org","role":"Manager","teams":[],"status":"active","created":"2026-01-01T00:00:00Z"}`
	var seen []string
	h.control.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if sent := string(b); strings.Contains(sent, "expires") {
			b = []byte(sent[:strings.Index(sent, "202")] + `..."}`)
		}
		seen = append(seen, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(b)))
		switch {
		case strings.HasSuffix(r.URL.Path, "/usr_9/keys"):
			answer(w, 404, `{"code":"not_found","detail":"there is no such thing in this organisation","record":"rec_1"}`)
		case strings.HasSuffix(r.URL.Path, "/keys"):
			answer(w, 201, `{"key":{"id":"key_1","kind":"admin","user":"usr_1"},"secret":"ak_live_new"}`)
		case r.Method == http.MethodGet:
			answer(w, 200, `{"items":[`+one+`]}`)
		case strings.Contains(string(b), "root"):
			answer(w, 422, `{"code":"request_invalid","detail":"validation failed","fields":[{"location":"body.role","message":"expected string to be Admin, Manager, Member or Viewer"}]}`)
		default:
			answer(w, 201, one)
		}
	})
	made := "management key key_1; it is not shown again\nhint: export GATEWRIGHT_ADMIN_KEY with it\n"
	for _, c := range []struct {
		out, errOut string
		args        []string
	}{
		{"ID     NAME    ROLE     STATUS  EMAIL\nusr_1  Max[2J  Manager  active  max@example.org\n", "", []string{"user", "list"}},
		{"usr_1\n", "Max[2J is Manager\nhint: gatewright user key usr_1\n", []string{"user", "create", "Max", "--role", "manager", "--email", "max@example.org"}},
		{"ak_live_new\n", made, []string{"user", "key", "usr_1"}},
		{"ak_live_new\n", made, []string{"user", "key", "usr_1", "--name", "laptop", "--ttl", "24h", "--test"}},
	} {
		o := h.run(t, c.args...)
		if o.code != 0 || o.out != c.out || o.errOut != c.errOut {
			t.Errorf("%q:\n got %s (exit %d, %s)\nwant %s", c.args, o.out, o.code, o.errOut, c.out)
		}
	}
	for _, args := range [][]string{{"user", "list", "--json"}, {"user", "create", "Max", "--role", "Viewer", "--json"}} {
		var v any
		if o := h.run(t, args...); o.code != 0 || json.Unmarshal([]byte(o.out), &v) != nil {
			t.Errorf("%q: %+v", args, o)
		}
	}
	h.fails(t, 2, "--role", "user", "create", "Max")
	h.fails(t, 2, "below zero", "user", "key", "usr_1", "--ttl=-1h")
	h.fails(t, 1, "body.role: expected string to be Admin, Manager, Member or Viewer", "user", "create", "Max", "--role", "root")
	h.fails(t, 1, "not_found", "user", "key", "usr_9")
	if o := h.run(t, "user", "key", "usr_9"); !strings.Contains(o.errOut, "\nhint: `gatewright user list` shows") {
		t.Errorf("%s", o.errOut)
	}
	want := strings.Join([]string{
		"GET /api/v1/users", `POST /api/v1/users {"name":"Max","email":"max@example.org","role":"manager"}`,
		`POST /api/v1/users/usr_1/keys {"name":"made on the command line","mode":"live"}`, `POST /api/v1/users/usr_1/keys {"name":"laptop","mode":"test","expires":"..."}`,
		"GET /api/v1/users", `POST /api/v1/users {"name":"Max","role":"Viewer"}`,
	}, "\n")
	if got := strings.Join(seen[:6], "\n"); got != want {
		t.Errorf("sent\n%s\nwant\n%s", got, want)
	}
	delete(h.env, "GATEWRIGHT_ADMIN_KEY")
	h.fails(t, 2, "no management key", "user", "list")
}
