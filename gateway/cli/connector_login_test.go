package cli_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestALoginIsTwoStepsOfTheSameUser(t *testing.T) {
	h := newHouse(t)
	var seen []string
	h.control.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, r.Method+" "+r.URL.Path+" "+string(b))
		switch {
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		case strings.HasSuffix(r.URL.Path, "/finish") && strings.Contains(string(b), "BCDF-GHJK"):
			answer(w, 200, `{"scopes":["read","wri\u001bte"],"expires":"2030-01-02T03:04:05Z"}`)
		case strings.HasSuffix(r.URL.Path, "/finish"):
			answer(w, 409, `{"code":"login_refused","detail":"not logged in: no such word","hint":"begin again","record":"rec_1"}`)
		default:
			answer(w, 200, `{"url":"https://login.example/authorize?state=s","expires":"2030-01-02T03:04:05Z"}`)
		}
	})
	o := h.run(t, "connector", "login", "crm")
	if o.code == 0 || !strings.Contains(o.out, "https://login.example/authorize?state=s") || !strings.Contains(o.errOut, "--word XXXX-XXXX") {
		t.Errorf("nobody types a word: %+v", o)
	}
	o = h.run(t, "connector", "login", "crm", "--word", " bcdf-ghjk ")
	if o.code != 0 || !strings.Contains(o.out, "the gateway may use crm for you, with read write, until 2030-01-0") {
		t.Errorf("%+v", o)
	}
	h.fails(t, 1, "login_refused: not logged in: no such word (rec_1)", "connector", "login", "crm", "--word", "XXXX-XXXX")
	if o = h.run(t, "connector", "logout", "crm"); o.code != 0 || o.out != "the gateway uses crm for you no more\n" {
		t.Errorf("%+v", o)
	}
	want := "POST /api/v1/servers/crm/login |POST /api/v1/servers/crm/login/finish {\"word\":\"BCDF-GHJK\"}|POST /api/v1/servers/crm/login/finish {\"word\":\"XXXX-XXXX\"}|DELETE /api/v1/servers/crm/login "
	if got := strings.Join(seen, "|"); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}
