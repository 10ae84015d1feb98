package cli_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestOrganisationsAreMadeOverTheControlPort(t *testing.T) {
	h := newHouse(t)
	one := `{"id":"acme","name":"Acme\u001b[2J","status":"active","created":"2026-01-01T00:00:00Z"}`
	var seen []string
	h.control.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(b)))
		switch {
		case r.Method == http.MethodGet:
			answer(w, 200, `{"items":[`+one+`]}`)
		case strings.Contains(string(b), "keyless"):
			answer(w, 201, `{"organisation":`+one+`}`)
		default:
			answer(w, 201, `{"organisation":`+one+`,"admin":{"id":"usr_1"},"key":{"key":{"id":"key_1"},"secret":"ak_live_new"}}`)
		}
	})
	if o := h.run(t, "organisation", "list"); o.code != 0 || o.out != "ID    NAME     STATUS  MADE\nacme  Acme[2J  active  2026-01-01T00:00:00Z\n" {
		t.Errorf("%+v", o)
	}
	for _, args := range [][]string{{"acme"}, {"acme", "--name", "Acme", "--admin", "Max", "--email", "max@example.org"}} {
		o := h.run(t, append([]string{"organisation", "create"}, args...)...)
		if o.code != 0 || o.out != "ak_live_new\n" || !strings.Contains(o.errOut, "hint: export GATEWRIGHT_ADMIN_KEY") || strings.Contains(o.errOut, "ak_live_new") {
			t.Errorf("%q: %+v", args, o)
		}
	}
	h.fails(t, 3, "no key in it", "organisation", "create", "keyless")
	h.fails(t, 2, "expected", "organisation", "create")
	want := []string{
		"GET /api/v1/organisations", `POST /api/v1/organisations {"id":"acme","name":"acme","admin":{"name":"First admin"}}`,
		`POST /api/v1/organisations {"id":"acme","name":"Acme","admin":{"name":"Max","email":"max@example.org"}}`,
		`POST /api/v1/organisations {"id":"keyless","name":"keyless","admin":{"name":"First admin"}}`,
	}
	if strings.Join(seen, "\n") != strings.Join(want, "\n") {
		t.Errorf("sent\n%s\nwant\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
}
