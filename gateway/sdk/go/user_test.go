package gatewright_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

func TestPeopleAreListedAndMadeAndHaveKeys(t *testing.T) {
	g := newGateway(t)
	one := `{"id":"usr_1","name":"Max","email":"max@example.org","role":"Manager","teams":["ops"],"status":"active","created":"2026-01-01T00:00:00Z"}`
	var seen []string
	g.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(b)))
		switch {
		case strings.HasSuffix(r.URL.Path, "/usr_2/keys"):
			answer(w, 201, `{"key":{"id":"key_2"}}`)
		case strings.HasSuffix(r.URL.Path, "/keys"):
			answer(w, 201, `{"key":{"id":"key_1","kind":"admin","user":"usr_1"},"secret":"ak_live_x"}`)
		case r.Method == http.MethodGet:
			answer(w, 200, `{"items":[`+one+`]}`)
		default:
			answer(w, 201, one)
		}
	})
	a, ctx := g.admin(t), t.Context()
	if all, err := a.Users(ctx); err != nil || len(all) != 1 || all[0].Role != "Manager" || !all[0].Ended.IsZero() {
		t.Errorf("%+v %v", all, err)
	}
	if u, err := a.CreateUser(ctx, gatewright.NewUser{Name: "Max", Role: "manager", Email: "max@example.org"}); err != nil || u.ID != "usr_1" || u.Teams[0] != "ops" {
		t.Errorf("%+v %v", u, err)
	}
	end := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	k, err := a.CreateManagementKey(ctx, "usr/1", gatewright.NewManagementKey{Name: "laptop", Mode: "live", Expires: &end})
	if err != nil || k.Secret != "ak_live_x" || k.Key.User != "usr_1" || strings.Contains(fmt.Sprintf("%v %+v", *k, *k), "ak_live") {
		t.Errorf("%v %v", k, err)
	}
	if _, err := a.CreateManagementKey(ctx, "usr_2", gatewright.NewManagementKey{Name: "laptop"}); !errors.Is(err, gatewright.ErrAnswer) {
		t.Errorf("no key in the answer: %v", err)
	}
	sent := strings.Join([]string{
		"GET /api/v1/users", `POST /api/v1/users {"name":"Max","email":"max@example.org","role":"manager"}`,
		`POST /api/v1/users/usr%2F1/keys {"name":"laptop","mode":"live","expires":"2027-01-01T00:00:00Z"}`, `POST /api/v1/users/usr_2/keys {"name":"laptop"}`,
	}, "\n")
	if got := strings.Join(seen, "\n"); got != sent {
		t.Errorf("sent\n%s\nwant\n%s", got, sent)
	}
}
